package telemetry

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
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
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/settings"
)

// An outage that the queues can hold: one line when each signal fails, one when it recovers, and
// nothing is lost.
func TestAnOutageWritesOnlyAFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{}, &selfLines{}
		g := startInBubble(t, w, out, settings.Environment{"OTEL_TRACES_SAMPLER": "always_on",
			"OTEL_METRIC_EXPORT_INTERVAL": "10000", "OTEL_METRIC_EXPORT_TIMEOUT": "300000"}, WithoutRuntimeMetrics(),
			WithSpanBatch(Batch{ExportTimeout: 5 * time.Minute}), WithLogBatch(Batch{ExportTimeout: 5 * time.Minute}))
		n := load(g, 100, 10*time.Second)
		w.set(errRefused, 0)
		begin := time.Now()
		n += load(g, 100, time.Minute)
		away := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `^\+\d+s WARN (traces|logs|metrics) cannot be delivered: each (batch|export) is retried for [^\n]*nothing listens at localhost:4318[^\n]*`+
			`(\n\+\d+s WARN (traces|logs|metrics) cannot be delivered either, for the same reason as (traces|logs|metrics)){2}$`, away,
			"one line for each signal, in a minute of failing exports, and the reason once")
		w.set(nil, 0)
		n += load(g, 100, 10*time.Second)
		said := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `(?m)^\+6\ds INFO traces are delivered again after [\dm.]+s: [56],\d{3} spans were kept and are being sent, none lost$`, said)
		require.Regexp(t, `(?m)^\+6\ds INFO logs are delivered again after [\dm.]+s: [56],\d{3} log records were kept and are being sent, none lost$`, said)
		require.Regexp(t, `(?m)^\+6\ds INFO metrics are delivered again after [\dm.]+s: \d+ data points were kept and are being sent`, said)
		require.Len(t, strings.Split(said, "\n"), 3)
		time.Sleep(time.Hour)
		require.NoError(t, g.Shutdown(t.Context()))
		require.Equal(t, []string{"INFO stopped"}, withoutTimes(out.take(t, begin)))
		require.Equal(t, []int{n, n}, []int{w.spans, w.records})
	})
}

// An outage that the queues cannot hold: losses are logged at once and in total at the recovery,
// never twice. The totals match the books.
func TestAnOutageLogsHowMuchWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{}, &selfLines{}
		g := startInBubble(t, w, out, alwaysOn, WithoutRuntimeMetrics(), WithoutMetrics())
		load(g, 1000, 10*time.Second)
		w.set(errRefused, 0)
		begin := time.Now()
		load(g, 1000, time.Minute)
		said := out.take(t, begin)
		require.LessOrEqual(t, len(said), 4, "%q", said)
		require.Contains(t, strings.Join(said, "\n"), "1 span was lost: the queue is full (queue_full)")
		w.set(nil, 0)
		load(g, 1000, 10*time.Second)
		said = out.take(t, begin)
		require.Len(t, said, 2, "%q", said)
		h := g.Health()
		for i, lost := range map[string]SignalHealth{"spans": h.Traces, "log records": h.Logs} {
			require.Positive(t, lost.Failed)
			require.Positive(t, lost.DroppedBy["queue_full"])
			require.Regexp(t, fmt.Sprintf(`WARN \w+ are delivered again after [\dm.]+s: [\d,]+ %s were kept and are being sent, %s lost \([\d,]+ (queue_full|failed), [\d,]+ (queue_full|failed)\)`,
				i, lines.Thousands(lost.Lost())), strings.Join(said, "\n"))
		}
		time.Sleep(time.Hour)
		require.NoError(t, g.Shutdown(t.Context()))
		require.Equal(t, []string{"WARN stopped"}, withoutTimes(out.take(t, begin)),
			"the recovery has said what was lost")
	})
}

