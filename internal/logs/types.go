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
	"unicode"

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
	zeroerType    = reflect.TypeFor[zeroer]()
)

type zeroer interface{ IsZero() bool }

// typeInfo is what the walk needs to know of a type.
type typeInfo struct {
	name            string // with the path of its package, if it has both
	special         bool   // time.Time and a few others, which this package writes by itself
	isMarshaler     bool   // json.Marshaler
	isTextMarshaler bool   // encoding.TextMarshaler
	isError         bool   // error
	isStringer      bool   // fmt.Stringer
	addressable     bool   // encoding/json prefers a method of the pointer to it
	fields          []field
}

// plain tells whether the kind alone decides how a value is shown.
func (t *typeInfo) plain() bool {
	return !t.special && !t.isMarshaler && !t.isTextMarshaler && !t.isError && !t.isStringer && !t.addressable
}

var types sync.Map // reflect.Type → *typeInfo

func infoOf(t reflect.Type) *typeInfo {
	if info, ok := types.Load(t); ok {
		return info.(*typeInfo)
	}
	info := &typeInfo{
		name:            t.String(),
		special:         t == timeType || t == durationType || t == numberType || t == attributeType,
		isMarshaler:     t.Implements(marshalerType),
		isTextMarshaler: t.Implements(textType),
		isError:         t.Implements(errorType),
		isStringer:      t.Implements(stringerType),
	}
	if t.PkgPath() != "" && t.Name() != "" {
		info.name = t.PkgPath() + "." + t.Name()
	}
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		pointer := reflect.PointerTo(t)
		info.addressable = !info.isMarshaler &&
			(pointer.Implements(marshalerType) || !info.isTextMarshaler && pointer.Implements(textType))
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
	rank      int  // the lowest one of a name is shown
	hidden    bool // unexported
	omitEmpty bool
	omitZero  bool
	isZeroer  bool // omitZero asks its IsZero method
	quoted    bool
}

// fieldsOf lists the fields with those of embedded structs in their places. Of the exported fields
// of one name encoding/json shows the one that is nested least, then the one with a tag. It shows
// none of them if that leaves more than one.
func fieldsOf(t reflect.Type) []field {
	var found []field
	collect(t, nil, map[reflect.Type]bool{}, &found)
	type claim struct{ rank, fields int }
	best := map[string]claim{}
	for _, f := range found {
		switch c := best[f.name]; {
		case f.hidden:
		case c.fields == 0 || f.rank < c.rank:
			best[f.name] = claim{f.rank, 1}
		case f.rank == c.rank:
			best[f.name] = claim{f.rank, c.fields + 1}
		}
	}
	return slices.Clip(slices.DeleteFunc(found, func(f field) bool {
		return !f.hidden && best[f.name] != claim{f.rank, 1}
	}))
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
		if !isName(name) {
			name = ""
		}
		index := append(slices.Clip(path), i)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.Anonymous && name == "" && inner.Kind() == reflect.Struct {
			collect(inner, index, outer, found)
			continue
		}
		entry := newField(f, name, options, index)
		entry.hidden = !f.IsExported() && !(f.Anonymous && inner.Kind() == reflect.Struct)
		*found = append(*found, entry)
	}
}

// isName tells whether encoding/json uses the name in a tag. It ignores one that has other
// characters in it than letters, digits and these.
func isName(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" !#$%&()*+-./:;<=>?@[]^_{|}~", r)
	})
}

func newField(f reflect.StructField, name, options string, index []int) field {
	entry := field{name: cmp.Or(name, f.Name), index: index, rank: 2 * len(index)}
	if name == "" {
		entry.rank++
	}
	entry.isZeroer = f.Type.Implements(zeroerType) || reflect.PointerTo(f.Type).Implements(zeroerType)
	for option := range strings.SplitSeq(options, ",") {
		entry.omitEmpty = entry.omitEmpty || option == "omitempty"
		entry.omitZero = entry.omitZero || option == "omitzero"
		entry.quoted = entry.quoted || option == "string" && canBeQuoted(f.Type)
	}
	return entry
}

// canBeQuoted tells whether the option string of a tag has an effect.
func canBeQuoted(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		t = t.Elem()
	}
	switch k := t.Kind(); {
	case k == reflect.String, k >= reflect.Bool && k <= reflect.Float64:
		info := infoOf(t)
		return !info.isMarshaler && !info.isTextMarshaler && !info.addressable && !info.isError
	}
	return false
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
	if f.omitZero && f.isZero(v) {
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

// isZero asks the IsZero method, if there is one. A value whose method panics is shown.
func (f *field) isZero(v reflect.Value) (zero bool) {
	if !f.isZeroer || !v.CanInterface() {
		return v.IsZero()
	}
	held := v
	if v.Kind() == reflect.Interface {
		held = v.Elem()
	}
	if !held.IsValid() || held.Kind() == reflect.Pointer && held.IsNil() {
		return true
	}
	defer func() {
		if recover() != nil {
			zero = false
		}
	}()
	if !v.Type().Implements(zeroerType) {
		pointer := reflect.New(v.Type())
		pointer.Elem().Set(v)
		v = pointer
	}
	return v.Interface().(zeroer).IsZero()
}
