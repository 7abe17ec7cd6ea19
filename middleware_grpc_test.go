package telemetry_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
)

func TestGRPCClientAndServerAreOneTrace(t *testing.T) {
	sdk := recordGlobals(t)
	service := &paymentServer{}
	conn := grpcConn(t, service, telemetry.ServerHandler(), telemetry.ClientHandler())
	_, err := testpb.NewTestServiceClient(conn).EmptyCall(withBaggage(t, "team=cards"), &testpb.Empty{})
	require.NoError(t, err)

	client, server := grpcSpan(t, sdk, trace.SpanKindClient), grpcSpan(t, sdk, trace.SpanKindServer)
	requireRandomRoot(t, client)
	require.Equal(t, grpcMethod, client.Name())
	require.Equal(t, grpcMethod, server.Name())
	require.Equal(t, client.SpanContext().TraceID(), server.SpanContext().TraceID())
	require.Equal(t, client.SpanContext().SpanID(), server.Parent().SpanID())
	require.True(t, server.Parent().IsRemote())
	require.True(t, server.SpanContext().IsRandom(), "the flag travels")
	require.Equal(t, "team=cards", service.bag)
	sdk.metric(t, "rpc.server.call.duration")
	sdk.metric(t, "rpc.client.call.duration")
}

func TestGRPCErrorIsRecordedOnBothSides(t *testing.T) {
	sdk := recordGlobals(t)
	call := grpcService(t, telemetry.ServerHandler(), telemetry.ClientHandler())
	require.Equal(t, grpccodes.Unavailable, status.Code(call(withBaggage(t, "fail=1"))))
	for _, kind := range []trace.SpanKind{trace.SpanKindClient, trace.SpanKindServer} {
		span := grpcSpan(t, sdk, kind)
		require.Equal(t, sdktrace.Status{Code: codes.Error, Description: "no gateway"}, span.Status())
		require.Equal(t, "UNAVAILABLE", attributeMap(span.Attributes())["rpc.response.status_code"])
	}
}

func TestGRPCServerRootIsRandom(t *testing.T) {
	sdk := recordGlobals(t)
	require.NoError(t, grpcService(t, telemetry.ServerHandler(), nil)(context.Background()))
	requireRandomRoot(t, grpcSpan(t, sdk, trace.SpanKindServer))
}

func TestGRPCServerKeepsTheCallersTraceFlags(t *testing.T) {
	sdk := recordGlobals(t)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "traceparent", "00-"+callerTrace+"-"+callerSpan+"-01")
	require.NoError(t, grpcService(t, telemetry.ServerHandler(), nil)(ctx))
	span := grpcSpan(t, sdk, trace.SpanKindServer)
	require.Equal(t, callerTrace, span.SpanContext().TraceID().String())
	require.Equal(t, callerSpan, span.Parent().SpanID().String())
	require.False(t, span.SpanContext().IsRandom())
}

func TestGRPCPublicEndpoint(t *testing.T) {
	sdk := recordGlobals(t)
	service := &paymentServer{}
	conn := grpcConn(t, service, telemetry.ServerHandler(telemetry.WithPublicEndpoint()), nil)
	ctx := metadata.AppendToOutgoingContext(context.Background(),
		"traceparent", "00-"+callerTrace+"-"+callerSpan+"-00", "baggage", "role=admin")
	_, err := testpb.NewTestServiceClient(conn).EmptyCall(ctx, &testpb.Empty{})
	require.NoError(t, err)

	span := grpcSpan(t, sdk, trace.SpanKindServer)
	requireRandomRoot(t, span)
	require.Len(t, span.Links(), 1)
	require.Equal(t, callerTrace, span.Links()[0].SpanContext.TraceID().String())
	require.Empty(t, service.bag)
}

func TestGRPCExcludedMethods(t *testing.T) {
	for name, tc := range map[string]struct {
		options []telemetry.HandlerOption
		spans   int
	}{
		"health by default":  {nil, 1},
		"nothing":            {[]telemetry.HandlerOption{telemetry.WithoutExcludedPaths()}, 2},
		"one method besides": {[]telemetry.HandlerOption{telemetry.WithExcludedPaths("/" + grpcMethod)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			conn := grpcConn(t, &paymentServer{}, telemetry.ServerHandler(tc.options...), nil)
			_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
			require.NoError(t, err)
			_, err = testpb.NewTestServiceClient(conn).EmptyCall(t.Context(), &testpb.Empty{})
			require.NoError(t, err)
			require.Len(t, sdk.spans.Started(), tc.spans)
			require.Eventually(t, func() bool { return len(sdk.names()) == tc.spans }, waitFor, tick)
			if tc.spans > 0 {
				sdk.metric(t, "rpc.server.call.duration")
				return
			}
			require.Never(t, func() bool { return len(sdk.collected(t)) > 0 }, 20*time.Millisecond, tick)
		})
	}
}

