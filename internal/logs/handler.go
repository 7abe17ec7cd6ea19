package logs

import (
	"context"
	"log/slog"
)

// Handler walks the values of each record once and hands on what all branches behind it can write. A record whose values
// are plain passes as it is.
type Handler struct{ next slog.Handler }

// NewHandler returns a handler in front of next.
func NewHandler(next slog.Handler) Handler { return Handler{next} }

// Enabled asks next.
func (h Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle walks the record.
func (h Handler) Handle(ctx context.Context, r slog.Record) error {
	plain := true
	r.Attrs(func(a slog.Attr) bool {
		plain = isPlain(a.Value, plainDepth)
		return plain
	})
	if plain {
		return h.next.Handle(ctx, r)
	}
	walked := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	w := newWalk()
	r.Attrs(func(a slog.Attr) bool {
		walked.AddAttrs(w.attr(a))
		return true
	})
	return h.next.Handle(ctx, walked)
}

// WithAttrs walks the attributes here and now. They have a budget of their own.
func (h Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return Handler{h.next.WithAttrs(newWalk().attrs(attrs))}
}

// WithGroup opens a group in next.
func (h Handler) WithGroup(name string) slog.Handler { return Handler{h.next.WithGroup(name)} }

const (
	// plainDepth and plainMembers are the groups that need no walk: they are far within the budget, at any number of
	// attributes that a person writes.
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
