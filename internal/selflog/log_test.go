package selflog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/signal"
)

// output is a destination that tests may read while a log writes.
type output struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *output) write(r slog.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
}

// messages returns what was written since the last call.
func (l *output) messages() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, r := range l.records {
		all = append(all, strings.TrimPrefix(r.Message, "telemetry: "))
	}
	l.records = nil
	return all
}

func newLog(level slog.Level) (*selflog.Log, *output) {
	l := &output{}
	return selflog.New(l.write, level, mask.Mask{}), l
}

// The times of a bubble begin at midnight of 2000-01-01 UTC.
func clock(t *testing.T) string {
	t.Helper()
	return time.Now().Format(time.TimeOnly)
}

func TestEachCauseSpeaksOnceAMinuteAndIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := newLog(slog.LevelInfo)
		began := clock(t)
		for i := range 1482 {
			// the cause is one
			log.Handle(fmt.Errorf("dial tcp 127.0.0.1:%d: connection refused (%d attempts in 1m%d.5s)", 40000+i, i, i))
		}
		log.Handle(errors.New("another cause"))
		log.Handle(nil)
		require.Equal(t, []string{"dial tcp 127.0.0.1:40000: connection refused (0 attempts in 1m0.5s)",
			"another cause"}, out.messages())

		time.Sleep(time.Minute - 1)
		synctest.Wait()
		require.Empty(t, out.messages())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		said := out.messages()
		require.Len(t, said, 1, "another cause did not repeat")
		require.Regexp(t, `connection refused .*: 1,482 times in the last minute, since `+began+`$`, said[0])

		log.Handle(errors.New("dial tcp 127.0.0.1:1: connection refused (1 attempts in 3s)"))
		require.Empty(t, out.messages(), "the minute after that line has begun")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"dial tcp 127.0.0.1:1: connection refused (1 attempts in 3s): 1 time in the last " +
			"minute, since " + began}, out.messages())

		time.Sleep(time.Minute)
		log.Handle(errors.New("dial tcp 127.0.0.1:1: connection refused (2 attempts in 3s)"))
		require.Equal(t, []string{"dial tcp 127.0.0.1:1: connection refused (2 attempts in 3s)"}, out.messages(),
			"after a silent minute it is news")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, out.messages(), "and what came once is not repeated")
	})
}

func TestCloseSaysWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := newLog(slog.LevelInfo)
		began := clock(t)
		for range 3 {
			log.Say(lines.FromSDK(slog.LevelWarn, "first"))
			log.Say(lines.FromSDK(slog.LevelWarn, "second"))
			time.Sleep(time.Second)
		}
		log.Say(lines.FromSDK(slog.LevelWarn, "once"))
		out.messages()
		time.Sleep(9 * time.Second)
		log.Close()
		require.ElementsMatch(t, []string{
			"first: 3 times in the last 12s, since " + began, "second: 3 times in the last 12s, since " + began,
		}, out.messages())
		log.Close()
		log.Say(lines.FromSDK(slog.LevelWarn, "first"))
		log.Say(lines.FromSDK(slog.LevelWarn, "stopped"))
		require.Equal(t, []string{"stopped"}, out.messages(), "once a minute also then")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, out.messages(), "no timer outlives Close")
	})
}

func TestLossesAreAddedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := newLog(slog.LevelInfo)
		began := clock(t)
		for i := range 37 {
			log.Say(lines.Lost(signal.Traces, 1024, "", fmt.Errorf("connection refused (%d attempts)", i)))
		}
		log.Say(lines.Lost(signal.Logs, 1, "", errors.New("connection refused")))
		require.Equal(t, []string{"1,024 spans were lost: connection refused (0 attempts)",
			"1 log record was lost: connection refused"}, out.messages())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"36,864 more spans were lost in the last minute, since " + began +
			": connection refused (36 attempts)"}, out.messages())

		for range 2 {
			log.Say(lines.Lost(signal.Traces, 10, "outage", errors.New("queue full")))
		}
		log.Say(lines.Lost(signal.Traces, 10, "outage", errors.New("export timeout")))
		require.Equal(t, []string{"10 spans were lost: queue full"}, out.messages(), "one cause, whatever the reason")
		log.Settle(lines.LossCause(signal.Traces, "outage"))
		log.Settle(lines.LossCause(signal.Logs, "outage"))
		time.Sleep(30 * time.Second)
		log.Say(lines.Lost(signal.Traces, 7, "outage", errors.New("queue full")))
		require.Empty(t, out.messages(), "still the same minute")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"7 more spans were lost in the last minute, since " + began[:4] + "1:00: queue full"},
			out.messages(), "what is settled is not said again")
	})
}

func TestCausesAreBoundedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := newLog(slog.LevelInfo)
		for i := range 1000 {
			log.Handle(errors.New(strings.Repeat("x", i+1)))
		}
		require.Len(t, out.messages(), 257, "beyond 256 causes, the rest counts as one")
		time.Sleep(time.Minute)
		synctest.Wait()
		said := out.messages()
		require.Len(t, said, 1)
		require.Contains(t, said[0], "other problems, too many to log separately: 744 times in the last minute")
		time.Sleep(time.Minute)
		for i := range 200 {
			log.Handle(errors.New(strings.Repeat("y", i+1)))
		}
		require.Len(t, out.messages(), 200, "silent causes make room")
	})
}

func TestLinesStayLines(t *testing.T) {
	log, out := newLog(slog.LevelInfo)
	log.Handle(errors.New("502: <html>\r\n\t" + strings.Repeat("a page ", 1000)))
	said := out.messages()
	require.NotContains(t, said[0], "\n")
	require.Less(t, len(said[0]), 700)
}

func TestLinesAtTheBoundAndOnePastIt(t *testing.T) {
	for _, n := range []int{600, 601} {
		log, out := newLog(slog.LevelInfo)
		log.Handle(errors.New(strings.Repeat("ä", n)))
		said := out.messages()[0]
		require.Equal(t, n > 600, strings.HasSuffix(said, "…"), said)
		require.Equal(t, 600, strings.Count(said, "ä"))
	}
}

type explosive struct{}

func (*explosive) Error() string { panic("nil inside") }

func TestErrorThatPanics(t *testing.T) {
	log, out := newLog(slog.LevelInfo)
	log.Handle((*explosive)(nil))
	log.Say(lines.Lost(signal.Traces, 1, "", (*explosive)(nil)))
	require.Len(t, out.messages(), 2)
}

func TestLevel(t *testing.T) {
	log, out := newLog(slog.LevelWarn)
	log.Say(lines.FromSDK(slog.LevelInfo, "too low"))
	log.Say(lines.FromSDK(slog.LevelWarn, "high enough"))
	require.Equal(t, []string{"high enough"}, out.messages())
}

// Whoever counts or classifies errors gets them all, as they are.
func TestForwarding(t *testing.T) {
	var got []error
	log := selflog.NewForwarding(func(err error) { got = append(got, err) }, slog.LevelWarn,
		mask.New([]string{"hunter2"}))
	cause := errors.New("refused, key hunter2")
	for range 3 {
		log.Handle(cause)
	}
	log.Say(lines.Lost(signal.Traces, 5, "", cause))
	log.Say(lines.FromSDK(slog.LevelWarn, "a warning"))
	log.Say(lines.Stopped(true, slog.Group("traces", slog.Int("exported", 3), slog.Int("lost", 1)),
		slog.String("key", "hunter2")))
	log.Say(lines.FromSDK(slog.LevelInfo, "started"))
	log.Close()
	require.Len(t, got, 6)
	for _, err := range got[:4] {
		require.ErrorIs(t, err, cause)
		require.NotContains(t, err.Error(), "hunter2")
	}
	require.EqualError(t, got[3], "telemetry: 5 spans were lost: refused, key <redacted>")
	require.EqualError(t, got[4], "telemetry: a warning")
	require.EqualError(t, got[5], "telemetry: stopped: traces=[exported=3 lost=1], key=<redacted>",
		"an error has no attributes")
	selflog.NewForwarding(func(error) { panic("handler") }, slog.LevelWarn, mask.Mask{}).Handle(cause)
}