func TestUnknownMethodsShareOneName(t *testing.T) {
	sdk := recordGlobals(t)
	conn := grpcServer(t, func(s *grpc.Server) { testpb.RegisterTestServiceServer(s, &paymentServer{}) })
	made := []string{"/grpc.testing.TestService/Drop", "/grpc.testing/TestService.EmptyCall", "/made-up/\u202e", "//",
		"/a/b/c"}
	for i := range 20 {
		made = append(made, fmt.Sprintf("/made.up.Service/M%d", i))
	}
	for _, method := range made {
		require.Equal(t, grpccodes.Unimplemented, status.Code(invoke(t, conn, method)), method)
	}
	require.NoError(t, invoke(t, conn, "/"+grpcMethod))

	require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == len(made)+1 }, waitFor, tick,
		"the span of a call that is not served ends")
	for _, span := range sdk.spans.Ended() {
		attributes := attributeMap(span.Attributes())
		require.Equal(t, span.Name(), attributes["rpc.method"])
		if span.Name() != grpcMethod {
			require.Equal(t, "_OTHER", span.Name())
			require.Equal(t, codes.Error, span.Status().Code)
			require.Equal(t, "UNIMPLEMENTED", attributes["rpc.response.status_code"])
		}
	}
	want := map[string]uint64{grpcMethod: 1, "_OTHER": uint64(len(made))}
	require.Eventually(t, func() bool { return maps.Equal(want, rpcMethods(t, sdk)) }, waitFor, tick, "%v", want)
}

// A service may be written without protobuf. Its methods are known once they have been served.
func TestServedMethodsWithoutProtobufKeepTheirNames(t *testing.T) {
	sdk := recordGlobals(t)
	conn := grpcServer(t, func(s *grpc.Server) {
		s.RegisterService(&grpc.ServiceDesc{ServiceName: "by.Hand", HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{
				MethodName: "Call",
				Handler: func(
					_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor,
				) (any, error) {
					return &testpb.Empty{}, decode(&testpb.Empty{})
				},
			}}}, new(any))
	})
	for range 3 {
		require.NoError(t, invoke(t, conn, "/by.Hand/Call"))
	}
	require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == 3 }, waitFor, tick)
	for _, span := range sdk.spans.Ended() {
		require.Equal(t, "by.Hand/Call", span.Name())
		require.Equal(t, "by.Hand/Call", attributeMap(span.Attributes())["rpc.method"])
	}
	want := map[string]uint64{"_OTHER": 1, "by.Hand/Call": 2}
	require.Eventually(t, func() bool { return maps.Equal(want, rpcMethods(t, sdk)) }, waitFor, tick, "%v", want)
}

// The length of a learned name is bounded, too.
func TestLearnedMethodNameLengthBound(t *testing.T) {
	sdk := recordGlobals(t)
	conn := grpcServer(t, func(*grpc.Server) {},
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			return stream.SendMsg(&testpb.Empty{})
		}))
	at := "/proxied/" + strings.Repeat("m", 512-len("/proxied/"))
	require.NoError(t, invoke(t, conn, at))
	require.NoError(t, invoke(t, conn, at+"m"))
	require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == 2 }, waitFor, tick)
	names := []string{sdk.spans.Ended()[0].Name(), sdk.spans.Ended()[1].Name()}
	require.ElementsMatch(t, []string{at[1:], "_OTHER"}, names)
}

// A server that accepts every method learns 1,000 and no more.
func TestLearnedMethodsBound(t *testing.T) {
	sdk := recordGlobals(t)
	conn := grpcServer(t, func(*grpc.Server) {},
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			return stream.SendMsg(&testpb.Empty{})
		}))
	for i := range 1001 {
		require.NoError(t, invoke(t, conn, fmt.Sprintf("/proxied/M%d", i)))
	}
	require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == 1001 }, waitFor, tick)
	names := map[string]bool{}
	for _, span := range sdk.spans.Ended() {
		names[span.Name()] = true
	}
	require.Len(t, names, 1001)
	require.True(t, names["proxied/M999"], "at the bound")
	require.False(t, names["proxied/M1000"], "one past it")
	require.True(t, names["_OTHER"])
}

const grpcMethod = "grpc.testing.TestService/EmptyCall"

// grpcSpan is the one ended span of that kind.
func grpcSpan(t testing.TB, sdk *sdkRecord, kind trace.SpanKind) sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	require.Eventually(t, func() bool {
		found = nil
		for _, s := range sdk.spans.Ended() {
			if s.SpanKind() == kind {
				found = append(found, s)
			}
		}
		return len(found) == 1
	}, waitFor, tick)
	return found[0]
}

// grpcServer starts a server that knows only what register and opts give it.
func grpcServer(t *testing.T, register func(*grpc.Server), opts ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	s := grpc.NewServer(append(opts, grpc.StatsHandler(telemetry.ServerHandler()))...)
	register(s)
	return dialGRPC(t, startGRPC(t, s))
}

// invoke calls a method, whatever it is.
func invoke(t *testing.T, conn *grpc.ClientConn, method string) error {
	t.Helper()
	return conn.Invoke(t.Context(), method, &testpb.Empty{}, &testpb.Empty{})
}

// rpcMethods are the series of rpc.server.call.duration.
func rpcMethods(t *testing.T, sdk *sdkRecord) map[string]uint64 {
	t.Helper()
	counts := map[string]uint64{}
	for _, p := range sdk.metric(t, "rpc.server.call.duration").Data.(metricdata.Histogram[float64]).DataPoints {
		method, _ := p.Attributes.Value("rpc.method")
		counts[method.AsString()] += p.Count
	}
	return counts
}
