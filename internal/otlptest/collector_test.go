package otlptest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	traceID  = trace.TraceID{0x0a, 15: 0x9c}
	spanID   = trace.SpanID{0xb7, 7: 0x31}
	parentID = trace.SpanID{0x00, 0xf0, 7: 0xb7}

	begin = time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)
	end   = begin.Add(250 * time.Millisecond)
	scope = instrumentation.Scope{
		Name: "shop/checkout", Version: "1.2.3",
		Attributes: attribute.NewSet(attribute.String("scope.key", "scope value")),
	}
	origin = resource.NewWithAttributes("https://opentelemetry.io/schemas/1.37.0",
		attribute.String("service.name", "checkout"))
	decodedScope = otlptest.Scope{Name: "shop/checkout", Version: "1.2.3",
		Attributes: map[string]any{"scope.key": "scope value"}}
	decodedFrom = map[string]any{"service.name": "checkout"}
)

// overEveryTransport runs a test for both protocols, each with and without gzip.
func overEveryTransport(t *testing.T, test func(t *testing.T, tr transport)) {
	for _, protocol := range protocols {
		for _, gzip := range []bool{false, true} {
			name := protocol
			if gzip {
				name += "+gzip"
			}
			t.Run(name, func(t *testing.T) { test(t, transport{protocol: protocol, gzip: gzip}) })
		}
	}
}

func TestSpansArriveDecoded(t *testing.T) {
	state, err := trace.ParseTraceState("ot=th:8")
	require.NoError(t, err)
	overEveryTransport(t, func(t *testing.T, tr transport) {
		c := otlptest.New(t)
		stub := tracetest.SpanStub{
			Name: "POST /orders",
			SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled, TraceState: state,
			}),
			Parent: trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: traceID, SpanID: parentID, Remote: true,
			}),
			SpanKind:  trace.SpanKindServer,
			StartTime: begin, EndTime: end,
			Attributes: []attribute.KeyValue{
				attribute.String("string", "text"), attribute.Bool("bool", true), attribute.Int64("int", -7),
				attribute.Float64("float", 0.5), attribute.StringSlice("strings", []string{"a", "b"}),
				attribute.Int64Slice("ints", []int64{1, 2}),
			},
			Events: []sdktrace.Event{{Name: "exception", Time: end,
				Attributes: []attribute.KeyValue{attribute.Int("n", 1)}, DroppedAttributeCount: 4}},
			Links: []sdktrace.Link{{
				SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
					TraceID: traceID, SpanID: parentID,
				}),
				Attributes: []attribute.KeyValue{attribute.String("why", "retry")}, DroppedAttributeCount: 5,
			}},
			Status:            sdktrace.Status{Code: codes.Error, Description: "no stock"},
			DroppedAttributes: 1, DroppedEvents: 2, DroppedLinks: 3,
			Resource: origin, InstrumentationScope: scope,
		}
		require.NoError(t, newExporters(t, c, tr).traces.ExportSpans(t.Context(),
			tracetest.SpanStubs{stub}.Snapshots()))

		spans, err := c.WaitSpans(soon(t), 1)
		require.NoError(t, err)
		require.Equal(t, []otlptest.Span{{
			TraceID: traceID.String(), SpanID: spanID.String(), ParentSpanID: parentID.String(), TraceState: "ot=th:8",
			Flags: 0x301,
			Name:  "POST /orders", Kind: "server", Start: begin, End: end,
			Attributes: map[string]any{
				"string": "text", "bool": true, "int": int64(-7), "float": 0.5,
				"strings": []any{"a", "b"}, "ints": []any{int64(1), int64(2)},
			},
			Events: []otlptest.Event{{Name: "exception", Time: end, Attributes: map[string]any{"n": int64(1)},
				DroppedAttributes: 4}},
			Links: []otlptest.Link{{
				TraceID: traceID.String(), SpanID: parentID.String(), Flags: 0x100,
				Attributes: map[string]any{"why": "retry"}, DroppedAttributes: 5,
			}},
			Status:            otlptest.Status{Code: "error", Message: "no stock"},
			DroppedAttributes: 1, DroppedEvents: 2, DroppedLinks: 3,
			Resource: decodedFrom, ResourceSchemaURL: "https://opentelemetry.io/schemas/1.37.0", Scope: decodedScope,
		}}, spans)
	})
}

