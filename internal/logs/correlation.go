package logs

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// The keys under which the console branch shows the span, as the OpenTelemetry specification names
// them (compatibility/logging_trace_context.md).
const (
	traceIDKey    = "trace_id"
	spanIDKey     = "span_id"
	traceFlagsKey = "trace_flags"
)

// correlatedHandler puts the ids of the context's span at the root of each record, also below
// WithGroup, where a handler can add attributes only inside the group: so it keeps the groups
// itself and nests them record by record.
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
