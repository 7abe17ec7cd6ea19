// Package diagnose is how the library speaks about itself: one log for its own troubles and the SDK's, free of
// repetitions, that never travels through the OTLP branch it may be complaining about.
package diagnose

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	// quiet is how long a cause stays silent after its line.
	quiet = time.Minute
	// maxCauses bounds the memory; beyond it, new causes share one entry.
	maxCauses = 256
	// maxLine is in characters.
	maxLine = 600
)

// Log writes each cause at most once a minute and says how often it came in between. It is safe for concurrent use.
type Log struct {
	write   func(slog.Record)
	forward func(error) // instead of write
	level   slog.Level
	now     func() time.Time

	mu     sync.Mutex
	causes map[string]*cause
}

// cause is a line that may repeat.
type cause struct {
	last       time.Time
	suppressed int
}

// New returns a log that writes lines of at least level to write, which must be safe for concurrent use.
func New(write func(slog.Record), level slog.Level, now func() time.Time) *Log {
	return &Log{write: write, level: level, now: now, causes: map[string]*cause{}}
}

// NewForwarding returns a log that hands every error to handle as it is, without a limit: whoever counts or classifies
// errors wants them all. Lines of its own it hands over as errors from the level of a warning. A panic of handle ends
// there.
func NewForwarding(handle func(error), level slog.Level) *Log {
	return &Log{level: level, forward: func(err error) {
		defer func() { _ = recover() }()
		handle(err)
	}}
}

// ToHandler adapts a slog handler for [New]. The handler's own level does not apply: OTEL_LOG_LEVEL decides about the
// library's lines, LOG_LEVEL about the service's.
func ToHandler(h slog.Handler) func(slog.Record) {
	return func(r slog.Record) { _ = h.Handle(context.Background(), r) }
}

// Handle reports an error that happened in the background. With it, a Log is an otel.ErrorHandler.
func (l *Log) Handle(err error) {
	switch {
	case err == nil:
	case l.forward == nil:
		l.Say(slog.LevelError, err.Error())
	case slog.LevelError >= l.level:
		l.forward(err)
	}
}

// Say writes one line, unless the same was written within the last minute. args are slog attributes or pairs; they do
// not tell one cause from another.
func (l *Log) Say(level slog.Level, message string, args ...any) {
	if level < l.level {
		return
	}
	if l.forward != nil {
		if level >= slog.LevelWarn {
			l.forward(errors.New("telemetry: " + message))
		}
		return
	}
	now := l.now()
	suppressed, speak := l.admit(message, now)
	if !speak {
		return
	}
	if suppressed > 0 {
		args = append(args, slog.Int("repeated", suppressed))
	}
	record := slog.NewRecord(now, level, "telemetry: "+oneLine(strings.TrimPrefix(message, "telemetry: ")), 0)
	record.Add(args...)
	l.write(record)
}

func (l *Log) admit(message string, now time.Time) (suppressed int, speak bool) {
	key := causeOf(message)
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.causes[key]
	if !ok && len(l.causes) >= maxCauses {
		key = ""
		known, ok = l.causes[key]
	}
	if !ok {
		l.causes[key] = &cause{last: now}
		return 0, true
	}
	if now.Sub(known.last) < quiet {
		known.suppressed++
		return 0, false
	}
	suppressed, known.suppressed, known.last = known.suppressed, 0, now
	return suppressed, true
}

// oneLine keeps a line a line: an error may carry the whole page with which a proxy answered.
func oneLine(message string) string {
	message = strings.Join(strings.Fields(message), " ")
	if runes := []rune(message); len(runes) > maxLine {
		return string(runes[:maxLine]) + "…"
	}
	return message
}

// causeOf leaves out what differs from one occurrence to the next: ports, counts, durations.
func causeOf(message string) string {
	var b strings.Builder
	digits := false
	for _, r := range message {
		if unicode.IsDigit(r) {
			if !digits {
				b.WriteByte('#')
			}
			digits = true
			continue
		}
		digits = false
		b.WriteRune(r)
	}
	return b.String()
}
