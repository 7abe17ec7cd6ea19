// Package side builds the pipelines that are compared: this library's, and the SDK's own batch
// processors with the official exporters, as their defaults are and with the queue and batch of
// this library.
package side

import (
	"context"
	"fmt"
	"io"
	"time"

	"go.opentelemetry.io/otel/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// The pipelines.
const (
	Ours  = "ours"
	Bare  = "ours, redaction off"
	Stock = "stock"       // queue 2,048, batch 512
	Tuned = "stock tuned" // queue 8,192, batch 1,024, as ours
	Null  = "no exporter" // spans and records are made and thrown away: the part of the cost that is the API's
)

// Config is what one pipeline is built for.
type Config struct {
	Side     string
	Protocol telemetry.Protocol
	Endpoint string // base URL
	Gzip     bool
	// SpansAndLogs leaves this library's metrics out, which the stock pipelines do not have: a
	// flush would collect and send them with every burst, where a service does so once a minute.
	SpansAndLogs bool
}

// Side is a running pipeline.
type Side struct {
	Tracer   trace.Tracer
	Logger   log.Logger
	Flush    func(context.Context) error
	Shutdown func(context.Context) error
	Health   func() telemetry.Health // zero but for ours
}

const scope = "benchmark"

// New starts a pipeline. Every span is sampled in each of them.
func New(ctx context.Context, c Config) (*Side, error) {
	switch c.Side {
	case Ours, Bare:
		return ours(ctx, c)
	case Stock, Tuned, Null:
		return stock(ctx, c)
	}
	return nil, fmt.Errorf("no pipeline %q", c.Side)
}

// ours is the library as Init gives it, with the service profile's defaults.
func ours(ctx context.Context, c Config) (*Side, error) {
	compression := telemetry.CompressionNone
	if c.Gzip {
		compression = telemetry.CompressionGzip
	}
	opts := []telemetry.Option{
		telemetry.WithoutGlobals(),
		telemetry.WithServiceName(scope),
		telemetry.WithEndpoint(c.Endpoint),
		telemetry.WithProtocol(c.Protocol),
		telemetry.WithCompression(compression),
		telemetry.WithSampler(sdktrace.AlwaysSample()),
		telemetry.WithRedaction(telemetry.Redaction{Off: c.Side == Bare}),
		telemetry.WithShutdownTimeout(10 * time.Minute), // the caller's context decides
		telemetry.WithLogOutput(io.Discard),
	}
	if c.SpansAndLogs {
		opts = append(opts, telemetry.WithoutMetrics())
	}
	guard, err := telemetry.Init(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return &Side{
		Tracer:   guard.TracerProvider().Tracer(scope),
		Logger:   guard.LoggerProvider().Logger(scope),
		Flush:    guard.ForceFlush,
		Shutdown: guard.Shutdown,
		Health:   guard.Health,
	}, nil
}
