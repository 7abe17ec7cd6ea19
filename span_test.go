package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

// A server ends its span after the client has its answer, so a test waits for it.
const (
	waitFor = 2 * time.Second
	tick    = time.Millisecond
)

// sdkRecord is what the SDK made of the signals of one test.
type sdkRecord struct {
	spans   *tracetest.SpanRecorder
	metrics *sdkmetric.ManualReader
	tracing *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
}

// recordSDK makes providers that are not global.
func recordSDK(t testing.TB, opts ...sdktrace.TracerProviderOption) *sdkRecord {
	t.Helper()
	r := &sdkRecord{spans: tracetest.NewSpanRecorder(), metrics: sdkmetric.NewManualReader()}
	r.tracing = sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(r.spans))...)
	r.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.metrics))
	t.Cleanup(func() {
		require.NoError(t, r.tracing.Shutdown(context.Background()))
		require.NoError(t, r.meters.Shutdown(context.Background()))
	})
	return r
}

// recordGlobals makes providers the global ones, with the W3C propagators, for one test.
func recordGlobals(t testing.TB, opts ...sdktrace.TracerProviderOption) *sdkRecord {
	t.Helper()
	r := recordSDK(t, opts...)
	tracing, meters := otel.GetTracerProvider(), otel.GetMeterProvider()
	t.Cleanup(func() {
		otel.SetTracerProvider(tracing)
		otel.SetMeterProvider(meters)
	})
	otel.SetTracerProvider(r.tracing)
	otel.SetMeterProvider(r.meters)
	setPropagator(t, propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	return r
}

func setPropagator(t testing.TB, p propagation.TextMapPropagator) {
	t.Helper()
	previous := otel.GetTextMapPropagator()
	t.Cleanup(func() { otel.SetTextMapPropagator(previous) })
	otel.SetTextMapPropagator(p)
}

// span waits for the one ended span of that name.
func (r *sdkRecord) span(t testing.TB, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	require.Eventually(t, func() bool {
		found = nil
		for _, s := range r.spans.Ended() {
			if s.Name() == name {
				found = append(found, s)
			}
		}
		return len(found) > 0
	}, waitFor, tick, "no span %q", name)
	require.Len(t, found, 1, "spans named %q", name)
	return found[0]
}

func (r *sdkRecord) names() []string {
	var names []string
	for _, s := range r.spans.Ended() {
		names = append(names, s.Name())
	}
	return names
}

// collected is every metric so far, by name.
func (r *sdkRecord) collected(t testing.TB) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, r.metrics.Collect(context.Background(), &all))
	byName := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			byName[m.Name] = m
		}
	}
	return byName
}

// metric waits for the metric of that name: instrumentation may record it after the span has ended.
func (r *sdkRecord) metric(t testing.TB, name string) metricdata.Metrics {
	t.Helper()
	var found metricdata.Metrics
	require.Eventually(t, func() bool {
		m, ok := r.collected(t)[name]
		found = m
		return ok
	}, waitFor, tick, "no metric %q", name)
	return found
}

func attributeMap(attributes []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range attributes {
		m[string(kv.Key)] = kv.Value.String()
	}
	return m
}

func requireRandomRoot(t testing.TB, s sdktrace.ReadOnlySpan) {
	t.Helper()
	require.True(t, s.SpanContext().IsRandom(), "a root of ours is random")
	require.False(t, s.Parent().HasTraceID(), "a root has no parent trace")
	require.False(t, s.Parent().HasSpanID(), "a root has no parent span")
	require.False(t, s.Parent().IsRemote(), "a root has no remote parent")
}

type typedError struct{ text string }

func (e *typedError) Error() string { return e.text }

type labelledError struct{ error }

func (labelledError) ErrorType() string { return "card_declined" }

