package main

import (
	"context"
	"errors"
	"io"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// side is one way to serve the same request.
type side struct {
	name    string
	against *string // the side that it is compared with; nil: it is not printed
	handler http.Handler
}

func (s side) index(sides []side) int {
	for i := range sides {
		if sides[i].name == *s.against {
			return i
		}
	}
	return 0
}

const (
	stockRatio = "otelhttp, parent-based ratio 5 %"
	stockAll   = "otelhttp, everything sampled"
)

// newSides returns the plain handler first. Every side records metrics, which are never collected, and spans for an exporter
// that discards them.
func newSides(ctx context.Context) (sides []side, closeAll func() error, err error) {
	var closers []func(context.Context) error
	closeAll = func() error {
		var errs []error
		for _, end := range closers {
			errs = append(errs, end(ctx))
		}
		return errors.Join(errs...)
	}
	ratio, all := stockRatio, stockAll
	sides = append(sides, side{name: "plain", handler: shop(nil)})
	for _, s := range []struct {
		name    string
		sampler sdktrace.Sampler
	}{{stockRatio, sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.05))}, {stockAll, sdktrace.AlwaysSample()}} {
		handler, end := stock(s.sampler)
		closers = append(closers, end)
		sides = append(sides, side{name: s.name, against: &s.name, handler: handler})
	}
	for _, s := range []struct {
		name    string
		against *string
		option  telemetry.Option
	}{
		{"ours, HeadOnly", &ratio, telemetry.WithAdaptiveSampling(telemetry.Sampling{HeadOnly: true})},
		{"ours, default", &ratio, telemetry.WithAdaptiveSampling(telemetry.Sampling{})},
		{"ours, everything sampled", &all, telemetry.WithSampler(sdktrace.AlwaysSample())},
	} {
		guard, err := telemetry.Init(ctx, telemetry.WithoutGlobals(), telemetry.WithServiceName("benchmark"), telemetry.WithLogOutput(io.Discard),
			telemetry.WithSpanExporter(discard{}), telemetry.WithMetricReader(sdkmetric.NewManualReader()), telemetry.WithoutLogs(),
			telemetry.WithoutRuntimeMetrics(), s.option)
		closers = append(closers, guard.Shutdown)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		handler := telemetry.Handler(shop(guard.TracerProvider().Tracer("benchmark")), telemetry.WithGuard(guard))
		sides = append(sides, side{name: s.name, against: s.against, handler: handler})
	}
	return sides, closeAll, nil
}

// shop answers a request, with one child span if it has a tracer.
func shop(tracer trace.Tracer) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		if tracer != nil {
			_, span := tracer.Start(r.Context(), "read order")
			defer span.End()
		}
		_, _ = io.WriteString(w, `{"id":4711}`) // a recorder takes everything
	})
	return mux
}

// stock is otelhttp over the SDK with its own batch processor, as OpenTelemetry's documentation has it.
func stock(sampler sdktrace.Sampler) (http.Handler, func(context.Context) error) {
	tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithBatcher(discard{}))
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	handler := otelhttp.NewHandler(shop(tp.Tracer("benchmark")), "", otelhttp.WithTracerProvider(tp), otelhttp.WithMeterProvider(mp),
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})))
	return handler, func(ctx context.Context) error { return errors.Join(tp.Shutdown(ctx), mp.Shutdown(ctx)) }
}

// discard is an exporter of spans that throws them away.
type discard struct{}

func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                             { return nil }
