package logs

import (
	"cmp"
	"context"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/fleetotel/telemetry/internal/version"
)

// NewConsoleHandler returns the branch that people and log shippers read. It is safe to share w
// with the library's own diagnostics. replace masks what is sensitive; nil turns that off.
func NewConsoleHandler(w io.Writer, asText bool, level slog.Leveler,
	replace func([]string, slog.Attr) slog.Attr) slog.Handler {
	w = Locked(w)
	if !asText {
		return newJSONHandler(w, level, replace)
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: replace}
	return &correlatedHandler{root: slog.NewTextHandler(w, opts)}
}

// NewOTLPHandler returns the branch that goes to the collector. Its records must have passed a
// handler of [NewHandler].
func NewOTLPHandler(sink *Sink, level slog.Leveler) slog.Handler {
	return &bridge{sink: sink, level: level}
}

// ConsoleRecords is the processor of OTEL_LOGS_EXPORTER=console. It hands records of other bridges
// than slog's to the console branch, which has slog's already.
type ConsoleRecords struct{ Console slog.Handler }

func (c ConsoleRecords) OnEmit(ctx context.Context, r *sdklog.Record) error {
	severity := cmp.Or(r.Severity(), log.SeverityInfo)              // many records have none
	level := slog.Level(severity-log.SeverityInfo) + slog.LevelInfo // both count in steps of four
	if r.InstrumentationScope().Name == version.Scope || !c.Console.Enabled(ctx, level) {
		return nil
	}
	at := r.Timestamp()
	if at.IsZero() {
		at = r.ObservedTimestamp()
	}
	record := slog.NewRecord(at, level, r.Body().String(), 0)
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		record.AddAttrs(slog.Any(string(kv.Key), kv.Value))
		return true
	})
	if name := r.EventName(); name != "" {
		record.AddAttrs(slog.String("event.name", name))
	}
	return c.Console.Handle(ctx, record)
}

func (ConsoleRecords) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (ConsoleRecords) Shutdown(context.Context) error                         { return nil }
func (ConsoleRecords) ForceFlush(context.Context) error                       { return nil }
