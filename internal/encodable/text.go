// Package encodable makes sure that what a service records can be encoded, sent and decoded as
// OTLP.
//
// Limits (limits.go, instruments.go) cut what is too large as soon as it is recorded, before it
// waits in a queue.
//
// Repairs (text.go, span.go, record.go, metrics.go) run right before the exporter. A protobuf
// string must be UTF-8. One invalid text, such as a request header, makes the encoding of the whole
// request fail: a batch of spans, or all cumulative metrics until the process ends. The collector's
// decoder rejects a value that is nested too deeply, with the same effect. So invalid bytes become
// U+FFFD, the replacement character, and deep values are cut.
//
// Finite numbers (finite.go) are for the console exporters, which write JSON.
package encodable

import (
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
)

const (
	// maxDepth is how deeply the value of an attribute may be nested. By default, protobuf decoders
	// stop at 100 messages (Go's at 10,000), and a level takes three.
	maxDepth = 30
	tooDeep  = "!DEPTH: nested more than 30 levels"
)

// text returns s as valid UTF-8, and whether it had to be repaired.
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

// value takes a pointer because a Value is large and most need no repair.
func value(v *attribute.Value, depth int) (sound attribute.Value, repaired bool) {
	switch v.Type() {
	case attribute.STRING:
		if s, repaired := text(v.AsString()); repaired {
			return attribute.StringValue(s), true
		}
	case attribute.STRINGSLICE:
		if items, repaired := texts(v.AsStringSlice()); repaired { // a copy
			return attribute.StringSliceValue(items), true
		}
	case attribute.SLICE:
		if depth == 0 {
			return attribute.StringValue(tooDeep), true
		}
		if items, repaired := values(v.AsSlice(), depth-1); repaired { // a copy
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

// texts repairs items in place.
func texts(items []string) (sound []string, repaired bool) {
	for i := range items {
		s, here := text(items[i])
		items[i], repaired = s, repaired || here
	}
	return items, repaired
}

// values repairs items in place.
func values(items []attribute.Value, depth int) (sound []attribute.Value, repaired bool) {
	for i := range items {
		if item, here := value(&items[i], depth); here {
			items[i], repaired = item, true
		}
	}
	return items, repaired
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