// A signal that begins to fail long after another logs the reason, not a reference to an old line.
func TestALateFailureLogsItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		g := startInBubble(t, w, out, alwaysOn, WithoutMetrics())
		begin := time.Now()
		span := func() { _, s := g.TracerProvider().Tracer("x").Start(t.Context(), "work"); s.End() }
		log := func() { g.Logger().Info("worked") }
		span()
		time.Sleep(10 * time.Second)
		require.Regexp(t, `^\+\ds WARN traces cannot be delivered: each batch is retried for 30s \(OTEL_BSP_EXPORT_TIMEOUT\) and then lost, unless there is a spool \(TELEMETRY_SPOOL_DIR\): nothing listens`, strings.Join(out.take(t, begin), "\n"))
		time.Sleep(6 * time.Minute)
		out.take(t, begin)
		log()
		time.Sleep(10 * time.Second)
		require.Regexp(t, `^\+\d+s WARN logs cannot be delivered: each batch is retried for 30s \(OTEL_BLRP_EXPORT_TIMEOUT\) and then lost, unless there is a spool \(TELEMETRY_SPOOL_DIR\): nothing listens`, strings.Join(out.take(t, begin), "\n"))

		w.set(nil, 0)
		span()
		log()
		time.Sleep(10 * time.Second)
		out.take(t, begin)
		w.set(fmt.Errorf("lookup localhost: %w",
			&net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}), 0)
		log()
		time.Sleep(10 * time.Second)
		w.set(errRefused, 0)
		span()
		time.Sleep(10 * time.Second)
		said := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `WARN logs cannot be delivered: .*: the host name localhost does not resolve`, said)
		require.Regexp(t, `WARN traces cannot be delivered: .*: nothing listens`, said, "another reason")
		w.set(nil, 0)
	})
}

// A new outage does not refer to one that is over.
func TestTheNextOutageLogsItsOwnReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		g := startInBubble(t, w, out, alwaysOn, WithoutMetrics())
		begin := time.Now()
		_, span := g.TracerProvider().Tracer("x").Start(t.Context(), "work")
		span.End()
		time.Sleep(10 * time.Second)
		w.set(nil, 0)
		time.Sleep(10 * time.Second)
		require.Regexp(t, `traces are delivered again after [^\n]*$`, strings.Join(out.take(t, begin), "\n"))
		w.set(errRefused, 0)
		g.Logger().Info("worked")
		time.Sleep(10 * time.Second)
		require.Regexp(t, `^\+\d+s WARN logs cannot be delivered: each batch is retried for 30s \(OTEL_BLRP_EXPORT_TIMEOUT\) and then lost, unless there is a spool \(TELEMETRY_SPOOL_DIR\): nothing listens`, strings.Join(out.take(t, begin), "\n"))
		w.set(nil, 0)
	})
}

// The line about an outage names the spool directory.
func TestAnOutageLineNamesTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		begin := time.Now()
		env := settings.Environment{"OTEL_TRACES_SAMPLER": "always_on", "TELEMETRY_SPOOL_DIR": t.TempDir()}
		g := startInBubble(t, w, out, env, WithoutMetrics(), WithoutLogs())
		load(g, 10, 10*time.Second)
		require.Contains(t, strings.Join(out.take(t, begin), "\n"), " cannot be delivered and wait on disk: ")
		require.NoError(t, g.Shutdown(t.Context()), "it is on disk")
	})
}

// A collector that comes and goes causes no more lines than one that stays down.
func TestAFlappingCollectorDoesNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{}, &selfLines{}
		begin := time.Now()
		g := startInBubble(t, w, out, settings.Environment{"OTEL_TRACES_SAMPLER": "always_on",
			"OTEL_BSP_SCHEDULE_DELAY": "100"}, WithoutMetrics(), WithoutLogs())
		for i := range 300 {
			w.set(map[bool]error{true: errRefused}[i%2 == 0], 0)
			load(g, 10, time.Second)
		}
		w.set(nil, 0)
		said := out.take(t, begin)
		require.LessOrEqual(t, len(said), 2*6, "two causes, five minutes: %q", said)
		require.Regexp(t, `traces are delivered again: \d+ times in the last minute, since`, strings.Join(said, "\n"))
		require.NoError(t, g.Shutdown(t.Context()))
	})
}