func TestLogRecordsArriveDecoded(t *testing.T) {
	overEveryTransport(t, func(t *testing.T, tr transport) {
		c := otlptest.New(t)
		require.NoError(t, newExporters(t, c, tr).send(t.Context(), otlptest.Logs, 1))

		records, err := c.WaitLogRecords(soon(t), 1)
		require.NoError(t, err)
		require.Equal(t, []otlptest.LogRecord{{
			Time: begin, ObservedTime: end, Severity: int(log.SeverityWarn), SeverityText: "WARN",
			EventName:  "stock.low",
			Body:       map[string]any{"text": "low", "bytes": []byte{1, 2}, "list": []any{int64(1), nil}},
			Attributes: map[string]any{"item": int64(0)},
			TraceID:    traceID.String(), SpanID: spanID.String(), Flags: 1, Resource: decodedFrom, Scope: decodedScope,
			DroppedAttributes: 2,
		}}, records)
	})
}

func TestMetricsArriveDecoded(t *testing.T) {
	exemplars := []metricdata.Exemplar[int64]{{
		Value: 3, Time: end, TraceID: []byte(strings.Repeat("\x01", 16)), SpanID: []byte(strings.Repeat("\x02", 8)),
		FilteredAttributes: []attribute.KeyValue{attribute.String("user", "u1")},
	}}
	decodedExemplars := []otlptest.Exemplar{{
		Value: 3, TraceID: strings.Repeat("01", 16), SpanID: strings.Repeat("02", 8),
		Attributes: map[string]any{"user": "u1"},
	}}
	attrs, decodedAttrs := attribute.NewSet(attribute.String("k", "v")), map[string]any{"k": "v"}
	lowest, highest := 1.5, 9.5
	sent := []metricdata.Metrics{
		{Name: "orders", Description: "Orders placed", Unit: "{order}", Data: metricdata.Sum[int64]{
			Temporality: metricdata.DeltaTemporality, IsMonotonic: true,
			DataPoints: []metricdata.DataPoint[int64]{{Attributes: attrs, StartTime: begin, Time: end, Value: 42,
				Exemplars: exemplars}},
		}},
		{Name: "load", Data: metricdata.Gauge[float64]{
			DataPoints: []metricdata.DataPoint[float64]{{Attributes: attrs, StartTime: begin, Time: end, Value: 0.25}},
		}},
		{Name: "duration", Unit: "s", Data: metricdata.Histogram[float64]{
			Temporality: metricdata.CumulativeTemporality,
			DataPoints: []metricdata.HistogramDataPoint[float64]{{
				Attributes: attrs, StartTime: begin, Time: end, Count: 3, Sum: 12.5, Bounds: []float64{5},
				BucketCounts: []uint64{2, 1},
				Min:          metricdata.NewExtrema(lowest), Max: metricdata.NewExtrema(highest),
			}},
		}},
		{Name: "size", Data: metricdata.ExponentialHistogram[int64]{
			Temporality: metricdata.DeltaTemporality,
			DataPoints: []metricdata.ExponentialHistogramDataPoint[int64]{{Attributes: attrs, StartTime: begin,
				Time: end, Count: 2, Sum: 11}},
		}},
		{Name: "quantiles", Data: metricdata.Summary{
			DataPoints: []metricdata.SummaryDataPoint{{Attributes: attrs, StartTime: begin, Time: end, Count: 4,
				Sum: 8}},
		}},
	}
	want := []otlptest.Metric{
		{Name: "orders", Description: "Orders placed", Unit: "{order}", Kind: "sum", Temporality: "delta",
			Monotonic: true,
			Points: []otlptest.Point{{Attributes: decodedAttrs, Start: begin, Time: end, Value: 42,
				Exemplars: decodedExemplars}}},
		{Name: "load", Kind: "gauge",
			Points: []otlptest.Point{{Attributes: decodedAttrs, Start: begin, Time: end, Value: 0.25,
				Exemplars: []otlptest.Exemplar{}}}},
		{Name: "duration", Unit: "s", Kind: "histogram", Temporality: "cumulative",
			Points: []otlptest.Point{{Attributes: decodedAttrs, Start: begin, Time: end, Count: 3, Sum: 12.5,
				Bounds:       []float64{5},
				BucketCounts: []uint64{2, 1}, Min: &lowest, Max: &highest, Exemplars: []otlptest.Exemplar{}}}},
		{Name: "size", Kind: "exponential_histogram", Temporality: "delta",
			Points: []otlptest.Point{{Attributes: decodedAttrs, Start: begin, Time: end, Count: 2, Sum: 11,
				Exemplars: []otlptest.Exemplar{}}}},
		{Name: "quantiles", Kind: "summary",
			Points: []otlptest.Point{{Attributes: decodedAttrs, Start: begin, Time: end, Count: 4, Sum: 8}}},
	}
	for i := range want {
		want[i].Resource, want[i].Scope = decodedFrom, decodedScope
	}
	overEveryTransport(t, func(t *testing.T, tr transport) {
		c := otlptest.New(t)
		require.NoError(t, newExporters(t, c, tr).metrics.Export(t.Context(), resourceMetrics(sent...)))
		require.Equal(t, want, c.Metrics())
	})
}

