// Package diagnose is how the library speaks about itself: one log for its own troubles and the SDK's, free of
// repetitions and secrets, that never travels through the OTLP branch it may be complaining about.
//
// The cause of a line is its text without numbers, durations and ids. Every message goes through one [mask.Mask], which knows
// the header values and what is left of malformed ones. Those of token files and functions change, so internal/delivery
// masks them where a server's words come in.
package diagnose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/mask"
)

const (
	// quiet is how long a cause stays silent after its line.
	quiet = time.Minute
	// maxCauses bounds the memory; beyond it, new causes share one entry.
	maxCauses = 256
	// maxLine is in characters.
	maxLine = 600
	// further is what the causes beyond maxCauses are called.
	further = "further troubles, each different"
)

// Log writes each cause at once, and from then on at most once a minute how often it came: the count of a cause that
// repeats is said when its minute is over, or by [Log.Close]. It is safe for concurrent use.
//
// An output that blocks does not block the caller: lines wait for it in a bounded buffer, a caller for 50 ms at most. Those that do
// not fit are counted, and the next line that gets through has the count as lines_lost.
type Log struct {
	out     outlet
	write   func(slog.Record)
	forward func(error) // instead of write
	level   slog.Level
	mask    mask.Mask

	mu     sync.Mutex
	causes map[string]*cause
	closed bool
}

// cause is a trouble that has had a line, and may come again.
type cause struct {
	level slog.Level
	sum   func(n int64, span, since string) string // words its repetitions
	since time.Time                                // it first came
	said  time.Time                                // it had its last line
	count int64                                    // of the minute after that line; see counted
	more  bool                                     // some of count have not been said
	timer *time.Timer                              // to the end of the minute; runs while more is set
}

// New returns a log that writes lines of at least level, without secrets, to write, from one goroutine at a time.
func New(write func(slog.Record), level slog.Level, secrets mask.Mask) *Log {
	l := &Log{level: level, mask: secrets, causes: map[string]*cause{}}
	l.out.called = "the log output"
	l.write = func(r slog.Record) {
		l.out.put(func(missing int64) {
			if missing > 0 {
				r.AddAttrs(slog.Int64("lines_lost", missing))
			}
			write(r)
		})
	}
	return l
}

// NewForwarding returns a log that hands every error to handle, without a limit: a handler that counts or classifies
// errors wants them all. Lines of its own it hands over as errors from the level of a warning. A panic of handle ends there.
func NewForwarding(handle func(error), level slog.Level, secrets mask.Mask) *Log {
	l := &Log{level: level, mask: secrets}
	l.out.called = "the error handler"
	l.forward = func(err error) {
		err = secrets.Error(err)
		l.out.put(func(missing int64) {
			if missing > 0 {
				err = fmt.Errorf("%w (lines_lost=%d)", err, missing)
			}
			handle(err)
		})
	}
	return l
}

// Drain waits until all lines are written. If that takes longer than limit, the error names what blocks, and its
// goroutine goes on waiting.
func (l *Log) Drain(limit time.Duration) error { return l.out.drain(limit) }

// ShutdownBegins tells the log that its guard is being shut down. If its own handler has called for that, Drain does not
// wait for it.
func (l *Log) ShutdownBegins() { l.out.calledBack() }

// Mask is what hides secrets in the lines of l.
func (l *Log) Mask() mask.Mask { return l.mask }

// Forwards tells whether the log is one of [NewForwarding].
func (l *Log) Forwards() bool { return l.forward != nil }

// ToHandler adapts a slog handler for [New]. The handler's own level does not apply: OTEL_LOG_LEVEL decides about the
// library's lines, LOG_LEVEL about the service's.
func ToHandler(h slog.Handler) func(slog.Record) {
	return func(r slog.Record) { _ = h.Handle(context.Background(), r) }
}

// Handle reports an error that happened in the background. With it, a Log is an otel.ErrorHandler.
func (l *Log) Handle(err error) {
	if err == nil {
		return
	}
	if l.forward != nil {
		if slog.LevelError >= l.level {
			l.forward(err)
		}
		return
	}
	l.Say(slog.LevelError, mask.TextOf(err))
}

// Say writes one line, unless the same was written within the last minute. args are slog attributes or pairs; they do
// not tell one cause from another, nor do numbers, durations and ids in the message.
func (l *Log) Say(level slog.Level, message string, args ...any) {
	if l.forward != nil {
		message = withAttributes(message, args)
	}
	l.SayAs(message, level, message, args...)
}

// SayAs is Say for a message that differs from time to time: cause is what its repetitions are counted under, and
// called. It reports whether the line was written.
func (l *Log) SayAs(cause string, level slog.Level, message string, args ...any) bool {
	if l.forward != nil {
		if level >= l.level && level >= slog.LevelWarn {
			l.forward(errors.New("telemetry: " + trimmed(message)))
		}
		return true
	}
	cause = l.line(cause)
	return l.say(Cause(cause), counted{1, 1}, level, message, args, func(n int64, span, since string) string {
		return fmt.Sprintf("%s: %s in the last %s, since %s", cause, Count(n, "time", "times"), span, since)
	})
}

