package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/examples/internal/spanview"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// node is a span as the tests compare it, with its children in the order of their start.
type node struct {
	Service, Name, Kind, Status string
	Children                    []node
}

func treeOf(spans []otlptest.Span, parent string) []node {
	var nodes []node
	slices.SortFunc(spans, func(a, b otlptest.Span) int { return a.Start.Compare(b.Start) })
	for _, s := range spans {
		if s.ParentSpanID == parent {
			nodes = append(nodes, node{spanview.Service(s.Resource), s.Name, s.Kind, s.Status.Code, treeOf(spans, s.SpanID)})
		}
	}
	return nodes
}

// Twenty requests have one of every kind: request 7 is invalid, 13 is declined, 9 and 19 read.
func TestWhatArrives(t *testing.T) {
	collector, out := runAt(t, "-requests", "20")
	require.Contains(t, out, "16 paid, 1 declined, 1 invalid, 2 read\n           and 1 × GET /health")
	arrived := arrivedAt(collector)

	// traceOf returns the trace whose root has this name and HTTP status.
	traceOf := func(name string, status int) []otlptest.Span {
		i := slices.IndexFunc(arrived.spans, func(s otlptest.Span) bool {
			return s.Name == name && s.Kind == "server" && number(s.Attributes, "http.response.status_code") == float64(status)
		})
		require.GreaterOrEqual(t, i, 0, "no span %q with status %d", name, status)
		return arrived.traces[arrived.spans[i].TraceID]
	}
	spanOf := func(trace []otlptest.Span, name string) otlptest.Span {
		i := slices.IndexFunc(trace, func(s otlptest.Span) bool { return s.Name == name })
		require.GreaterOrEqual(t, i, 0, "no span %q", name)
		return trace[i]
	}
	logsOf := func(trace []otlptest.Span) []otlptest.LogRecord {
		var found []otlptest.LogRecord
		for _, r := range arrived.logs {
			if r.TraceID == trace[0].TraceID {
				found = append(found, r)
			}
		}
		return found
	}

	t.Run("one trace from the service over the gateway to the database", func(t *testing.T) {
		trace := traceOf("POST /api/payments", 201)
		require.Equal(t, []node{{"payments", "POST /api/payments", "server", "unset", []node{
			{"payments", "create_payment", "internal", "unset", []node{
				{"payments", "validate_payment", "internal", "unset", nil},
				{"payments", "call_payment_gateway", "client", "unset", []node{
					{"payments", "POST", "client", "unset", []node{
						{"payment-gateway", "POST /charges", "server", "unset", []node{
							{"payment-gateway", "authorize_card", "internal", "unset", nil},
						}},
					}},
				}},
				{"payments", "save_to_database", "internal", "unset", []node{
					{"payments", "INSERT payments", "client", "unset", nil},
				}},
			}},
		}}}, treeOf(trace, ""))
		require.Equal(t, "/api/payments", spanOf(trace, "POST /api/payments").Attributes["http.route"])
		insert := spanOf(trace, "INSERT payments").Attributes
		require.Equal(t, "sqlite", insert["db.system.name"])
		require.Contains(t, insert["db.query.text"], "VALUES (?, ?, ?, ?, ?)", "the statement, not the values")
	})

	t.Run("two services are two resources", func(t *testing.T) {
		instances := make(map[string]string)
		for _, s := range arrived.spans {
			instances[spanview.Service(s.Resource)] = spanview.Text(s.Resource, "service.instance.id")
		}
		require.Len(t, instances, 2)
		require.NotEmpty(t, instances["payments"])
		require.NotEqual(t, instances["payments"], instances["payment-gateway"])
	})

	t.Run("an invalid payment says why", func(t *testing.T) {
		trace := traceOf("POST /api/payments", 400)
		require.Equal(t, []node{{"payments", "POST /api/payments", "server", "unset", []node{
			{"payments", "create_payment", "internal", "error", []node{
				{"payments", "validate_payment", "internal", "error", nil},
			}},
		}}}, treeOf(trace, ""))
		span := spanOf(trace, "validate_payment")
		require.Equal(t, "amount must be greater than 0, got -12.5", span.Status.Message)
		require.Contains(t, span.Attributes["error.type"], "invalidError")
	})

	t.Run("a declined payment is an error with a log record in its trace", func(t *testing.T) {
		trace := traceOf("POST /api/payments", 402)
		span := spanOf(trace, "call_payment_gateway")
		require.Equal(t, otlptest.Status{Code: "error", Message: "the card was declined: insufficient_funds"}, span.Status)
		require.Contains(t, span.Attributes["error.type"], "declinedError")
		require.Equal(t, "insufficient_funds", span.Attributes["payment.decline_reason"])
		require.Equal(t, "unset", spanOf(trace, "authorize_card").Status.Code, "to decline is no error of the gateway")
		require.Equal(t, false, spanOf(trace, "authorize_card").Attributes["card.authorized"])

		logs := logsOf(trace)
		require.Len(t, logs, 2)
		i := slices.IndexFunc(logs, func(r otlptest.LogRecord) bool { return r.Body == "payment not created" })
		require.GreaterOrEqual(t, i, 0)
		require.Equal(t, "WARN", logs[i].SeverityText)
		require.Equal(t, "declined", logs[i].Attributes["outcome"])
		require.Equal(t, spanOf(trace, "create_payment").SpanID, logs[i].SpanID)
		require.Equal(t, "payment-gateway", spanview.Text(logs[1-i].Resource, "service.name"))
		require.Equal(t, spanOf(trace, "POST /charges").SpanID, logs[1-i].SpanID)
	})

	t.Run("a read is its request and its statement", func(t *testing.T) {
		require.Equal(t, []node{{"payments", "GET /api/payments/{id}", "server", "unset", []node{
			{"payments", "SELECT payments", "client", "unset", nil},
		}}}, treeOf(traceOf("GET /api/payments/{id}", 200), ""))
	})

	t.Run("health checks leave nothing", func(t *testing.T) {
		require.Len(t, arrived.traces, 20)
		for _, s := range arrived.spans {
			require.NotContains(t, s.Name, "health")
			require.NotEqual(t, "/health", s.Attributes["url.path"])
		}
	})

	t.Run("every log record belongs to a span that arrived", func(t *testing.T) {
		ids := make(map[string]bool)
		for _, s := range arrived.spans {
			ids[s.TraceID+s.SpanID] = true
		}
		require.Len(t, arrived.logs, 16*2+1*2+1+2)
		for _, r := range arrived.logs {
			require.True(t, ids[r.TraceID+r.SpanID], "%v", r.Body)
		}
	})

	t.Run("metrics have the values of what was sent", func(t *testing.T) {
		orders := make(map[any]float64)
		var count uint64
		var sum float64
		inFlight := -1.0
		for _, m := range arrived.metrics {
			for _, p := range m.Points {
				switch m.Name {
				case "orders.total":
					require.True(t, m.Monotonic)
					orders[p.Attributes["outcome"]] += p.Value
				case "order.value":
					require.Equal(t, "EUR", p.Attributes["currency"])
					require.Equal(t, []float64{10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000}, p.Bounds)
					count, sum = p.Count, p.Sum
				case "requests.in_flight":
					require.False(t, m.Monotonic)
					inFlight = p.Value
				}
			}
		}
		require.Equal(t, map[any]float64{"paid": 16, "declined": 1, "invalid": 1}, orders)
		require.Equal(t, uint64(16), count)
		want := 0.0
		for i := range 20 {
			if kindOf(i) == paid {
				want += float64(500+i*3797%24500) / 100
			}
		}
		require.InDelta(t, want, sum, 1e-6)
		require.Zero(t, inFlight)
	})
}

// The gateway being away is the service's error, not the caller's: 502, an error span with the reason, an error line.
func TestGatewayAway(t *testing.T) {
	collector := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTPEndpoint())
	a, err := start(t.Context(), t.Output(), settings{}, "127.0.0.1:0", quiet(&reports{}))
	require.NoError(t, err)
	require.NoError(t, a.bank.stop(t.Context()))
	did := load(t.Context(), a.api.url, 1)
	require.ErrorContains(t, did.err(), "status 502")
	require.NoError(t, a.stop())

	arrived := arrivedAt(collector)
	i := slices.IndexFunc(arrived.spans, func(s otlptest.Span) bool { return s.Name == "call_payment_gateway" })
	require.GreaterOrEqual(t, i, 0)
	require.Equal(t, "error", arrived.spans[i].Status.Code)
	require.Contains(t, arrived.spans[i].Status.Message, "connection refused")
	require.Len(t, arrived.logs, 1)
	require.Equal(t, "ERROR", arrived.logs[0].SeverityText)
	require.Equal(t, "unavailable", arrived.logs[0].Attributes["outcome"])
}
