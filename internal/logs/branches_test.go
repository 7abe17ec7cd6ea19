package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"
)

func withSpan(ctx context.Context) context.Context {
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{0xcd}, TraceFlags: trace.FlagsSampled,
	}))
}

func decodeLines(t *testing.T, output string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(output) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		lines = append(lines, fields)
	}
	return lines
}

func TestConsoleHandlerConformsToSlog(t *testing.T) {
	var buf bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		buf.Reset()
		return NewConsoleHandler(&buf, false, slog.LevelDebug, nil)
	}, func(t *testing.T) map[string]any { return decodeLines(t, buf.String())[0] })
}

func TestConsoleCorrelationIsAtTheRoot(t *testing.T) {
	var buf bytes.Buffer
	logger := slog.New(NewConsoleHandler(&buf, false, slog.LevelInfo, nil))
	ctx := withSpan(t.Context())
	loggers := map[string]*slog.Logger{
		"plain":                logger,
		"with attributes":      logger.With("a", 1),
		"with group":           logger.WithGroup("g"),
		"attributes and group": logger.With("a", 1).WithGroup("g").With("b", 2).WithGroup("h").With("c", 3),
	}
	for name, l := range loggers {
		t.Run(name, func(t *testing.T) {
			buf.Reset()
			l.InfoContext(ctx, "m", "key", "value")
			l.Info("no span", "key", "value")
			lines := decodeLines(t, buf.String())
			require.Equal(t, "ab000000000000000000000000000000", lines[0]["trace_id"])
			require.Equal(t, "cd00000000000000", lines[0]["span_id"])
			require.Equal(t, "01", lines[0]["trace_flags"])
			delete(lines[0], "trace_id")
			delete(lines[0], "span_id")
			delete(lines[0], "trace_flags")
			for _, line := range lines {
				delete(line, "time")
				delete(line, "msg")
			}
			require.Equal(t, lines[1], lines[0], "the ids are all that a span adds")
		})
	}
	buf.Reset()
	loggers["attributes and group"].InfoContext(ctx, "m", "key", "value")
	line := decodeLines(t, buf.String())[0]
	require.Equal(t, map[string]any{"b": 2.0, "h": map[string]any{"c": 3.0, "key": "value"}}, line["g"])
	require.EqualValues(t, 1, line["a"])
}

func TestConsoleText(t *testing.T) {
	var buf bytes.Buffer
	slog.New(NewConsoleHandler(&buf, true, slog.LevelInfo, nil)).InfoContext(withSpan(t.Context()), "m", "a", 1)
	require.Contains(t, buf.String(),
		"level=INFO msg=m a=1 trace_id=ab000000000000000000000000000000 span_id=cd00000000000000 trace_flags=01")
}

// memoryLogs is the end of a logger provider.
type memoryLogs struct{ records []sdklog.Record }

func (m *memoryLogs) OnEmit(_ context.Context, r *sdklog.Record) error {
	m.records = append(m.records, r.Clone())
	return nil
}
func (*memoryLogs) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (*memoryLogs) Shutdown(context.Context) error                         { return nil }
func (*memoryLogs) ForceFlush(context.Context) error                       { return nil }

func (m *memoryLogs) attributes(i int) map[string]any {
	attrs := map[string]any{}
	m.records[i].WalkAttributes(func(kv attribute.KeyValue) bool {
		attrs[string(kv.Key)] = kv.Value.AsInterface()
		return true
	})
	return attrs
}

func otlpBranch(level slog.Leveler) (*memoryLogs, slog.Handler) {
	memory := &memoryLogs{}
	sink := NewSink(memory)
	sink.Attach(sdklog.NewLoggerProvider(sdklog.WithProcessor(sink)))
	return memory, NewOTLPHandler(sink, level)
}

func TestEveryErrorSurvivesOnBothBranches(t *testing.T) {
	memory, otlp := otlpBranch(slog.LevelInfo)
	var buf bytes.Buffer
	logger := slog.New(NewHandler(slog.NewMultiHandler(NewConsoleHandler(&buf, false, slog.LevelInfo, nil), otlp)))
	first, second := &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrNotExist}, errors.New("second")
	logger.Error("in the call", "error", first, "cleanup", second, "n", 1)
	logger.With("error", first, "cleanup", second).Error("before it")

	for i, line := range decodeLines(t, buf.String()) {
		for _, fields := range []map[string]any{line, memory.attributes(i)} {
			require.Equal(t, "open /x: file does not exist", fields["error"])
			require.Equal(t, "second", fields["cleanup"])
		}
		require.Equal(t, "*fs.PathError", memory.attributes(i)["exception.type"])
		require.Equal(t, "open /x: file does not exist", memory.attributes(i)["exception.message"])
	}
}

type panicking struct{}

func (panicking) Error() string { panic("no text") }

type failing struct{ slog.Handler }

func (f failing) Handle(context.Context, slog.Record) error { return io.ErrClosedPipe }

