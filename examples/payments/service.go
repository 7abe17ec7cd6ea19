package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// service is the payment service. It uses the globals of OpenTelemetry and slog, which
// telemetry.Init has set, so it needs no reference to the guard.
type service struct {
	gateway  *gatewayClient
	store    *store
	orders   metric.Int64Counter
	value    metric.Float64Histogram
	inFlight metric.Int64UpDownCounter
}

func newService(gateway *gatewayClient, store *store) (http.Handler, error) {
	meter := otel.Meter("github.com/fleetotel/telemetry/examples/payments")
	s := &service{gateway: gateway, store: store}
	var errs [3]error
	s.orders, errs[0] = meter.Int64Counter("orders.total", metric.WithUnit("{order}"),
		metric.WithDescription("Orders, by how they ended."))
	s.value, errs[1] = meter.Float64Histogram("order.value", metric.WithUnit("{currency}"),
		metric.WithDescription("Amount of the orders that were paid, in their currency."),
		metric.WithExplicitBucketBoundaries(10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000))
	s.inFlight, errs[2] = meter.Int64UpDownCounter("requests.in_flight", metric.WithUnit("{request}"),
		metric.WithDescription("Requests to the API that are being served now."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("POST /api/payments", s.counted(s.create))
	mux.HandleFunc("GET /api/payments/{id}", s.counted(s.read))
	// Handler gives each request, except health checks, a server span named after its route, and
	// HTTP metrics.
	return telemetry.Handler(mux), nil
}

func (s *service) counted(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.inFlight.Add(r.Context(), 1)
		defer s.inFlight.Add(r.Context(), -1)
		h(w, r)
	}
}

// create handles POST /api/payments.
func (s *service) create(w http.ResponseWriter, r *http.Request) {
	var paid payment
	err := telemetry.Do(r.Context(), "create_payment", func(ctx context.Context) error {
		var err error
		paid, err = s.pay(ctx, w, r)
		s.report(ctx, paid, err)
		return err
	})
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Location", "/api/payments/"+paid.ID)
	answer(w, http.StatusCreated, view(paid))
}

// pay does the work, with one span for each step. A failed step ends the payment, and Do records
// its error on its span.
func (s *service) pay(ctx context.Context, w http.ResponseWriter, r *http.Request) (payment, error) {
	var p payment
	err := telemetry.Do(ctx, "validate_payment", func(context.Context) error {
		var err error
		p, err = parsePayment(http.MaxBytesReader(w, r.Body, maxBody))
		return err
	})
	if err != nil {
		return p, err
	}
	trace.SpanFromContext(ctx).SetAttributes(
		attribute.String("payment.id", p.ID), attribute.String("payment.currency", p.Currency))

	err = telemetry.Do(ctx, "call_payment_gateway", func(ctx context.Context) error {
		var err error
		p.Authorization, err = s.gateway.charge(ctx, p)
		return err
	}, trace.WithSpanKind(trace.SpanKindClient))
	if err != nil {
		return p, err
	}
	return p, telemetry.Do(ctx, "save_to_database", func(ctx context.Context) error {
		return s.store.save(ctx, p)
	})
}

// report counts and logs the order once, however it ended. Because of ctx, the log line has the
// trace id.
func (s *service) report(ctx context.Context, p payment, err error) {
	outcome := outcomeOf(err)
	s.orders.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", string(outcome))))
	if err == nil {
		s.value.Record(ctx, float64(p.Cents)/100, metric.WithAttributes(attribute.String("currency", p.Currency)))
		slog.InfoContext(ctx, "payment created", "payment", p.ID, "amount", amount(p.Cents), "currency", p.Currency)
		return
	}
	level := slog.LevelWarn // an error of the caller or the card holder, unless ...
	if outcome == outcomeUnavailable || outcome == outcomeFailed {
		level = slog.LevelError // ... it is an error of ours
	}
	slog.Log(ctx, level, "payment not created", "payment", p.ID, "outcome", string(outcome), "error", err)
}

// read handles GET /api/payments/{id}.
func (s *service) read(w http.ResponseWriter, r *http.Request) {
	p, err := s.store.find(r.Context(), r.PathValue("id"))
	if err != nil {
		slog.WarnContext(r.Context(), "payment not read", "payment", r.PathValue("id"), "error", err)
		refuse(w, err)
		return
	}
	slog.InfoContext(r.Context(), "payment read", "payment", p.ID)
	answer(w, http.StatusOK, view(p))
}

// view is a payment as the API shows it.
func view(p payment) map[string]any {
	return map[string]any{
		"id": p.ID, "amount": json.Number(amount(p.Cents)), "currency": p.Currency,
		"authorization": p.Authorization, "created_at": p.Created,
	}
}

func amount(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// answer writes v as JSON. A client that has disconnected is not an error of the service.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
