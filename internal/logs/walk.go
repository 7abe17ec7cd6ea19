package logs

import (
	"cmp"
	"encoding"
	"encoding/json"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// walk walks through the values of one record.
type walk struct {
	record budget // what is left for the values that follow
	budget        // what is left for this one
	deep   bool   // it nests too deep
	noted  bool   // it already has a note that it is cut
}

func newWalk() *walk { return &walk{record: budget{maxElements, maxBytes}} }

// attrs replaces every value by one that all branches can write.
func (w *walk) attrs(attrs []slog.Attr) []slog.Attr {
	walked := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		walked[i] = w.attr(a)
	}
	return walked
}

func (w *walk) attr(a slog.Attr) slog.Attr {
	granted := budget{min(maxValueElements, w.record.elements), min(maxValueBytes, w.record.bytes)}
	w.budget, w.deep, w.noted = granted, false, false
	v := resolved(a.Value)
	if err, isError := errorOf(v); isError {
		v = w.failure(err)
	} else {
		v = w.slog(v, maxDepth)
	}
	if w.deep {
		v = slog.StringValue(depthNote)
	}
	w.record.elements -= granted.elements - w.elements
	w.record.bytes -= granted.bytes - w.bytes
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
			return slog.AnyValue(&node{kind: float64s, bits: math.Float64bits(f)})
		}
	case slog.KindAny:
		value := v.Any()
		if source, isSource := value.(*slog.Source); isSource { // slog's JSON handler makes a group of it
			return w.group(sourceAttrs(source), levels)
		}
		return w.any(value, levels).slog()
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

// any walks a value of slog.KindAny.
func (w *walk) any(value any, levels int) node {
	switch value := value.(type) {
	case nil:
		return node{}
	case *node:
		return *value
	case []byte:
		if value == nil {
			return node{}
		}
		return node{kind: binary, text: w.text(string(value))}
	case slog.Level:
		return w.textNode(value.String())
	}
	v := reflect.ValueOf(value)
	if v.Kind() == reflect.Pointer && !v.IsNil() && infoOf(v.Type()).plain() {
		v = v.Elem() // the first pointer does not count as a level: structs are usually passed by pointer
		return w.value(v, levels, false)
	}
	if isNil(v) {
		return w.nilPointer(v)
	}
	return w.value(v, levels, true)
}

func isNil(v reflect.Value) bool { return v.Kind() == reflect.Pointer && v.IsNil() }

// value walks a value by reflection. own tells that it is the record's own copy. Only then are
// unexported fields read: elsewhere they may change at the same time.
func (w *walk) value(v reflect.Value, levels int, own bool) node {
	if !v.IsValid() {
		return node{}
	}
	if nests(v.Kind()) {
		if levels == 0 {
			w.deep = true
			return node{}
		}
		levels--
	}
	switch v.Kind() {
	case reflect.Interface:
		held := v.Elem()
		if isNil(held) {
			return w.nilPointer(held)
		}
		return w.value(held, levels, own)
	case reflect.Pointer:
		if v.IsNil() {
			return node{}
		}
	}
	info := infoOf(v.Type())
	alt := ""
	if !info.plain() && v.CanInterface() {
		n, done := w.byMethods(v, info, levels)
		if done {
			return n
		}
		alt = n.alt
	}
	n := w.byKind(v, info, levels, own)
	n.alt = cmp.Or(alt, n.alt)
	return n
}

func (w *walk) special(value any, levels int) node {
	switch value := value.(type) {
	case time.Time:
		return node{kind: instant, text: w.text(value.Format(time.RFC3339Nano)), bits: uint64(value.UnixNano())}
	case time.Duration:
		return node{kind: duration, bits: uint64(value)}
	case json.Number:
		if n := cmp.Or(string(value), "0"); isNumber(n) {
			return w.number(n)
		}
		return w.textNode(string(value))
	}
	return w.attribute(value.(attribute.Value), levels)
}

// isNumber tells whether s is a number in JSON, without blanks or line ends around it.
func isNumber(s string) bool {
	first, last := s[0], s[len(s)-1]
	return (first == '-' || first >= '0' && first <= '9') && last >= '0' && last <= '9' && json.Valid([]byte(s))
}

// attribute is for values of OpenTelemetry's own API.
func (w *walk) attribute(v attribute.Value, levels int) node {
	if v.Type() != attribute.MAP {
		return w.value(reflect.ValueOf(v.AsInterface()), levels, true)
	}
	n := node{kind: mapping}
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
		n.items = append(n.items, node{kind: text, key: cutKey, text: cutNote})
	}
	return n
}

