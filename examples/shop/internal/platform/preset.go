// Package platform is what a platform team provides for the services of its fleet: one telemetry
// preset, and one way to start, to be probed and to stop. A service adds its name and its routes.
package platform

import (
	"cmp"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// Namespace is the service.namespace of all services.
const Namespace = "shop"

// SlowThreshold is the duration from which a request counts as slow. Slow requests are kept at any
// sampling rate.
const SlowThreshold = 500 * time.Millisecond

// OrderSpan is the name of the span in which a customer's order begins.
const OrderSpan = "POST /orders"

// Preset has the options that all services share; each service adds WithServiceName. Operators
// choose where telemetry goes, with the OTEL_* variables.
func Preset(problems *Problems) telemetry.Option {
	options := []telemetry.Option{
		telemetry.WithServiceNamespace(Namespace),
		telemetry.WithEnvironment(cmp.Or(os.Getenv("ENVIRONMENT"), "development")),
		telemetry.WithErrorHandler(problems),
	}
	// WithAdaptiveSampling wins over the environment, so leave it out if an operator has set the
	// variable.
	if os.Getenv("OTEL_TRACES_SAMPLER") == "" {
		options = append(options, telemetry.WithAdaptiveSampling(Sampling()))
	}
	return telemetry.WithOptions(options...)
}

// Sampling keeps 30 traces per second that begin in each process, and 20 more of orders, so that
// browsing does not take their share, plus errors and slow requests. Health probes need no rule:
// the middleware makes no span for them, and the sampler drops them.
func Sampling() telemetry.Sampling {
	return telemetry.Sampling{
		TracesPerSecond: 30,
		SlowThreshold:   SlowThreshold,
		Rules: []telemetry.Rule{
			{Route: "/orders", Kind: trace.SpanKindServer, TracesPerSecond: 20},
		},
	}
}

// Problems counts the problems that telemetry reports about itself. It writes them to standard
// error in the format of the other log lines, but not through OpenTelemetry, which has the problem.
// It is safe for concurrent use.
type Problems struct{ count atomic.Int64 }

var besideTelemetry = slog.New(slog.NewJSONHandler(os.Stderr, nil))

// Handle implements otel.ErrorHandler.
func (p *Problems) Handle(err error) {
	p.count.Add(1)
	besideTelemetry.Warn("telemetry has a problem", "error", err)
}

// Count returns the number of problems.
func (p *Problems) Count() int64 { return p.count.Load() }
