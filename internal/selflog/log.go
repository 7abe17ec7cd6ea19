// Package selflog is the library's own log, about its own problems and the SDK's. It counts
// repetitions instead of writing them, and never sends a line over OTLP, which the line may be
// about. The lines are in internal/lines.
//
// One [mask.Mask] hides the values of headers, malformed ones too, in every line. Tokens from files
// and functions change, so internal/delivery masks them in the answers of servers.
package selflog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/mask"
)

const (
	// interval is the shortest time between two lines about the same cause.
	interval = time.Minute
	// maxCauses bounds the causes that are tracked. Further ones share an entry.
	maxCauses = 256
	// maxLine bounds a line, in characters. Longer ones are truncated.
	maxLine = 600
)

// Log writes the first line about a cause at once, and counts repetitions. At the end of each
// minute, and in [Log.Close], it writes the count. It is safe for concurrent use.
//
// An output that blocks holds up a caller for 50 ms at most: 256 lines are queued, the others are
// dropped, and the next line has their number as lines_lost.
type Log struct {
	out     writer
	write   func(slog.Record)
	forward func(error) // instead of write, if not nil
	level   slog.Level
	mask    mask.Mask

	mu     sync.Mutex
	causes map[string]*cause
	closed bool
}

// cause is a problem about which a line was written.
type cause struct {
	last    lines.Line  // the latest line, written or not
	loss    *lines.Loss // of last. If nil, count is of occurrences, else of lost items
	since   time.Time   // when it first occurred
	written time.Time   // when its last line was written
	count   int64       // since then
	pending bool        // count is to be written
	timer   *time.Timer // for the end of the minute; runs while pending is set
}

// New returns a log that passes lines of at least level, without secrets, to write, one at a time.
func New(write func(slog.Record), level slog.Level, secrets mask.Mask) *Log {
	l := &Log{level: level, mask: secrets, causes: map[string]*cause{}}
	l.out.name = "the log output"
	l.write = func(r slog.Record) {
		l.out.put(func(dropped int64) {
			if dropped > 0 {
				r.AddAttrs(slog.Int64("lines_lost", dropped))
			}
			write(r)
		})
	}
	return l
}

// NewForwarding returns a log that passes every error to handle, repetitions too: a handler may
// count or classify errors. Lines of the library become errors; those below a warning are left out.
// A panic of handle is recovered.
func NewForwarding(handle func(error), level slog.Level, secrets mask.Mask) *Log {
	l := &Log{level: level, mask: secrets}
	l.out.name = "the error handler"
	l.forward = func(err error) {
		err = secrets.Error(err)
		l.out.put(func(dropped int64) {
			if dropped > 0 {
				err = fmt.Errorf("%w (lines_lost=%d)", err, dropped)
			}
			handle(err)
		})
	}
	return l
}

// Drain waits until all lines are written. If that takes longer than limit, the error names the
// output that blocks, and its goroutine is abandoned.
func (l *Log) Drain(limit time.Duration) error { return l.out.drain(limit) }

// ShutdownBegins must be called first in each Shutdown, on its goroutine. If the log's own handler
// has called Shutdown, Drain does not wait for that handler.
func (l *Log) ShutdownBegins() { l.out.shutdownBegins() }

// Mask is the mask that hides secrets in the lines of l.
func (l *Log) Mask() mask.Mask { return l.mask }

// Forwards reports whether l is from [NewForwarding].
func (l *Log) Forwards() bool { return l.forward != nil }

// ToHandler adapts a slog handler for [New]. The handler's own level does not apply: OTEL_LOG_LEVEL
// is the level of the library's lines, LOG_LEVEL that of the service's.
func ToHandler(h slog.Handler) func(slog.Record) {
	return func(r slog.Record) { _ = h.Handle(context.Background(), r) }
}

// Handle logs an error that happened in the background. It implements otel.ErrorHandler.
func (l *Log) Handle(err error) {
	var own lines.Line
	switch {
	case err == nil:
	case l.forward == nil && errors.As(err, &own):
		l.Say(own)
	case l.forward == nil:
		l.Say(lines.FromError(err))
	case slog.LevelError >= l.level:
		l.forward(err)
	}
}