func TestRelayFollowsTheCurrentLog(t *testing.T) {
	fallback, fallbackLines := newLog(slog.LevelWarn)
	current, currentLines := newLog(slog.LevelInfo)
	relay := selflog.NewRelay(fallback)
	relay.Handle(errors.New("before"))
	relay.Use(current)
	relay.Handle(errors.New("during"))
	relay.Muted(func() { relay.Handle(errors.New("while building")) })
	relay.Handle(context.Canceled)
	relay.Use(nil)
	relay.Handle(errors.New("after"))
	require.Len(t, fallbackLines.messages(), 2)
	require.Equal(t, []string{"during"}, currentLines.messages())
}

func TestRelayLoggerPassesNoValues(t *testing.T) {
	var buf bytes.Buffer
	log := selflog.New(selflog.ToHandler(slog.NewTextHandler(&buf, nil)), slog.LevelDebug, mask.Mask{})
	relay := selflog.NewRelay(log)
	logger := relay.Logger().WithName("exporter").WithValues("header", "s3cr3t")
	logger.Error(errors.New("missing '='"), "parse headers", "input", "s3cr3t")
	logger.Error(errors.New(`parse "https://user:s3cr3t@host:bad": invalid port`), "parse url", "input", "s3cr3t")
	logger.V(1).Info("dropped", "value", "s3cr3t")
	logger.V(4).Info("made a tracer", "value", "s3cr3t")
	require.NotContains(t, buf.String(), "s3cr3t")
	require.Contains(t, buf.String(), "level=ERROR msg=\"telemetry: parse headers: missing '='\"")
	require.Contains(t, buf.String(), "level=WARN msg=\"telemetry: dropped\"")
	require.Contains(t, buf.String(), "level=DEBUG msg=\"telemetry: made a tracer\"")
}

func TestConcurrentSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := newLog(slog.LevelInfo)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 100 {
					log.Handle(fmt.Errorf("cause %c", 'a'+i))
				}
			})
		}
		wg.Wait()
		require.Len(t, out.messages(), 8)
		time.Sleep(time.Minute)
		synctest.Wait()
		said := out.messages()
		require.Len(t, said, 8)
		for _, line := range said {
			require.Contains(t, line, ": 100 times in the last minute")
		}
	})
}

// mute is a handler of a broken output.
type mute struct{ slog.Handler }

func (mute) Handle(context.Context, slog.Record) error { panic("no output") }

// The minute's line comes from a timer, where no caller could recover.
func TestHandlerThatPanicsEndsNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := selflog.New(selflog.ToHandler(mute{}), slog.LevelInfo, mask.Mask{})
		for range 3 {
			require.NotPanics(t, func() { log.Say(lines.FromSDK(slog.LevelWarn, "again")) })
		}
		time.Sleep(2 * time.Minute)
		require.NotPanics(t, log.Close)
	})
}

// An exporter of the service's may return a whole page as its error. A line shows 600 characters of
// it.
func TestLogLooksAtTheFrontOfALongMessage(t *testing.T) {
	const size = 16 << 20
	out := &output{}
	log := selflog.New(out.write, slog.LevelInfo, mask.New([]string{"abcd1234efgh"}))
	page := errors.New("abcd1234efgh " + strings.Repeat("<p>", size/3))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	log.Handle(page)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(size/2))
	shown := out.messages()
	require.Len(t, shown, 1)
	require.True(t, strings.HasPrefix(shown[0], "<redacted> <p><p>"), shown[0])
}
