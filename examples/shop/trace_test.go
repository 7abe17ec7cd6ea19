package main

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/examples/internal/spanview"
	"github.com/fleetotel/telemetry/examples/shop/internal/payment"
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
			nodes = append(nodes, node{spanview.Service(s.Resource), s.Name, s.Kind, s.Status.Code,
				treeOf(spans, s.SpanID)})
		}
	}
	return nodes
}

// call is a gRPC call of checkout's, with what the other side did.
func call(service, method, clientStatus string, inside ...node) node {
	return node{"checkout", method, "client", clientStatus, []node{{service, method, "server", "unset", inside}}}
}

func TestOneOrderIsOneTrace(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			collector := otlptest.New(t)
			f := startTestFleet(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.Endpoint(protocol),
				"OTEL_EXPORTER_OTLP_PROTOCOL="+protocol,
				"ENVIRONMENT=test")
			status, traceID, err := f.order(t.Context(), "mug", "card_good")
			require.NoError(t, err)
			require.Equal(t, http.StatusCreated, status)
			require.NoError(t, f.stop())
			requireOneTrace(t, collector, traceID, "sqlite")
		})
	}
}

// requireOneTrace asserts that the one order that was placed is one trace through every service and
// the database, and that the worker's trace is linked to it.
func requireOneTrace(t *testing.T, collector *otlptest.Collector, traceID, database string) {
	t.Helper()
	arrived := arrivedAt(collector)
	require.Equal(t, []node{{"storefront", "POST /orders", "server", "unset", []node{
		{"storefront", "POST", "client", "unset", []node{
			{"checkout", "POST /checkout", "server", "unset", []node{
				call("inventory", "shop.v1.Inventory/Reserve", "unset"),
				call("payment", "shop.v1.Payment/Charge", "unset",
					node{"payment", "authorize card", "internal", "unset", nil}),
				{"checkout", "INSERT orders", "client", "unset", nil},
				{"checkout", "send orders.placed", "producer", "unset", nil},
			}},
		}},
	}}}, treeOf(arrived.traces[traceID], ""))
	require.Equal(t, 2, len(arrived.traces),
		"the order, and its fulfilment; probes and the making of tables leave no trace")

	require.NotContains(t, stranger, traceID)
	var producer, consumer otlptest.Span
	for _, s := range arrived.spans {
		require.Equal(t, "shop", s.Resource["service.namespace"])
		switch s.Kind {
		case "producer":
			producer = s
		case "consumer":
			consumer = s
		}
		switch s.Name {
		case "INSERT orders":
			require.Equal(t, database, s.Attributes["db.system.name"])
		case "POST /orders":
			require.Len(t, s.Links, 1)
			require.Contains(t, stranger, s.Links[0].TraceID+"-"+s.Links[0].SpanID,
				"the customer's own trace is linked")
		}
	}
	require.Equal(t, []node{{"fulfilment", "process orders.placed", "consumer", "unset", []node{
		{"fulfilment", "pack", "internal", "unset", nil},
	}}}, treeOf(arrived.traces[consumer.TraceID], ""))
	require.NotEqual(t, traceID, consumer.TraceID)
	require.Len(t, consumer.Links, 1)
	require.Equal(t, traceID, consumer.Links[0].TraceID)
	require.Equal(t, producer.SpanID, consumer.Links[0].SpanID)
	for span, operation := range map[*otlptest.Span]string{&producer: "send", &consumer: "process"} {
		require.Equal(t, "nats", span.Attributes["messaging.system"])
		require.Equal(t, "orders.placed", span.Attributes["messaging.destination.name"])
		require.Equal(t, operation, span.Attributes["messaging.operation.name"])
		require.Equal(t, operation, span.Attributes["messaging.operation.type"])
	}

	// Each service logged one line, with the id of the trace it belongs to.
	logged := make(map[string]string)
	for _, r := range collector.LogRecords() {
		if r.TraceID != "" {
			require.NotContains(t, logged, spanview.Service(r.Resource))
			logged[spanview.Service(r.Resource)] = r.TraceID
		}
	}
	require.Equal(t, map[string]string{
		"storefront": traceID, "checkout": traceID, "payment": traceID, "inventory": traceID,
		"fulfilment": consumer.TraceID,
	}, logged)
	require.Len(t, arrived.example(), len(arrived.spans), "the report draws all of it")
}

// A declined card is an error of the payment, by its type, and of its callers; nothing is stored or
// sent.
func TestDeclinedOrder(t *testing.T) {
	collector := otlptest.New(t)
	f := startTestFleet(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.HTTPEndpoint())
	status, traceID, err := f.order(t.Context(), "mug", payment.DeclinedCard)
	require.NoError(t, err)
	require.Equal(t, http.StatusPaymentRequired, status)
	require.NoError(t, f.stop())

	arrived := arrivedAt(collector)
	require.Equal(t, []node{{"storefront", "POST /orders", "server", "unset", []node{
		{"storefront", "POST", "client", "error", []node{
			{"checkout", "POST /checkout", "server", "unset", []node{
				call("inventory", "shop.v1.Inventory/Reserve", "unset"),
				call("payment", "shop.v1.Payment/Charge", "error",
					node{"payment", "authorize card", "internal", "error", nil}),
				call("inventory", "shop.v1.Inventory/Release", "unset"),
			}},
		}},
	}}}, treeOf(arrived.traces[traceID], ""))
	require.Equal(t, 1, len(arrived.traces), "nothing was sent to the worker")
	for _, s := range arrived.spans {
		if s.Name == "authorize card" {
			require.Equal(t, "card_declined", s.Attributes["error.type"])
		}
	}
	for op, want := range map[operation]int{
		{"storefront", "POST /orders"}: 1, {"checkout", "POST /checkout"}: 1, {"payment", "shop.v1.Payment/Charge"}: 1,
		{"inventory", "shop.v1.Inventory/Reserve"}: 0, {"inventory", "shop.v1.Inventory/Release"}: 0,
	} {
		require.Equal(t, want, arrived.at(op).failed, "%v", op)
		require.EqualValues(t, want, f.closings()[op.service].Operations[op.name].Failed, "%v", op)
	}
}