// Lost reports that n items of a unit, such as spans, were lost for a reason. Losses of the same cause are added up;
// "" stands for the reason itself.
func (l *Log) Lost(cause string, n int64, unit string, reason error) {
	if l.forward != nil {
		if slog.LevelError >= l.level {
			l.forward(fmt.Errorf("telemetry: %s lost: %w", were(n, unit), reason))
		}
		return
	}
	called := l.line(mask.TextOf(reason))
	message := fmt.Sprintf("%s lost: %s", were(n, unit), called)
	if cause == "" {
		cause = Cause(called)
	}
	l.say("lost "+unit+" "+cause, counted{n, 0}, slog.LevelError, message, nil, func(n int64, span, since string) string {
		more := unit + " were"
		if n == 1 {
			more = strings.TrimSuffix(unit, "s") + " was"
		}
		return fmt.Sprintf("%s more %s lost in the last %s, since %s: %s", Thousands(n), more, span, since, called)
	})
}

// Settle is told that another line has said what was lost of a unit for a cause.
func (l *Log) Settle(cause, unit string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.causes["lost "+unit+" "+cause]; c != nil {
		c.stop()
		c.count = 0
	}
}

// Close says what has repeated and was not said yet. What comes later is written, at most once a minute, and no longer
// counted.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Flush()
}

// Flush says what has repeated and was not said yet, before its minute is over.
func (l *Log) Flush() {
	l.mu.Lock()
	var due []*cause
	for _, c := range l.causes {
		if c.more {
			due = append(due, c)
		}
	}
	slices.SortFunc(due, func(a, b *cause) int { return a.since.Compare(b.since) })
	lines := make([]slog.Record, len(due))
	for i, c := range due {
		lines[i] = c.repetitions(time.Now())
	}
	l.mu.Unlock()
	for _, line := range lines {
		l.write(line)
	}
}

// counted is how often a line's cause has come, and how much of that the count after the first line begins with: occurrences
// include the first one; items that a line has said to be lost are in no other line, so that the lines add up.
type counted struct{ n, first int64 }

func (l *Log) say(key string, n counted, level slog.Level, message string, args []any, sum func(int64, string, string) string) bool {
	if level < l.level || !l.admit(key, n, level, sum) {
		return false
	}
	record := slog.NewRecord(time.Now(), level, "telemetry: "+l.line(message), 0)
	record.Add(args...)
	l.write(record)
	return true
}

// admit reports whether a line may be written, and counts it if not.
func (l *Log) admit(key string, n counted, level slog.Level, sum func(int64, string, string) string) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.causes[key]
	if c == nil && len(l.causes) >= maxCauses {
		l.forget(now)
	}
	if c == nil && len(l.causes) >= maxCauses {
		key, c = further, l.causes[further]
		sum = func(n int64, span, since string) string {
			return fmt.Sprintf("%s: %s in the last %s, since %s", further, Count(n, "time", "times"), span, since)
		}
	}
	if c == nil || now.Sub(c.said) >= quiet && !c.more {
		l.causes[key] = &cause{level: level, sum: sum, since: now, said: now, count: n.first}
		return true
	}
	c.level, c.sum = level, sum
	c.count += n.n
	if !c.more && !l.closed {
		c.more = true
		c.timer = time.AfterFunc(quiet-now.Sub(c.said), func() { l.minuteOver(c) })
	}
	return false
}

// minuteOver says how often a cause came in the minute that ends.
func (l *Log) minuteOver(c *cause) {
	l.mu.Lock()
	if !c.more { // Close or Settle was faster
		l.mu.Unlock()
		return
	}
	line := c.repetitions(time.Now())
	l.mu.Unlock()
	l.write(line)
}

// repetitions is the line about them; the next minute begins.
func (c *cause) repetitions(now time.Time) slog.Record {
	span := "minute"
	if passed := now.Sub(c.said); passed < quiet {
		span = max(passed.Round(time.Second), time.Second).String()
	}
	line := slog.NewRecord(now, c.level, "telemetry: "+c.sum(c.count, span, c.since.Format(time.TimeOnly)), 0)
	line.AddAttrs(slog.Int64("count", c.count), slog.Time("since", c.since))
	c.stop()
	c.said, c.count = now, 0
	return line
}

func (c *cause) stop() {
	c.more = false
	if c.timer != nil {
		c.timer.Stop()
	}
}

// forget makes room: a cause that has been silent for a minute may speak anyway.
func (l *Log) forget(now time.Time) {
	for key, c := range l.causes {
		if !c.more && now.Sub(c.said) >= quiet {
			delete(l.causes, key)
		}
	}
}

// line makes a message fit for one line: without secrets, without line breaks, short. An error may carry the whole page
// with which a proxy answered.
func (l *Log) line(message string) string {
	message = strings.Join(strings.Fields(l.mask.Text(trimmed(message))), " ")
	if runes := []rune(message); len(runes) > maxLine {
		return string(runes[:maxLine]) + "…"
	}
	return message
}

// withAttributes is a line as one text, for an error has no attributes.
func withAttributes(message string, args []any) string {
	r := slog.NewRecord(time.Time{}, 0, message, 0)
	r.Add(args...)
	separator := ": "
	r.Attrs(func(a slog.Attr) bool {
		message += separator + a.String()
		separator = ", "
		return true
	})
	return message
}

func trimmed(message string) string { return strings.TrimPrefix(message, "telemetry: ") }
