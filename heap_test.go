package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// With the collector down, 60 items that refer to one or two megabytes each retain what is counted,
// 32 KiB or twice that, and not the 60 to 120 MiB that they were taken from.
func TestQueuedItemsRetainOnlyWhatIsCounted(t *testing.T) {
	if inOwnProcess(t, 300) {
		return
	}
	for _, sampler := range []string{"always_on", "adaptive"} {
		t.Setenv("OTEL_TRACES_SAMPLER", sampler)
		for name := range heapSources(t, away(t)) {
			if sampler == "adaptive" && !slices.Contains([]string{"attribute", "event", "query", "Host"}, name) {
				continue // what holds spans differs, and nothing else
			}
			t.Run(sampler+"/"+name, func(t *testing.T) {
				guard := away(t)
				do := heapSources(t, guard)[name]
				do(0)
				before := heapNow()
				for i := range 60 {
					do(i)
				}
				require.Less(t, heapNow()-before, 16<<20)
				runtime.KeepAlive(guard)
			})
		}
	}
}

// Baggage and trace state are small, but arrive with every request.
func TestQueuedItemsDoNotRetainHeaders(t *testing.T) {
	if inOwnProcess(t, 300) {
		return
	}
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	members := make([]string, 0, 63)
	for i := range 63 {
		members = append(members, fmt.Sprintf("k%d=%s", i, strings.Repeat("v", 120)))
	}
	guard := away(t)
	tracer := guard.TracerProvider().Tracer("test")
	received := func() {
		ctx := guard.Propagator().Extract(context.Background(), propagation.MapCarrier{
			"baggage": "tenant=eu," + strings.Join(members, ","),
		})
		_, span := tracer.Start(context.Background(), "span", trace.WithAttributes(
			attribute.String("tenant", baggage.FromContext(ctx).Member("tenant").Value())))
		span.End()
	}
	received()
	before := heapNow()
	for range 4000 {
		received()
	}
	require.Less(t, heapNow()-before, 12<<20)
	runtime.KeepAlive(guard)
}

// A longer host is not a valid host name, but a way for callers to create large series.
func TestHostBoundInMetrics(t *testing.T) {
	for n, want := range map[int]int{253: 253, 254: 253} {
		reader := sdkmetric.NewManualReader()
		guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithServiceName("test"),
			telemetry.WithLogOutput(&syncBuffer{}),
			telemetry.WithMetricReader(reader), telemetry.WithoutTraces(), telemetry.WithoutLogs(),
			telemetry.WithoutRuntimeMetrics())
		require.NoError(t, err)
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Host = strings.Repeat("h", n)
		telemetry.Handler(http.HandlerFunc(ok), telemetry.WithGuard(guard)).ServeHTTP(httptest.NewRecorder(), r)
		var rm metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &rm))
		found := false
		for _, scope := range rm.ScopeMetrics {
			for _, m := range scope.Metrics {
				if m.Name == "http.server.request.duration" {
					host, _ := m.Data.(metricdata.Histogram[float64]).DataPoints[0].Attributes.Value("server.address")
					require.Len(t, host.AsString(), want)
					found = true
				}
			}
		}
		require.True(t, found)
		require.NoError(t, guard.Shutdown(t.Context()))
	}
}

