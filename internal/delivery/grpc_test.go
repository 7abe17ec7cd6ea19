package delivery_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fleetotel/telemetry/internal/delivery"
)

const (
	traceMethod   = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	metricsMethod = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
	logsMethod    = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
)

// call makes one call of ten items whose attempts are answered by answer, as a server would.
func call(ctx context.Context, method string, resp any,
	answer func(ctx context.Context, attempt int) error) (delivery.Outcome, error) {
	return callThrough(ctx, delivery.New(delivery.Config{}), method, resp, answer)
}

func callThrough(ctx context.Context, e *delivery.Endpoint, method string, resp any,
	answer func(ctx context.Context, attempt int) error) (delivery.Outcome, error) {
	attempt := 0
	out := delivery.Outcome{Items: 10}
	ctx = metadata.AppendToOutgoingContext(delivery.WithOutcome(ctx, &out), "authorization", "Bearer s3cr3t-token")
	err := e.Interceptor()(ctx, method, nil, resp, nil,
		func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			attempt++
			err := answer(ctx, attempt)
			if made := (madeUp{}); errors.As(err, &made) {
				return made.error
			}
			delivery.AnswerStats.HandleRPC(ctx, &stats.InTrailer{})
			return err
		})
	return out, err
}

// madeUp is a status that no server has sent: gRPC has made it up.
type madeUp struct{ error }

// The table of the OTLP specification, "Failures".
func TestGRPCCodes(t *testing.T) {
	retryInfo := &errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)}
	withInfo := func(code codes.Code) error {
		s, _ := grpcstatus.New(code, "busy").WithDetails(&errdetails.ErrorInfo{}, retryInfo)
		return s.Err()
	}
	type row struct {
		name  string
		err   error
		retry bool
		large bool
		wait  time.Duration // before the second attempt; zero for our own back-off
	}
	rows := []row{
		{"ResourceExhausted", grpcstatus.Error(codes.ResourceExhausted, "quota"), false, false, 0},
		{"ResourceExhausted with RetryInfo", withInfo(codes.ResourceExhausted), true, false, 7 * time.Second},
		{"Unavailable with RetryInfo", withInfo(codes.Unavailable), true, false, 7 * time.Second},
		{"Internal with RetryInfo", withInfo(codes.Internal), false, false, 0},
		{"received message larger", grpcstatus.Error(codes.ResourceExhausted,
			"grpc: received message larger than max (5000000 vs. 4194304)"), false, true, 0},
		{"after decompression", grpcstatus.Error(codes.ResourceExhausted,
			"grpc: received message after decompression larger than max 4194304"), false, true, 0},
		{"trying to send", madeUp{grpcstatus.Error(codes.ResourceExhausted,
			"trying to send message larger than max (5000000 vs. 4194304)")}, false, true, 0},
		{"Java", grpcstatus.Error(codes.ResourceExhausted, "gRPC message exceeds maximum size 4194304: 5000000"), false,
			true, 0},
		{"a proxy's 413", madeUp{grpcstatus.Error(codes.Unknown,
			"unexpected HTTP status code received from server: 413 (Request Entity Too Large); malformed header: "+
				"missing HTTP content-type")}, false, true, 0},
		{"bad certificate", madeUp{grpcstatus.Error(codes.Unavailable,
			`connection error: desc = "transport: authentication handshake failed: tls: failed to verify certificate: x509: certificate signed by unknown authority"`)}, false, false, 0},
		{"handshake cut", madeUp{grpcstatus.Error(codes.Unavailable,
			`connection error: desc = "transport: authentication handshake failed: EOF"`)}, true, false, 0},
		{"not a status", madeUp{errors.New("boom")}, true, false, 0},
		{"cannot be encoded", madeUp{grpcstatus.Error(codes.Internal,
			"grpc: error while marshaling: string field contains invalid UTF-8")}, false, false, 0},
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if code != codes.ResourceExhausted {
			retry := map[codes.Code]bool{
				codes.Canceled: true, codes.DeadlineExceeded: true, codes.Aborted: true,
				codes.OutOfRange: true, codes.Unavailable: true, codes.DataLoss: true,
			}[code]
			rows = append(rows, row{code.String(), grpcstatus.Error(code, "message"), retry, false, 0})
		}
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, attempts := time.Now(), 0
				out, err := call(t.Context(), traceMethod, &coltracepb.ExportTraceServiceResponse{},
					func(_ context.Context, attempt int) error {
						if attempts = attempt; attempt == 1 {
							return tt.err
						}
						return nil
					})
				require.True(t, out.Filled)
				if tt.retry {
					require.NoError(t, err)
					require.EqualValues(t, 10, out.Exported)
					require.Equal(t, 2, attempts)
					if tt.wait > 0 {
						require.Equal(t, tt.wait, time.Since(start))
					} else {
						require.LessOrEqual(t, time.Since(start), 100*time.Millisecond)
					}
					return
				}
				made := madeUp{tt.err}
				_ = errors.As(tt.err, &made)
				require.Equal(t, made.error, err, "the exporter gets the status")
				require.Equal(t, 1, attempts)
				require.Equal(t, tt.large, out.TooLarge)
				require.Equal(t, !tt.large, out.Failed == 10)
				require.ErrorContains(t, out.Err, "the endpoint (traces): ")
			})
		})
	}
}