// An answer is not a delivery: the credentials may be wrong after the collector's restart.
func TestARefusedRequestIsNotARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		begin := time.Now()
		g := startInBubble(t, w, out, alwaysOn, WithoutMetrics(), WithoutLogs())
		load(g, 10, 10*time.Second)
		out.take(t, begin)
		w.set(nil, http.StatusUnauthorized)
		load(g, 10, 10*time.Second)
		said := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `WARN traces reach the server again after [\d.]+s, but it refuses them: http://localhost:4318/v1/\S+ requires credentials \(401 Unauthorized\): [^;]*; (none|\d+) lost`, said,
			"batches that are refused side by side may be booked before the line")
		require.Regexp(t, `ERROR \d+ spans were lost: http://localhost:4318/v1/\S+ requires credentials \(401 Unauthorized\): set OTEL_EXPORTER_OTLP_HEADERS`, said)
		require.NotContains(t, said, "delivered again")
		require.Error(t, g.Shutdown(t.Context()))
	})
}

// A service that stops during an outage: repetitions since the last line are logged before the
// closing line.
func TestShutdownDuringAnOutageLogsPendingLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		begin := time.Now()
		g := startInBubble(t, w, out, alwaysOn, WithoutMetrics(), WithoutLogs())
		load(g, 1000, 2*time.Minute)
		said := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `(?m)^\+\d+s ERROR [\d,]+ more spans were lost in the last minute, since \d\d:\d\d:\d\d: `,
			said)
		require.Equal(t, 1, strings.Count(said, "set OTEL_EXPORTER_OTLP_ENDPOINT"),
			"the remedy is said once, and at the end")
		require.Regexp(t, `(?m)^\+\d+s WARN traces cannot be delivered: .*: nothing listens at localhost:4318 and no endpoint is set: start a collector`, said)
		require.Error(t, g.Shutdown(t.Context()))
		closing := withoutTimes(out.take(t, begin))
		require.Len(t, closing, 2)
		require.Regexp(t, `^ERROR [\d,]+ more spans were lost in the last \d+s, since .*: nothing listens at localhost:4318 and no endpoint is set: start a collector`, closing[0])
		require.Equal(t, "WARN stopped", closing[1])
	})
}

// The advice about a loss is logged once, and again at the end. The lines between have the reason
// and the number.
func TestRepeatedLossLinesLeaveOutTheAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{status: 401}, &selfLines{}
		g := startInBubble(t, w, out, alwaysOn, WithoutMetrics(), WithoutLogs())
		begin := time.Now()
		load(g, 100, 150*time.Second)
		const reason = "http://localhost:4318/v1/* requires credentials (401 Unauthorized)"
		const advice = ": set OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies"
		said := out.take(t, begin)
		require.Len(t, said, 3, "%s", said)
		require.Regexp(t, `^\+\ds ERROR \d+ spans were lost: `+regexp.QuoteMeta(reason+advice)+"$", said[0],
			"no line has said it before")
		for _, line := range said[1:] {
			require.Regexp(t, `^\+\d+s ERROR [\d,]+ more spans were lost in the last minute, since .*: `+
				regexp.QuoteMeta(reason)+"$", line)
		}
		_, span := g.TracerProvider().Tracer("load").Start(t.Context(), "work")
		span.End() // the export of what was before it may have ended at this very moment
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