func TestDoRecordsTheError(t *testing.T) {
	_, statError := os.Stat("/does/not/exist")
	var typedNil *typedError
	for name, tc := range map[string]struct {
		err       error
		errorType string
		message   string
	}{
		"plain":            {errors.New("no stock"), "*errors.errorString", "no stock"},
		"pointer type":     {statError, "*fs.PathError", statError.Error()},
		"wrapped twice":    {fmt.Errorf("a: %w", fmt.Errorf("b: %w", &fs.PathError{Op: "x", Path: "y", Err: fs.ErrExist})), "*fs.PathError", "a: b: x y: file already exists"},
		"value type":       {labelledError{errors.New("declined")}, "card_declined", "declined"},
		"cancelled":        {fmt.Errorf("gateway: %w", context.Canceled), "context.Canceled", "gateway: context canceled"},
		"deadline":         {context.DeadlineExceeded, "context.DeadlineExceeded", "context deadline exceeded"},
		"nil in interface": {typedNil, "*telemetry_test.typedError", "*telemetry_test.typedError without a text: its methods panic"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := telemetrytest.Start(t)
			err := telemetry.Do(context.Background(), "work", func(context.Context) error { return tc.err })
			require.True(t, err == tc.err, "the error is returned as it is") // identity is the point

			span := rec.RequireSpan(t, "work", attribute.String("error.type", tc.errorType))
			span.RequireStatus(t, codes.Error, tc.message)
			span.RequireEvent(t, "exception", attribute.String("exception.type", tc.errorType), attribute.String("exception.message", tc.message))
			require.Len(t, span.Events, 1)
		})
	}
}

func TestDoWithoutError(t *testing.T) {
	sdk := recordGlobals(t)
	err := telemetry.Do(context.Background(), "work", func(ctx context.Context) error {
		require.True(t, trace.SpanFromContext(ctx).IsRecording())
		return nil
	}, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attribute.Int("n", 3)))
	require.NoError(t, err)

	span := sdk.span(t, "work")
	require.Equal(t, codes.Unset, span.Status().Code)
	require.Empty(t, span.Events())
	require.Equal(t, trace.SpanKindConsumer, span.SpanKind())
	require.Equal(t, map[string]string{"n": "3"}, attributeMap(span.Attributes()))
	require.Equal(t, "github.com/fleetotel/telemetry", span.InstrumentationScope().Name)
	require.Equal(t, telemetry.Version, span.InstrumentationScope().Version)
	requireRandomRoot(t, span)
}

func TestDoRecordsThePanicAndLetsItGoOn(t *testing.T) {
	boom := &typedError{"boom"}
	for name, tc := range map[string]struct {
		value              any
		errorType, message string
	}{
		"text":  {"out of cards", "string", "out of cards"},
		"error": {boom, "*telemetry_test.typedError", "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := telemetrytest.Start(t)
			require.PanicsWithValue(t, tc.value, func() {
				_ = telemetry.Do(context.Background(), "work", func(context.Context) error { panic(tc.value) })
			})
			span := rec.RequireSpan(t, "work", attribute.String("error.type", tc.errorType))
			span.RequireStatus(t, codes.Error, "panic: "+tc.message)
			event := span.RequireEvent(t, "exception", attribute.String("exception.type", tc.errorType), attribute.String("exception.message", tc.message))
			require.Contains(t, event.Attributes["exception.stacktrace"], "TestDoRecordsThePanicAndLetsItGoOn",
				"the stack reaches the code that panicked")
			require.Len(t, span.Events, 1, "one panic is one event")
		})
	}
}

func TestDoEndsTheSpanOfAGoroutineThatExits(t *testing.T) {
	rec := telemetrytest.Start(t)
	returned := false
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = telemetry.Do(context.Background(), "work", func(context.Context) error { runtime.Goexit(); return nil })
		returned = true
	})
	wg.Wait()
	require.False(t, returned, "Goexit is not swallowed")
	span := rec.RequireSpan(t, "work")
	span.RequireStatus(t, codes.Unset, "")
	require.Empty(t, span.Events)
}

func TestDoUnsampled(t *testing.T) {
	recordGlobals(t, sdktrace.WithSampler(sdktrace.NeverSample()))
	failure := errors.New("failure")
	require.Equal(t, failure, telemetry.Do(context.Background(), "work", func(context.Context) error { return failure }))
	require.PanicsWithValue(t, failure, func() {
		_ = telemetry.Do(context.Background(), "work", func(context.Context) error { panic(failure) })
	})
}

func TestDoDoesNotRecordAnAbortedRequest(t *testing.T) {
	rec := telemetrytest.Start(t)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		_ = telemetry.Do(context.Background(), "work", func(context.Context) error { panic(http.ErrAbortHandler) })
	})
	span := rec.RequireSpan(t, "work")
	span.RequireStatus(t, codes.Unset, "")
	require.Empty(t, span.Events)
}

