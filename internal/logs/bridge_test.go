package logs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/fleetotel/telemetry/internal/version"
)

// stockBridge hands walked records to otelslog: what bridge is compared with. otelslog moves errors
// to exception.* and keeps only the last, so each gets its text under its own key. It leaves out
// groups that have only groups in them, so each gets a mark, which contents removes.
type stockBridge struct{ slog.Handler }

func newStockBridge(options ...sdklog.LoggerProviderOption) slog.Handler {
	return stockBridge{otelslog.NewHandler(version.Scope, otelslog.WithVersion(version.Version),
		otelslog.WithLoggerProvider(sdklog.NewLoggerProvider(options...)))}
}

func (b stockBridge) Handle(ctx context.Context, r slog.Record) error {
	return b.Handler.Handle(ctx, withAttrs(r, stockAttrs(attrsOf(r))))
}

func (b stockBridge) WithAttrs(attrs []slog.Attr) slog.Handler {
	return stockBridge{b.Handler.WithAttrs(stockAttrs(attrs))}
}

func (b stockBridge) WithGroup(name string) slog.Handler {
	return stockBridge{b.Handler.WithGroup(name).WithAttrs([]slog.Attr{slog.Bool(groupMark, true)})}
}

const groupMark = "mark of a group"

// withoutMarks removes the marks, and the groups that are empty without them.
func withoutMarks(attrs []attribute.KeyValue) (clean []attribute.KeyValue) {
	for _, kv := range attrs {
		if kv.Key == groupMark {
			continue
		}
		if kv.Value.Type() == attribute.MAP && len(kv.Value.AsMap()) > 0 {
			members := withoutMarks(kv.Value.AsMap())
			if len(members) == 0 {
				continue
			}
			kv.Value = attribute.MapValue(members...)
		}
		clean = append(clean, kv)
	}
	return clean
}

func stockAttrs(attrs []slog.Attr) (stock []slog.Attr) {
	hasError := false
	for _, a := range attrs {
		if err, isError := errorOf(a.Value); isError {
			if !hasError {
				stock = append(stock, a)
				hasError = true
			}
			a.Value = slog.StringValue(err.Error())
		}
		stock = append(stock, slog.Attr{Key: a.Key, Value: stockValue(a.Value)})
	}
	return stock
}

func stockValue(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindUint64:
		if v.Uint64() > math.MaxInt64 {
			return slog.StringValue(fmt.Sprint(v.Uint64()))
		}
	case slog.KindAny:
		if n, ok := v.Any().(*node); ok {
			return slog.AnyValue(n.Value())
		}
	case slog.KindGroup:
		var members []slog.Attr
		for _, a := range v.Group() {
			members = append(members, slog.Attr{Key: a.Key, Value: stockValue(a.Value)})
		}
		return slog.GroupValue(members...)
	}
	return v
}

// contents are all that can be read of a record but when it was observed.
func contents(t *testing.T, m *memoryLogs) map[string]any {
	t.Helper()
	require.Len(t, m.records, 1)
	r := m.records[0]
	require.WithinDuration(t, time.Now(), r.ObservedTimestamp(), time.Minute)
	var attrs []attribute.KeyValue
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		attrs = append(attrs, kv)
		return true
	})
	return map[string]any{
		"attributes": fmt.Sprintf("%#v", withoutMarks(attrs)), "dropped": r.DroppedAttributes(), "body": r.Body(),
		"event": r.EventName(),
		"time":  r.Timestamp(), "severity": r.Severity(), "text": r.SeverityText(), "trace": r.TraceID(),
		"span":  r.SpanID(),
		"flags": r.TraceFlags(), "resource": r.Resource().String(), "scope": r.InstrumentationScope(),
	}
}

