package telemetry

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

func logOutput(o *options) io.Writer {
	if isNil(o.logOutput) {
		return os.Stderr
	}
	return o.logOutput
}

// newSelfLog is where the library speaks about itself: the console branch, or the user's error handler.
func newSelfLog(o *options, console slog.Handler, level slog.Level) *diagnose.Log {
	if isNil(o.errorHandler) {
		return diagnose.New(diagnose.ToHandler(console), level, time.Now)
	}
	return diagnose.NewForwarding(o.errorHandler.Handle, level)
}

// startLine says what is on, and where it goes.
func startLine(cfg *config, res *resource.Resource) []any {
	var args []any
	for _, key := range []attribute.Key{semconv.ServiceNameKey, semconv.ServiceVersionKey, semconv.ServiceInstanceIDKey} {
		if value, ok := res.Set().Value(key); ok {
			args = append(args, slog.String(string(key), value.String()))
		}
	}
	for _, s := range allSignals() {
		args = append(args, slog.String(s.String(), destination(cfg, s)))
	}
	if cfg.spoolDir.value != "" && cfg.sendsOTLP() {
		args = append(args, slog.String("spool", spoolLine(cfg)))
	}
	return append(args, slog.String("profile", string(cfg.profile.value)))
}

// destination is a signal in one phrase: "off", or where it goes.
func destination(cfg *config, s signal) string {
	sc := cfg.signals[s]
	if !sc.on {
		return "off"
	}
	var places []string
	for _, exporter := range sc.exporters.value {
		if exporter == exporterOTLP {
			exporter = string(sc.protocol.value) + " " + sc.target.url.String()
		}
		places = append(places, exporter)
	}
	return strings.Join(places, ", ")
}
