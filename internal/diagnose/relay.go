package diagnose

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-logr/logr"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
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

// Handle implements otel.ErrorHandler. A bare cancellation is the SDK's periodic reader, whose pending collection a
// shutdown has cut short; the last one follows it.
func (r *Relay) Handle(err error) {
	if r.muted.Load() == 0 && err != context.Canceled {
		r.log().Handle(err)
	}
}

// Logger returns a logger for otel.SetLogger. It passes on messages and errors. The values beside them may be settings in
// full, so it passes on those in tellable only.
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

func (s sink) Info(verbosity int, message string, keysAndValues ...any) {
	s.relay.say(levelOf(verbosity), message+told(message, keysAndValues))
}

func (s sink) Error(err error, message string, keysAndValues ...any) {
	text := message
	if err != nil {
		text += ": " + err.Error()
	}
	s.relay.say(slog.LevelError, text+told(message, keysAndValues))
}

// tellable are the keys by message that name instruments, views and scopes: what the service's code has, and no setting
// (otel/sdk v1.47: metric/pipeline.go, meter.go, view.go; log/provider.go, batch.go).
var tellable = map[string][]string{
	"duplicate metric stream definitions": {"names", "kinds", "units", "numbers", "suggested.view"},
	"Repeated observable instrument creation with callbacks. Ignoring new callbacks. " +
		"Use meter.RegisterCallback and Registration.Unregister to manage callbacks.": {"instrument"},
	"failed to record":                  {"name", "unit", "number"},
	"dropping view":                     {"criteria"},
	"not using aggregation with view":   {"criteria"},
	"using default aggregation instead": {"aggregation", "replacement"},
	"Invalid Logger name.":              {"name"},
	"dropped log records":               {"dropped"},
}

// told are the values that may be passed on, in the message: they tell one trouble from another.
func told(message string, keysAndValues []any) string {
	var b strings.Builder
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		key, ok := keysAndValues[i].(string)
		if !ok || !slices.Contains(tellable[message], key) {
			continue
		}
		value := keysAndValues[i+1]
		if view, ok := value.(sdkmetric.Instrument); ok {
			value = fmt.Sprintf("%q", view.Name) // views mostly ask for nothing else
		}
		fmt.Fprintf(&b, "; %s: %+v", key, value)
	}
	return b.String()
}

func (s sink) WithValues(...any) logr.LogSink { return s }
func (s sink) WithName(string) logr.LogSink   { return s }