func TestGRPCPartialSuccess(t *testing.T) {
	const rejected, message = 3, "too old"
	for _, tt := range []struct {
		method string
		resp   interface{ String() string }
	}{
		{traceMethod, &coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: rejected, ErrorMessage: message}}},
		{metricsMethod, &colmetricspb.ExportMetricsServiceResponse{PartialSuccess: &colmetricspb.ExportMetricsPartialSuccess{RejectedDataPoints: rejected, ErrorMessage: message}}},
		{logsMethod, &collogspb.ExportLogsServiceResponse{PartialSuccess: &collogspb.ExportLogsPartialSuccess{RejectedLogRecords: rejected, ErrorMessage: message}}},
	} {
		t.Run(tt.method, func(t *testing.T) {
			out, err := call(t.Context(), tt.method, tt.resp, func(context.Context, int) error { return nil })
			require.NoError(t, err)
			require.EqualValues(t, 7, out.Exported)
			require.EqualValues(t, 3, out.Rejected)
			require.ErrorContains(t, out.Err, "rejected 3 items: too old")
			require.Empty(t, tt.resp.String(), "the exporter must not report it again")
		})
	}
}

func TestGRPCErrorsAreForOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:4317: connect: connection refused"`
		out, _ := call(expired(t, 10*time.Second), logsMethod, &collogspb.ExportLogsServiceResponse{},
			func(context.Context, int) error {
				return madeUp{grpcstatus.Error(codes.Unavailable, dial)}
			})
		require.Regexp(t, `^the endpoint \(logs\): dial tcp 127\.0\.0\.1:4317: connect: connection refused \(\d+ attempts in 10s\); gave up: context deadline exceeded$`, out.Err.Error())

		out, _ = call(t.Context(), traceMethod, nil, func(context.Context, int) error {
			return grpcstatus.Error(codes.Unauthenticated, "bad token s3cr3t-token")
		})
		require.EqualError(t, out.Err, "the endpoint (traces): Unauthenticated: bad token <redacted>")

		out, _ = call(t.Context(), traceMethod, nil,
			func(context.Context, int) error { return grpcstatus.Error(codes.Internal, "") })
		require.EqualError(t, out.Err, "the endpoint (traces): Internal")
	})
}

func TestGRPCAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		out, err := call(expired(t, 25*time.Second), traceMethod, nil, func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return grpcstatus.FromContextError(ctx.Err()).Err()
		})
		require.Equal(t, 25*time.Second, time.Since(start))
		require.Equal(t, codes.DeadlineExceeded, grpcstatus.Code(err))
		require.EqualValues(t, 10, out.Failed)

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		out, err = call(gone, traceMethod, nil, func(context.Context, int) error { t.Error("attempted"); return nil })
		require.ErrorIs(t, err, context.Canceled)
		require.EqualValues(t, 10, out.Failed)
	})
}

// Other services on the connection, such as health checks, and calls without an outcome are not
// touched.
func TestGRPCOthersAreLeftAlone(t *testing.T) {
	unavailable := grpcstatus.Error(codes.Unavailable, "down")
	out, err := call(t.Context(), "/grpc.health.v1.Health/Check", nil,
		func(context.Context, int) error { return unavailable })
	require.Equal(t, unavailable, err)
	require.False(t, out.Filled)

	resp := &coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: 1}}
	err = delivery.New(delivery.Config{}).Interceptor()(t.Context(), traceMethod, nil, resp, nil,
		func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil })
	require.NoError(t, err)
	require.EqualValues(t, 1, resp.GetPartialSuccess().GetRejectedSpans())
}

// The process's gzip is not replaced.
func TestGRPCRegistryIsLeftAlone(t *testing.T) {
	before := encoding.GetCompressor("gzip")
	conn, err := delivery.New(delivery.Config{Gzip: true}).GRPCConn("127.0.0.1:1", insecure.NewCredentials())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.Same(t, before, encoding.GetCompressor("gzip"))
}
