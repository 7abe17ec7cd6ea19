package logs

import (
	"context"
	"errors"
	"log/slog"
)

// handler walks the values of each record once and hands on values that all branches can write. A
// record with plain values only is handed on as it is.
type handler struct{ branches []slog.Handler }

// NewHandler returns a handler in front of the branches. Each of them gets the records of its own
// levels, also those that another one failed to write.
func NewHandler(branches ...slog.Handler) slog.Handler { return handler{branches} }

// Enabled tells whether a branch wants records of the level.
func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	for _, branch := range h.branches {
		if branch.Enabled(ctx, level) {
			return true
		}
	}
	return false
}

// Handle walks the record.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	plain := true
	r.Attrs(func(a slog.Attr) bool {
		plain = isPlain(a.Value, plainDepth)
		return plain
	})
	if !plain {
		r = walkedRecord(r)
	}
	if len(h.branches) == 1 { // the logger has asked for its level
		return h.branches[0].Handle(ctx, r)
	}
	var errs []error
	for _, branch := range h.branches {
		if !branch.Enabled(ctx, r.Level) {
			continue
		}
		if err := branch.Handle(ctx, r.Clone()); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func walkedRecord(r slog.Record) slog.Record {
	var room [16]slog.Attr // on the stack
	attrs, w := room[:0], newWalk()
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, w.attr(a))
		return true
	})
	return withAttrs(r, attrs)
}

// WithAttrs walks the attributes at once, with a separate budget.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	attrs = newWalk().attrs(attrs)
	return h.each(func(branch slog.Handler) slog.Handler { return branch.WithAttrs(attrs) })
}

// WithGroup opens a group in each branch.
func (h handler) WithGroup(name string) slog.Handler {
	return h.each(func(branch slog.Handler) slog.Handler { return branch.WithGroup(name) })
}

func (h handler) each(with func(slog.Handler) slog.Handler) slog.Handler {
	branches := make([]slog.Handler, len(h.branches))
	for i, branch := range h.branches {
		branches[i] = with(branch)
	}
	return handler{branches}
}

const (
	// plainDepth and plainMembers bound the groups that need no walk: even with many attributes
	// they are far within the budget.
	plainDepth   = 3
	plainMembers = 16
)

func isPlain(v slog.Value, levels int) bool {
	switch v.Kind() {
	case slog.KindAny:
		return v.Any() == nil
	case slog.KindLogValuer:
		return false
	case slog.KindFloat64:
		return !isNoNumber(v.Float64())
	case slog.KindGroup:
		members := v.Group()
		if levels == 0 || len(members) > plainMembers {
			return false
		}
		for i := range members {
			if !isPlain(members[i].Value, levels-1) {
				return false
			}
		}
	}
	return true
}
