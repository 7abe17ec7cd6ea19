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

// maxCallVisits bounds the look at a value before one of its methods is called that encoding/json would not call.
const maxCallVisits = 500

// isTree tells whether a value holds nothing twice on a way down, and is small: its methods can follow it to its end.
func isTree(v reflect.Value) bool {
	s := search{visits: maxCallVisits}
	return !s.recurs(v, nil) && s.visits >= 0
}

// failsForever tells whether an error leads back to itself through other errors, so that its text never ends. What else
// it holds, such as a connection, may well be part of cycles.
func failsForever(v reflect.Value) bool {
	s := search{visits: maxCallVisits, errors: true}
	return s.recurs(v, nil)
}

type search struct {
	visits int
	errors bool // only errors count
}

// way is the references on the way down to a value.
type way struct {
	at    uintptr
	kind  reflect.Type
	outer *way
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
		if !s.errors || v.Type().Implements(errorType) {
			for w := outer; w != nil; w = w.outer {
				if w.at == v.Pointer() && w.kind == v.Type() {
					return true
				}
			}
			outer = &way{v.Pointer(), v.Type(), outer}
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
		if s.errors || !v.CanInterface() { // somebody may write to it at this moment
			return !s.errors
		}
		for entries := v.MapRange(); s.visits > 0 && entries.Next(); {
			if s.recurs(entries.Key(), outer) || s.recurs(entries.Value(), outer) {
				return true
			}
		}
	}
	return false
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