func (w *walk) byKind(v reflect.Value, info *typeInfo, levels int, own bool) node {
	switch v.Kind() {
	case reflect.Bool:
		n := node{kind: boolean}
		if v.Bool() {
			n.bits = 1
		}
		return n
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return node{kind: signed, bits: uint64(v.Int())}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return node{kind: unsigned, bits: v.Uint()}
	case reflect.Float32:
		return node{kind: float32s, bits: math.Float64bits(v.Float())}
	case reflect.Float64:
		return node{kind: float64s, bits: math.Float64bits(v.Float())}
	case reflect.Complex64, reflect.Complex128:
		return w.textNode(strconv.FormatComplex(v.Complex(), 'g', -1, v.Type().Bits()))
	case reflect.String:
		return w.textNode(v.String())
	case reflect.Pointer:
		if v.IsNil() {
			return node{}
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

func (w *walk) list(v reflect.Value, levels int, own bool) node {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return node{}
	}
	if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice && infoOf(v.Type().Elem()).plain() {
		return node{kind: binary, text: w.text(string(v.Bytes()))}
	}
	n := node{kind: list, items: make([]node, 0, min(v.Len(), w.elements+1))}
	for i := 0; i < v.Len() && !w.deep && w.take(); i++ {
		n.items = append(n.items, w.value(v.Index(i), levels, own))
	}
	if w.mustNote(v.Len() - len(n.items)) {
		n.items = append(n.items, node{kind: text, text: cutNote})
	}
	return n
}

// mapping takes the entries as they come, and sorts those that it has taken, as encoding/json sorts
// them.
func (w *walk) mapping(v reflect.Value, levels int) node {
	if v.IsNil() {
		return node{}
	}
	n := node{kind: mapping, items: make([]node, 0, min(v.Len(), w.elements+1))}
	for entries := v.MapRange(); !w.deep && w.elements > 0 && entries.Next() && w.take(); {
		key := w.key(entries.Key(), levels)
		item := w.value(entries.Value(), levels, false)
		item.key = key
		n.items = append(n.items, item)
	}
	slices.SortFunc(n.items, func(a, b node) int { return cmp.Compare(a.key, b.key) })
	if w.mustNote(v.Len() - len(n.items)) {
		n.items = append(n.items, node{kind: text, key: cutKey, text: cutNote})
	}
	return n
}

// key returns the key as encoding/json writes it, or as text if its type is not a valid key, such
// as a struct.
func (w *walk) key(v reflect.Value, levels int) string {
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() == reflect.String {
		return w.text(v.String())
	}
	if v.IsValid() && v.CanInterface() && !(v.Kind() == reflect.Pointer && v.IsNil()) {
		if value, ok := v.Interface().(encoding.TextMarshaler); ok {
			s, _ := called(func() (string, error) { b, err := value.MarshalText(); return string(b), err })
			return w.text(s)
		}
	}
	switch {
	case v.CanInt():
		return w.text(strconv.FormatInt(v.Int(), 10))
	case v.CanUint():
		return w.text(strconv.FormatUint(v.Uint(), 10))
	}
	n := w.value(v, levels, false)
	n.alt = ""
	return n.String()
}

func (w *walk) object(v reflect.Value, info *typeInfo, levels int, own bool) node {
	n := node{kind: object, items: make([]node, 0, len(info.fields))}
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
		n.items = append(n.items, node{kind: text, key: cutKey, text: cutNote})
	}
	if hidden > 0 && len(n.items) == 0 {
		n.alt = v.Type().String()
	}
	return n
}

// field walks the value of a field. References in an unexported field are not followed: what they
// refer to may change at the same time.
func (w *walk) field(v reflect.Value, f *field, levels int, own bool) node {
	if f.hidden {
		switch inner := v; inner.Kind() {
		case reflect.Interface, reflect.Pointer, reflect.Map, reflect.Slice, reflect.Chan, reflect.Func,
			reflect.UnsafePointer:
			if inner.IsNil() {
				return node{}
			}
			return w.textNode(inner.Type().String())
		}
	}
	n := w.value(v, levels, own)
	isNaN := (n.kind == float32s || n.kind == float64s) && isNoNumber(math.Float64frombits(n.bits))
	if f.quoted && n.kind != null && !isNaN { // NaN is quoted anyway
		quoted := node{kind: text, text: string(n.appendJSON(nil, false)), alt: n.alt}
		if n.kind >= float32s { // and not the same as text
			quoted.alt = n.String()
		}
		return quoted
	}
	return n
}

// Text returns any value as text, such as that of a panic. fmt would follow a value that contains
// itself until the stack overflows.
func Text(value any) string {
	w := walk{budget: budget{maxValueElements, maxValueBytes}}
	n := w.any(value, maxDepth)
	if w.deep {
		return depthNote
	}
	return n.String()
}
