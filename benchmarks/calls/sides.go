package main

import (
	"context"
	"errors"
	"io"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/stats"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/benchmarks/internal/paired"
)

// side is one way to instrument the same calls.
type side struct {
	paired.Side
	begin func() // before each of its turns; may be nil

	transport      func(http.RoundTripper) http.RoundTripper
	client, server stats.Handler // nil: none
}

func common(sides []side) (all []paired.Side) {
	for _, s := range sides {
		all = append(all, s.Side)
	}
	return all
}

const (
	stockRatio = "otelhttp or otelgrpc, ratio 5 %"
	stockAll   = "otelhttp or otelgrpc, everything sampled"
)

// newSides returns the sides without telemetry first. All others record metrics, which are never
// collected, and spans for an exporter that discards them.
func newSides(ctx context.Context) (sides []side, closeAll func() error, err error) {
	var closers []func(context.Context) error
	closeAll = func() error {
		var errs []error
		for _, end := range closers {
			errs = append(errs, end(ctx))
		}
		return errors.Join(errs...)
	}
	none := func(base http.RoundTripper) http.RoundTripper { return base }
	sides = append(sides, side{Side: paired.Side{Name: "plain"}, transport: none},
		side{Side: paired.Side{Name: "plain, paced", Paced: true}, transport: none})
	for _, s := range []struct {
		name, over string
		sampler    sdktrace.Sampler
	}{
		{stockRatio, "ours over the stock SDK, ratio 5 %", sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.05))},
		{stockAll, "ours over the stock SDK, everything sampled", sdktrace.AlwaysSample()},
	} {
		two, end := stock(s.name, s.over, s.sampler)
		closers = append(closers, end)
		sides = append(sides, two...)
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
		Side: paired.Side{Name: name, Against: against},
		transport: func(base http.RoundTripper) http.RoundTripper {
			return telemetry.Transport(base, telemetry.WithGuard(guard))
		},
		client: telemetry.ClientHandler(telemetry.WithGuard(guard)),
		server: telemetry.ServerHandler(telemetry.WithGuard(guard)),
	}
	if against == stockAll {
		s.Paced, s.Exported = true, &exporter.Spans
		s.Flush = func() error { return guard.ForceFlush(ctx) }
	}
	return s, guard.Shutdown, err
}

// stock is otelhttp and otelgrpc over the SDK with its own batch processor, as OpenTelemetry's
// documentation has it, and this library's instrumentation over the same providers.
func stock(name, over string, sampler sdktrace.Sampler) ([]side, func(context.Context) error) {
	exporter := &paired.Discard{}
	tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithBatcher(exporter))
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	both := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	globals := func() {
		otel.SetTracerProvider(tp)
		otel.SetMeterProvider(mp)
		otel.SetTextMapPropagator(both)
	}
	globals()
	sides := []side{{
		Side: paired.Side{Name: name, Against: name},
		transport: func(base http.RoundTripper) http.RoundTripper {
			return otelhttp.NewTransport(base, otelhttp.WithTracerProvider(tp), otelhttp.WithMeterProvider(mp),
				otelhttp.WithPropagators(both))
		},
		client: otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(tp), otelgrpc.WithMeterProvider(mp),
			otelgrpc.WithPropagators(both)),
		server: otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(tp), otelgrpc.WithMeterProvider(mp),
			otelgrpc.WithPropagators(both)),
	}, {
		Side:      paired.Side{Name: over, Against: name},
		transport: func(base http.RoundTripper) http.RoundTripper { return telemetry.Transport(base) },
		client:    telemetry.ClientHandler(),
		server:    telemetry.ServerHandler(),
		begin:     globals,
	}}
	for i := range sides {
		if name == stockAll {
			sides[i].Paced, sides[i].Exported = true, &exporter.Spans
			sides[i].Flush = func() error { return tp.ForceFlush(context.Background()) }
		}
	}
	return sides, func(ctx context.Context) error { return errors.Join(tp.Shutdown(ctx), mp.Shutdown(ctx)) }
}
