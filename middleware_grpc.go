package telemetry

import (
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc/stats"
)

// ServerHandler makes spans and metrics of the calls a gRPC server serves:
//
//	grpc.NewServer(grpc.StatsHandler(telemetry.ServerHandler()))
//
// Each call is a server span named by its full method, a child of the caller's unless [WithPublicEndpoint] is given,
// and a point of rpc.server.call.duration. The gRPC health and reflection services make neither (see
// [WithExcludedPaths]). It may be made before [Init].
func ServerHandler(opts ...HandlerOption) stats.Handler {
	c := newHandlerConfig(opts)
	return otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(c.edge),
		otelgrpc.WithMeterProvider(c.edge.meterProvider()),
		otelgrpc.WithPropagators(c.propagator()),
		otelgrpc.WithFilter(func(call *stats.RPCTagInfo) bool { return !c.excludes(call.FullMethodName) }),
	)
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
		otelgrpc.WithPropagators(e.propagator()),
	)
}
