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
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

func TestDoRecordsTheError(t *testing.T) {
	_, statError := os.Stat("/does/not/exist")
	var typedNil *typedError
	for name, tc := range map[string]struct {
		err       error
		errorType string
		message   string
	}{
		"plain":        {errors.New("no stock"), "*errors.errorString", "no stock"},
		"pointer type": {statError, "*fs.PathError", statError.Error()},
		"wrapped twice": {fmt.Errorf("a: %w",
			fmt.Errorf("b: %w", &fs.PathError{Op: "x", Path: "y", Err: fs.ErrExist})), "*fs.PathError",
			"a: b: x y: file already exists"},
		"value type": {labelledError{errors.New("declined")}, "card_declined", "declined"},
		"cancelled": {fmt.Errorf("gateway: %w", context.Canceled), "context.Canceled",
			"gateway: context canceled"},
		"deadline": {context.DeadlineExceeded, "context.DeadlineExceeded", "context deadline exceeded"},
		"nil in interface": {typedNil, "*telemetry_test.typedError",
			"*telemetry_test.typedError without a text: its methods panic"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := telemetrytest.Start(t)
			err := telemetry.Do(context.Background(), "work", func(context.Context) error { return tc.err })
			require.True(t, err == tc.err, "the error is returned as it is") // identity is the point

			span := rec.RequireSpan(t, "work", attribute.String("error.type", tc.errorType))
			span.RequireStatus(t, codes.Error, tc.message)
			span.RequireEvent(t, "exception", attribute.String("exception.type", tc.errorType),
				attribute.String("exception.message", tc.message))
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

func TestDoRecordsAPanicAndRaisesItAgain(t *testing.T) {
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
			event := span.RequireEvent(t, "exception", attribute.String("exception.type", tc.errorType),
				attribute.String("exception.message", tc.message))
			require.Contains(t, event.Attributes["exception.stacktrace"], "TestDoRecordsAPanicAndRaisesItAgain",
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

func TestDoRunsWhenUnsampled(t *testing.T) {
	recordGlobals(t, sdktrace.WithSampler(sdktrace.NeverSample()))
	failure := errors.New("failure")
	require.Equal(t, failure, telemetry.Do(context.Background(), "work",
		func(context.Context) error { return failure }))
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

func TestDoUsesTheTracerOfTheSpanInContext(t *testing.T) {
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
		require.NoError(t, telemetry.Do(trace.ContextWithRemoteSpanContext(context.Background(), caller), "child",
			nothing))
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

func TestDoSetsTheRandomFlag(t *testing.T) {
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

type typedError struct{ text string }

func (e *typedError) Error() string { return e.text }
