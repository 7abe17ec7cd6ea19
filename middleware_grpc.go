package telemetry

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/fleetotel/telemetry/internal/middleware"
)

// ServerOptions returns the options that a gRPC server needs: [ServerHandler], and interceptors
// that tell the caller, in a trailer, when the adaptive sampler keeps the trace because it failed,
// was slow or was marked; see "What travels between services" in [Sampling].
//
//	grpc.NewServer(telemetry.ServerOptions()...)
//
// Pass them before options with the service's own interceptors, and do not pass ServerHandler as
// well. With [WithPublicEndpoint] there are no interceptors, since the caller is told nothing. The
// options may be made before [Init].
func ServerOptions(opts ...HandlerOption) []grpc.ServerOption {
	return middleware.NewServerOptions(handlerConfigOf(opts))
}

// ServerHandler records a span and a metric for each call that a gRPC server serves:
//
//	grpc.NewServer(grpc.StatsHandler(telemetry.ServerHandler()))
//
// Each call has a server span, named by its full method, and a point of rpc.server.call.duration.
// The span is a child of the caller's unless [WithPublicEndpoint] is given. Calls of methods that
// the server does not have are all named "_OTHER". If no protobuf file linked into the program
// describes a method, the metric also counts its first call as "_OTHER". The gRPC health and
// reflection services make neither span nor point (see [WithExcludedPaths]). The handler may be
// made before [Init] and is safe for concurrent use.
//
// A stats handler cannot set the trailer of a call that fails, so with ServerHandler alone the
// caller does not learn what the sampler keeps. Use [ServerOptions] instead.
func ServerHandler(opts ...HandlerOption) stats.Handler {
	return middleware.NewServerHandler(handlerConfigOf(opts))
}

// ClientHandler records a span and a metric for each call that a gRPC client makes, and sends the
// trace context and the baggage to the server:
//
//	grpc.NewClient(target, grpc.WithStatsHandler(telemetry.ClientHandler()), …)
//
// Each attempt at a call has a client span, named by its full method, and a point of
// rpc.client.call.duration. No call is excluded. The handler may be made before [Init] and is safe
// for concurrent use.
func ClientHandler(opts ...TransportOption) stats.Handler {
	return middleware.NewClientHandler(edgeOf(opts))
}