func TestRequestsTellWhatReachedTheServer(t *testing.T) {
	overEveryTransport(t, func(t *testing.T, tr transport) {
		tr.headers = map[string]string{"x-api-key": "secret"}
		before := time.Now()
		c := otlptest.New(t)
		exporters := newExporters(t, c, tr)
		paths := map[otlptest.Signal]string{
			otlptest.Traces:  "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
			otlptest.Metrics: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
			otlptest.Logs:    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
		}
		for i, signal := range signals {
			require.NoError(t, exporters.send(t.Context(), signal, 1000))
			got := c.Requests()
			require.Len(t, got, i+1)
			r := got[i]
			require.Equal(t, signal, r.Signal)
			require.Equal(t, tr.protocol, r.Protocol)
			require.Equal(t, 1000, r.Items)
			require.True(t, r.Accepted)
			require.Equal(t, "secret", r.Header.Get("X-Api-Key"))
			require.WithinRange(t, r.At, before, time.Now())
			if tr.protocol == httpProtobuf {
				require.Equal(t, "/v1/"+signal.String(), r.Path)
			} else {
				require.Equal(t, paths[signal], r.Path)
			}
			if tr.gzip {
				require.Equal(t, "gzip", r.Encoding)
				require.Less(t, r.Bytes, 10_000, "a thousand like items compress well")
			} else {
				require.Empty(t, r.Encoding)
				require.Greater(t, r.Bytes, 10_000)
			}
		}
		require.Len(t, c.Spans(), 1000)
		require.Len(t, c.LogRecords(), 1000)
		require.Len(t, c.Metrics(), 1)

		c.Reset()
		require.Empty(t, c.Requests())
		require.Empty(t, c.Spans())
		require.Empty(t, c.LogRecords())
		require.Empty(t, c.Metrics())
	})
}

func TestDownAndUpOnTheSamePorts(t *testing.T) {
	forBothProtocols(t, func(t *testing.T, tr transport) {
		c := otlptest.New(t)
		endpoint := c.Endpoint(tr.protocol)
		exporters := newExporters(t, c, tr)
		for round := 1; round <= 3; round++ {
			require.NoError(t, exporters.send(soon(t), otlptest.Traces, 1))
			require.NoError(t, c.Down())
			require.NoError(t, c.Down(), "down already")
			require.Error(t, exporters.send(t.Context(), otlptest.Traces, 1))
			require.NoError(t, c.Up())
			require.NoError(t, c.Up(), "up already")
			require.Equal(t, endpoint, c.Endpoint(tr.protocol))
			// A gRPC channel that saw its port closed waits a second before it dials again.
			exporters = newExporters(t, c, tr)
			require.Len(t, c.Spans(), round, "what has arrived is kept")
		}
	})
}

// TestPortsAreKeptWhileDown looks for what tells other tests, which may be other processes, that a
// port is not free.
func TestPortsAreKeptWhileDown(t *testing.T) {
	c := otlptest.New(t)
	require.NoError(t, c.Down())
	addresses := []string{otlptest.FreeAddress(t)}
	for _, protocol := range protocols {
		_, address, _ := strings.Cut(c.Endpoint(protocol), "//")
		addresses = append(addresses, address)
	}
	for _, address := range addresses {
		_, err := net.Dial("tcp", address)
		require.ErrorContains(t, err, "connection refused")
		_, err = net.ListenPacket("udp", address)
		require.ErrorContains(t, err, "address already in use")
	}
	require.NoError(t, c.Close())
	for _, address := range addresses[1:] {
		claim, err := net.ListenPacket("udp", address)
		require.NoError(t, err, "given back")
		require.NoError(t, claim.Close())
	}
}