func TestBranchesDoNotHarmEachOther(t *testing.T) {
	memory, otlp := otlpBranch(slog.LevelInfo)
	var buf bytes.Buffer
	console := NewConsoleHandler(&buf, false, slog.LevelInfo, nil)
	require.ErrorIs(t, NewHandler(failing{console}, otlp).Handle(t.Context(), record(1)), io.ErrClosedPipe)
	require.Len(t, memory.records, 1)
	slog.New(NewHandler(failing{otlp}, console)).Info("console has it")
	require.Contains(t, buf.String(), "console has it")

	slog.New(NewHandler(slog.NewMultiHandler(console, otlp))).Error("a value panics", "error", panicking{})
	require.Len(t, memory.records, 2)
	require.Contains(t, memory.attributes(1)["error"], "PANIC")
	require.Contains(t, buf.String(), "a value panics")
}

// noLogValue is a nil pointer by the time it is asked for.
type noLogValue struct{}

func (noLogValue) LogValue() slog.Value { return slog.AnyValue(error((*fs.PathError)(nil))) }

func TestAValueThatPanicsCostsOnlyItself(t *testing.T) {
	var none error = (*fs.PathError)(nil)
	for name, value := range map[string]any{
		"in a group": slog.GroupValue(slog.Any("deep",
			slog.GroupValue(slog.Any("error", none), slog.Int("n", 2)))),
		"in a map":              map[string]any{"error": none},
		"in a slice":            []error{none},
		"what a LogValuer says": noLogValue{},
	} {
		memory, otlp := otlpBranch(slog.LevelInfo)
		logger := slog.New(NewHandler(otlp))
		logger.Info("paid", "value", value, "n", 1)
		logger.With("value", value, "n", 1).Info("paid")
		logger.With("value", value, "n", 1).WithGroup("g").With("value", value).Info("paid", "another", value)
		require.Len(t, memory.records, 3, name)
		for i := range memory.records {
			require.EqualValues(t, 1, memory.attributes(i)["n"], name)
			require.Contains(t, fmt.Sprint(memory.attributes(i)["value"]), "!PANIC: runtime error", name)
		}
		inGroup := fmt.Sprint(memory.attributes(2)["g"])
		require.Equal(t, 2, strings.Count(inGroup, "!PANIC: runtime error"), name)
		if name == "in a group" {
			require.Contains(t, inGroup, "2", "what stands beside it in the group stays")
		}
	}
}

// unsteady panics the second time it is asked, and every second time after that.
type unsteady struct{ asked *int }

func (u unsteady) Error() string {
	if *u.asked++; *u.asked%2 == 0 {
		panic("not now")
	}
	return "well"
}

func TestAValueThatPanicsNowAndThenPanicsNowhereElse(t *testing.T) {
	for first := range 2 {
		asked := first
		memory, otlp := otlpBranch(slog.LevelInfo)
		group := slog.Group("g", "error", unsteady{&asked})
		require.NotPanics(t, func() { slog.New(NewHandler(otlp)).With(group).Info("with") })
		require.Len(t, memory.records, 1)
		require.NotPanics(t, func() { slog.New(NewHandler(otlp)).Info("record", group) })
	}
}

func TestLevels(t *testing.T) {
	var level slog.LevelVar
	memory, otlp := otlpBranch(&level)
	var buf bytes.Buffer
	logger := slog.New(NewHandler(NewConsoleHandler(&buf, false, slog.LevelError, nil), otlp))
	logger.Debug("1")
	logger.Info("2")
	require.Len(t, memory.records, 1, "each branch has its own level")
	require.Empty(t, buf.String())
	level.Set(slog.LevelDebug)
	logger.Debug("3")
	require.Len(t, memory.records, 2, "the level changes while the service runs")
	level.Set(slog.LevelError)
	logger.Warn("4")
	require.Len(t, memory.records, 2)
}

func TestUnwantedRecordCostsNothing(t *testing.T) {
	_, otlp := otlpBranch(slog.LevelInfo)
	logger := slog.New(NewHandler(slog.NewMultiHandler(NewConsoleHandler(io.Discard, false, slog.LevelInfo, nil),
		otlp)))
	ctx := withSpan(t.Context())
	require.Zero(t, testing.AllocsPerRun(1000, func() { logger.LogAttrs(ctx, slog.LevelDebug, "unwanted") }))
}

// They may have no severity, no body and no timestamp.
func TestConsoleShowsRecordsOfOtherBridges(t *testing.T) {
	var buf bytes.Buffer
	console := ConsoleRecords{Console: NewHandler(NewConsoleHandler(&buf, false, slog.LevelInfo, nil))}
	logger := sdklog.NewLoggerProvider(sdklog.WithProcessor(console)).Logger("another")
	var r log.Record
	r.SetEventName("order.placed")
	r.AddAttributes(attribute.Map("order", attribute.Int("id", 7)))
	logger.Emit(t.Context(), r)
	line := decodeLines(t, buf.String())[0]
	require.NotEmpty(t, line["time"])
	require.Equal(t, "INFO", line["level"])
	require.Equal(t, "order.placed", line["event.name"])
	require.Equal(t, map[string]any{"id": 7.0}, line["order"])
}