func FuzzRecordIsThatOfOtelslog(f *testing.F) {
	for seed := range byte(40) {
		data := make([]byte, 400)
		for i := range data {
			data[i] = byte(i*i) * (seed + 1)
		}
		f.Add(data, "order placed", seed%7)
		f.Add(data, "exception.message", seed%7)
	}
	f.Fuzz(func(t *testing.T, data []byte, text string, limit byte) {
		var stock, ours memoryLogs
		options := []sdklog.LoggerProviderOption{sdklog.WithResource(resource.NewSchemaless(attribute.Int("r", 1))),
			sdklog.WithAttributeCountLimit(128), sdklog.WithAttributeValueLengthLimit(3 + int(limit))}
		sink := NewSink(&ours)
		sink.Attach(sdklog.NewLoggerProvider(append(options, sdklog.WithProcessor(sink))...))
		write := func(h slog.Handler) {
			c := &choices{data, text}
			h = NewHandler(h)
			r := slog.NewRecord(time.Unix(int64(c.bits()>>30), 0), slog.Level(c.next(20)-8), c.text, 0)
			for range c.next(5) {
				if c.next(2) == 0 {
					h = h.WithGroup(c.key() + "g")
				} else {
					h = h.WithAttrs(c.attrs(2)[c.next(2):])
				}
			}
			if c.next(4) > 0 {
				r.AddAttrs(c.attrs(3)[c.next(2):]...)
			}
			ctx := t.Context()
			if c.next(2) == 0 {
				ctx = withSpan(ctx)
			}
			require.NoError(t, h.Handle(ctx, r))
		}
		write(newStockBridge(append(options, sdklog.WithProcessor(&stock))...))
		write(NewOTLPHandler(sink, slog.Level(-100)))
		require.Equal(t, contents(t, &stock), contents(t, &ours))
	})
}

func TestRecordsAreThoseOfOtelslog(t *testing.T) {
	first, second := errors.New("first"), fmt.Errorf("second: %w", errors.ErrUnsupported)
	for name, log := range map[string]func(*slog.Logger){
		"two in a call": func(l *slog.Logger) { l.Error("m", "a", first, "b", second) },
		"in With":       func(l *slog.Logger) { l.With("a", first).With("b", second).Error("m") },
		"in both":       func(l *slog.Logger) { l.With("a", first).Error("m", "b", second) },
		"the group's":   func(l *slog.Logger) { l.With("a", first).WithGroup("g").With("b", second).Error("m") },
		"the innermost": func(l *slog.Logger) {
			l.WithGroup("g").With("a", first).WithGroup("h").With("b", second).Error("m")
		},
		"before a group":     func(l *slog.Logger) { l.With("a", first).WithGroup("g").Error("m", "n", 1) },
		"own message":        func(l *slog.Logger) { l.Error("m", "a", first, "exception.message", "mine") },
		"own type":           func(l *slog.Logger) { l.Error("m", "exception.type", "mine", "a", first) },
		"without text":       func(l *slog.Logger) { l.Error("m", "a", errors.New("")) },
		"a group with one":   func(l *slog.Logger) { l.Error("m", slog.Group("g", "a", first)) },
		"a group in a group": func(l *slog.Logger) { l.WithGroup("g").WithGroup("h").Error("m", "n", 1) },
		"groups of With": func(l *slog.Logger) {
			l.WithGroup("g").With("a", 1).WithGroup("h").WithGroup("i").With("b", 2).Error("m", "n", 3)
		},
		"a group of With": func(l *slog.Logger) {
			l.With("a", 1).WithGroup("g").With("b",
				2).WithGroup("h").Error("m")
		},
		"an empty group": func(l *slog.Logger) { l.With("a", 1).WithGroup("g").Error("m") },
		"an inlined group": func(l *slog.Logger) {
			l.Error("m", slog.Group("", "a", 1), slog.Group("g", slog.Group("", "b", 2)))
		},
		"the same key": func(l *slog.Logger) { l.Error("m", "a", first, "a", second) },
		"more than the limit": func(l *slog.Logger) {
			l.Error("m", "1", 1, "2", 2, "3", 3, "4", 4, "5", 5, "a",
				first)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var stock, ours memoryLogs
			limit := sdklog.WithAttributeCountLimit(6)
			sink := NewSink(&ours)
			sink.Attach(sdklog.NewLoggerProvider(limit, sdklog.WithProcessor(sink)))
			log(slog.New(NewHandler(newStockBridge(limit, sdklog.WithProcessor(&stock)))))
			log(slog.New(NewHandler(NewOTLPHandler(sink, slog.LevelInfo))))
			was, is := contents(t, &stock), contents(t, &ours)
			delete(was, "time")
			delete(is, "time")
			require.Equal(t, was, is)
		})
	}
}

func TestSinkTakesNothingAfterShutdown(t *testing.T) {
	memory := &memoryLogs{}
	sink := NewSink(memory)
	provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sink))
	sink.Attach(provider)
	logger := slog.New(NewHandler(NewOTLPHandler(sink, slog.LevelInfo)))
	require.Empty(t, memory.records, "what Attach emits is no record")
	logger.Info("before")
	require.NoError(t, provider.Shutdown(t.Context()))
	require.False(t, logger.Enabled(t.Context(), slog.LevelError))
	require.NoError(t, logger.Handler().Handle(t.Context(), record(1)))
	require.Len(t, memory.records, 1)
}
