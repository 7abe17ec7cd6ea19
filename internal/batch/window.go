package batch

import (
	"reflect"
	"sync/atomic"
	"unsafe"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// viewer reads what the hot path wants to know of a span. Each accessor of the
// SDK's spans copies the whole span first, 408 bytes, and each of an
// attribute.Value its 48: together they cost three times what queueing a span
// costs. So spans of the type of the first one, which in a process are the SDK's,
// are read in place, through a [window]; all others through their accessors.
//
// The zero value is ready, and safe for concurrent use.
type viewer struct {
	window atomic.Pointer[window]
	tried  atomic.Bool
}

// status tells whether a span is sampled, and whether it failed.
func (v *viewer) status(s sdktrace.ReadOnlySpan) (sampled, failed bool) {
	w, data := v.through(s)
	if w == nil {
		return s.SpanContext().IsSampled(), s.Status().Code == codes.Error
	}
	return at[trace.SpanContext](data, w.context).IsSampled(), at[sdktrace.Status](data, w.status).Code == codes.Error
}

// size estimates the memory of a span in bytes.
func (v *viewer) size(s sdktrace.ReadOnlySpan) int {
	w, data := v.through(s)
	if w == nil {
		return spanSize(s.Name(), s.Status().Description, s.Attributes(), s.Events(), s.Links())
	}
	return spanSize(*at[string](data, w.name), at[sdktrace.Status](data, w.status).Description,
		*at[[]attribute.KeyValue](data, w.attributes), *at[[]sdktrace.Event](data, w.events), *at[[]sdktrace.Link](data, w.links))
}

// through returns the window on s and where its data is, or no window.
func (v *viewer) through(s sdktrace.ReadOnlySpan) (*window, unsafe.Pointer) {
	in := (*iface)(unsafe.Pointer(&s)) // see window
	w := v.window.Load()
	if w != nil && in.kind == w.kind {
		return w, in.data
	}
	if w == nil && !v.tried.Load() {
		v.window.Store(newWindow(s))
		v.tried.Store(true)
	}
	return nil, nil
}

// window knows where the fields of one concrete span type are. It is made only
// for a type whose fields have the very names and types that are read, which
// reflection has checked: should the SDK change its type, spans are read through
// their accessors again, at their cost.
//
// A span that has ended does not change, so reading it in place is as safe as
// calling its accessors.
type window struct {
	kind                                             unsafe.Pointer // identifies the concrete type
	name, context, attributes, events, links, status uintptr
}

// iface is how Go lays an interface value with methods out in memory: a word for
// the type, and one for the data, which is the pointer if the type is one.
type iface struct{ kind, data unsafe.Pointer }

// newWindow returns a window on the concrete type of s, or nil if the type is not
// one that can be read in place.
func newWindow(s sdktrace.ReadOnlySpan) *window {
	t := reflect.TypeOf(s)
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	w := &window{kind: (*iface)(unsafe.Pointer(&s)).kind} // see window
	for _, f := range []struct {
		name string
		typ  reflect.Type
		at   *uintptr
	}{
		{"name", reflect.TypeFor[string](), &w.name},
		{"spanContext", reflect.TypeFor[trace.SpanContext](), &w.context},
		{"attributes", reflect.TypeFor[[]attribute.KeyValue](), &w.attributes},
		{"events", reflect.TypeFor[[]sdktrace.Event](), &w.events},
		{"links", reflect.TypeFor[[]sdktrace.Link](), &w.links},
		{"status", reflect.TypeFor[sdktrace.Status](), &w.status},
	} {
		field, ok := t.Elem().FieldByName(f.name)
		if !ok || field.Type != f.typ || len(field.Index) != 1 {
			return nil
		}
		*f.at = field.Offset
	}
	return w
}

// at returns the field of type T at an offset of a struct.
func at[T any](data unsafe.Pointer, offset uintptr) *T {
	return (*T)(unsafe.Add(data, offset)) // see window
}

// value is the layout of an attribute.Value, if valueInPlace.
type value struct {
	vtype    attribute.Type
	numeric  uint64
	stringly string
	slice    any
}

// valueInPlace says that an attribute.Value has the layout of value.
var valueInPlace = sameFields(reflect.TypeFor[attribute.Value](), reflect.TypeFor[value]())

// sameFields reports whether two structs have fields of the same names and types
// at the same places.
func sameFields(a, b reflect.Type) bool {
	if a.NumField() != b.NumField() || a.Size() != b.Size() {
		return false
	}
	for i := range a.NumField() {
		f, g := a.Field(i), b.Field(i)
		if f.Name != g.Name || f.Type != g.Type || f.Offset != g.Offset {
			return false
		}
	}
	return true
}

// kindAndText returns the type of a value, and its text if it is a string.
func kindAndText(v *attribute.Value) (attribute.Type, string) {
	if valueInPlace {
		in := (*value)(unsafe.Pointer(v)) // see valueInPlace
		return in.vtype, in.stringly
	}
	return v.Type(), v.AsString()
}
