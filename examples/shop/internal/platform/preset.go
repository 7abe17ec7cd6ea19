// Package platform is what a platform team gives to the services of its fleet: one telemetry preset, and one way to
// start, to be probed and to stop. A service adds its name and its routes.
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

// SlowThreshold is what the shop's owners call slow: such a request is kept whatever the sampling rate.
const SlowThreshold = 500 * time.Millisecond

// OrderSpan is the name of the span in which a customer's order begins.
const OrderSpan = "POST /orders"

// Preset is what all services have in common; each adds WithServiceName. Where telemetry goes is the operators' affair
// and stays in the OTEL_* variables.
func Preset(problems *Problems) telemetry.Option {
	options := []telemetry.Option{
		telemetry.WithServiceNamespace(Namespace),
		telemetry.WithEnvironment(cmp.Or(os.Getenv("ENVIRONMENT"), "development")),
		telemetry.WithErrorHandler(problems),
	}
	// WithAdaptiveSampling wins over the environment. An operator who sets the variable means it: give way.
	if os.Getenv("OTEL_TRACES_SAMPLER") == "" {
		options = append(options, telemetry.WithAdaptiveSampling(Sampling()))
	}
	return telemetry.WithOptions(options...)
}

// Sampling keeps 30 traces per second of each process's own, plus 20 of orders, which must not lose their share to
// browsing; errors and slow requests besides. Health probes need no rule: the sampler drops them, and the middleware makes
// no span of them in the first place.
func Sampling() telemetry.Sampling {
	return telemetry.Sampling{
		TracesPerSecond: 30,
		SlowThreshold:   SlowThreshold,
		Rules: []telemetry.Rule{
			{Route: "/orders", Kind: trace.SpanKindServer, TracesPerSecond: 20},
		},
	}
}

// Problems counts what telemetry has to report about itself, and writes it to standard error, in the form of the other
// log lines but past OpenTelemetry, which is what is in trouble. It is safe for concurrent use.
type Problems struct{ count atomic.Int64 }

var besideTelemetry = slog.New(slog.NewJSONHandler(os.Stderr, nil))

// Handle implements otel.ErrorHandler.
func (p *Problems) Handle(err error) {
	p.count.Add(1)
	besideTelemetry.Warn("telemetry has a problem", "error", err)
}

// Count is how many there were.
func (p *Problems) Count() int64 { return p.count.Load() }
