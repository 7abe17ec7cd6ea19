package telemetrytest_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

// endpoints are a collector's, by protocol.
func endpoints(c *telemetrytest.Collector) map[telemetry.Protocol]string {
	return map[telemetry.Protocol]string{telemetry.ProtocolHTTP: c.HTTPEndpoint(),
		telemetry.ProtocolGRPC: c.GRPCEndpoint()}
}

// TestCollectorOfAServiceThatInitsItself has a guard that the collector knows nothing about.
func TestCollectorOfAServiceThatInitsItself(t *testing.T) {
	t.Parallel()
	for _, protocol := range []telemetry.Protocol{telemetry.ProtocolHTTP, telemetry.ProtocolGRPC} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			c := telemetrytest.NewCollector(t)
			guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(),
				telemetry.WithEndpoint(endpoints(c)[protocol]),
				telemetry.WithProtocol(protocol), telemetry.WithLogOutput(io.Discard),
				telemetry.WithHeaders(map[string]string{"api-key": "s3cr3t"}),
				telemetry.WithAdaptiveSampling(telemetry.Sampling{}))
			require.NoError(t, err)
			go func() {
				order(guard)
				_ = guard.Shutdown(context.Background())
			}()
			root := c.RequireSpan(t, "POST /orders")
			root.RequireChild(t, "check_stock").RequireLog(t, "stock is low")
			require.Equal(t, 1.0, c.RequireMetric(t, "orders").Total())
			require.NoError(t, guard.Shutdown(context.Background()))
			for _, r := range c.Requests() {
				require.Equal(t, string(protocol), r.Protocol)
				require.Equal(t, "s3cr3t", r.Header.Get("api-key"))
				require.True(t, r.Accepted)
				require.Positive(t, r.Items)
				require.Positive(t, r.Bytes)
				require.Contains(t, []telemetrytest.Signal{telemetrytest.Traces, telemetrytest.Metrics,
					telemetrytest.Logs}, r.Signal)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault    telemetrytest.Fault
		rejected bool // for good: the service gives up
	}{
		"delay": {telemetrytest.Fault{Delay: 10 * time.Millisecond}, false},
		"unavailable": {telemetrytest.Fault{HTTPStatus: http.StatusServiceUnavailable, GRPCCode: codes.Unavailable,
			Times: 1}, false},
		"cut": {telemetrytest.Fault{Cut: true, Times: 1}, false},
		"refused": {telemetrytest.Fault{HTTPStatus: http.StatusBadRequest, GRPCCode: codes.InvalidArgument,
			Message: "bad span"}, true},
		"partially stored": {telemetrytest.Fault{Rejected: 3, Message: "quota"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := telemetrytest.Start(t, telemetry.WithoutGlobals())
			r.SetFault(tc.fault, telemetrytest.Traces)
			order(r.Guard)
			if tc.rejected {
				require.Empty(t, r.Spans())
				require.EqualValues(t, 3, r.Guard.Health().Traces.Rejected+r.Guard.Health().Traces.Failed)
			} else {
				require.Len(t, r.Spans(), 3)
			}
			require.Len(t, r.Logs(), 2, "the other signals are well")
		})
	}
}

// TestHangIsHealedByTheEndOfTheTest would otherwise use all of the shutdown's time, and say so in
// the log.
func TestHangIsHealedByTheEndOfTheTest(t *testing.T) {
	t.Parallel()
	f := run(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		r.SetFault(telemetrytest.Fault{Hang: true})
		order(r.Guard)
		go func() { _ = r.Guard.ForceFlush(context.Background()) }()
		require.Eventually(tb, func() bool { return len(r.Requests()) == 3 }, waitFor, tick,
			"they can be seen, although they have no answer")
		require.False(tb, r.Requests()[0].Accepted)
	})
	require.Empty(t, f.failures)
	require.Empty(t, f.logs)
}

