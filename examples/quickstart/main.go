// Command quickstart is the smallest program with all three signals: a span, a counter and a log line.
//
//	go run ./examples/quickstart
//
// prints them on the console, since the development profile needs no collector. To send them to yours instead:
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 go run ./examples/quickstart
package main

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel"

	"github.com/fleetotel/telemetry"
)

func main() {
	ctx := context.Background()
	guard, err := telemetry.Init(ctx, telemetry.WithServiceName("quickstart"),
		telemetry.WithProfile(telemetry.ProfileDevelopment), telemetry.WithoutRuntimeMetrics())
	if err != nil {
		slog.Error("telemetry is degraded", "error", err) // the program runs on
	}
	defer guard.Shutdown(context.Background()) // delivers what is still queued

	greetings, err := otel.Meter("quickstart").Int64Counter("greetings")
	if err != nil {
		slog.Error("no counter", "error", err)
	}
	err = telemetry.Do(ctx, "greet", func(ctx context.Context) error {
		greetings.Add(ctx, 1)
		slog.InfoContext(ctx, "hello, world") // ctx gives the line the ids of the span
		return nil
	})
	if err != nil {
		slog.Error("greeting failed", "error", err)
	}
}
