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
	"github.com/fleetotel/telemetry/benchmarks/internal/paired"
)

// side is one way to serve the same request.
type side struct {
	paired.Side
	handler http.Handler
}

func common(sides []side) (all []paired.Side) {
	for _, s := range sides {
		all = append(all, s.Side)
	}
	return all
}

// spansOfRequest are the server's span and its child.
const spansOfRequest = 2

const (
	stockRatio = "otelhttp, parent-based ratio 5 %"
	stockAll   = "otelhttp, everything sampled"
)

// newSides returns two plain handlers first. Every side records metrics, which are never collected,
// and spans for an exporter that discards them.
func newSides(ctx context.Context) (sides []side, closeAll func() error, err error) {
	var closers []func(context.Context) error
	closeAll = func() error {
		var errs []error
		for _, end := range closers {
			errs = append(errs, end(ctx))
		}
		return errors.Join(errs...)
	}
	sides = append(sides, side{Side: paired.Side{Name: "plain"}, handler: shop(nil)},
		side{Side: paired.Side{Name: "plain, paced", Paced: true}, handler: shop(nil)})
	for _, s := range []struct {
		name    string
		sampler sdktrace.Sampler
	}{{stockRatio, sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.05))}, {stockAll, sdktrace.AlwaysSample()}} {
		one, end := stock(s.name, s.sampler)
		closers = append(closers, end)
		sides = append(sides, one)
	}
	for _, s := range []struct {
		name, against string
		option        telemetry.Option
	}{
		{"ours, HeadOnly", stockRatio, telemetry.WithAdaptiveSampling(telemetry.Sampling{HeadOnly: true})},
		{"ours, default", stockRatio, telemetry.WithAdaptiveSampling(telemetry.Sampling{})},
		{"ours, everything sampled", stockAll, telemetry.WithSampler(sdktrace.AlwaysSample())},
	} {
		one, end, err := ours(ctx, s.name, s.against, s.option)
		closers = append(closers, end)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		sides = append(sides, one)
	}
	return sides, closeAll, nil
}

func ours(ctx context.Context, name, against string, option telemetry.Option) (side, func(context.Context) error,
	error) {
	exporter := &paired.Discard{}
	guard, err := telemetry.Init(ctx, telemetry.WithoutGlobals(), telemetry.WithServiceName("benchmark"),
		telemetry.WithLogOutput(io.Discard), telemetry.WithSpanExporter(exporter),
		telemetry.WithMetricReader(sdkmetric.NewManualReader()), telemetry.WithoutLogs(),
		telemetry.WithoutRuntimeMetrics(), option)
	s := side{
		Side:    paired.Side{Name: name, Against: against},
		handler: telemetry.Handler(shop(guard.TracerProvider().Tracer("benchmark")), telemetry.WithGuard(guard)),
	}
	if against == stockAll {
		s.Paced, s.Exported = true, &exporter.Spans
		s.Flush = func() error { return guard.ForceFlush(ctx) }
	}
	return s, guard.Shutdown, err
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

// stock is otelhttp over the SDK with its own batch processor, as OpenTelemetry's documentation has
// it.
func stock(name string, sampler sdktrace.Sampler) (side, func(context.Context) error) {
	exporter := &paired.Discard{}
	tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithBatcher(exporter))
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	s := side{
		Side: paired.Side{Name: name, Against: name},
		handler: otelhttp.NewHandler(shop(tp.Tracer("benchmark")), "", otelhttp.WithTracerProvider(tp),
			otelhttp.WithMeterProvider(mp),
			otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{},
				propagation.Baggage{}))),
	}
	if name == stockAll {
		s.Paced, s.Exported = true, &exporter.Spans
		s.Flush = func() error { return tp.ForceFlush(context.Background()) }
	}
	return s, func(ctx context.Context) error { return errors.Join(tp.Shutdown(ctx), mp.Shutdown(ctx)) }
}
