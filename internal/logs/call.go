package logs

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// byMethods returns the form that the methods of a value give it. If it is not done, the node has
// only the alt, or nothing.
func (w *walk) byMethods(v reflect.Value, info *typeInfo, levels int) (n node, done bool) {
	if info.addressable && v.CanAddr() {
		v = v.Addr()
	}
	value := v.Interface()
	if info.special {
		return w.special(value, levels), true
	}
	switch value := value.(type) {
	case json.Marshaler:
		return w.marshaled(value), true
	case error:
		if !isEndlessError(v) {
			s, _ := called(func() (string, error) { return value.Error(), nil })
			return w.textNode(s), true
		}
	case encoding.TextMarshaler:
		s, _ := called(func() (string, error) { b, err := value.MarshalText(); return string(b), err })
		return w.textNode(s), true
	case fmt.Stringer:
		if isTree(v) {
			if s, ok := called(func() (string, error) { return value.String(), nil }); ok {
				return node{alt: w.text(s)}, false
			}
		}
	}
	return node{}, false
}

// nilPointer returns the form of a nil pointer in an interface. If its type is an error, the
// interface is not nil, and the service takes it for a failure. So the form is what its methods
// return.
func (w *walk) nilPointer(v reflect.Value) (n node) {
	if info := infoOf(v.Type()); info.isError && v.CanInterface() {
		n, _ = w.byMethods(v, info, 0)
	}
	return n
}

// called returns what a method of the service's value returns, or a note like slog's if it panics
// or fails.
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

// panicText shows strings and errors only: it must not walk a value of unknown shape.
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

// maxCallVisits bounds the search through a value before one of its methods is called that
// encoding/json would not call. An error may contain a whole response, so its bound is higher.
const (
	maxCallVisits  = 500
	maxErrorVisits = 5_000
)

// isTree tells whether a value is small and no reference in it leads back to itself, so that its
// methods can follow it to its end.
func isTree(v reflect.Value) bool {
	s := search{visits: maxCallVisits}
	return !s.recurs(v, nil) && s.visits >= 0
}

// isEndlessError tells whether an error leads back to itself through other errors, so that its text
// never ends, or is too large to tell. Other values in it, such as a connection, may well be part
// of cycles.
func isEndlessError(v reflect.Value) bool {
	s := search{visits: maxErrorVisits, errors: true, seen: map[visit]bool{}}
	return s.recurs(v, nil) || s.visits < 0
}

// search looks for a value that contains itself.
type search struct {
	visits int  // that are left; below zero: the value is too large to tell
	errors bool // only cycles of errors count
	seen   map[visit]bool
}

// reference is a pointer, a map or a slice: what a cycle goes through.
type reference struct {
	at   uintptr
	size int
	kind reflect.Type
}

// ancestor is a reference on the way down to a value. nil at the top.
type ancestor struct {
	reference
	outer *ancestor
}

func (p *ancestor) has(r reference) bool {
	for ; p != nil; p = p.outer {
		if p.at == r.at && p.kind == r.kind {
			return true
		}
	}
	return false
}

// visit is a reference that the search has followed: to an error, or by way of one.
type visit struct {
	reference
	by *ancestor // nil for an error
}

// recurs tells whether v leads back to itself or to one of outer.
func (s *search) recurs(v reflect.Value, outer *ancestor) bool {
	if s.visits--; s.visits < 0 || !v.IsValid() {
		return false
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if v.IsNil() {
			return false
		}
		if s.errors {
			return s.errorRecurs(v, outer)
		}
		r := referenceTo(v)
		return outer.has(r) || s.partsRecur(v, &ancestor{r, outer})
	}
	return s.partsRecur(v, outer)
}

// errorRecurs is recurs for a reference if only errors count. No reference is followed twice.
func (s *search) errorRecurs(v reflect.Value, outer *ancestor) bool {
	r := referenceTo(v)
	look, inner := visit{r, outer}, outer
	if v.Type().Implements(errorType) {
		if outer.has(r) {
			return true
		}
		look, inner = visit{r, nil}, &ancestor{r, outer}
	}
	if s.seen[look] {
		return false
	}
	s.seen[look] = true
	return s.partsRecur(v, inner)
}

// partsRecur is recurs for the parts of v.
func (s *search) partsRecur(v reflect.Value, outer *ancestor) bool {
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
		return s.entriesRecur(v, outer)
	}
	return false
}

func (s *search) entriesRecur(v reflect.Value, outer *ancestor) bool {
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
	return false
}

func referenceTo(v reflect.Value) reference {
	r := reference{at: v.Pointer(), kind: v.Type()}
	if v.Kind() == reflect.Slice {
		r.size = v.Len()
	}
	return r
}

// nests tells whether values of a kind contain other values, and so count as a level of depth.
func nests(k reflect.Kind) bool {
	switch k {
	case reflect.Interface, reflect.Struct, reflect.Slice, reflect.Array, reflect.Map, reflect.Pointer:
		return true
	}
	return false
}