// heapSources are the ways in which an item keeps a small part of something large. Each is called
// 60 times with the collector down.
func heapSources(t *testing.T, guard *telemetry.Guard) map[string]func(i int) {
	t.Helper()
	tracer := guard.TracerProvider().Tracer("test")
	counter, err := guard.MeterProvider().Meter("test").Int64Counter("c")
	require.NoError(t, err)
	histogram, err := guard.MeterProvider().Meter("test").Float64Histogram("h")
	require.NoError(t, err)
	tail := strings.Repeat("x", 2<<20)
	large := func(i int) string { return fmt.Sprintf("%07d", i) + tail }
	attr := func(i int) attribute.KeyValue { return attribute.String("v", large(i)) }
	link := remoteContext(t, trace.FlagsSampled)
	spanWith := func(edit func(trace.Span, int)) func(int) {
		return func(i int) {
			_, span := tracer.Start(context.Background(), "span")
			edit(span, i)
			span.End()
		}
	}
	server := serve(t, telemetry.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		span := trace.SpanFromContext(r.Context())
		if header := r.Header.Get("X-Large"); header != "" {
			span.SetAttributes(attribute.String("header", header))
		}
		if tenant := baggage.FromContext(r.Context()).Member("tenant").Value(); tenant != "" {
			span.SetAttributes(attribute.String("tenant", tenant))
		}
	}), telemetry.WithGuard(guard)))
	ask := func(path, host string, header http.Header) {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL+path, http.NoBody)
		require.NoError(t, err)
		r.Host, r.Header = host, header
		response, err := server.Client().Do(r)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.NoError(t, response.Body.Close())
	}
	header := func(i int) string { return large(i)[:900<<10] }
	return map[string]func(i int){
		"attribute": spanWith(func(s trace.Span, i int) { s.SetAttributes(attr(i)) }),
		"slice": spanWith(func(s trace.Span, i int) {
			s.SetAttributes(attribute.StringSlice("s", []string{large(i), large(i)}))
		}),
		"booleans": spanWith(func(s trace.Span, _ int) {
			s.SetAttributes(attribute.BoolSlice("b", make([]bool, 2<<20)))
		}),
		"event": spanWith(func(s trace.Span, i int) { s.AddEvent(large(i), trace.WithAttributes(attr(i))) }),
		"error": spanWith(func(s trace.Span, i int) { s.RecordError(errors.New(large(i))) }),
		"many attributes of an event": spanWith(func(s trace.Span, _ int) {
			s.AddEvent("e", trace.WithAttributes(make([]attribute.KeyValue, 30_000)...))
		}),
		"link": spanWith(func(s trace.Span, i int) {
			s.AddLink(trace.Link{SpanContext: link, Attributes: []attribute.KeyValue{attr(i)}})
		}),
		"status":           spanWith(func(s trace.Span, i int) { s.SetStatus(codes.Error, large(i)) }),
		"name":             spanWith(func(s trace.Span, i int) { s.SetName(large(i)) }),
		"metric attribute": func(i int) { counter.Add(context.Background(), 1, metric.WithAttributes(attr(i))) },
		"histogram":        func(i int) { histogram.Record(context.Background(), 1, metric.WithAttributes(attr(i))) },
		"log body":         func(i int) { guard.Logger().Debug(large(i)) },
		"log attribute":    func(i int) { guard.Logger().Debug("m", "v", large(i)) },
		"log error":        func(i int) { guard.Logger().Debug("m", "error", errors.New(large(i))) },
		"log value":        func(i int) { guard.Logger().Debug("m", "v", map[string]string{"k": large(i)}) },
		"log group":        func(i int) { guard.Logger().Debug("m", slog.Group("g", "v", large(i))) },
		"User-Agent":       func(i int) { ask("/", "", http.Header{"User-Agent": {header(i)}}) },
		"query":            func(i int) { ask(fmt.Sprintf("/orders/%d?", i)+header(i), "", nil) },
		"path":             func(i int) { ask("/"+header(i), "", nil) },
		"Host":             func(i int) { ask("/", header(i), nil) },
		"X-Forwarded-For":  func(i int) { ask("/", "", http.Header{"X-Forwarded-For": {"10.0.0.1, " + header(i)}}) },
		"header":           func(i int) { ask("/", "", http.Header{"X-Large": {header(i)}}) },
	}
}

// away is a guard whose collector accepts nothing until the test ends. What is logged below the
// console's level goes to OTLP only.
func away(t *testing.T) *telemetry.Guard {
	t.Helper()
	t.Setenv("TELEMETRY_OTLP_LOG_LEVEL", "debug")
	until := make(chan struct{})
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithServiceName("test"),
		telemetry.WithLogOutput(&syncBuffer{}),
		telemetry.WithSpanExporter(waitingSpans{until}), telemetry.WithLogExporter(waitingLogs{until}),
		telemetry.WithMetricReader(sdkmetric.NewManualReader()), telemetry.WithoutRuntimeMetrics())
	require.NoError(t, err)
	t.Cleanup(func() {
		close(until)
		require.NoError(t, guard.Shutdown(context.Background()))
	})
	return guard
}

type (
	waitingSpans struct{ until chan struct{} }
	waitingLogs  struct{ until chan struct{} }
)

func (w waitingSpans) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	<-w.until
	return nil
}

func (waitingSpans) Shutdown(context.Context) error { return nil }

func (w waitingLogs) Export(context.Context, []sdklog.Record) error {
	<-w.until
	return nil
}

func (waitingLogs) Shutdown(context.Context) error { return nil }

func (waitingLogs) ForceFlush(context.Context) error { return nil }
