// Command stock is examples/edge-agent with the stock SDK in the place of the library: the same
// observation of the machine, the official exporters over HTTP, batch processors and periodic
// reader with their defaults, and the runtime metrics that the library has on by default. ./edge
// starts both side by side.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/examples/edge-agent/host"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "stock:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	scan := flag.Duration("scan", time.Minute, "the time between two scans")
	full := flag.Float64("full", 0.9, "the share above which use is logged")
	flag.Parse()

	shutdown, err := start(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	machine, err := host.Observe(*full)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	machine.Run(ctx, *scan, func(host.Scan) { _ = out.Encode(map[string]any{"memory": host.ReadMemory()}) })

	// As long as the library's own shutdown timeout.
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = shutdown(deadline) // a collector that is away is part of what is measured
	return nil
}

// start sets the globals up as OpenTelemetry's getting-started page does; the endpoint is the
// environment's.
func start(ctx context.Context) (shutdown func(context.Context) error, err error) {
	spans, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	points, err := otlpmetrichttp.New(ctx)
	if err != nil {
		return nil, err
	}
	records, err := otlploghttp.New(ctx)
	if err != nil {
		return nil, err
	}
	res, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "edge-agent")),
		resource.WithHost(), resource.WithOS(), resource.WithProcessPID(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, err
	}
	tp := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(spans))
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithResource(res),
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(points)))
	lp := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(records)))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	otel.SetTracerProvider(tp)
	otel.SetMeterProvider(mp)
	slog.SetDefault(otelslog.NewLogger("edge-agent", otelslog.WithLoggerProvider(lp)))
	if err := runtime.Start(); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return errors.Join(tp.Shutdown(ctx), lp.Shutdown(ctx), mp.Shutdown(ctx))
	}, nil
}
