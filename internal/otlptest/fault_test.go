package otlptest_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// stored counts the items of a signal that the collector has kept.
func stored(c *otlptest.Collector, signal otlptest.Signal) int {
	switch signal {
	case otlptest.Traces:
		return len(c.Spans())
	case otlptest.Logs:
		return len(c.LogRecords())
	default:
		points := 0
		for _, m := range c.Metrics() {
			points += len(m.Points)
		}
		return points
	}
}

// forEverySignal runs a test for each signal over both protocols, with a collector of its own.
func forEverySignal(t *testing.T,
	test func(t *testing.T, c *otlptest.Collector, signal otlptest.Signal,
		send func(ctx context.Context, n int) error)) {
	forBothProtocols(t, func(t *testing.T, tr transport) {
		for _, signal := range signals {
			t.Run(signal.String(), func(t *testing.T) {
				c := otlptest.New(t)
				exporters := newExporters(t, c, tr)
				test(t, c, signal, func(ctx context.Context, n int) error { return exporters.send(ctx, signal, n) })
			})
		}
	})
}

func TestFaultErrorStatusUntilHealed(t *testing.T) {
	forEverySignal(t, func(t *testing.T, c *otlptest.Collector, signal otlptest.Signal,
		send func(context.Context, int) error) {
		c.SetFault(otlptest.Fault{HTTPStatus: http.StatusServiceUnavailable, GRPCCode: codes.Unavailable,
			Message: "out for lunch"})
		for range 3 {
			require.ErrorContains(t, send(t.Context(), 2), "out for lunch")
		}
		require.Zero(t, stored(c, signal))
		for _, r := range c.Requests() {
			require.False(t, r.Accepted)
			require.Equal(t, 2, r.Items, "refused requests tell their items too")
		}
		c.SetFault(otlptest.Fault{})
		require.NoError(t, send(t.Context(), 2))
		require.Equal(t, 2, stored(c, signal))
		require.True(t, c.Requests()[3].Accepted)
	})
}

func TestFaultForTheNextRequestsOnly(t *testing.T) {
	forEverySignal(t, func(t *testing.T, c *otlptest.Collector, signal otlptest.Signal,
		send func(context.Context, int) error) {
		c.SetFault(otlptest.Fault{HTTPStatus: http.StatusBadGateway, GRPCCode: codes.Aborted, Times: 2})
		require.Error(t, send(t.Context(), 1))
		require.Error(t, send(t.Context(), 1))
		require.NoError(t, send(t.Context(), 1))
		require.NoError(t, send(t.Context(), 1))
		require.Equal(t, 2, stored(c, signal))
	})
}

func TestFaultIsScopedAndReplacedBySignal(t *testing.T) {
	forBothProtocols(t, func(t *testing.T, tr transport) {
		c := otlptest.New(t)
		exporters := newExporters(t, c, tr)
		fails := func(signal otlptest.Signal) bool { return exporters.send(t.Context(), signal, 1) != nil }

		c.SetFault(otlptest.Fault{HTTPStatus: http.StatusUnauthorized, GRPCCode: codes.Unauthenticated})
		c.SetFault(otlptest.Fault{}, otlptest.Logs, otlptest.Metrics)
		require.True(t, fails(otlptest.Traces))
		require.False(t, fails(otlptest.Logs))
		require.False(t, fails(otlptest.Metrics))

		c.SetFault(otlptest.Fault{HTTPStatus: http.StatusUnauthorized, GRPCCode: codes.Unauthenticated, Times: 1})
		for _, signal := range signals {
			require.True(t, fails(signal), "Times is counted for each signal: %s", signal)
			require.False(t, fails(signal))
		}
	})
}

func TestFaultStatusOfTheOtherProtocolDoesNotApply(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{HTTPStatus: http.StatusTeapot})
	require.NoError(t, newExporters(t, c, transport{protocol: grpcProtocol}).send(t.Context(), otlptest.Traces, 1))
	c.SetFault(otlptest.Fault{GRPCCode: codes.Internal})
	require.NoError(t, newExporters(t, c, transport{protocol: httpProtobuf}).send(t.Context(), otlptest.Traces, 1))
}

func TestFaultPartialSuccess(t *testing.T) {
	for _, tc := range []struct {
		rejected, really int64 // of 5
	}{{2, 2}, {5, 5}, {9, 5}} {
		t.Run(fmt.Sprint(tc.rejected), func(t *testing.T) {
			forEverySignal(t, func(t *testing.T, c *otlptest.Collector, signal otlptest.Signal,
				send func(context.Context, int) error) {
				c.SetFault(otlptest.Fault{Rejected: tc.rejected, Message: "too old"})
				err := send(t.Context(), 5)
				require.ErrorContains(t, err, "too old")
				require.ErrorContains(t, err, fmt.Sprintf("%d ", tc.really), "the exporter tells how many")
				require.EqualValues(t, 5-tc.really, stored(c, signal))
				require.Equal(t, 5, c.Requests()[0].Items)
				require.True(t, c.Requests()[0].Accepted)
			})
		})
	}
}