// Signals that lose their data for the same reason share a line at the end. The totals match the
// books.
func TestShutdownDuringAnOutageLogsTheReasonOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{}, &selfLines{}
		g := startInBubble(t, w, out, settings.Environment{"OTEL_TRACES_SAMPLER": "always_on",
			"OTEL_METRIC_EXPORT_INTERVAL": "10000"}, WithoutRuntimeMetrics())
		load(g, 10, 10*time.Second)
		w.set(errRefused, 0)
		load(g, 10, 20*time.Second)
		begin := time.Now()
		out.take(t, begin)
		require.Error(t, g.Shutdown(t.Context()))
		h := g.Health()
		require.Positive(t, h.Metrics.Failed+h.Metrics.Dropped)
		require.Equal(t, []string{
			fmt.Sprintf("ERROR %d spans, %d data points and %d log records were lost: nothing listens at "+
				"localhost:4318 and no endpoint is set: start a collector there "+
				"(in a container, localhost is the container itself), set OTEL_EXPORTER_OTLP_ENDPOINT, or set "+
				"TELEMETRY_PROFILE=development to see everything on this console",
				h.Traces.Lost(), h.Metrics.Lost(), h.Logs.Lost()),
			"WARN stopped",
		}, withoutTimes(out.take(t, begin)))
	})
}

// Each lost item is counted in one line, whether it was lost before or during Shutdown.
func TestLoggedLossesAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		g := startInBubble(t, w, out, settings.Environment{
			"OTEL_TRACES_SAMPLER": "always_on", "OTEL_BSP_EXPORT_TIMEOUT": "3000", "OTEL_METRIC_EXPORT_TIMEOUT": "4000",
			"OTEL_METRIC_EXPORT_INTERVAL": "10000",
		}, WithoutRuntimeMetrics())
		load(g, 10, 20*time.Second)
		require.Error(t, g.Shutdown(t.Context()))
		lines := withoutTimes(out.take(t, time.Now()))
		h := g.Health()
		for unit, books := range map[string]SignalHealth{"span": h.Traces, "data point": h.Metrics,
			"log record": h.Logs} {
			require.Positive(t, books.Lost(), unit)
			said := int64(0)
			for _, m := range regexp.MustCompile(`([\d,]+) (?:more )?`+unit+
				`s?\b`).FindAllStringSubmatch(strings.Join(lines, "\n"), -1) {
				n, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
				require.NoError(t, err)
				said += n
			}
			require.Equal(t, books.Lost(), said, "%s: %s", unit, strings.Join(lines, "\n"))
		}
		require.Regexp(t, `ERROR \d+ spans, .* were lost: [^\n]*\nWARN stopped$`, strings.Join(lines, "\n"),
			"the Shutdown's own line is the last one about losses")
	})
}

// An error handler receives each error with its reason.
func TestErrorHandlerReceivesEveryReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var handled []string
		w := &wire{down: errRefused}
		g := startInBubble(t, w, io.Discard, alwaysOn, WithoutMetrics(),
			WithErrorHandler(otel.ErrorHandlerFunc(func(err error) {
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

func TestAnErrorThatPanicsDoesNotDelayShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &selfLines{}
		guard, err := Init(t.Context(), WithoutGlobals(), WithoutMetrics(), WithoutLogs(),
			WithSampler(sdktrace.AlwaysSample()),
			WithSpanExporter(&failingSpans{}), WithLogOutput(out))
		require.NoError(t, err)
		_, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "x")
		span.End()
		begin := time.Now()
		require.ErrorContains(t, guard.Shutdown(t.Context()), "telemetry: shutdown traces: 1 span not delivered")
		require.Less(t, time.Since(begin), time.Second)
		require.Contains(t, strings.Join(withoutTimes(out.take(t, begin)), "\n"),
			"1 span was lost: an error of type *telemetry.panickingError, whose Error panics")
	})
}

// panickingError is an error whose text cannot be read, such as a nil pointer in an error
// interface.
type panickingError struct{ text string }

func (u *panickingError) Error() string { return u.text }

// failingSpans is a given exporter that returns such an error.
type failingSpans struct{ tracetest.NoopExporter }

func (*failingSpans) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return (*panickingError)(nil)
}
