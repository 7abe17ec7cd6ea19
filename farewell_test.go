package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/mask"
)

// A service that stops during an outage: what repeated since its last line comes before the closing line.
func TestShutdownInAnOutageSaysWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		begin := time.Now()
		g := startInBubble(t, w, out, environment{"OTEL_TRACES_SAMPLER": "always_on"}, WithoutMetrics(), WithoutLogs())
		load(g, 1000, 2*time.Minute)
		said := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `(?m)^\+\d+s ERROR [\d,]+ more spans were lost in the last minute, since \d\d:\d\d:\d\d: `, said)
		require.Equal(t, 1, strings.Count(said, "set OTEL_EXPORTER_OTLP_ENDPOINT"), "the remedy is said once, and at the end")
		require.Regexp(t, `(?m)^\+\d+s WARN traces cannot be delivered: .*: nothing listens at localhost:4318 and no endpoint is set: start a collector`, said)
		require.Error(t, g.Shutdown(t.Context()))
		closing := withoutTimes(out.take(t, begin))
		require.Len(t, closing, 2)
		require.Regexp(t, `^ERROR [\d,]+ more spans were lost in the last \d+s, since .*: nothing listens at localhost:4318 and no endpoint is set: start a collector`, closing[0])
		require.Equal(t, "WARN stopped", closing[1])
	})
}

// What to do about a loss is said once, and at the end; the lines between have the reason and the number.
func TestLinesBetweenAreShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{status: 401}, &selfLines{}
		g := startInBubble(t, w, out, environment{"OTEL_TRACES_SAMPLER": "always_on"}, WithoutMetrics(), WithoutLogs())
		begin := time.Now()
		load(g, 100, 150*time.Second)
		const reason = "http://localhost:4318/v1/* requires credentials (401 Unauthorized)"
		const advice = ": set OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies"
		said := out.take(t, begin)
		require.Len(t, said, 3, "%s", said)
		require.Regexp(t, `^\+\ds ERROR \d+ spans were lost: `+regexp.QuoteMeta(reason+advice)+"$", said[0], "no line has said it before")
		for _, line := range said[1:] {
			require.Regexp(t, `^\+\d+s ERROR [\d,]+ more spans were lost in the last minute, since .*: `+regexp.QuoteMeta(reason)+"$", line)
		}
		require.Error(t, g.ForceFlush(t.Context()))
		out.take(t, begin)
		load(g, 100, time.Second/2)
		require.Error(t, g.Shutdown(t.Context()))
		closing := withoutTimes(out.take(t, begin))
		require.Len(t, closing, 2, "%s", closing)
		require.True(t, strings.HasSuffix(closing[0], reason+advice), closing[0])
		require.Equal(t, "WARN stopped", closing[1])
	})
}

// Signals that lose what they hold for the same reason share a line at the end; the sums are those of the books.
func TestShutdownInAnOutageSaysTheReasonOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{}, &selfLines{}
		g := startInBubble(t, w, out, environment{"OTEL_TRACES_SAMPLER": "always_on", "OTEL_METRIC_EXPORT_INTERVAL": "10000"}, WithoutRuntimeMetrics())
		load(g, 10, 10*time.Second)
		w.set(errRefused, 0)
		load(g, 10, 20*time.Second)
		begin := time.Now()
		out.take(t, begin)
		require.Error(t, g.Shutdown(t.Context()))
		h := g.Health()
		require.Positive(t, h.Metrics.Failed+h.Metrics.Dropped)
		require.Equal(t, []string{
			fmt.Sprintf("ERROR %d spans, %d data points and %d log records were lost: nothing listens at localhost:4318 and no endpoint is set: start a collector there "+
				"(in a container, localhost is the container itself), set OTEL_EXPORTER_OTLP_ENDPOINT, or set TELEMETRY_PROFILE=development to see everything on this console",
				h.Traces.Lost(), h.Metrics.Lost(), h.Logs.Lost()),
			"WARN stopped",
		}, withoutTimes(out.take(t, begin)))
	})
}

