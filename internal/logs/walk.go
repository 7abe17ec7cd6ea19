package logs

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// cutKey is the key of a note in a map or group that is cut.
const cutKey = "!CUT"

var (
	depthNote = fmt.Sprintf("!DEPTH: a value that holds itself or nests more than %d levels", MaxDepth)
	cutNote   = fmt.Sprintf("!CUT: a value shows %d elements and %d bytes, a record %d and %d",
		MaxValueElements, MaxValueBytes, MaxElements, MaxBytes)
)

// walk is one record's way through its values.
type walk struct {
	record budget // what is left for the values that follow
	budget        // what is left for this one
	deep   bool   // it nests too deep
	noted  bool   // it says already that it is cut
}

type budget struct{ elements, bytes int }

func newWalk() *walk { return &walk{record: budget{MaxElements, MaxBytes}} }

// attrs replaces every value by what all branches can write.
func (w *walk) attrs(attrs []slog.Attr) []slog.Attr {
	walked := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		walked[i] = w.attr(a)
	}
	return walked
}

func (w *walk) attr(a slog.Attr) slog.Attr {
	granted := budget{min(MaxValueElements, w.record.elements), min(MaxValueBytes, w.record.bytes)}
	w.budget, w.deep, w.noted = granted, false, false
	defer func() {
		w.record.elements -= granted.elements - w.elements
		w.record.bytes -= granted.bytes - w.bytes
	}()
	v := resolved(a.Value)
	if err, isError := errorOf(v); isError {
		v = w.failure(err)
	} else {
		v = w.slog(v, MaxDepth)
	}
	if w.deep {
		v = slog.StringValue(depthNote)
	}
	return slog.Attr{Key: a.Key, Value: v}
}

func resolved(v slog.Value) slog.Value {
	if v.Kind() == slog.KindLogValuer {
		return v.Resolve() // bounded by slog, panics included
	}
	return v
}

func errorOf(v slog.Value) (error, bool) {
	if v.Kind() != slog.KindAny {
		return nil, false
	}
	err, isError := v.Any().(error)
	return err, isError
}

// slog walks a value of slog's kinds.
func (w *walk) slog(v slog.Value, levels int) slog.Value {
	switch v = resolved(v); v.Kind() {
	case slog.KindGroup:
		return w.group(v.Group(), levels)
	case slog.KindFloat64:
		if f := v.Float64(); isNoNumber(f) {
			return slog.AnyValue(&Node{kind: float64s, bits: math.Float64bits(f)})
		}
	case slog.KindAny:
		return w.any(v.Any(), levels).slog()
	}
	return v
}

func (w *walk) group(members []slog.Attr, levels int) slog.Value {
	if levels == 0 {
		w.deep = true
	}
	walked := make([]slog.Attr, 0, min(len(members), w.elements+1))
	for _, a := range members {
		if w.deep || !w.take() {
			break
		}
		walked = append(walked, slog.Attr{Key: a.Key, Value: w.slog(a.Value, levels-1)})
	}
	if w.mustNote(len(members) - len(walked)) {
		walked = append(walked, slog.String(cutKey, cutNote))
	}
	return slog.GroupValue(walked...)
}

// take takes one element from the budget.
func (w *walk) take() bool {
	if w.elements <= 0 || w.bytes <= 0 {
		return false
	}
	w.elements--
	return true
}

// mustNote tells whether a container that leaves out n elements has to say so: the first that is cut does.
func (w *walk) mustNote(n int) bool {
	if n == 0 || w.noted || w.deep {
		return false
	}
	w.noted = true
	return true
}

// text takes a text from the budget.
func (w *walk) text(s string) string {
	if len(s) > w.bytes {
		s = clipped(s, max(w.bytes, 0)) + "…"
		w.bytes = 0
		return s
	}
	w.bytes -= len(s)
	return s
}

func (w *walk) textNode(s string) Node { return Node{kind: text, text: w.text(s)} }

// number is a JSON number, or a text if it has to be cut.
func (w *walk) number(s string) Node {
	if len(s) > w.bytes {
		return w.textNode(s)
	}
	return Node{kind: number, text: w.text(s)}
}

