package telemetry_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
)

// streamingServer sends answers until the client or the number asked for ends it.
type streamingServer struct {
	testpb.UnimplementedTestServiceServer
}

func (streamingServer) StreamingOutputCall(r *testpb.StreamingOutputCallRequest,
	stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	for range len(r.GetResponseParameters()) {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
	if len(r.GetResponseParameters()) > 2 {
		<-stream.Context().Done()
		return status.FromContextError(stream.Context().Err()).Err()
	}
	return nil
}

func (streamingServer) FullDuplexCall(
	stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	_, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return status.Error(grpccodes.FailedPrecondition, "closed")
}

// TestGRPCStreamsEnd has clients that leave a stream in each way there is. Both spans end, and no
// goroutine stays.
func TestGRPCStreamsEnd(t *testing.T) {
	outputs := func(n int) *testpb.StreamingOutputCallRequest {
		return &testpb.StreamingOutputCallRequest{ResponseParameters: make([]*testpb.ResponseParameters, n)}
	}
	for name, tc := range map[string]struct {
		call           func(context.Context, context.CancelFunc, testpb.TestServiceClient) error
		client, server string // rpc.response.status_code
	}{
		"read to its end": {func(ctx context.Context, _ context.CancelFunc, c testpb.TestServiceClient) error {
			stream, err := c.StreamingOutputCall(ctx, outputs(2))
			for err == nil {
				_, err = stream.Recv()
			}
			return err
		}, "OK", "OK"},
		"cancelled": {func(ctx context.Context, cancel context.CancelFunc, c testpb.TestServiceClient) error {
			stream, err := c.StreamingOutputCall(ctx, outputs(3))
			if err == nil {
				_, err = stream.Recv()
			}
			cancel() // and the stream is never read to its end
			return err
		}, "CANCELLED", "CANCELLED"},
		"deadline": {func(ctx context.Context, _ context.CancelFunc, c testpb.TestServiceClient) error {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			stream, err := c.StreamingOutputCall(ctx, outputs(3))
			for err == nil {
				_, err = stream.Recv()
			}
			return err
		}, "DEADLINE_EXCEEDED", ""},
		"sends to a server that has ended": {func(ctx context.Context, _ context.CancelFunc,
			c testpb.TestServiceClient) error {
			stream, err := c.FullDuplexCall(ctx)
			for err == nil {
				err = stream.Send(outputs(0))
			}
			if !errors.Is(err, io.EOF) {
				return err
			}
			_, err = stream.Recv() // SendMsg leaves the status to RecvMsg
			return err
		}, "", "FAILED_PRECONDITION"}, // gRPC tells the client's handlers no error of a Send that failed
		"sends what cannot be encoded": {func(ctx context.Context, _ context.CancelFunc,
			c testpb.TestServiceClient) error {
			stream, err := c.FullDuplexCall(ctx)
			if err == nil {
				err = stream.SendMsg("not a message")
			}
			return err
		}, "INTERNAL", ""},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			service := grpcConn(t, streamingServer{}, telemetry.ServerHandler(), telemetry.ClientHandler())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := tc.call(ctx, cancel, testpb.NewTestServiceClient(service)); name != "cancelled" {
				require.Error(t, err)
			}
			for kind, code := range map[trace.SpanKind]string{trace.SpanKindClient: tc.client,
				trace.SpanKindServer: tc.server} {
				got := attributeMap(grpcSpan(t, sdk, kind).Attributes())["rpc.response.status_code"]
				if code != "" {
					require.Equal(t, code, got, kind)
				}
			}
			require.Eventually(t, func() bool { return !strings.Contains(stacks(), "internal/middleware") }, waitFor, tick)
		})
	}
}

// stacks are those of all goroutines.
func stacks() string {
	all := make([]byte, 1<<20)
	return string(all[:runtime.Stack(all, true)])
}