func TestFaultPartialSuccessDropsTheLastItems(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Rejected: 3})
	exporters := newExporters(t, c, transport{protocol: httpProtobuf})
	require.Error(t, exporters.send(t.Context(), otlptest.Traces, 5))
	require.Equal(t, []string{"span 0", "span 1"}, []string{c.Spans()[0].Name, c.Spans()[1].Name})

	require.Error(t, exporters.metrics.Export(t.Context(),
		resourceMetrics(gauge("first", 2), gauge("second", 2), gauge("third", 2))))
	got := c.Metrics()
	require.Len(t, got, 2, "a metric without points is not stored")
	require.Len(t, got[0].Points, 2)
	require.Equal(t, "second", got[1].Name)
	require.Len(t, got[1].Points, 1)
	require.Equal(t, 0.0, got[1].Points[0].Value)

	c.Reset()
	c.SetFault(otlptest.Fault{Rejected: 4})
	require.Error(t, exporters.metrics.Export(t.Context(),
		resourceMetrics(gauge("first", 2), gauge("second", 2), gauge("third", 2))))
	require.Len(t, c.Metrics(), 1)
	require.Len(t, c.Metrics()[0].Points, 2)
}

func TestFaultDelay(t *testing.T) {
	forEverySignal(t, func(t *testing.T, c *otlptest.Collector, signal otlptest.Signal,
		send func(context.Context, int) error) {
		const delay = 20 * time.Millisecond
		c.SetFault(otlptest.Fault{Delay: delay})
		start := time.Now()
		require.NoError(t, send(t.Context(), 1))
		require.GreaterOrEqual(t, time.Since(start), delay)
		require.Equal(t, 1, stored(c, signal))

		c.SetFault(otlptest.Fault{Delay: delay, HTTPStatus: http.StatusInternalServerError, GRPCCode: codes.Internal})
		start = time.Now()
		require.Error(t, send(t.Context(), 1))
		require.GreaterOrEqual(t, time.Since(start), delay)
	})
}

func TestFaultUntilTheClientGoesAway(t *testing.T) {
	for name, fault := range map[string]otlptest.Fault{"hang": {Hang: true}, "delay": {Delay: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			forEverySignal(t, func(t *testing.T, c *otlptest.Collector, signal otlptest.Signal,
				send func(context.Context, int) error) {
				c.SetFault(fault)
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan error, 1)
				go func() { result <- send(ctx, 1) }()
				require.NoError(t, c.Wait(soon(t), func(c *otlptest.Collector) bool { return len(c.Requests()) == 1 }))
				require.Empty(t, result)
				cancel()
				require.Error(t, <-result)
				require.NoError(t, c.Close(), "waits for the handler")
				require.Zero(t, stored(c, signal), "a client that got no answer may send again")
				require.False(t, c.Requests()[0].Accepted)
			})
		})
	}
}

func TestFaultHangUntilHealed(t *testing.T) {
	forBothProtocols(t, func(t *testing.T, tr transport) {
		c := otlptest.New(t)
		exporters := newExporters(t, c, tr)
		// Of the official exporters, only that of traces has two requests under way over both
		// protocols.
		send := func(ctx context.Context, n int) error { return exporters.send(ctx, otlptest.Traces, n) }
		c.SetFault(otlptest.Fault{Hang: true, Times: 1})
		result := make(chan error, 1)
		go func() { result <- send(soon(t), 1) }()
		require.NoError(t, c.Wait(soon(t), func(c *otlptest.Collector) bool { return len(c.Requests()) == 1 }))
		require.NoError(t, send(soon(t), 2), "the hang was for one request only")
		require.Empty(t, result)

		c.SetFault(otlptest.Fault{HTTPStatus: http.StatusForbidden, GRPCCode: codes.PermissionDenied,
			Message: "the next fault"})
		require.ErrorContains(t, <-result, "the next fault")
		require.Len(t, c.Spans(), 2)

		c.SetFault(otlptest.Fault{Hang: true})
		go func() { result <- send(soon(t), 4) }()
		require.NoError(t, c.Wait(soon(t), func(c *otlptest.Collector) bool { return len(c.Requests()) == 3 }))
		c.SetFault(otlptest.Fault{})
		require.NoError(t, <-result)
		require.Len(t, c.Spans(), 6)
	})
}

func TestFaultCut(t *testing.T) {
	forEverySignal(t, func(t *testing.T, c *otlptest.Collector, signal otlptest.Signal,
		send func(context.Context, int) error) {
		c.SetFault(otlptest.Fault{Cut: true, Times: 1})
		err := send(soon(t), 1)
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.Regexp(t, "EOF|reset", err.Error(), "no answer, but a broken connection")
		require.Equal(t, 1, c.Requests()[0].Items, "it was read before the cut")
		require.False(t, c.Requests()[0].Accepted)
		require.Zero(t, stored(c, signal))
		require.NoError(t, send(soon(t), 1), "over a new connection")
		require.Equal(t, 1, stored(c, signal))
	})
}

