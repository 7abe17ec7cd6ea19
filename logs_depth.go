package telemetry

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
)

const (
	// maxDepth is how deep a value of a log record may nest. fmt, which slog's text handler and otelslog use, follows a map
	// that holds itself until the stack overflows, which no recover can stop; a collector refuses a request that nests
	// some 3,000 levels, and with it every other record of the batch.
	maxDepth = 64
	// maxVisited bounds the search for depth. A cycle shows on the first way down.
	maxVisited = 10_000
)

// shallowHandler stands before both branches and puts a note in the place of each value that nests deeper than maxDepth.
type shallowHandler struct{ next slog.Handler }

func (h shallowHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h shallowHandler) Handle(ctx context.Context, r slog.Record) error {
	deep := false
	r.Attrs(func(a slog.Attr) bool {
		deep = isDeep(a.Value, maxDepth)
		return !deep
	})
	if deep {
		r = withAttrs(r, shallowAttrs(attrsOf(r)))
	}
	return h.next.Handle(ctx, r)
}

func (h shallowHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return shallowHandler{h.next.WithAttrs(shallowAttrs(attrs))}
}

func shallowAttrs(attrs []slog.Attr) []slog.Attr {
	shallow := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		shallow[i] = shallowAttr(a)
	}
	return shallow
}

func (h shallowHandler) WithGroup(name string) slog.Handler {
	return shallowHandler{h.next.WithGroup(name)}
}

func shallowAttr(a slog.Attr) slog.Attr {
	if isDeep(a.Value, maxDepth) {
		return slog.String(a.Key, fmt.Sprintf("!DEPTH: a value that holds itself or nests more than %d levels", maxDepth))
	}
	return a
}

// isDeep reports whether a value nests more than the given levels.
func isDeep(v slog.Value, levels int) bool {
	if v.Kind() == slog.KindLogValuer {
		v = v.Resolve() // bounded by slog, panics included
	}
	switch v.Kind() {
	case slog.KindGroup:
		if levels == 0 {
			return true
		}
		for _, a := range v.Group() {
			if isDeep(a.Value, levels-1) {
				return true
			}
		}
	case slog.KindAny:
		switch v.Any().(type) {
		case error, fmt.Formatter, fmt.Stringer, json.Marshaler, encoding.TextMarshaler:
			return false // has a text of its own
		}
		value := reflect.ValueOf(v.Any())
		if value.Kind() == reflect.Pointer {
			value = value.Elem() // fmt follows the first pointer and no other
		}
		visits := maxVisited
		return isDeepValue(value, levels, &visits)
	}
	return false
}

func isDeepValue(v reflect.Value, levels int, visits *int) bool {
	*visits--
	if *visits < 0 || !nests(v.Kind()) {
		return false
	}
	if levels == 0 {
		return true
	}
	switch v.Kind() {
	case reflect.Interface:
		return isDeepValue(v.Elem(), levels-1, visits)
	case reflect.Struct:
		for i := range v.NumField() {
			if isDeepValue(v.Field(i), levels-1, visits) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if !nests(v.Type().Elem().Kind()) {
			return false
		}
		for i := 0; i < v.Len() && *visits > 0; i++ {
			if isDeepValue(v.Index(i), levels-1, visits) {
				return true
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); *visits > 0 && entries.Next(); {
			if isDeepValue(entries.Key(), levels-1, visits) || isDeepValue(entries.Value(), levels-1, visits) {
				return true
			}
		}
	}
	return false
}

func nests(k reflect.Kind) bool {
	switch k {
	case reflect.Interface, reflect.Struct, reflect.Slice, reflect.Array, reflect.Map:
		return true
	}
	return false
}
