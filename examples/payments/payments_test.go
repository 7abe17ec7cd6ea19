package main

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/telemetrytest"
)

// Twenty requests have one of every kind: request 7 is invalid, 13 is declined, 9 and 19 read.
func TestWhatArrives(t *testing.T) {
	collector := telemetrytest.NewCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTPEndpoint())
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-requests", "20"}), "%s", &out)
	require.Contains(t, out.String(), "16 paid, 1 declined, 1 invalid, 2 read\n           and 1 × GET /health")

	// traceOf returns the first trace whose root has this name and HTTP status.
	traceOf := func(name string, status int64) *telemetrytest.Trace {
		spans := collector.Spans(name)
		i := slices.IndexFunc(spans, func(s *telemetrytest.Span) bool {
			return s.Kind == trace.SpanKindServer && s.Attributes["http.response.status_code"] == status
		})
		require.GreaterOrEqual(t, i, 0, "no span %q with status %d", name, status)
		return spans[i].Trace()
	}
	spanOf := func(trace *telemetrytest.Trace, name string) *telemetrytest.Span {
		i := slices.IndexFunc(trace.Spans, func(s *telemetrytest.Span) bool { return s.Name == name })
		require.GreaterOrEqual(t, i, 0, "no span %q in\n%s", name, trace)
		return trace.Spans[i]
	}

	t.Run("one trace from the service over the gateway to the database", func(t *testing.T) {
		arrived := traceOf("POST /api/payments", 201)
		require.Equal(t, `POST /api/payments
  create_payment
    validate_payment
    call_payment_gateway
      POST
        POST /charges
          authorize_card
    save_to_database
      INSERT payments
`, arrived.Outline())
		for name, kind := range map[string]trace.SpanKind{
			"create_payment": trace.SpanKindInternal, "call_payment_gateway": trace.SpanKindClient,
			"POST":          trace.SpanKindClient,
			"POST /charges": trace.SpanKindServer, "INSERT payments": trace.SpanKindClient,
		} {
			require.Equal(t, kind, spanOf(arrived, name).Kind, name)
		}
		for _, s := range arrived.Spans {
			s.RequireStatus(t, codes.Unset, "")
		}
		require.Equal(t, "payment-gateway", spanOf(arrived, "authorize_card").Resource["service.name"])
		spanOf(arrived, "POST /api/payments").RequireAttributes(t, attribute.String("http.route", "/api/payments"))
		insert := spanOf(arrived, "INSERT payments")
		insert.RequireAttributes(t, attribute.String("db.system.name", "sqlite"))
		require.Contains(t, insert.Attributes["db.query.text"], "VALUES (?, ?, ?, ?, ?)",
			"the statement, not the values")
	})

	t.Run("two services are two resources", func(t *testing.T) {
		instances := make(map[any]any)
		for _, s := range collector.Spans() {
			instances[s.Resource["service.name"]] = s.Resource["service.instance.id"]
		}
		require.Len(t, instances, 2)
		require.NotEmpty(t, instances["payments"])
		require.NotEqual(t, instances["payments"], instances["payment-gateway"])
	})

	t.Run("an invalid payment says why", func(t *testing.T) {
		arrived := traceOf("POST /api/payments", 400)
		require.Equal(t, "POST /api/payments\n  create_payment\n    validate_payment\n", arrived.Outline())
		span := spanOf(arrived, "validate_payment")
		span.RequireStatus(t, codes.Error, "amount must be greater than 0, got -12.5")
		require.Contains(t, span.Attributes["error.type"], "invalidError")
		require.Equal(t, codes.Error, span.Parent().Status.Code)
		require.Equal(t, codes.Unset, arrived.Roots[0].Status.Code,
			"what the caller did wrong is no error of the server")
	})

	t.Run("a declined payment is an error with a log record in its trace", func(t *testing.T) {
		arrived := traceOf("POST /api/payments", 402)
		span := spanOf(arrived, "call_payment_gateway")
		span.RequireStatus(t, codes.Error, "the card was declined: insufficient_funds")
		span.RequireAttributes(t, attribute.String("payment.decline_reason", "insufficient_funds"))
		require.Contains(t, span.Attributes["error.type"], "declinedError")
		authorize := spanOf(arrived, "authorize_card")
		authorize.RequireStatus(t, codes.Unset, "") // to decline is no error of the gateway
		authorize.RequireAttributes(t, attribute.Bool("card.authorized", false))

		require.Len(t, arrived.Logs, 2)
		line := spanOf(arrived, "create_payment").RequireLog(t, "payment not created",
			attribute.String("outcome", "declined"))
		require.Equal(t, log.SeverityWarn, line.Severity)
		charges := spanOf(arrived, "POST /charges").Logs
		require.Len(t, charges, 1)
		require.Equal(t, "payment-gateway", charges[0].Resource["service.name"])
	})

	t.Run("a read is its request and its statement", func(t *testing.T) {
		arrived := traceOf("GET /api/payments/{id}", 200)
		require.Equal(t, "GET /api/payments/{id}\n  SELECT payments\n", arrived.Outline())
	})

	t.Run("health checks leave nothing", func(t *testing.T) {
		require.Len(t, collector.Traces(), 20)
		for _, s := range collector.Spans() {
			require.NotContains(t, s.Name, "health")
			require.NotEqual(t, "/health", s.Attributes["url.path"])
		}
	})

	t.Run("every log record belongs to a span that arrived", func(t *testing.T) {
		require.Len(t, collector.Logs(), 16*2+1*2+1+2)
		inSpans := 0
		for _, s := range collector.Spans() {
			inSpans += len(s.Logs)
		}
		require.Len(t, collector.Logs(), inSpans)
	})

	t.Run("metrics have the values of what was sent", func(t *testing.T) {
		orders := collector.RequireMetric(t, "orders.total")
		require.True(t, orders.Monotonic)
		require.Equal(t, 18.0, orders.Total())
		for outcome, want := range map[string]float64{"paid": 16, "declined": 1, "invalid": 1} {
			require.Equal(t, want, collector.RequireMetric(t, "orders.total",
				attribute.String("outcome", outcome)).Total())
		}
		values := collector.RequireMetric(t, "order.value", attribute.String("currency", "EUR"))
		require.Equal(t, []float64{10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000}, values.Points[0].Bounds)
		require.EqualValues(t, 16, values.Count())
		want := 0.0
		for i := range 20 {
			if kindOf(i) == paid {
				want += float64(500+i*3797%24500) / 100
			}
		}
		require.InDelta(t, want, values.Total(), 1e-6)
		inFlight := collector.RequireMetric(t, "requests.in_flight")
		require.False(t, inFlight.Monotonic)
		require.Zero(t, inFlight.Total())
	})
}

// The gateway being away is the service's error, not the caller's: 502, an error span with the
// reason, an error line.
func TestGatewayAway(t *testing.T) {
	collector := telemetrytest.NewCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTPEndpoint())
	a, err := start(t.Context(), t.Output(), settings{}, "127.0.0.1:0", quiet(&reports{}))
	require.NoError(t, err)
	require.NoError(t, a.bank.stop(t.Context()))
	did := load(t.Context(), a.api.url, 1)
	require.ErrorContains(t, did.err(), "status 502")
	require.NoError(t, a.stop())

	call := collector.RequireSpan(t, "call_payment_gateway")
	require.Equal(t, codes.Error, call.Status.Code)
	require.Contains(t, call.Status.Description, "connection refused")
	logs := collector.Logs()
	require.Len(t, logs, 1)
	require.Equal(t, log.SeverityError, logs[0].Severity)
	require.Equal(t, "unavailable", logs[0].Attributes["outcome"])
}
