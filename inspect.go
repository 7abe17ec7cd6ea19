package telemetry

import (
	"log/slog"

	lognoop "go.opentelemetry.io/otel/log/noop"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

// description is what cmd/telemetry prints of the settings.
func description(cfg *config) diagnose.Description {
	var d diagnose.Description
	for _, s := range allSignals() {
		d.Signals = append(d.Signals, diagnose.Way{Signal: s.String(), To: destination(cfg, s), OTLP: cfg.signals[s].sends(exporterOTLP)})
	}
	for _, row := range settings() {
		if value, origin := row.report(cfg); origin != originDefault {
			d.Settings = append(d.Settings, diagnose.Choice{Name: row.describe().name, Value: value, Origin: origin})
		}
	}
	return d
}

// describedGuard runs nothing and can only be described.
func describedGuard(g *Guard) *Guard {
	g.tracerProvider, g.meterProvider, g.loggerProvider = tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider(), lognoop.NewLoggerProvider()
	g.logger, g.owner = slog.New(slog.DiscardHandler), &Guard{}
	return g
}
