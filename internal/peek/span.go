// Package peek reads the SDK's spans, values and sets in place. Their accessors copy them first, which costs more than what
// the hot path does with them. Reflection checks at the start that their fields are those of the version that is known;
// where they are not, the accessors are used.
package peek

import (
	"reflect"
	"sync/atomic"
	"unsafe"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Spans reads what the hot path wants to know of a span. Each accessor of the SDK's spans copies the whole span first, 408
// bytes. So spans of the type of the first one, which in a process are the SDK's, are read in place, through a [window];
// all others through their accessors.
//
// The zero value is ready, and safe for concurrent use.
type Spans struct {
	window atomic.Pointer[window]
	tried  atomic.Bool
}

// Status tells whether a span is sampled, and whether it failed.
func (v *Spans) Status(s sdktrace.ReadOnlySpan) (sampled, failed bool) {
	w, data := v.through(s)
	if w == nil {
		return s.SpanContext().IsSampled(), s.Status().Code == codes.Error
	}
	return at[trace.SpanContext](data, w.context).IsSampled(), at[sdktrace.Status](data, w.status).Code == codes.Error
}

// Parts are what a span holds. They are the span's own: do not change them.
type Parts struct {
	Name, Description string // Description is the status's
	Attributes        []attribute.KeyValue
	Events            []sdktrace.Event
	Links             []sdktrace.Link
	State             int // see StateSize
}

// StateSize is how many bytes of a header the trace state of a span or link holds, which a stranger may have sent.
func StateSize(sc *trace.SpanContext) (bytes int) {
	if state := sc.TraceState(); state.Len() > 0 {
		state.Walk(func(key, value string) bool {
			bytes += len(key) + len(value) + 2
			return true
		})
	}
	return bytes
}

// Parts returns what a span holds.
func (v *Spans) Parts(s sdktrace.ReadOnlySpan) Parts {
	w, data := v.through(s)
	if w == nil {
		sc := s.SpanContext()
		return Parts{s.Name(), s.Status().Description, s.Attributes(), s.Events(), s.Links(), StateSize(&sc)}
	}
	return Parts{*at[string](data, w.name), at[sdktrace.Status](data, w.status).Description,
		*at[[]attribute.KeyValue](data, w.attributes), *at[[]sdktrace.Event](data, w.events), *at[[]sdktrace.Link](data, w.links),
		StateSize(at[trace.SpanContext](data, w.context))}
}

// through returns the window on s and where its data is, or no window.
func (v *Spans) through(s sdktrace.ReadOnlySpan) (*window, unsafe.Pointer) {
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
