package diagnose

import (
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/go-logr/logr"
)

// Relay is what OpenTelemetry's process-wide error handler and logger are set to. Both can be set but not put back
// reliably, so they stay set and the relay follows whichever Log is current. It is safe for concurrent use.
type Relay struct {
	fallback *Log
	current  atomic.Pointer[Log]
	muted    atomic.Int32
}

// NewRelay returns a relay that speaks to fallback as long as no other log is current.
func NewRelay(fallback *Log) *Relay { return &Relay{fallback: fallback} }

// Use makes log the current one; nil means the fallback.
func (r *Relay) Use(log *Log) { r.current.Store(log) }

// Muted runs build without passing on what OpenTelemetry says meanwhile. Its exporters parse the environment once more
// while they are built, whatever options they get, and print what they cannot parse in full, header values included;
// the library has reported the same by then, without the secret.
func (r *Relay) Muted(build func()) {
	r.muted.Add(1)
	defer r.muted.Add(-1)
	build()
}

func (r *Relay) log() *Log {
	if log := r.current.Load(); log != nil {
		return log
	}
	return r.fallback
}

func (r *Relay) say(level slog.Level, message string) {
	if r.muted.Load() == 0 {
		r.log().Say(level, message)
	}
}

// Handle implements otel.ErrorHandler. An error with a Reported method has been said already, to the log of the guard it
// belongs to; the SDK's handler is the process's and cannot tell guards apart.
func (r *Relay) Handle(err error) {
	var reported interface{ Reported() }
	if r.muted.Load() == 0 && !errors.As(err, &reported) {
		r.log().Handle(err)
	}
}

// Logger returns a logger for otel.SetLogger. It passes on messages and errors only: the values beside them may be
// settings in full.
func (r *Relay) Logger() logr.Logger { return logr.New(sink{r}) }

// sink is a logr.LogSink.
type sink struct{ relay *Relay }

func (sink) Init(logr.RuntimeInfo) {}

// levelOf maps logr's verbosities as OpenTelemetry uses them (otel.SetLogger): 1 is a warning. Its information, 4, is
// a line for every tracer made, so it ranks with debug.
func levelOf(verbosity int) slog.Level {
	if verbosity <= 1 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (s sink) Enabled(verbosity int) bool {
	return levelOf(verbosity) >= s.relay.log().level
}

func (s sink) Info(verbosity int, message string, _ ...any) {
	s.relay.say(levelOf(verbosity), message)
}

func (s sink) Error(err error, message string, _ ...any) {
	if err != nil {
		message += ": " + err.Error()
	}
	s.relay.say(slog.LevelError, message)
}

func (s sink) WithValues(...any) logr.LogSink { return s }
func (s sink) WithName(string) logr.LogSink   { return s }