// Say writes a line, unless one about the same cause was written within the last minute: then it
// counts the line. It reports whether the line was written.
func (l *Log) Say(line lines.Line) bool {
	if line.Level() < l.level {
		return false
	}
	if l.forward != nil {
		if line.Level() >= slog.LevelWarn {
			l.forward(line)
		}
		return true
	}
	if !l.admit(line) {
		return false
	}
	l.write(l.record(time.Now(), line))
	return true
}

// Settle forgets the count of a cause of [lines.LossCause], because another line has reported those
// losses.
func (l *Log) Settle(lossCause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.causes[lossCause]; c != nil {
		c.stop()
		c.count = 0
	}
}

// Close writes the counts that are pending. Later lines are written, at most once a minute for each
// cause; their repetitions are no longer reported.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Flush()
}

// Flush writes the counts that are pending, before their minutes are over.
func (l *Log) Flush() {
	l.mu.Lock()
	var pending []*cause
	for _, c := range l.causes {
		if c.pending {
			pending = append(pending, c)
		}
	}
	slices.SortFunc(pending, func(a, b *cause) int { return a.since.Compare(b.since) })
	records := make([]slog.Record, len(pending))
	for i, c := range pending {
		records[i] = l.repetitions(c, time.Now())
	}
	l.mu.Unlock()
	for _, record := range records {
		l.write(record)
	}
}

// admit reports whether a line may be written, and counts it if not. A count of occurrences
// includes the line itself. A count of lost items does not, so that the lines add up.
func (l *Log) admit(line lines.Line) bool {
	now := time.Now()
	key, n, first := lines.Cause(l.clean(line.Cause())), int64(1), int64(1)
	loss := line.Loss()
	if loss != nil {
		key, n, first = loss.Cause, loss.Items, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.causes[key]
	if c == nil && len(l.causes) >= maxCauses {
		l.evict(now)
	}
	if c == nil && len(l.causes) >= maxCauses {
		line, loss = lines.FurtherProblems(line.Level()), nil
		key = line.Cause()
		c = l.causes[key]
	}
	if c == nil || now.Sub(c.written) >= interval && !c.pending {
		l.causes[key] = &cause{last: line, loss: loss, since: now, written: now, count: first}
		return true
	}
	c.last, c.loss = line, loss
	c.count += n
	if !c.pending && !l.closed {
		c.pending = true
		c.timer = time.AfterFunc(interval-now.Sub(c.written), func() { l.minuteOver(c) })
	}
	return false
}

// minuteOver writes how often a cause occurred in the minute that ends.
func (l *Log) minuteOver(c *cause) {
	l.mu.Lock()
	if !c.pending { // Close or Settle came first
		l.mu.Unlock()
		return
	}
	record := l.repetitions(c, time.Now())
	l.mu.Unlock()
	l.write(record)
}

// repetitions returns the record with a cause's count, and begins its next minute. The caller holds
// the lock.
func (l *Log) repetitions(c *cause, now time.Time) slog.Record {
	within := "minute"
	if passed := now.Sub(c.written); passed < interval {
		within = max(passed.Round(time.Second), time.Second).String()
	}
	line := lines.Repeated(l.clean(c.last.Cause()), c.last.Level(), c.count, within, c.since)
	if c.loss != nil {
		line = c.loss.Repeated(c.last.Level(), c.count, within, c.since)
	}
	c.stop()
	c.written, c.count = now, 0
	return l.record(now, line)
}

func (c *cause) stop() {
	c.pending = false
	if c.timer != nil {
		c.timer.Stop()
	}
}

// evict removes the causes without a line for a minute: their next line may be written anyway.
func (l *Log) evict(now time.Time) {
	for key, c := range l.causes {
		if !c.pending && now.Sub(c.written) >= interval {
			delete(l.causes, key)
		}
	}
}

func (l *Log) record(now time.Time, line lines.Line) slog.Record {
	record := slog.NewRecord(now, line.Level(), "telemetry: "+l.clean(line.Text()), 0)
	record.AddAttrs(line.Attrs()...)
	return record
}

// clean makes a text one short line without secrets. An error may contain the whole web page that a
// proxy answered with.
func (l *Log) clean(text string) string {
	text = strings.Join(strings.Fields(l.mask.Text(text)), " ")
	if runes := []rune(text); len(runes) > maxLine {
		return string(runes[:maxLine]) + "…"
	}
	return text
}
