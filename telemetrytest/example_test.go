package telemetrytest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

// A handler: the spans it leaves, what they say, and a metric.
func ExampleStart() {
	t := newT() // in your code: func TestOrder(t *testing.T) { t.Parallel()
	defer t.end()

	rec := telemetrytest.Start(t, telemetry.WithoutGlobals())
	service := newShop(rec.Guard)

	request := httptest.NewRequest(http.MethodPost, "/orders/7", nil)
	service.ServeHTTP(httptest.NewRecorder(), request)

	root := rec.RequireSpan(t, "POST /orders/{id}", attribute.Int("http.response.status_code", 201))
	root.RequireChild(t, "charge card").RequireAttributes(t, attribute.String("order.id", "7"))
	rec.RequireNoLeakedSpans(t)

	fmt.Print(root.Trace().Outline())
	fmt.Println(rec.RequireMetric(t, "orders", attribute.String("shop", "online")).Total(), "order")
	// Output:
	// POST /orders/{id}
	//   charge card
	// 1 order
}

// A gRPC method: its span, and the log line that the method writes in it.
func ExampleStart_grpc() {
	t := newT() // in your code: func TestReserve(t *testing.T) { t.Parallel()
	defer t.end()

	rec := telemetrytest.Start(t, telemetry.WithoutGlobals())
	client := serveStock(t, rec.Guard) // a grpc.Server with telemetry.ServerHandler(telemetry.WithGuard(rec.Guard))

	if _, err := client.EmptyCall(context.Background(), &testpb.Empty{}); err != nil {
		t.Fatalf("%v", err)
	}

	span := rec.RequireSpan(t, "grpc.testing.TestService/EmptyCall")
	span.RequireLog(t, "reserved")
	fmt.Println(span.Kind, span.Attributes["rpc.response.status_code"])
	// Output:
	// server OK
}

// A log line: its level and attributes, and that it belongs to the span of the request.
func ExampleSpan_RequireLog() {
	t := newT() // in your code: func TestDeclined(t *testing.T) { t.Parallel()
	defer t.end()

	rec := telemetrytest.Start(t, telemetry.WithoutGlobals())
	post(newShop(rec.Guard), "/orders/13")

	line := rec.RequireSpan(t, "POST /orders/{id}").RequireLog(t, "order not placed",
		attribute.String("order.id", "13"))
	rec.RequireSpan(t, "charge card").RequireStatus(t, codes.Error, "card declined")

	fmt.Println(line.Severity == log.SeverityError, line.Attributes["error"])
	// Output:
	// true card declined
}

// An outage: the service goes on while the collector is down, and nothing is lost.
func ExampleCollector_Down() {
	t := newT() // in your code: func TestOutage(t *testing.T) { t.Parallel()
	defer t.end()

	rec := telemetrytest.Start(t, telemetry.WithoutGlobals())
	service := newShop(rec.Guard)

	rec.Down()
	fmt.Println(post(service, "/orders/7"), http.StatusText(http.StatusCreated))
	rec.Up()

	rec.RequireSpan(t, "charge card", attribute.String("order.id", "7"))
	fmt.Println(rec.Guard.Health().Traces.Lost(), "spans lost")
	// Output:
	// 201 Created
	// 0 spans lost
}

// A service that calls telemetry.Init itself, and finds its collector in the environment.
func ExampleNewCollector() {
	t := newT() // in your code: func TestMainProgram(t *testing.T) {
	defer t.end()

	collector := telemetrytest.NewCollector(t)
	// in your code: t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTPEndpoint()), and main's
	// run
	program := func(endpoint string) {
		guard, err := telemetry.Init(context.Background(), telemetry.WithoutGlobals(), telemetry.WithEndpoint(endpoint),
			telemetry.WithLogOutput(t.Output()))
		if err != nil {
			t.Fatalf("%v", err)
		}
		defer guard.Shutdown(context.Background())
		post(newShop(guard), "/orders/7")
	}
	program(collector.HTTPEndpoint())

	fmt.Println(collector.RequireLog(t, "order placed").Attributes["order.id"])
	// Output:
	// 7
}