// Each lost item is in one line, whether it was lost before the Shutdown or by it.
func TestLinesAboutLossesAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		g := startInBubble(t, w, out, environment{
			"OTEL_TRACES_SAMPLER": "always_on", "OTEL_BSP_EXPORT_TIMEOUT": "3000", "OTEL_METRIC_EXPORT_TIMEOUT": "4000", "OTEL_METRIC_EXPORT_INTERVAL": "10000",
		}, WithoutRuntimeMetrics())
		load(g, 10, 20*time.Second)
		require.Error(t, g.Shutdown(t.Context()))
		lines := withoutTimes(out.take(t, time.Now()))
		h := g.Health()
		for unit, books := range map[string]SignalHealth{"span": h.Traces, "data point": h.Metrics, "log record": h.Logs} {
			require.Positive(t, books.Lost(), unit)
			said := int64(0)
			for _, m := range regexp.MustCompile(`([\d,]+) (?:more )?`+unit+`s?\b`).FindAllStringSubmatch(strings.Join(lines, "\n"), -1) {
				n, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
				require.NoError(t, err)
				said += n
			}
			require.Equal(t, books.Lost(), said, "%s: %s", unit, strings.Join(lines, "\n"))
		}
		require.Regexp(t, `ERROR \d+ spans, .* were lost: [^\n]*\nWARN stopped$`, strings.Join(lines, "\n"), "the Shutdown's own line is the last one about losses")
	})
}

// Whoever handles the errors himself gets each with its reason.
func TestErrorHandlerGetsEveryReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var handled []string
		w := &wire{down: errRefused}
		g := startInBubble(t, w, io.Discard, environment{"OTEL_TRACES_SAMPLER": "always_on"}, WithoutMetrics(), WithErrorHandler(otel.ErrorHandlerFunc(func(err error) {
			mu.Lock()
			defer mu.Unlock()
			handled = append(handled, err.Error())
		})))
		load(g, 10, 10*time.Second)
		require.Error(t, g.Shutdown(t.Context()))
		all := strings.Join(handled, "\n")
		for _, signal := range []string{"traces", "logs"} {
			require.Regexp(t, `(?m)^telemetry: `+signal+` cannot be delivered: .*: nothing listens`, all)
		}
		for _, unit := range []string{"spans", "log records"} {
			require.Regexp(t, `(?m)^telemetry: \d+ `+unit+` were lost: nothing listens`, all)
		}
	})
}

// Losses for a cause are added up, whatever varies in its words, and no number gets lost.
func TestFarewellAddsUp(t *testing.T) {
	out := &selfLines{}
	log := diagnose.New(diagnose.ToHandler(slog.NewJSONHandler(out, nil)), slog.LevelInfo, mask.Mask{})
	o := &outages{selfLog: log, explainer: &explainer{}}
	o.beginFarewell()
	for i := range int64(3) {
		o.lost(traces, 1, fmt.Errorf("http://c:4318: 503 (%d attempts in %ds)", i+2, i+1))
		o.lost(logs, 10, fmt.Errorf("http://c:4318: 503 (%d attempts in %ds)", i+5, i+1))
	}
	o.lost(logs, 1, errors.New("the queue is full"))
	o.lost(metrics, 7, errors.New("the queue is full"))
	o.lost(metrics, 1, errors.New("too large"))
	o.lost(metrics, 1, errors.New("too large"))
	require.Empty(t, out.take(t, time.Now()))
	o.endFarewell()
	o.endFarewell()
	o.lost(traces, 5, errors.New("left behind"))
	log.Close()
	require.Equal(t, []string{
		"ERROR 3 spans and 30 log records were lost: http://c:4318: 503 (2 attempts in 1s)",
		"ERROR 7 data points and 1 log record were lost: the queue is full",
		"ERROR 2 data points were lost: too large",
		"ERROR 5 spans were lost: left behind",
	}, withoutTimes(out.take(t, time.Now())))
}

// unspeakable is an error whose text nobody can have, as a nil pointer in an error interface.
type unspeakable struct{ text string }

func (u *unspeakable) Error() string { return u.text }

// unspeakableSpans is an exporter of the user's with such an error.
type unspeakableSpans struct{ spans }

func (*unspeakableSpans) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return (*unspeakable)(nil)
}

func TestErrorThatPanicsDoesNotKeepShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &selfLines{}
		guard, err := Init(t.Context(), WithoutGlobals(), WithoutMetrics(), WithoutLogs(), WithSampler(sdktrace.AlwaysSample()),
			WithSpanExporter(&unspeakableSpans{}), WithLogOutput(out))
		require.NoError(t, err)
		_, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "x")
		span.End()
		begin := time.Now()
		require.ErrorContains(t, guard.Shutdown(t.Context()), "telemetry: shutdown traces: 1 span not delivered")
		require.Less(t, time.Since(begin), time.Second)
		require.Contains(t, strings.Join(withoutTimes(out.take(t, begin)), "\n"), "1 span was lost: an error of type *telemetry.unspeakable, whose Error panics")
	})
}
