// Package encodable makes what services record fit to be encoded as OTLP. A protobuf string is UTF-8, and one text that is
// not, such as a stranger's header, fails the encoding of the whole request: a batch of spans, and of cumulative metrics
// all of them until the process ends. A value that nests too deep is refused by the collector's decoder, with the same
// effect. Texts are repaired with U+FFFD, the replacement character, and depths are cut.
package encodable

import (
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
)

const (
	// maxDepth is how deep the value of an attribute may nest. Decoders of protobuf stop at 100 messages by default (Go's at
	// 10,000), and a level takes three.
	maxDepth = 30
	tooDeep  = "!DEPTH: nested more than 30 levels"
)

// text returns s as UTF-8, and whether it was not.
func text(s string) (sound string, repaired bool) {
	if utf8.ValidString(s) {
		return s, false
	}
	return strings.ToValidUTF8(s, "\ufffd"), true
}

// attributes returns attrs itself or, if something in them was repaired, a new slice.
func attributes(attrs []attribute.KeyValue, depth int) (sound []attribute.KeyValue, repaired bool) {
	sound = attrs
	for i := range attrs {
		key, inKey := text(string(attrs[i].Key))
		v, inValue := value(&attrs[i].Value, depth)
		if !inKey && !inValue {
			continue
		}
		if !repaired {
			sound = append([]attribute.KeyValue(nil), attrs...)
			repaired = true
		}
		sound[i] = attribute.KeyValue{Key: attribute.Key(key), Value: v}
	}
	return sound, repaired
}

// value takes a pointer because a Value is large and most are sound.
func value(v *attribute.Value, depth int) (sound attribute.Value, repaired bool) {
	switch v.Type() {
	case attribute.STRING:
		if s, repaired := text(v.AsString()); repaired {
			return attribute.StringValue(s), true
		}
	case attribute.STRINGSLICE:
		items := v.AsStringSlice() // a copy
		for i := range items {
			var here bool
			items[i], here = text(items[i])
			repaired = repaired || here
		}
		if repaired {
			return attribute.StringSliceValue(items), true
		}
	case attribute.SLICE:
		if depth == 0 {
			return attribute.StringValue(tooDeep), true
		}
		items := v.AsSlice() // a copy
		for i := range items {
			if item, here := value(&items[i], depth-1); here {
				items[i], repaired = item, true
			}
		}
		if repaired {
			return attribute.SliceValue(items...), true
		}
	case attribute.MAP:
		if depth == 0 {
			return attribute.StringValue(tooDeep), true
		}
		if members, repaired := attributes(v.AsMap(), depth-1); repaired {
			return attribute.MapValue(members...), true
		}
	}
	return *v, false
}

func set(attrs attribute.Set) (sound attribute.Set, repaired bool) {
	for all := attrs.Iter(); all.Next(); {
		kv := all.Attribute()
		_, inKey := text(string(kv.Key))
		if _, inValue := value(&kv.Value, maxDepth); inKey || inValue {
			list, _ := attributes(attrs.ToSlice(), maxDepth)
			return attribute.NewSet(list...), true
		}
	}
	return attrs, false
}

func scope(s instrumentation.Scope) (sound instrumentation.Scope, repaired bool) {
	var name, version, schema, attrs bool
	s.Name, name = text(s.Name)
	s.Version, version = text(s.Version)
	s.SchemaURL, schema = text(s.SchemaURL)
	s.Attributes, attrs = set(s.Attributes)
	return s, name || version || schema || attrs
}

// Resource returns r itself or, if something in it had to be repaired, another one.
func Resource(r *resource.Resource) *resource.Resource {
	list, repaired := attributes(r.Attributes(), maxDepth)
	if !repaired {
		return r
	}
	return resource.NewWithAttributes(r.SchemaURL(), list...)
}
