package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"

	"github.com/fleetotel/telemetry"
)

// A whole program. Run starts telemetry, ends the context of main at SIGINT and SIGTERM, and
// delivers what is left.
func ExampleRun() {
	err := telemetry.Run(context.Background(), func(ctx context.Context) error {
		return telemetry.Do(ctx, "settle accounts", func(ctx context.Context) error {
			slog.InfoContext(ctx, "settled") // with the ids of the span
			return nil
		})
	})
	if err != nil {
		os.Exit(1)
	}
}

// For a program whose main is its own: shut the guard down when the last request is done.
func ExampleInit() {
	ctx := context.Background()
	guard, err := telemetry.Init(ctx, telemetry.WithServiceName("checkout"))
	if err != nil {
		slog.Error("telemetry is degraded", "error", err) // the service runs on
	}
	defer guard.Shutdown(context.Background())

	_, span := otel.Tracer("checkout").Start(ctx, "work")
	defer span.End()
}

// Handler names spans after the route, and answers with the ids of the trace.
func ExampleHandler() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		slog.InfoContext(r.Context(), "order read", "order.id", r.PathValue("id"))
	})
	server := &http.Server{Addr: ":8080", Handler: telemetry.Handler(mux)}
	log.Fatal(server.ListenAndServe())
}

// At the edge of the fleet, untrusted callers decide neither what is sampled nor which trace a
// request belongs to.
func ExampleWithPublicEndpoint() {
	mux := http.NewServeMux()
	http.Handle("/", telemetry.Handler(mux, telemetry.WithPublicEndpoint()))
}

// Transport makes client spans and passes the context on.
func ExampleTransport() {
	client := &http.Client{Transport: telemetry.Transport(http.DefaultTransport), Timeout: 5 * time.Second}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://inventory:8080/items/7",
		nil)
	if err != nil {
		return
	}
	response, err := client.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
}

func ExampleServerHandler() {
	listener, err := net.Listen("tcp", ":9000")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.StatsHandler(telemetry.ServerHandler()))
	// register services here
	log.Fatal(server.Serve(listener))
}

// Do returns the error of the function as it is; the span has its text and its type.
func ExampleDo() {
	err := telemetry.Do(context.Background(), "charge card", func(ctx context.Context) error {
		return errors.New("card declined")
	})
	fmt.Println(err)
	// Output: card declined
}

// A message carries the context of the sender to the receiver.
func ExampleInject() {
	received := httptest.NewRequest(http.MethodGet, "/", nil)
	received.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ctx := telemetry.ExtractHTTP(context.Background(), received.Header)

	headers := map[string]string{}
	telemetry.Inject(ctx, telemetry.MessageCarrier(headers))
	fmt.Println(headers["traceparent"])
	// Output: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
}

// The receiver continues the trace of the sender.
func ExampleExtract() {
	headers := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	ctx := telemetry.Extract(context.Background(), telemetry.MessageCarrier(headers))
	_, span := otel.Tracer("orders").Start(ctx, "process orders")
	defer span.End()
	fmt.Println(span.SpanContext().TraceID())
	// Output: 0af7651916cd43dd8448eb211c80319c
}

// A platform team's preset, and a service that adds to it.
func ExampleWithOptions() {
	preset := telemetry.WithOptions(
		telemetry.WithServiceNamespace("shop"),
		telemetry.WithRedaction(telemetry.Redaction{Keys: []string{"email"}}),
		telemetry.WithAdaptiveSampling(telemetry.Sampling{TracesPerSecond: 20}),
	)
	guard, err := telemetry.Init(context.Background(), preset,
		telemetry.WithRedaction(telemetry.Redaction{Keys: []string{"iban"}}),                      // beside email
		telemetry.WithAdaptiveSampling(telemetry.Sampling{SlowThreshold: 300 * time.Millisecond}), // at 20 traces/s
	)
	if err != nil {
		slog.Error("telemetry is degraded", "error", err)
	}
	defer guard.Shutdown(context.Background())
}

// E-mail addresses are masked only if you say so.
func ExampleWithRedaction() {
	var output bytes.Buffer
	guard, err := telemetry.Init(context.Background(), telemetry.WithoutGlobals(), telemetry.WithoutTraces(),
		telemetry.WithoutMetrics(), telemetry.WithoutLogs(), telemetry.WithLogOutput(&output),
		telemetry.WithRedaction(telemetry.Redaction{Keys: []string{"email"}}))
	if err != nil {
		fmt.Println(err)
	}
	guard.Logger().Info("signed up", "customer.email", "ann@example.com", "password", "hunter2")
	if err := guard.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	for line := range strings.Lines(output.String()) {
		if _, attributes, found := strings.Cut(line, `"msg":"signed up",`); found {
			fmt.Print(attributes)
		}
	}
	// Output: "customer.email":"[redacted]","password":"[redacted]"}
}

// Every order is kept, internal traffic never, and 200 traces a second of the rest.
func ExampleWithAdaptiveSampling() {
	guard, err := telemetry.Init(context.Background(), telemetry.WithAdaptiveSampling(telemetry.Sampling{
		TracesPerSecond: 200,
		Rules: []telemetry.Rule{
			{Route: "/orders/{id}", Keep: true},
			{PathPrefix: "/internal/", Drop: true},
		},
	}))
	if err != nil {
		slog.Error("telemetry is degraded", "error", err)
	}
	defer guard.Shutdown(context.Background())
}

// The SDK's own sampler in place of the adaptive one: 5 % of all traces, whether they fail or not.
func ExampleWithSampler() {
	guard, err := telemetry.Init(context.Background(),
		telemetry.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.05))))
	if err != nil {
		slog.Error("telemetry is degraded", "error", err)
	}
	defer guard.Shutdown(context.Background())
}

// What cannot be delivered waits on disk, 64 MiB at most.
func ExampleWithSpool() {
	guard, err := telemetry.Init(context.Background(), telemetry.WithSpool("/var/lib/checkout/telemetry", 64<<20))
	if err != nil {
		slog.Error("telemetry is degraded", "error", err)
	}
	defer guard.Shutdown(context.Background())
}

// Logs go to a collector of their own, warnings and errors only; the console shows everything from
// info on.
func ExampleForLogs() {
	guard, err := telemetry.Init(context.Background(),
		telemetry.ForLogs(telemetry.WithEndpoint("https://logs.example.com"), telemetry.WithLogLevel(slog.LevelWarn)))
	if err != nil {
		slog.Error("telemetry is degraded", "error", err)
	}
	defer guard.Shutdown(context.Background())
}

// Traces go over gRPC, metrics and logs over HTTP.
func ExampleForTraces() {
	guard, err := telemetry.Init(context.Background(),
		telemetry.WithEndpoint("http://collector:4318"),
		telemetry.ForTraces(telemetry.WithProtocol(telemetry.ProtocolGRPC),
			telemetry.WithEndpoint("http://collector:4317")))
	if err != nil {
		slog.Error("telemetry is degraded", "error", err)
	}
	defer guard.Shutdown(context.Background())
}

// The level changes while the service runs.
func ExampleWithLogLevel() {
	level := new(slog.LevelVar)
	guard, err := telemetry.Init(context.Background(), telemetry.WithLogLevel(level))
	if err != nil {
		slog.Error("telemetry is degraded", "error", err)
	}
	defer guard.Shutdown(context.Background())
	level.Set(slog.LevelDebug)
}
