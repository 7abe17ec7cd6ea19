package telemetry

import (
	"context"
	"io"
	"log/slog"
	"slices"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/console"
	internallogs "github.com/fleetotel/telemetry/internal/logs"
)

// The keys under which the console branch shows the span, as the OpenTelemetry specification names them
// (compatibility/logging_trace_context.md).
const (
	traceIDKey    = "trace_id"
	spanIDKey     = "span_id"
	traceFlagsKey = "trace_flags"
)

// consoleBranch is the log lines of the view on a terminal, unless another form was asked for, and slog's own elsewhere.
func consoleBranch(cfg *config, view *consoleView, masked *redaction) slog.Handler {
	out := logOutput(cfg.opts)
	if view == nil {
		return newConsoleHandler(out, cfg.logFormat.value, cfg.logLevel.value, masked.replaceAttr(cfg.logFormat.value))
	}
	return view.logHandler(cfg, out, masked)
}

// newConsoleHandler is the branch that people and log shippers read. Its destination is shared with the library's own
// diagnostics, which travel through no other branch. replace masks what is sensitive; nil without redaction.
func newConsoleHandler(w io.Writer, format LogFormat, level slog.Leveler, replace func([]string, slog.Attr) slog.Attr) slog.Handler {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: replace}
	w = console.Locked(w)
	var root slog.Handler
	if format == LogFormatText {
		root = slog.NewTextHandler(w, opts)
	} else {
		root = slog.NewJSONHandler(w, opts)
	}
	return &correlatedHandler{root: root}
}

// newOTLPHandler is the branch that goes to the collector, for records that a [internallogs.Handler] has walked.
func newOTLPHandler(provider log.LoggerProvider, level slog.Leveler) slog.Handler {
	bridge := otelslog.NewHandler(scopeName, otelslog.WithVersion(Version), otelslog.WithLoggerProvider(provider))
	return internallogs.NewBridge(bridge, level)
}

// consoleRecords is OTEL_LOGS_EXPORTER=console: it gives the console branch the records of other bridges than slog, whose
// own it has already.
type consoleRecords struct{ console slog.Handler }

func (c consoleRecords) OnEmit(ctx context.Context, r *sdklog.Record) error {
	level := slog.Level(r.Severity()-log.SeverityInfo) + slog.LevelInfo // both count in steps of four
	if r.InstrumentationScope().Name == scopeName || !c.console.Enabled(ctx, level) {
		return nil
	}
	record := slog.NewRecord(r.Timestamp(), level, r.Body().String(), 0)
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		record.AddAttrs(slog.Any(string(kv.Key), kv.Value.AsInterface()))
		return true
	})
	return c.console.Handle(ctx, record)
}

func (consoleRecords) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (consoleRecords) Shutdown(context.Context) error                         { return nil }
func (consoleRecords) ForceFlush(context.Context) error                       { return nil }

// fanOut joins the branches. A failing one does not keep the record from the others (slog.MultiHandler).
func fanOut(branches ...slog.Handler) slog.Handler {
	if len(branches) == 1 {
		return branches[0]
	}
	return slog.NewMultiHandler(branches...)
}

// correlatedHandler puts the ids of the context's span at the root of each record, also below WithGroup, where a
// handler can add attributes only inside the group: so it keeps the groups itself and nests them record by record.
type correlatedHandler struct {
	root   slog.Handler // has the attributes that came before the first group
	groups []group
}

// group is an open WithGroup and the attributes given since.
type group struct {
	name  string
	attrs []slog.Attr
}

func (h *correlatedHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.root.Enabled(ctx, level)
}

func (h *correlatedHandler) Handle(ctx context.Context, r slog.Record) error {
	sc := trace.SpanContextFromContext(ctx)
	if len(h.groups) > 0 {
		r = h.nest(r)
	} else if sc.IsValid() {
		r = r.Clone() // other handlers share the record's attributes
	}
	if sc.IsValid() {
		r.AddAttrs(
			slog.String(traceIDKey, sc.TraceID().String()),
			slog.String(spanIDKey, sc.SpanID().String()),
			slog.String(traceFlagsKey, sc.TraceFlags().String()))
	}
	return h.root.Handle(ctx, r)
}

// nest moves the record's attributes into the open groups.
func (h *correlatedHandler) nest(r slog.Record) slog.Record {
	inner := attrsOf(r)
	for _, g := range slices.Backward(h.groups) {
		attrs := append(slices.Clip(g.attrs), inner...)
		inner = []slog.Attr{{Key: g.name, Value: slog.GroupValue(attrs...)}}
	}
	return withAttrs(r, inner)
}

func (h *correlatedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	if len(h.groups) == 0 {
		return &correlatedHandler{root: h.root.WithAttrs(attrs)}
	}
	groups := slices.Clone(h.groups)
	last := &groups[len(groups)-1]
	last.attrs = append(slices.Clip(last.attrs), attrs...)
	return &correlatedHandler{root: h.root, groups: groups}
}

func (h *correlatedHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &correlatedHandler{root: h.root, groups: append(slices.Clip(h.groups), group{name: name})}
}

func attrsOf(r slog.Record) []slog.Attr {
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
	return attrs
}

// withAttrs is the record with these attributes in place of its own.
func withAttrs(r slog.Record, attrs []slog.Attr) slog.Record {
	with := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	with.AddAttrs(attrs...)
	return with
}
