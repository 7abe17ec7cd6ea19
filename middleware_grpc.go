package telemetry

import (
	"context"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
)

// ServerHandler makes spans and metrics of the calls a gRPC server serves:
//
//	grpc.NewServer(grpc.StatsHandler(telemetry.ServerHandler()))
//
// Each call is a server span named by its full method, a child of the caller's unless [WithPublicEndpoint] is given,
// and a point of rpc.server.call.duration. Calls of methods that the server does not have are all named "_OTHER", and
// so is, in the metric, the first call of one that no protobuf file linked into the program describes. The gRPC health and
// reflection services make neither span nor point (see [WithExcludedPaths]). It may be made before [Init].
func ServerHandler(opts ...HandlerOption) stats.Handler {
	c := newHandlerConfig(opts)
	return &methodHandler{config: c, Handler: otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(c.edge),
		otelgrpc.WithMeterProvider(c.edge.meterProvider()),
		otelgrpc.WithPropagators(metadataPropagator{c.propagator()}),
		otelgrpc.WithFilter(func(call *stats.RPCTagInfo) bool { return !c.excludes(call.FullMethodName) }),
	)}
}

// ClientHandler makes spans and metrics of the calls a gRPC client makes, and hands the trace context and the baggage
// on to the server:
//
//	grpc.NewClient(target, grpc.WithStatsHandler(telemetry.ClientHandler()), …)
//
// Each call is a client span named by its full method and a point of rpc.client.call.duration. Nothing is excluded. It
// may be made before [Init].
func ClientHandler(opts ...TransportOption) stats.Handler {
	e := newEdge(opts)
	return otelgrpc.NewClientHandler(
		otelgrpc.WithTracerProvider(e),
		otelgrpc.WithMeterProvider(e.meterProvider()),
		otelgrpc.WithPropagators(trustingPropagator{e.propagator(), e.trusted != nil}),
	)
}

// metadataPropagator extracts from the metadata of the call: the instrumentation's own carrier shows the first value of
// each key only.
type metadataPropagator struct{ propagation.TextMapPropagator }

func (p metadataPropagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		carrier = metadataCarrier(md)
	}
	return p.TextMapPropagator.Extract(ctx, carrier)
}
