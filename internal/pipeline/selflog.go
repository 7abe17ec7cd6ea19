package pipeline

import (
	"log/slog"

	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/settings"
)

// NewSelfLog returns the log for the library's own lines. They go to the console, or to the
// service's error handler. A guard without the globals may be one of several in its process, so its
// lines have the service's name.
func NewSelfLog(cfg *settings.Config, console slog.Handler, secrets mask.Mask, res *resource.Resource) *selflog.Log {
	o, level := cfg.Asked, cfg.SelfLogLevel.Value
	if o.ErrorHandler != nil {
		return selflog.NewForwarding(o.ErrorHandler.Handle, level, secrets)
	}
	if name, ok := res.Set().Value(semconv.ServiceNameKey); ok && o.WithoutGlobals {
		console = console.WithAttrs([]slog.Attr{slog.String(string(semconv.ServiceNameKey), name.String())})
	}
	return selflog.New(selflog.ToHandler(console), level, secrets)
}