func TestDownEndsRequestsUnderWay(t *testing.T) {
	forBothProtocols(t, func(t *testing.T, tr transport) {
		c := otlptest.New(t)
		c.SetFault(otlptest.Fault{Hang: true}, otlptest.Traces)
		c.SetFault(otlptest.Fault{Delay: time.Hour}, otlptest.Logs)
		exporters := newExporters(t, c, tr)
		results := make(chan error, 2)
		for _, signal := range []otlptest.Signal{otlptest.Traces, otlptest.Logs} {
			go func() { results <- exporters.send(soon(t), signal, 1) }()
		}
		require.NoError(t, c.Wait(soon(t), func(c *otlptest.Collector) bool { return len(c.Requests()) == 2 }))
		require.NoError(t, c.Down())
		for range 2 {
			err := <-results
			require.Error(t, err)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
		}
		require.Empty(t, c.Spans())
		require.Empty(t, c.LogRecords())
	})
}

func TestCloseIsFinal(t *testing.T) {
	c, err := otlptest.Start()
	require.NoError(t, err)
	require.NoError(t, newExporters(t, c, transport{protocol: httpProtobuf}).send(t.Context(), otlptest.Traces, 1))
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	require.ErrorContains(t, c.Up(), "closed")
	require.Len(t, c.Spans(), 1, "what has arrived stays readable")
	_, err = http.Get(c.HTTPEndpoint()) // there is no response
	require.ErrorContains(t, err, "connection refused")
}

func TestCloseDoesNotWaitForSilentClients(t *testing.T) {
	for name, opts := range map[string][]otlptest.Option{"plaintext": nil,
		"TLS": {otlptest.WithTLS(certificates(t).Server)}} {
		t.Run(name, func(t *testing.T) {
			c, err := otlptest.Start(opts...)
			require.NoError(t, err)
			var silent []net.Conn
			for _, protocol := range protocols {
				_, address, _ := strings.Cut(c.Endpoint(protocol), "//")
				conn, err := net.Dial("tcp", address)
				require.NoError(t, err)
				silent = append(silent, conn)
			}
			closed := make(chan error, 1)
			go func() { closed <- c.Close() }()
			select {
			case err := <-closed:
				require.NoError(t, err)
			case <-soon(t).Done():
				require.Fail(t, "Close waits for clients that say nothing")
			}
			for _, conn := range silent {
				_, err := io.ReadAll(conn) // a gRPC server speaks first
				require.ErrorIs(t, err, syscall.ECONNRESET)
				require.NoError(t, conn.Close())
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	c := otlptest.New(t)
	require.Equal(t, c.HTTPEndpoint(), c.Endpoint("http/protobuf"))
	require.Equal(t, c.GRPCEndpoint(), c.Endpoint("grpc"))
	require.NotEqual(t, c.HTTPEndpoint(), c.GRPCEndpoint())
	require.Regexp(t, `^http://127\.0\.0\.1:\d+$`, c.HTTPEndpoint())
	require.Empty(t, c.Endpoint("http/json"))
}

func TestConcurrentUse(t *testing.T) {
	c := otlptest.New(t)
	var workers sync.WaitGroup
	failures := make(chan error, 100)
	for _, protocol := range protocols {
		exporters := newExporters(t, c, transport{protocol: protocol, gzip: true})
		for _, signal := range signals {
			workers.Go(func() {
				for range 20 {
					if err := exporters.send(t.Context(), signal, 5); err != nil {
						failures <- err
					}
				}
			})
		}
	}
	workers.Go(func() {
		for range 100 {
			c.SetFault(otlptest.Fault{Delay: time.Microsecond})
			c.SetMaxRequestBytes(1 << 20)
			_, _, _, _ = c.Spans(), c.LogRecords(), c.Metrics(), c.Requests()
		}
	})
	_, err := c.WaitSpans(soon(t), 200)
	require.NoError(t, err)
	workers.Wait()
	close(failures)
	var all error
	for err := range failures {
		all = errors.Join(all, err)
	}
	require.NoError(t, all)
	require.Len(t, c.Spans(), 200)
	require.Len(t, c.LogRecords(), 200)
	require.Len(t, c.Metrics(), 40)
	require.Len(t, c.Requests(), 120)
}
