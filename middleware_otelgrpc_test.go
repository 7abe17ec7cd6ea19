package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	grpccodes "google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
)

// grpcDifferences are those between otelgrpc's handlers and ours, with the reason for each.
var grpcDifferences = []difference{
	{"client scope", "*", "*", "the instrumentation's own name"},
	{"server scope", "*", "*", "the same"},
	{"client error.type", "", "*", "conditionally required: if the call has failed, as in the metric"},
	{"server error.type", "", "*", "the same"},
}

// scriptedServer answers as a test says.
type scriptedServer struct {
	testpb.UnimplementedTestServiceServer
	answer   func(context.Context) error
	cancel   atomic.Pointer[context.CancelFunc] // the caller's; nil: none
	received []string                           // of the metadata and the baggage
}

func (s *scriptedServer) note(ctx context.Context) {
	if cancel := s.cancel.Load(); cancel != nil {
		(*cancel)()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	s.received = []string{
		fmt.Sprint(md["x-order"], len(md["traceparent"]), md["baggage"]), baggage.FromContext(ctx).String(),
		fmt.Sprint(trace.SpanFromContext(ctx).IsRecording()),
	}
}

func (s *scriptedServer) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	s.note(ctx)
	return &testpb.Empty{}, s.answer(ctx)
}

func (s *scriptedServer) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest,
	stream testpb.TestService_StreamingOutputCallServer) error {
	s.note(stream.Context())
	for range 3 {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
	return s.answer(stream.Context())
}

// grpcExchange is one call and its answer.
type grpcExchange struct {
	name    string
	context func(context.Context) context.Context
	answer  func(context.Context) error // nil: OK
	streams bool
}

func grpcExchanges() []grpcExchange {
	all := []grpcExchange{
		{name: "plain"},
		{name: "stream", streams: true},
		{name: "stream that fails", streams: true,
			answer: func(context.Context) error { return status.Error(grpccodes.Internal, "no stock") }},
		{name: "metadata", context: func(ctx context.Context) context.Context {
			return metadata.AppendToOutgoingContext(ctx, "X-Order", "7", "X-Order", "8")
		}},
		{name: "trace context and baggage in the metadata", context: func(ctx context.Context) context.Context {
			return metadata.AppendToOutgoingContext(ctx, "traceparent", "00-"+callerTrace+"-"+callerSpan+"-01",
				"baggage", "own=1")
		}},
		{name: "remote parent", context: func(ctx context.Context) context.Context {
			parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
				TraceFlags: trace.FlagsSampled})
			return trace.ContextWithRemoteSpanContext(ctx, parent)
		}},
		{name: "an error without a status", answer: func(context.Context) error { return errors.New("no stock") }},
		{name: "an error of a context",
			answer: func(context.Context) error { return fmt.Errorf("asking: %w", context.DeadlineExceeded) }},
		{name: "a cancelled call", context: func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			return context.WithValue(ctx, cancelKey{}, cancel)
		}, answer: func(ctx context.Context) error { <-ctx.Done(); return status.FromContextError(ctx.Err()).Err() }},
	}
	for code := grpccodes.Canceled; code <= grpccodes.Unauthenticated+1; code++ {
		all = append(all, grpcExchange{name: code.String(),
			answer: func(context.Context) error { return status.Error(code, "no stock") }})
	}
	return all
}

type cancelKey struct{}

// TestGRPCAgainstOtelgrpc makes the same calls through both. What is not in grpcDifferences is the
// same.
func TestGRPCAgainstOtelgrpc(t *testing.T) {
	used := map[difference]bool{}
	for _, tc := range grpcExchanges() {
		t.Run(tc.name, func(t *testing.T) {
			otherSDK := recordSDK(t)
			otherOptions := []otelgrpc.Option{
				otelgrpc.WithTracerProvider(otherSDK.tracing), otelgrpc.WithMeterProvider(otherSDK.meters),
				otelgrpc.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{},
					propagation.Baggage{})),
			}
			other := recordCall(t, otherSDK, tc, otelgrpc.NewServerHandler(otherOptions...),
				otelgrpc.NewClientHandler(otherOptions...))
			ownSDK := recordGlobals(t)
			own := recordCall(t, ownSDK, tc, telemetry.ServerHandler(), telemetry.ClientHandler())
			requireDifferences(t, grpcDifferences, used, other, own)
		})
	}
	for _, d := range grpcDifferences {
		require.True(t, used[d], "%s: no call shows the difference between %q and %q", d.what, d.otelhttp, d.ours)
	}
}

// recordCall makes a call twice, since a connection knows more at the second, and returns what the
// second has recorded.
func recordCall(t *testing.T, sdk *sdkRecord, tc grpcExchange, server, client stats.Handler) map[string]string {
	t.Helper()
	service := &scriptedServer{answer: tc.answer}
	if tc.answer == nil {
		service.answer = func(context.Context) error { return nil }
	}
	stub := testpb.NewTestServiceClient(grpcConn(t, service, server, client))
	all := map[string]string{}
	for n := 1; n <= 2; n++ {
		ctx := withBaggage(t, "team=cards")
		if tc.context != nil {
			ctx = tc.context(ctx)
		}
		var err error
		if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
			service.cancel.Store(&cancel)
		}
		if tc.streams {
			stream, failed := stub.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
			require.NoError(t, failed)
			for err == nil {
				_, err = stream.Recv()
			}
		} else {
			_, err = stub.EmptyCall(ctx, &testpb.Empty{})
		}
		all["client got"] = fmt.Sprint(status.Code(err))
		require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == 2*n }, waitFor, tick)
	}
	all["server received"] = strings.Join(service.received, "; ")
	for _, span := range sdk.spans.Ended()[2:] {
		side := span.SpanKind().String() + " "
		all[side+"name"], all[side+"scope"] = span.Name(), span.InstrumentationScope().Name
		all[side+"status"] = span.Status().Code.String() + " " + span.Status().Description
		all[side+"remote parent"] = fmt.Sprint(span.Parent().IsRemote())
		for key, value := range attributeMap(span.Attributes()) {
			all[side+key] = value
		}
		delete(all, side+"server.port") // which is another each time
		require.Contains(t, attributeMap(span.Attributes()), "server.port")
	}
	for _, side := range []string{"client ", "server "} {
		name := "rpc." + strings.TrimSpace(side) + ".call.duration"
		require.Eventually(t, func() bool { return sdk.points(t, name)[0].count == 2 }, waitFor, tick)
		points := sdk.points(t, name)
		require.Len(t, points, 1)
		for key, value := range points[0].attributes {
			all["metrics of the "+side+key] = value
		}
		delete(all, "metrics of the "+side+"server.port")
		all["metrics of the "+side+"unit"] = sdk.metric(t, name).Unit
	}
	return all
}