func TestDoTakesTheTracerOfTheSpanInContext(t *testing.T) {
	nothing := func(context.Context) error { return nil }

	t.Run("its provider's", func(t *testing.T) {
		global, own := recordGlobals(t), recordSDK(t)
		ctx, parent := own.tracing.Tracer("service").Start(context.Background(), "parent")
		require.NoError(t, telemetry.Do(ctx, "child", nothing))
		require.Equal(t, parent.SpanContext(), own.span(t, "child").Parent())
		require.Empty(t, global.names())
		parent.End()
	})
	t.Run("the global one under a remote span", func(t *testing.T) {
		global := recordGlobals(t)
		caller := remoteContext(t, trace.FlagsSampled)
		require.NoError(t, telemetry.Do(trace.ContextWithRemoteSpanContext(context.Background(), caller), "child", nothing))
		span := global.span(t, "child")
		require.Equal(t, caller.TraceID(), span.SpanContext().TraceID())
		require.Equal(t, caller.SpanID(), span.Parent().SpanID())
		require.False(t, span.SpanContext().IsRandom(), "the caller's trace id is not ours to call random")
	})
	t.Run("the global one under a span context in a detached context", func(t *testing.T) {
		global := recordGlobals(t)
		_, parent := global.tracing.Tracer("service").Start(context.Background(), "parent")
		detached := trace.ContextWithSpanContext(context.Background(), parent.SpanContext())
		require.NoError(t, telemetry.Do(detached, "child", nothing))
		require.Equal(t, parent.SpanContext().SpanID(), global.span(t, "child").Parent().SpanID())
		parent.End()
	})
}

func TestDoRandomFlag(t *testing.T) {
	nothing := func(context.Context) error { return nil }

	t.Run("children have the root's", func(t *testing.T) {
		sdk := recordGlobals(t)
		require.NoError(t, telemetry.Do(context.Background(), "root", func(ctx context.Context) error {
			return telemetry.Do(ctx, "child", nothing)
		}))
		requireRandomRoot(t, sdk.span(t, "root"))
		require.True(t, sdk.span(t, "child").SpanContext().IsRandom())
		require.Equal(t, sdk.span(t, "root").SpanContext().SpanID(), sdk.span(t, "child").Parent().SpanID())
	})
	t.Run("an unsampled root has it", func(t *testing.T) {
		recordGlobals(t, sdktrace.WithSampler(sdktrace.NeverSample()))
		require.NoError(t, telemetry.Do(context.Background(), "root", func(ctx context.Context) error {
			require.Equal(t, trace.FlagsRandom, trace.SpanContextFromContext(ctx).TraceFlags())
			return nil
		}))
	})
	t.Run("WithNewRoot has it and keeps the other options", func(t *testing.T) {
		sdk := recordGlobals(t)
		caller := remoteContext(t, trace.FlagsSampled)
		start := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
		ctx := trace.ContextWithRemoteSpanContext(context.Background(), caller)
		require.NoError(t, telemetry.Do(ctx, "batch", nothing, trace.WithNewRoot(), trace.WithTimestamp(start),
			trace.WithLinks(trace.Link{SpanContext: caller}), trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithAttributes(attribute.String("k", "v"))))
		span := sdk.span(t, "batch")
		requireRandomRoot(t, span)
		require.NotEqual(t, caller.TraceID(), span.SpanContext().TraceID())
		require.Len(t, span.Links(), 1)
		require.Equal(t, caller, span.Links()[0].SpanContext)
		require.Equal(t, trace.SpanKindConsumer, span.SpanKind())
		require.Equal(t, start, span.StartTime())
		require.Equal(t, map[string]string{"k": "v"}, attributeMap(span.Attributes()))
	})
	t.Run("a trace id without a span id is left alone", func(t *testing.T) {
		sdk := recordGlobals(t)
		id := remoteContext(t, 0).TraceID()
		foreign := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id})
		require.NoError(t, telemetry.Do(trace.ContextWithSpanContext(context.Background(), foreign), "work", nothing))
		require.Equal(t, id, sdk.span(t, "work").SpanContext().TraceID())
		require.False(t, sdk.span(t, "work").SpanContext().IsRandom())
	})
}

func TestDoConcurrentSafe(t *testing.T) {
	rec := telemetrytest.Start(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			_ = telemetry.Do(context.Background(), fmt.Sprint("work ", i), func(context.Context) error { return nil })
		})
	}
	wg.Wait()
	require.Len(t, rec.Spans(), 16)
}

// remoteContext is a caller's span context.
func remoteContext(t testing.TB, flags trace.TraceFlags) trace.SpanContext {
	t.Helper()
	traceID, err := trace.TraceIDFromHex("4bf92f3577b34da6a3ce929d0e0e4736")
	require.NoError(t, err)
	spanID, err := trace.SpanIDFromHex("00f067aa0ba902b7")
	require.NoError(t, err)
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: flags, Remote: true})
}