// TestAFaultOutlivesASubtest has a service that begins and ends at the collector of the test around
// it.
func TestAFaultOutlivesASubtest(t *testing.T) {
	t.Parallel()
	r := telemetrytest.Start(t, telemetry.WithoutGlobals())
	r.SetFault(telemetrytest.Fault{HTTPStatus: http.StatusBadRequest}, telemetrytest.Traces)
	t.Run("subtest", func(t *testing.T) {
		other := r.Collector.Start(t, telemetry.WithoutGlobals())
		order(other.Guard)
		require.Len(t, other.Logs(), 2)
	})
	order(r.Guard)
	require.Empty(t, r.Spans())
	r.SetFault(telemetrytest.Fault{})
	order(r.Guard)
	require.Len(t, r.Spans(), 3)
}

func TestAnOutage(t *testing.T) {
	t.Parallel()
	r := telemetrytest.Start(t, telemetry.WithoutGlobals())
	r.Down()
	r.Down()
	order(r.Guard)
	r.Up()
	r.Up()
	require.Len(t, r.RequireSpan(t, "POST /orders").Trace().Spans, 3)
	r.RequireLog(t, "order received")
}

// TestASpanThatIsSentAgainIsThereOnce sends one request twice, as a client does that has not had
// its answer.
func TestASpanThatIsSentAgainIsThereOnce(t *testing.T) {
	t.Parallel()
	c := telemetrytest.NewCollector(t)
	request, err := proto.Marshal(&collectortrace.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{
			{Name: "x", TraceId: make([]byte, 16), SpanId: []byte("12345678")},
			{Name: "y", TraceId: make([]byte, 16), SpanId: []byte("abcdefgh")},
		}}},
	}}})
	require.NoError(t, err)
	for range 2 {
		response, err := http.Post(c.HTTPEndpoint()+"/v1/traces", "application/x-protobuf", bytes.NewReader(request))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	require.Len(t, c.Requests(), 2)
	require.Equal(t, []string{"x", "y"}, names(c.Spans()))
	require.Len(t, c.RequireSpan(t, "x").Trace().Roots, 2)
}

func TestTooLargeRequests(t *testing.T) {
	t.Parallel()
	r := telemetrytest.Start(t, telemetry.WithoutGlobals())
	r.SetMaxRequestBytes(10)
	order(r.Guard)
	require.Empty(t, r.Spans())
	require.EqualValues(t, 3, r.Guard.Health().Traces.DroppedBy["too_large"])
	r.SetMaxRequestBytes(0)
	order(r.Guard)
	require.Len(t, r.Spans(), 3)
}

func TestReset(t *testing.T) {
	t.Parallel()
	r := telemetrytest.Start(t, telemetry.WithoutGlobals())
	order(r.Guard)
	root := r.RequireSpan(t, "POST /orders")
	order(r.Guard)
	r.Reset()
	require.Empty(t, r.Spans())
	require.Empty(t, r.Logs())
	order(r.Guard)
	require.Len(t, r.Spans(), 3)
	require.Equal(t, 3.0, r.RequireMetric(t, "orders").Total(), "metrics are cumulative")
	root.RequireAttributes(t, route)
	require.Len(t, root.Trace().Spans, 3, "what was returned stays")
}

func TestAPortThatIsTakenFailsTheTest(t *testing.T) {
	t.Parallel()
	var closed *telemetrytest.Collector
	run(t, func(tb testing.TB) { closed = telemetrytest.NewCollector(tb) })
	f := &fakeTest{TB: t, name: "fake"}
	telemetrytest.Rebind(closed, f)
	closed.Up()
	require.Len(t, f.failures, 1)
	require.Contains(t, f.failures[0], "the collector does not come up again")
}

// The exporter splits a request that is too large, so that the points of one metric arrive in several.
func TestAMetricMayArriveInSeveralRequests(t *testing.T) {
	t.Parallel()
	r := telemetrytest.Start(t, telemetry.WithoutGlobals())
	counter, err := r.Guard.MeterProvider().Meter("t").Int64Counter("orders")
	require.NoError(t, err)
	r.SetMaxRequestBytes(2000)
	for i := range 20 {
		counter.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("shop", i),
			attribute.String("town", strings.Repeat("x", 100))))
	}
	require.EqualValues(t, 20, r.RequireMetric(t, "orders").Total())
	require.Greater(t, len(r.Requests()), 2)
	counter.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("shop", 0),
		attribute.String("town", strings.Repeat("x", 100))))
	require.EqualValues(t, 21, r.RequireMetric(t, "orders").Total())
}
