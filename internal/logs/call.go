package logs

import (
	"reflect"
	"strings"
)

// called is what a method of a service's value returns, or a note that it panics. The note follows slog's own.
func called(method func() (string, error)) (s string, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s, ok = "!PANIC: "+panicText(p), false
		}
	}()
	s, err := method()
	if err != nil {
		return "!ERROR: " + err.Error(), false
	}
	return s, true
}

// panicText must not follow a value of unknown shape.
func panicText(p any) (s string) {
	defer func() {
		if recover() != nil {
			s = "a value of type " + reflect.TypeOf(p).String()
		}
	}()
	switch p := p.(type) {
	case string:
		return p
	case error:
		return p.Error()
	}
	return "a value of type " + reflect.TypeOf(p).String()
}

// maxCallVisits bounds the look at a value before one of its methods is called that encoding/json would not call. An error
// may hold a whole response, so more of it is looked at.
const (
	maxCallVisits  = 500
	maxErrorVisits = 5_000
)

// isTree tells whether a value holds nothing twice on a way down, and is small: its methods can follow it to its end.
func isTree(v reflect.Value) bool {
	s := search{visits: maxCallVisits}
	return !s.recurs(v, nil) && s.visits >= 0
}

// failsForever tells whether an error leads back to itself through other errors, so that its text never ends, or is too
// large to tell. What else it holds, such as a connection, may well be part of cycles.
func failsForever(v reflect.Value) bool {
	s := search{visits: maxErrorVisits, errors: true, seen: map[visit]bool{}}
	return s.recurs(v, nil) || s.visits < 0
}

type search struct {
	visits int
	errors bool // only errors count
	seen   map[visit]bool
}

// ref is a pointer, a map or a slice.
type ref struct {
	at   uintptr
	size int
	kind reflect.Type
}

// way is the references on the way down to a value.
type way struct {
	ref
	outer *way
}

// visit is the look at an error, or at what an error holds.
type visit struct {
	ref
	by *way // nil for an error
}

func (s *search) recurs(v reflect.Value, outer *way) bool {
	if s.visits--; s.visits < 0 || !v.IsValid() {
		return false
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if v.IsNil() {
			return false
		}
		r, by := refOf(v), outer
		if !s.errors || v.Type().Implements(errorType) {
			for w := outer; w != nil; w = w.outer {
				if w.at == r.at && w.kind == r.kind {
					return true
				}
			}
			outer, by = &way{r, outer}, nil
		}
		if s.errors {
			if s.seen[visit{r, by}] {
				return false
			}
			s.seen[visit{r, by}] = true
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return s.recurs(v.Elem(), outer)
	case reflect.Struct:
		for i := range v.NumField() {
			if s.recurs(v.Field(i), outer) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if !nests(v.Type().Elem().Kind()) {
			return false
		}
		for i := 0; i < v.Len() && s.visits > 0; i++ {
			if s.recurs(v.Index(i), outer) {
				return true
			}
		}
	case reflect.Map:
		if !v.CanInterface() { // another goroutine may write to it at this moment
			return !s.errors
		}
		if s.errors && !v.Type().Elem().Implements(errorType) {
			return false
		}
		for entries := v.MapRange(); s.visits > 0 && entries.Next(); {
			if s.recurs(entries.Key(), outer) || s.recurs(entries.Value(), outer) {
				return true
			}
		}
	}
	return false
}

func refOf(v reflect.Value) ref {
	r := ref{at: v.Pointer(), kind: v.Type()}
	if v.Kind() == reflect.Slice {
		r.size = v.Len()
	}
	return r
}

// nests tells which kinds hold other values, and count a level of depth.
func nests(k reflect.Kind) bool {
	switch k {
	case reflect.Interface, reflect.Struct, reflect.Slice, reflect.Array, reflect.Map, reflect.Pointer:
		return true
	}
	return false
}

// clipped cuts a text without cutting a character, and lets go of what was cut.
func clipped(s string, size int) string {
	for size > 0 && size < len(s) && s[size]&0xC0 == 0x80 {
		size--
	}
	return strings.Clone(s[:size])
}
