package telemetry

import (
	"fmt"
	"log/slog"
)

// panicOf returns what f panics with, or nil.
func panicOf(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}

// panicNote stands in the place of a value that panics, as in slog's own handlers.
func panicNote(p any) string { return fmt.Sprintf("!PANIC: %v", p) }

// soundAttrs puts a note in the place of each value that h panics at, however deep in groups: an error inside a map that is
// a nil pointer, say. It tries one at a time, so it is for after a panic, and in a group, since otelslog only looks at an
// error that stands outside when a record comes.
func soundAttrs(h slog.Handler, attrs []slog.Attr) []slog.Attr {
	sound := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		if p := panicOf(func() { h.WithAttrs([]slog.Attr{{Key: "tried", Value: slog.GroupValue(a)}}) }); p != nil {
			if v := a.Value.Resolve(); v.Kind() == slog.KindGroup {
				a.Value = slog.GroupValue(soundAttrs(h, v.Group())...)
			} else {
				a.Value = slog.StringValue(panicNote(p))
			}
		}
		sound[i] = a
	}
	return sound
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
