package selflog_test

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/selflog"
)

// blocking is an output that takes nothing until it is opened.
type blocking struct {
	output
	open chan struct{}
}

func newBlocking() *blocking { return &blocking{open: make(chan struct{})} }

func (b *blocking) write(r slog.Record) {
	<-b.open
	b.output.write(r)
}

func (b *blocking) handle(err error) {
	b.write(slog.NewRecord(time.Time{}, 0, err.Error(), 0))
}

// lost returns the numbers that lines have as lines_lost.
func (b *blocking) lost() (all []int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "lines_lost" {
				all = append(all, a.Value.Int64())
			}
			return true
		})
	}
	return all
}

// logsTo returns a log over an output, and one over a handler.
func logsTo(out *blocking) map[string]*selflog.Log {
	return map[string]*selflog.Log{
		"the log output":    selflog.New(out.write, slog.LevelInfo, mask.Mask{}),
		"the error handler": selflog.NewForwarding(out.handle, slog.LevelInfo, mask.Mask{}),
	}
}

func TestOutputThatBlocksCostsOneCallerAMoment(t *testing.T) {
	for _, name := range []string{"the log output", "the error handler"} {
		synctest.Test(t, func(t *testing.T) {
			out := newBlocking()
			log := logsTo(out)[name]
			begin := time.Now()
			log.Say(lines.FromSDK(slog.LevelWarn, "first"))
			require.Equal(t, 50*time.Millisecond, time.Since(begin), "the first caller waits")
			for i := range 100 {
				log.Say(lines.FromSDK(slog.LevelWarn, string(rune('ä'+i))))
			}
			require.Equal(t, 50*time.Millisecond, time.Since(begin), "the others know by then")

			err := log.Drain(time.Second)
			require.EqualError(t, err, name+
				" has been blocked for 1.05s: its goroutine was abandoned with 101 unwritten lines")
			require.Equal(t, 1050*time.Millisecond, time.Since(begin))

			close(out.open)
			require.NoError(t, log.Drain(time.Second))
			require.Empty(t, out.lost())
			require.Len(t, out.messages(), 101, "nothing that fits is lost")
			begin = time.Now()
			log.Say(lines.FromSDK(slog.LevelWarn, "heard again"))
			require.Zero(t, time.Since(begin))
			require.Equal(t, []string{"heard again"}, out.messages())
		})
	}
}

// One line is being written, 256 wait, and the next that gets through has the number of the rest.
func TestLinesThatDoNotFitAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newBlocking()
		log := selflog.New(out.write, slog.LevelInfo, mask.Mask{})
		said := 0
		say := func(n int) {
			for range n {
				said++
				log.Say(lines.FromSDK(slog.LevelWarn, string(rune(0x4e00+said))))
			}
			time.Sleep(2 * time.Minute) // causes that are silent make room
		}
		say(200)
		say(57)
		say(43)
		close(out.open)
		synctest.Wait()
		require.Equal(t, []int64{43}, out.lost())
		require.Len(t, out.messages(), 257)

		errs := make(chan error, 300)
		open := make(chan struct{})
		forwarding := selflog.NewForwarding(func(err error) { <-open; errs <- err }, slog.LevelInfo, mask.Mask{})
		cause := errors.New("cause")
		for range 300 {
			forwarding.Handle(cause)
		}
		close(open)
		synctest.Wait()
		require.Len(t, errs, 257)
		require.Equal(t, cause, <-errs)
		told := <-errs
		require.EqualError(t, told, "cause (lines_lost=43)")
		require.ErrorIs(t, told, cause)
		require.Equal(t, cause, <-errs)
	})
}

// A handler that shuts the guard down waits for the Shutdown, so the Shutdown does not wait for the
// handler: neither the one that it has called, nor another one, before or after.
func TestHandlerThatCallsShutdownIsNotWaitedFor(t *testing.T) {
	for _, first := range []string{"the handler", "the service"} {
		synctest.Test(t, func(t *testing.T) {
			var log *selflog.Log
			handled, over := make(chan error, 1), make(chan struct{})
			log = selflog.NewForwarding(func(error) {
				time.Sleep(map[string]time.Duration{"the handler": 0, "the service": time.Second}[first])
				log.ShutdownBegins()
				if first == "the service" {
					<-over
				}
				handled <- log.Drain(time.Hour)
			}, slog.LevelInfo, mask.Mask{})
			log.Say(lines.FromSDK(slog.LevelWarn, "x"))
			begin := time.Now()
			if first == "the service" {
				log.ShutdownBegins()
				require.NoError(t, log.Drain(time.Hour))
				require.Equal(t, 950*time.Millisecond, time.Since(begin))
				close(over)
			}
			require.NoError(t, <-handled)
			synctest.Wait()
			require.Less(t, time.Since(begin), time.Minute)
			require.NoError(t, log.Drain(0))
		})
	}
}

// A handler may end its goroutine, as t.FailNow does, or panic: what comes after it is handled all
// the same.
func TestHandlerThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		log := selflog.NewForwarding(func(err error) {
			seen = append(seen, err.Error())
			switch err.Error() {
			case "a":
				runtime.Goexit()
			case "b":
				panic("b")
			}
		}, slog.LevelInfo, mask.Mask{})
		for _, text := range []string{"a", "b", "c"} {
			log.Handle(errors.New(text))
		}
		require.NoError(t, log.Drain(time.Second))
		require.Equal(t, []string{"a", "b", "c"}, seen)
	})
}

// Lines are written one at a time, in the order of each caller, and the goroutine ends with the
// last.
func TestWriterConcurrentSafe(t *testing.T) {
	var got []string // the race detector is the test
	log := selflog.NewForwarding(func(err error) { got = append(got, err.Error()) }, slog.LevelInfo, mask.Mask{})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 30 {
				log.Handle(fmt.Errorf("%d %02d", i, n))
			}
		})
	}
	all.Wait()
	require.NoError(t, log.Drain(time.Minute))
	require.Len(t, got, 240)
	last := map[byte]string{}
	for _, text := range got {
		require.Greater(t, text, last[text[0]])
		last[text[0]] = text
	}
}