func TestFaultRetryAfterOverHTTP(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{HTTPStatus: http.StatusTooManyRequests, RetryAfter: 1100 * time.Millisecond})
	response, message := post(t, c.HTTPEndpoint()+"/v1/traces", "", nil)
	require.Equal(t, http.StatusTooManyRequests, response.StatusCode)
	require.Equal(t, "2", response.Header.Get("Retry-After"), "seconds, rounded up")
	require.Equal(t, "Too Many Requests", message)

	c.SetFault(otlptest.Fault{HTTPStatus: http.StatusTooManyRequests})
	response, _ = post(t, c.HTTPEndpoint()+"/v1/traces", "", nil)
	require.Empty(t, response.Header.Values("Retry-After"))
}

// logsClient is a bare client, for what the exporters hide.
func logsClient(t *testing.T, c *otlptest.Collector) collectorlogs.LogsServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(c.GRPCEndpoint()[len("http://"):],
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return collectorlogs.NewLogsServiceClient(conn)
}

func TestFaultRetryAfterOverGRPC(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{GRPCCode: codes.ResourceExhausted, RetryAfter: 1100 * time.Millisecond})
	client := logsClient(t, c)
	_, err := client.Export(t.Context(), &collectorlogs.ExportLogsServiceRequest{})
	st := status.Convert(err)
	require.Equal(t, codes.ResourceExhausted, st.Code())
	require.Len(t, st.Details(), 1)
	require.Equal(t, 1100*time.Millisecond, st.Details()[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration())

	c.SetFault(otlptest.Fault{GRPCCode: codes.ResourceExhausted})
	_, err = client.Export(t.Context(), &collectorlogs.ExportLogsServiceRequest{})
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.Empty(t, status.Convert(err).Details())
}

func TestResponseOfFullSuccess(t *testing.T) {
	c := otlptest.New(t)
	client := logsClient(t, c)
	response, err := client.Export(t.Context(), &collectorlogs.ExportLogsServiceRequest{})
	require.NoError(t, err)
	require.Nil(t, response.GetPartialSuccess(), "must be unset, says the OTLP specification")

	c.SetFault(otlptest.Fault{Message: "deprecated"})
	response, err = client.Export(t.Context(), &collectorlogs.ExportLogsServiceRequest{})
	require.NoError(t, err)
	require.Zero(t, response.GetPartialSuccess().GetRejectedLogRecords())
	require.Equal(t, "deprecated", response.GetPartialSuccess().GetErrorMessage())
}

func TestMaxRequestBytesOverGRPC(t *testing.T) {
	request := &collectorlogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{SchemaUrl: "0123456789"}}}
	const size = 14
	c := otlptest.New(t, otlptest.WithMaxRequestBytes(size))
	client := logsClient(t, c)
	_, err := client.Export(t.Context(), request)
	require.NoError(t, err, "at the limit")
	_, err = client.Export(t.Context(), request, grpc.UseCompressor(gzip.Name))
	require.NoError(t, err, "gzip makes it larger, but it counts decompressed")

	c.SetMaxRequestBytes(size - 1)
	_, err = client.Export(t.Context(), request)
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.ErrorContains(t, err, "received message larger than max (14 vs. 13)")
	_, err = client.Export(t.Context(), request, grpc.UseCompressor(gzip.Name))
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.ErrorContains(t, err, "received message after decompression larger than max 13")

	c.SetMaxRequestBytes(0)
	_, err = client.Export(t.Context(), request)
	require.NoError(t, err, "no limit")
	var accepted []bool
	for _, r := range c.Requests() {
		accepted = append(accepted, r.Accepted)
		require.Positive(t, r.Bytes)
	}
	require.Equal(t, []bool{true, true, false, false, true}, accepted)
}

// A request without items is a client's question: it meets the fault, but is none of the N, and
// none of the requests.
func TestProbesStandApart(t *testing.T) {
	for _, body := range [][]byte{nil, gzipped(t, nil)} {
		c := otlptest.New(t)
		c.SetFault(otlptest.Fault{HTTPStatus: 503, Times: 1})
		encoding := ""
		if body != nil {
			encoding = "gzip"
		}
		for range 2 {
			response, _ := do(t, "POST", c.HTTPEndpoint()+"/v1/traces", "application/x-protobuf", encoding, body)
			require.Equal(t, 503, response.StatusCode)
		}
		require.Len(t, c.Probes(), 2)
		require.Empty(t, c.Requests())
		valid := marshal(t, oneSpan(&tracepb.Span{Name: "a"}))
		for _, want := range []int{503, 200} {
			response, _ := do(t, "POST", c.HTTPEndpoint()+"/v1/traces", "application/x-protobuf", "", valid)
			require.Equal(t, want, response.StatusCode)
		}
		require.Len(t, c.Requests(), 2)
		c.Reset()
		require.Empty(t, c.Probes())
	}
}
