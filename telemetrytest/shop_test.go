package telemetrytest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/fleetotel/telemetry"
)

// newShop is a service as the examples test it: it takes its telemetry from whoever makes it. Order
// 13 is declined.
func newShop(guard *telemetry.Guard) http.Handler {
	placed, err := guard.MeterProvider().Meter("shop").Int64Counter("orders")
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := attribute.String("order.id", r.PathValue("id"))
		err := telemetry.Do(r.Context(), "charge card", func(context.Context) error {
			if id.Value.AsString() == "13" {
				return errors.New("card declined")
			}
			return nil
		}, trace.WithAttributes(id))
		if err != nil {
			guard.Logger().ErrorContext(r.Context(), "order not placed", "order.id", r.PathValue("id"), "error", err)
			w.WriteHeader(http.StatusPaymentRequired)
			return
		}
		placed.Add(r.Context(), 1, metric.WithAttributes(attribute.String("shop", "online")))
		guard.Logger().InfoContext(r.Context(), "order placed", "order.id", r.PathValue("id"))
		w.WriteHeader(http.StatusCreated)
	})
	return telemetry.Handler(mux, telemetry.WithGuard(guard))
}

// post sends an order to a handler.
func post(handler http.Handler, path string) int {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, path, nil))
	return answer.Code
}

// stock is a gRPC service.
type stock struct {
	testpb.UnimplementedTestServiceServer
	guard *telemetry.Guard
}

func (s stock) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	s.guard.Logger().InfoContext(ctx, "reserved")
	return &testpb.Empty{}, nil
}

// serveStock runs the service on the loopback interface, and returns a client of it.
func serveStock(t testing.TB, guard *telemetry.Guard) testpb.TestServiceClient {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("%v", err)
	}
	server := grpc.NewServer(grpc.StatsHandler(telemetry.ServerHandler(telemetry.WithGuard(guard))))
	testpb.RegisterTestServiceServer(server, stock{guard: guard})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn)
}

// exampleTest stands for a test's *testing.T, which examples do not have.
type exampleTest struct{ fakeTest }

func newT() *exampleTest { return &exampleTest{fakeTest{name: "Example", output: io.Discard}} }

// Fatalf would make the example's output wrong, and a panic says more.
func (t *exampleTest) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(t.failures[0])
}
