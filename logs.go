package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"
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
	var root slog.Handler
	if format == LogFormatText {
		root = slog.NewTextHandler(w, opts)
	} else {
		root = slog.NewJSONHandler(w, opts)
	}
	return &correlatedHandler{root: root}
}

// newOTLPHandler is the branch that goes to the collector. The level is checked here because otelslog has none, and
// because a record that nobody wants should not take the SDK's locks.
func newOTLPHandler(provider log.LoggerProvider, level slog.Leveler) slog.Handler {
	bridge := otelslog.NewHandler(scopeName, otelslog.WithVersion(Version), otelslog.WithLoggerProvider(provider))
	return &bridgeHandler{next: bridge, level: level}
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

// bridgeHandler stands before otelslog: it gates by level, keeps every error attribute under its own key (otelslog
// moves them to exception.* and keeps only the last), and contains panics of values, which slog's own handlers do too.
type bridgeHandler struct {
	next  slog.Handler
	level slog.Leveler
}

func (h *bridgeHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level.Level() && h.next.Enabled(ctx, level)
}

func (h *bridgeHandler) Handle(ctx context.Context, r slog.Record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("telemetry: a log record panicked: %v", p)
		}
	}()
	if hasError(r) {
		r = withAttrs(r, withErrorTexts(attrsOf(r)))
	}
	if panicOf(func() { err = h.next.Handle(ctx, r) }) != nil {
		return h.next.Handle(ctx, withAttrs(r, soundAttrs(h.next, attrsOf(r))))
	}
	return err
}

// WithAttrs resolves the attributes here and now, in the middle of the service.
func (h *bridgeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	add := func() { with.next = h.next.WithAttrs(attrs) }
	attrs = withErrorTexts(attrs)
	if panicOf(add) != nil {
		attrs = soundAttrs(h.next, attrs)
		_ = panicOf(add) // a value that panics only now and then is left out
	}
	return &with
}

func (h *bridgeHandler) WithGroup(name string) slog.Handler {
	return &bridgeHandler{next: h.next.WithGroup(name), level: h.level}
}

func hasError(r slog.Record) (found bool) {
	r.Attrs(func(a slog.Attr) bool {
		_, found = asError(a)
		return !found
	})
	return found
}

func asError(a slog.Attr) (error, bool) {
	if a.Value.Kind() != slog.KindAny {
		return nil, false
	}
	err, ok := a.Value.Any().(error)
	return err, ok
}

// withErrorTexts adds the text of each error as an attribute of its own; the first error itself stays, for
// exception.type and exception.message.
func withErrorTexts(attrs []slog.Attr) []slog.Attr {
	kept := make([]slog.Attr, 0, len(attrs)+1)
	seen := false
	for _, a := range attrs {
		err, isError := asError(a)
		if !isError {
			kept = append(kept, a)
			continue
		}
		var text string
		if p := panicOf(func() { text = err.Error() }); p != nil { // such as that of a nil pointer
			text = panicNote(p)
		} else if !seen {
			kept = append(kept, a)
			seen = true
		}
		kept = append(kept, slog.String(a.Key, text))
	}
	return kept
}
