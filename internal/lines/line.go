// Package lines has every line that the library can write about itself. A [Line] can be created
// only here, so all of them are in this package, and testdata/lines.golden has an example of each:
// read it aloud before you change one.
//
// The files go by subject: start.go (settings, identity, the start line), delivery.go (outages,
// losses, the spool, credentials), stop.go (signals and Shutdown), telemetry.go (errors of the SDK
// and of a service's own telemetry code), sentences.go (what is wrong with an endpoint, and what to
// do about it). words.go has what several of them need.
package lines

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/fleetotel/telemetry/internal/mask"
)

// Line is one line of the library's own log.
type Line struct {
	level slog.Level
	text  string
	cause string // what repetitions are counted under, and how their line begins; "" means the text
	attrs []slog.Attr
	err   error // what it is about; may be nil
	lost  *Loss
}

// Loss is how many items a line reports as lost. Losses with the same cause are added up.
type Loss struct {
	Cause string
	Items int64
	more  func(items int64, within, since string) string // the text about later losses
}

// Level is the line's level.
func (l Line) Level() slog.Level { return l.level }

// Text is the line without its attributes.
func (l Line) Text() string { return l.text }

// Cause is the key under which repetitions of the line are counted. Numbers, durations and ids in
// it are ignored.
func (l Line) Cause() string {
	if l.cause != "" {
		return l.cause
	}
	return l.text
}

// Attrs are the line's attributes.
func (l Line) Attrs() []slog.Attr { return l.attrs }

// Loss is nil for a line that is not about lost items.
func (l Line) Loss() *Loss { return l.lost }

// Error makes a line an error for error handlers. Its attributes become a part of the text.
func (l Line) Error() string {
	text, separator := "telemetry: "+l.text, ": "
	for _, a := range l.attrs {
		text += separator + a.String()
		separator = ", "
	}
	return text
}

// Unwrap is the error that the line is about.
func (l Line) Unwrap() error { return l.err }

// Repeated says how often a cause occurred since its last line. within is a time such as "minute".
func Repeated(cause string, level slog.Level, times int64, within string, since time.Time) Line {
	text := fmt.Sprintf("%s: %s in the last %s, since %s", cause, Count(times, "time", "times"), within,
		since.Format(time.TimeOnly))
	return repetition(level, text, times, since)
}

// Repeated says how much more was lost since the last line about the same loss.
func (l Loss) Repeated(level slog.Level, items int64, within string, since time.Time) Line {
	return repetition(level, l.more(items, within, since.Format(time.TimeOnly)), items, since)
}

func repetition(level slog.Level, text string, count int64, since time.Time) Line {
	return Line{level: level, text: text, attrs: []slog.Attr{slog.Int64("count", count), slog.Time("since", since)}}
}

// FurtherProblems stands for all causes beyond the number that the log tracks.
func FurtherProblems(level slog.Level) Line {
	return Line{level: level, text: "other problems, too many to log separately"}
}

func info(format string, args ...any) Line { return line(slog.LevelInfo, format, args) }
func warn(format string, args ...any) Line { return line(slog.LevelWarn, format, args) }
func fail(format string, args ...any) Line { return line(slog.LevelError, format, args) }

// maxText bounds the text of an error, in bytes, which may contain the whole web page that a proxy
// answered with. The log, which masks and truncates every line, reads half of it.
const maxText = 128 << 10

// line formats a line. An error among the arguments is what the line is about. Its Error method may
// be the code of a service, and panic.
func line(level slog.Level, format string, args []any) Line {
	l := Line{level: level}
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			text := mask.TextOf(err)
			l.err, args[i] = err, text[:min(len(text), maxText)]
		}
	}
	l.text = fmt.Sprintf(format, args...)
	return l
}

func (l Line) as(cause string) Line         { l.cause = cause; return l }
func (l Line) with(attrs ...slog.Attr) Line { l.attrs = attrs; return l }
func (l Line) at(level slog.Level) Line     { l.level = level; return l }
