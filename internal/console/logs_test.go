package console

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

func TestLogsConformToSlog(t *testing.T) {
	out := &terminal{}
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.blocks = nil
		return NewLogs(NewScreen(out, false, func() int { return 1000 }), nil, slog.LevelDebug)
	}, func(*testing.T) map[string]any { return parseLine(out.String()) })
}

// parseLine reads one line of the view back.
func parseLine(row string) map[string]any {
	fields := map[string]any{}
	head, rest, _ := strings.Cut(strings.TrimSpace(row), "  ")
	words := strings.Fields(head)
	if _, err := time.Parse("15:04:05.000", words[0]); err == nil {
		fields[slog.TimeKey], words = words[0], words[1:]
	}
	fields[slog.LevelKey], fields[slog.MessageKey] = words[0], strings.Join(words[1:], " ")
	for pair := range strings.FieldsSeq(rest) {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			fields[slog.MessageKey] = pair // INFO is followed by two blanks
			continue
		}
		into, path := fields, strings.Split(key, ".")
		for _, name := range path[:len(path)-1] {
			if into[name] == nil {
				into[name] = map[string]any{}
			}
			into = into[name].(map[string]any)
		}
		into[path[len(path)-1]] = value
	}
	return fields
}

type panicking struct{}

func (*panicking) Error() string { panic("no") }

type point struct{ X, Y int }

type textual struct{}

func (textual) MarshalText() ([]byte, error) { return []byte("as text"), nil }

func TestLogLine(t *testing.T) {
	for _, c := range []struct {
		name string
		args []any
		want string
	}{
		{"plain", []any{"a", 1, "b", "two words", "c", true}, `INFO  m  a=1  b="two words"  c=true`},
		{"error", []any{"error", errors.New("no: route")}, `INFO  m  error="no: route"`},
		{"panic", []any{"error", (*panicking)(nil)}, `INFO  m  error="!PANIC: no"`},
		{"any", []any{"p", point{1, 2}, "t", textual{}, "b", []byte("raw"), "n", nil},
			`INFO  m  p="{X:1 Y:2}"  t="as text"  b=raw  n=<nil>`},
		{"time", []any{"d", 1500 * time.Millisecond, "t", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
			`INFO  m  d=1.5s  t=2026-01-02T03:04:05Z`},
		{"escape", []any{"a\nb", "c\x1b[31md\\"}, `INFO  m  a\nb=c\x1b[31md\`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := &terminal{}
			slog.New(NewLogs(NewScreen(out, false, func() int { return 80 }), nil, slog.LevelInfo)).Info("m", c.args...)
			_, line, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
			require.Equal(t, c.want, line)
		})
	}
}

// TestLogsOverAnother hands the records on unchanged and keeps them for the tree.
func TestLogsOverAnother(t *testing.T) {
	w := watch(t, 80, false, defaultLimits)
	var over bytes.Buffer
	logger := slog.New(NewLogsOver(slog.NewTextHandler(&over, nil), w.traces, slog.LevelInfo))
	ctx, span := w.tracer.Start(t.Context(), "work")
	logger.With("a", 1).WithGroup("g").InfoContext(ctx, "told", "b", 2)
	logger.DebugContext(ctx, "hidden")
	span.End()
	require.Contains(t, over.String(), "msg=told a=1 g.b=2")
	require.Contains(t, w.String(), "└ INFO told a=1 g.b=2")
	require.NotContains(t, w.String()+over.String(), "hidden")
	require.Len(t, w.blocks, 1, "the view itself writes no log line")
}

// TestLogsWithoutTree: a record whose span is not known to the view, or none at all, is written and
// nothing else.
func TestLogsWithoutTree(t *testing.T) {
	w := watch(t, 80, false, defaultLimits)
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{1}})
	w.logger.InfoContext(trace.ContextWithRemoteSpanContext(context.Background(), sc), "elsewhere")
	w.logger.Info("nowhere")
	require.Contains(t, w.blocks[0], " INFO  ab000000 elsewhere\n")
	require.Contains(t, w.blocks[1], " INFO  nowhere\n")
	require.Empty(t, w.traces.nodes)
}

// TestTimesThatAreNone: a record may have no time, and a span may have any.
func TestTimesThatAreNone(t *testing.T) {
	output := scenario(t, 80, false, defaultLimits, func(ctx context.Context, w *watched) {
		ctx, span := w.tracer.Start(ctx, "work")
		time.Sleep(time.Second)
		require.NoError(t, w.logger.Handler().Handle(ctx, slog.NewRecord(time.Time{}, slog.LevelInfo, "when", 0)))
		span.AddEvent("long ago", trace.WithTimestamp(time.Time{}.Add(1)))
		_, child := w.tracer.Start(ctx, "child", trace.WithTimestamp(time.Unix(-1<<40, 0)))
		child.End(trace.WithTimestamp(time.Unix(1<<40, 0)))
		span.End()
	})
	require.Regexp(t, `INFO when +\+1\.00s`, output)
	require.Regexp(t, `long ago +-\d+h`, output)
	require.Contains(t, output, "child")
	require.Equal(t, "-2562047h47m", duration(math.MinInt64))
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x1b[31m", "\n\r\t", "清算", "\xff", "\u202e", "a\u0301", "\uFFFD", "🧾"} {
		f.Add(seed, 10)
	}
	f.Fuzz(func(t *testing.T, raw string, n int) {
		text := clean(raw)
		require.True(t, isPrintable(strings.ReplaceAll(text, "\uFFFD", "")), "%q", text)
		require.Equal(t, text, clean(text), "clean text stays")
		n = 1 + max(n, -n)%200
		if n < 1 {
			n = 1
		}
		fitted := line{{text, plain}, {short(raw), red}}.fit(n)
		require.Equal(t, n, fitted.width(), "%q", text)
	})
}
