// Command quickstart is the smallest program with all three signals: a span, a counter and a log
// line.
//
//	go run ./examples/quickstart
//
// prints them on the console, because the development profile needs no collector. To send them to
// your collector:
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 go run ./examples/quickstart
package main

import (
	"context"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel"

	"github.com/fleetotel/telemetry"
)

func main() {
	// Run delivers the queued telemetry after greet returns.
	if telemetry.Run(context.Background(), greet, telemetry.WithServiceName("quickstart"),
		telemetry.WithProfile(telemetry.ProfileDevelopment), telemetry.WithoutRuntimeMetrics()) != nil {
		os.Exit(1)
	}
}

func greet(ctx context.Context) error {
	greetings, err := otel.Meter("quickstart").Int64Counter("greetings")
	if err != nil {
		return err
	}
	return telemetry.Do(ctx, "greet", func(ctx context.Context) error {
		greetings.Add(ctx, 1)
		slog.InfoContext(ctx, "hello, world") // ctx gives the line the ids of the span
		return nil
	})
}