// any walks a value of another kind than slog's own.
func (w *walk) any(value any, levels int) Node {
	switch value := value.(type) {
	case nil:
		return Node{}
	case *Node:
		return *value
	case []byte:
		return Node{kind: binary, text: w.text(string(value))}
	case slog.Level:
		return w.textNode(value.String())
	}
	v := reflect.ValueOf(value)
	if v.Kind() == reflect.Pointer && !v.IsNil() && infoOf(v.Type()).plain() {
		v = v.Elem() // the first pointer is no level: it is how structs are handed over
		return w.value(v, levels, false)
	}
	return w.value(v, levels, true)
}

// value walks a value by reflection. own tells that it is the record's own copy: elsewhere unexported fields may change
// while they are read.
func (w *walk) value(v reflect.Value, levels int, own bool) Node {
	if !v.IsValid() {
		return Node{}
	}
	if nests(v.Kind()) {
		if levels == 0 {
			w.deep = true
			return Node{}
		}
		levels--
	}
	switch v.Kind() {
	case reflect.Interface:
		return w.value(v.Elem(), levels, own)
	case reflect.Pointer:
		if v.IsNil() && !infoOf(v.Type()).fails {
			return Node{}
		}
	}
	info := infoOf(v.Type())
	alt := ""
	if !info.plain() && v.CanInterface() {
		node, done := w.byMethods(v, info, levels)
		if done {
			return node
		}
		alt = node.alt
	}
	node := w.byKind(v, info, levels, own)
	node.alt = cmp.Or(alt, node.alt)
	return node
}

// byMethods is the form that a value gives itself, or only its alt, or nothing.
func (w *walk) byMethods(v reflect.Value, info *typeInfo, levels int) (node Node, done bool) {
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
		if !failsForever(v) {
			s, _ := called(func() (string, error) { return value.Error(), nil })
			return w.textNode(s), true
		}
	case encoding.TextMarshaler:
		s, _ := called(func() (string, error) { b, err := value.MarshalText(); return string(b), err })
		return w.textNode(s), true
	case fmt.Stringer:
		if isTree(v) {
			if s, ok := called(func() (string, error) { return value.String(), nil }); ok {
				return Node{alt: w.text(s)}, false
			}
		}
	}
	return Node{}, false
}

func (w *walk) special(value any, levels int) Node {
	switch value := value.(type) {
	case time.Time:
		return Node{kind: instant, text: w.text(value.Format(time.RFC3339Nano)), bits: uint64(value.UnixNano())}
	case time.Duration:
		return Node{kind: duration, bits: uint64(value)}
	case json.Number:
		if json.Valid([]byte(value)) {
			return w.number(string(value))
		}
		return w.textNode(string(value))
	}
	return w.attribute(value.(attribute.Value), levels)
}

// attribute is for values of OpenTelemetry's own API.
func (w *walk) attribute(v attribute.Value, levels int) Node {
	if v.Type() != attribute.MAP {
		return w.value(reflect.ValueOf(v.AsInterface()), levels, true)
	}
	n := Node{kind: mapping}
	members := v.AsMap()
	for _, kv := range members {
		if levels == 0 || !w.take() {
			w.deep = w.deep || levels == 0
			break
		}
		item := w.attribute(kv.Value, levels-1)
		item.key = w.text(string(kv.Key))
		n.items = append(n.items, item)
	}
	if w.mustNote(len(members) - len(n.items)) {
		n.items = append(n.items, Node{kind: text, key: cutKey, text: cutNote})
	}
	return n
}

func (w *walk) byKind(v reflect.Value, info *typeInfo, levels int, own bool) Node {
	switch v.Kind() {
	case reflect.Bool:
		n := Node{kind: boolean}
		if v.Bool() {
			n.bits = 1
		}
		return n
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Node{kind: signed, bits: uint64(v.Int())}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return Node{kind: unsigned, bits: v.Uint()}
	case reflect.Float32:
		return Node{kind: float32s, bits: math.Float64bits(v.Float())}
	case reflect.Float64:
		return Node{kind: float64s, bits: math.Float64bits(v.Float())}
	case reflect.Complex64, reflect.Complex128:
		return w.textNode(strconv.FormatComplex(v.Complex(), 'g', -1, v.Type().Bits()))
	case reflect.String:
		return w.textNode(v.String())
	case reflect.Pointer:
		if v.IsNil() {
			return Node{}
		}
		return w.value(v.Elem(), levels, false)
	case reflect.Slice, reflect.Array:
		return w.list(v, levels, own && v.Kind() == reflect.Array)
	case reflect.Map:
		return w.mapping(v, levels)
	case reflect.Struct:
		return w.object(v, info, levels, own)
	}
	return w.textNode("!ERROR: a value of type " + v.Type().String() + " cannot be shown")
}

