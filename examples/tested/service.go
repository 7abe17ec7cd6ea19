// Package tested is a service with tests of its telemetry to copy from: a handler, a gRPC method, a
// log line, and an outage. The service is ordinary except that its constructor takes the telemetry,
// so that its tests can run in parallel. See service_test.go.
package tested

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// Warehouse keeps the stock. Handler serves it over HTTP, and Register over gRPC.
type Warehouse struct {
	guard    *telemetry.Guard
	log      *slog.Logger
	reserved metric.Int64Counter
	stock    map[string]int
}

var errSoldOut = errors.New("sold out")

// NewWarehouse returns a warehouse that uses the telemetry of guard, from main or from a test.
func NewWarehouse(guard *telemetry.Guard, stock map[string]int) (*Warehouse, error) {
	reserved, err := guard.MeterProvider().Meter("warehouse").Int64Counter("warehouse.reserved",
		metric.WithUnit("{item}"))
	if err != nil {
		return nil, fmt.Errorf("counter of reservations: %w", err)
	}
	return &Warehouse{guard: guard, log: guard.Logger(), reserved: reserved, stock: stock}, nil
}

// reserve gets the tracer from the span in ctx, like telemetry.Do.
func (w *Warehouse) reserve(ctx context.Context, item string, n int) error {
	err := telemetry.Do(ctx, "reserve", func(ctx context.Context) error {
		left := w.stock[item]
		trace.SpanFromContext(ctx).AddEvent("stock read", trace.WithAttributes(attribute.Int("left", left)))
		if left < n {
			return errSoldOut
		}
		return nil
	}, trace.WithAttributes(attribute.String("item", item), attribute.Int("count", n)))
	if err != nil {
		w.log.WarnContext(ctx, "not reserved", "item", item, "error", err)
		return err
	}
	w.reserved.Add(ctx, int64(n), metric.WithAttributes(attribute.String("item", item)))
	w.log.InfoContext(ctx, "reserved", "item", item, "count", n)
	return nil
}

// Handler serves POST /items/{item}/reservations, with the count in the body.
func (w *Warehouse) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /items/{item}/reservations", func(rw http.ResponseWriter, r *http.Request) {
		var body struct{ Count int }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Count < 1 {
			http.Error(rw, "want a count of 1 or more", http.StatusBadRequest)
			return
		}
		if err := w.reserve(r.Context(), r.PathValue("item"), body.Count); err != nil {
			http.Error(rw, err.Error(), http.StatusConflict)
			return
		}
		rw.WriteHeader(http.StatusCreated)
	})
	return telemetry.Handler(mux, telemetry.WithGuard(w.guard))
}
