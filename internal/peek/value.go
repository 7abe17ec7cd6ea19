package peek

import (
	"reflect"
	"unsafe"

	"go.opentelemetry.io/otel/attribute"
)

// value and set are the layouts of attribute.Value and attribute.Set. They apply if valueInPlace
// and setInPlace are true.
type (
	value struct {
		vtype    attribute.Type
		numeric  uint64
		stringly string
		slice    any
	}
	set struct {
		hash uint64
		data any // an array of KeyValues
	}
)

var (
	valueInPlace = sameFields(reflect.TypeFor[attribute.Value](), reflect.TypeFor[value]())
	setInPlace   = sameFields(reflect.TypeFor[attribute.Set](), reflect.TypeFor[set]())
	keyValueType = reflect.TypeFor[attribute.KeyValue]()
)

// sameFields reports whether two structs have fields of the same names and types at the same
// places.
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

// KindAndText returns the type of a value, and its text if it is a string, or its bytes if it is a
// slice of bytes.
func KindAndText(v *attribute.Value) (attribute.Type, string) {
	if valueInPlace {
		in := (*value)(unsafe.Pointer(v)) // see valueInPlace
		return in.vtype, in.stringly
	}
	return v.Type(), v.AsString()
}

// Members returns the attributes of a set. They belong to the set: do not change them.
func Members(s *attribute.Set) []attribute.KeyValue {
	if !setInPlace {
		return s.ToSlice()
	}
	in := (*set)(unsafe.Pointer(s)) // see setInPlace
	t := reflect.TypeOf(in.data)
	if in.hash == 0 || t == nil || t.Kind() != reflect.Array || t.Elem() != keyValueType {
		return s.ToSlice()
	}
	if t.Len() == 0 {
		return nil
	}
	// An interface that holds an array of several words points at it.
	data := (*[2]unsafe.Pointer)(unsafe.Pointer(&in.data))[1]
	return unsafe.Slice((*attribute.KeyValue)(data), t.Len())
}
