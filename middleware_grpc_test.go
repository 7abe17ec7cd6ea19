package telemetry_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
)

const grpcMethod = "grpc.testing.TestService/EmptyCall"

// paymentServer answers with the error its baggage asks for, and keeps the baggage.
type paymentServer struct {
	testpb.UnimplementedTestServiceServer
	bag string
}

func (s *paymentServer) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	s.bag = baggage.FromContext(ctx).String()
	if baggage.FromContext(ctx).Member("fail").Value() != "" {
		return nil, status.Error(grpccodes.Unavailable, "no gateway")
	}
	return &testpb.Empty{}, nil
}

func grpcConn(t testing.TB, service testpb.TestServiceServer, server, client stats.Handler) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer(grpc.StatsHandler(server))
	testpb.RegisterTestServiceServer(s, service)
	healthpb.RegisterHealthServer(s, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		require.NoError(t, <-done)
	})
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if client != nil {
		options = append(options, grpc.WithStatsHandler(client))
	}
	conn, err := grpc.NewClient(listener.Addr().String(), options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// grpcService returns a function that makes one call.
func grpcService(t testing.TB, server, client stats.Handler) func(context.Context) error {
	t.Helper()
	service := testpb.NewTestServiceClient(grpcConn(t, &paymentServer{}, server, client))
	return func(ctx context.Context) error {
		_, err := service.EmptyCall(ctx, &testpb.Empty{})
		return err
	}
}

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

func TestGRPCError(t *testing.T) {
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

func TestGRPCServerKeepsTheCallersFlags(t *testing.T) {
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
