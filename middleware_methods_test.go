package telemetry_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
)

// grpcServer starts a server that knows only what register and opts give it.
func grpcServer(t *testing.T, register func(*grpc.Server), opts ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer(append(opts, grpc.StatsHandler(telemetry.ServerHandler()))...)
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		s.Stop()
		require.NoError(t, <-done)
	})
	return conn
}

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

func TestMethodsThatStrangersMakeUpAreOneName(t *testing.T) {
	sdk := recordGlobals(t)
	conn := grpcServer(t, func(s *grpc.Server) { testpb.RegisterTestServiceServer(s, &paymentServer{}) })
	made := []string{"/grpc.testing.TestService/Drop", "/grpc.testing/TestService.EmptyCall", "/made-up/\u202e", "//", "/a/b/c"}
	for i := range 20 {
		made = append(made, fmt.Sprintf("/made.up.Service/M%d", i))
	}
	for _, method := range made {
		require.Equal(t, grpccodes.Unimplemented, status.Code(invoke(t, conn, method)), method)
	}
	require.NoError(t, invoke(t, conn, "/"+grpcMethod))

	require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == len(made)+1 }, waitFor, tick, "the span of a call that is not served ends")
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

// A service may be written without protobuf: its methods are known once they have been served.
func TestMethodsWithoutProtobufKeepTheirNames(t *testing.T) {
	sdk := recordGlobals(t)
	conn := grpcServer(t, func(s *grpc.Server) {
		s.RegisterService(&grpc.ServiceDesc{ServiceName: "by.Hand", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
			MethodName: "Call",
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
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

// A name that is kept has a bound, too.
func TestBoundOfALearnedMethodsLength(t *testing.T) {
	sdk := recordGlobals(t)
	conn := grpcServer(t, func(*grpc.Server) {}, grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		return stream.SendMsg(&testpb.Empty{})
	}))
	at := "/proxied/" + strings.Repeat("m", 512-len("/proxied/"))
	require.NoError(t, invoke(t, conn, at))
	require.NoError(t, invoke(t, conn, at+"m"))
	require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == 2 }, waitFor, tick)
	names := []string{sdk.spans.Ended()[0].Name(), sdk.spans.Ended()[1].Name()}
	require.ElementsMatch(t, []string{at[1:], "_OTHER"}, names)
}

// A server that takes every method learns 1,000 and no more.
func TestBoundOfLearnedMethods(t *testing.T) {
	sdk := recordGlobals(t)
	conn := grpcServer(t, func(*grpc.Server) {}, grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
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
