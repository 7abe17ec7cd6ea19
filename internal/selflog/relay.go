package selflog

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/go-logr/logr"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// Relay is the process-wide error handler and logger of OpenTelemetry. Those cannot be restored
// reliably, so the relay stays set and passes everything to the current Log. It is safe for
// concurrent use.
type Relay struct {
	fallback *Log
	current  atomic.Pointer[Log]
	muted    atomic.Int32
}

// NewRelay returns a relay to fallback, until [Relay.Use].
func NewRelay(fallback *Log) *Relay { return &Relay{fallback: fallback} }

// Use makes log the current one; nil means the fallback.
func (r *Relay) Use(log *Log) { r.current.Store(log) }

// Muted drops what OpenTelemetry logs while build runs. Its exporters parse the environment when
// they are created, regardless of their options, and log a malformed value in full, secret headers
// too. By then the library has reported the same without the secret.
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
		r.log().Say(lines.FromSDK(level, message))
	}
}

// Handle implements otel.ErrorHandler. It ignores a bare cancellation: that is the SDK's periodic
// reader, when Shutdown interrupts a collection and then makes the last one.
func (r *Relay) Handle(err error) {
	if r.muted.Load() == 0 && err != context.Canceled {
		r.log().Handle(err)
	}
}

// Logger returns a logger for otel.SetLogger. It passes on messages and errors. Of the values
// beside them, which may be settings with secrets, it passes on those in safeKeys.
func (r *Relay) Logger() logr.Logger { return logr.New(sink{r}) }

// sink is a logr.LogSink.
type sink struct{ relay *Relay }

func (sink) Init(logr.RuntimeInfo) {}

// levelOf maps logr's verbosity as OpenTelemetry uses it (otel.SetLogger): 1 is a warning, 4 is
// information. The latter has a line for each new tracer, so it becomes debug.
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
	s.relay.say(levelOf(verbosity), message+safeValues(message, keysAndValues))
}

func (s sink) Error(err error, message string, keysAndValues ...any) {
	text := message
	if err != nil {
		text += ": " + err.Error()
	}
	s.relay.say(slog.LevelError, text+safeValues(message, keysAndValues))
}

// safeKeys are, for each message, the keys whose values come from the service's code, such as names
// of instruments, views and scopes, and not from settings (otel/sdk v1.47: metric/pipeline.go,
// meter.go, view.go; log/provider.go, batch.go).
var safeKeys = map[string][]string{
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

// safeValues are the values in safeKeys, as a part of the message, because a line's cause includes
// its message.
func safeValues(message string, keysAndValues []any) string {
	var b strings.Builder
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		key, ok := keysAndValues[i].(string)
		if !ok || !slices.Contains(safeKeys[message], key) {
			continue
		}
		value := keysAndValues[i+1]
		if view, ok := value.(sdkmetric.Instrument); ok {
			value = fmt.Sprintf("%q", view.Name) // mostly the only criterion
		}
		fmt.Fprintf(&b, "; %s: %+v", key, value)
	}
	return b.String()
}

func (s sink) WithValues(...any) logr.LogSink { return s }
func (s sink) WithName(string) logr.LogSink   { return s }