func (w *walk) list(v reflect.Value, levels int, own bool) Node {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return Node{}
	}
	if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice && infoOf(v.Type().Elem()).plain() {
		return Node{kind: binary, text: w.text(string(v.Bytes()))}
	}
	n := Node{kind: list, items: make([]Node, 0, min(v.Len(), w.elements+1))}
	for i := 0; i < v.Len() && !w.deep && w.take(); i++ {
		n.items = append(n.items, w.value(v.Index(i), levels, own))
	}
	if w.mustNote(v.Len() - len(n.items)) {
		n.items = append(n.items, Node{kind: text, text: cutNote})
	}
	return n
}

// mapping takes the entries as they come, and sorts those that it has taken, as encoding/json sorts them.
func (w *walk) mapping(v reflect.Value, levels int) Node {
	if v.IsNil() {
		return Node{}
	}
	n := Node{kind: mapping, items: make([]Node, 0, min(v.Len(), w.elements+1))}
	for entries := v.MapRange(); !w.deep && w.elements > 0 && entries.Next() && w.take(); {
		key := w.key(entries.Key(), levels)
		item := w.value(entries.Value(), levels, false)
		item.key = key
		n.items = append(n.items, item)
	}
	slices.SortFunc(n.items, func(a, b Node) int { return cmp.Compare(a.key, b.key) })
	if w.mustNote(v.Len() - len(n.items)) {
		n.items = append(n.items, Node{kind: text, key: cutKey, text: cutNote})
	}
	return n
}

func (w *walk) key(v reflect.Value, levels int) string {
	if v.Kind() == reflect.String {
		return w.text(v.String())
	}
	n := w.value(v, levels, false)
	n.alt = "" // as encoding/json has it
	return n.String()
}

func (w *walk) object(v reflect.Value, info *typeInfo, levels int, own bool) Node {
	n := Node{kind: object, items: make([]Node, 0, len(info.fields))}
	hidden, cut := 0, 0
	for i := range info.fields {
		f := &info.fields[i]
		if f.hidden && !own {
			hidden++
			continue
		}
		value := f.of(v)
		if !value.IsValid() || f.omitted(value) {
			continue
		}
		if w.deep || !w.take() {
			cut++
			break
		}
		item := w.field(value, f, levels, own)
		item.key, item.hidden = f.name, f.hidden
		n.items = append(n.items, item)
	}
	if w.mustNote(cut) {
		n.items = append(n.items, Node{kind: text, key: cutKey, text: cutNote})
	}
	if hidden > 0 && len(n.items) == 0 {
		n.alt = v.Type().String()
	}
	return n
}

// field is the value of a field. Behind an unexported one nothing is followed that others may change meanwhile.
func (w *walk) field(v reflect.Value, f *field, levels int, own bool) Node {
	if f.hidden {
		switch inner := v; inner.Kind() {
		case reflect.Interface, reflect.Pointer, reflect.Map, reflect.Slice, reflect.Chan, reflect.Func, reflect.UnsafePointer:
			if inner.IsNil() {
				return Node{}
			}
			return w.textNode(inner.Type().String())
		}
	}
	n := w.value(v, levels, own)
	if f.quoted && (n.kind == boolean || n.kind == signed || n.kind == unsigned || n.kind == float32s || n.kind == float64s) {
		return Node{kind: text, text: n.String()}
	}
	return n
}

// Text is a value of unknown shape as text, such as that of a panic: fmt would follow one that holds itself until the
// stack overflows.
func Text(value any) string {
	w := walk{budget: budget{MaxValueElements, MaxValueBytes}}
	n := w.any(value, MaxDepth)
	if w.deep {
		return depthNote
	}
	return n.String()
}
