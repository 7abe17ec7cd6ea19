package logs

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

var (
	marshalerType = reflect.TypeFor[json.Marshaler]()
	textType      = reflect.TypeFor[encoding.TextMarshaler]()
	errorType     = reflect.TypeFor[error]()
	stringerType  = reflect.TypeFor[fmt.Stringer]()
	timeType      = reflect.TypeFor[time.Time]()
	durationType  = reflect.TypeFor[time.Duration]()
	numberType    = reflect.TypeFor[json.Number]()
	attributeType = reflect.TypeFor[attribute.Value]()
)

// typeInfo is what the walk wants to know of a type.
type typeInfo struct {
	special     bool // time.Time and the like, which have a form of their own
	marshals    bool // json.Marshaler
	texts       bool // encoding.TextMarshaler
	fails       bool // error
	strings     bool // fmt.Stringer
	addressable bool // the pointer to it has a form that encoding/json prefers to its own
	fields      []field
}

// plain tells that the kind alone says how the value is shown.
func (t *typeInfo) plain() bool {
	return !t.special && !t.marshals && !t.texts && !t.fails && !t.strings && !t.addressable
}

var types sync.Map // reflect.Type → *typeInfo

func infoOf(t reflect.Type) *typeInfo {
	if info, ok := types.Load(t); ok {
		return info.(*typeInfo)
	}
	info := &typeInfo{
		special:  t == timeType || t == durationType || t == numberType || t == attributeType,
		marshals: t.Implements(marshalerType),
		texts:    t.Implements(textType),
		fails:    t.Implements(errorType),
		strings:  t.Implements(stringerType),
	}
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		pointer := reflect.PointerTo(t)
		info.addressable = !info.marshals && (pointer.Implements(marshalerType) || !info.texts && pointer.Implements(textType))
	}
	if t.Kind() == reflect.Struct {
		info.fields = fieldsOf(t)
	}
	stored, _ := types.LoadOrStore(t, info)
	return stored.(*typeInfo)
}

// field is a field of a struct as encoding/json sees it, or an unexported one.
type field struct {
	name      string
	index     []int
	hidden    bool // unexported
	omitEmpty bool
	omitZero  bool
	quoted    bool
}

// fieldsOf lists the fields with those of embedded structs in their places. Of fields of one name the one that is nested
// least is shown, as in encoding/json.
func fieldsOf(t reflect.Type) []field {
	var found []field
	collect(t, nil, map[reflect.Type]bool{}, &found)
	least := map[string]int{}
	for _, f := range found {
		if depth, seen := least[f.name]; !seen || len(f.index) < depth {
			least[f.name] = len(f.index)
		}
	}
	kept := found[:0]
	for _, f := range found {
		if len(f.index) == least[f.name] {
			least[f.name] = 0 // one of them
			kept = append(kept, f)
		}
	}
	return slices.Clip(kept)
}

func collect(t reflect.Type, path []int, outer map[reflect.Type]bool, found *[]field) {
	if outer[t] {
		return // an embedded pointer to a struct that it is embedded in
	}
	outer[t] = true
	defer delete(outer, t)
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		index := append(slices.Clip(path), i)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.Anonymous && name == "" && inner.Kind() == reflect.Struct {
			collect(inner, index, outer, found)
			continue
		}
		entry := field{name: cmp.Or(name, f.Name), index: index, hidden: !f.IsExported()}
		for option := range strings.SplitSeq(options, ",") {
			entry.omitEmpty = entry.omitEmpty || option == "omitempty"
			entry.omitZero = entry.omitZero || option == "omitzero"
			entry.quoted = entry.quoted || option == "string"
		}
		*found = append(*found, entry)
	}
}

// of returns the field of a struct; it is not valid behind an embedded pointer that is nil.
func (f *field) of(v reflect.Value) reflect.Value {
	for i, at := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}
			}
			v = v.Elem()
		}
		v = v.Field(at)
	}
	return v
}

// omitted tells whether the tag of the field leaves this value out.
func (f *field) omitted(v reflect.Value) bool {
	if f.omitZero && v.IsZero() {
		return true
	}
	if !f.omitEmpty {
		return false
	}
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}
