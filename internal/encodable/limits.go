package encodable

import (
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/peek"
)

const (
	// MaxText is how many characters the names of spans and events and the description of a status
	// may have.
	MaxText = 32_768
	// maxBody is how many characters the body of a log record may have. A body is often a whole
	// document.
	maxBody = 131_072
	// MaxElements is how many elements a slice or map may have, including nested ones. Encoding an
	// element takes about a hundred bytes of memory, whatever its size.
	MaxElements = 4_096
	// minBytes is the least limit for the text in a slice or map: the size of 32,768 characters.
	minBytes = 4 * MaxText
	// Slack is how much longer, in bytes or attributes, the whole may be than a part that keeps it
	// in memory.
	Slack = 256
)

// Limits limit what an item holds. The SDK limits only the texts in attributes of spans and
// records, and a text that it cuts keeps the whole text in memory: a caller could send a megabyte
// with each span. So a text as long as the limit is copied.
type Limits struct {
	Length int // characters of a text in an attribute; negative: any
}

// budget is what is left for a slice or map.
type budget struct{ elements, bytes int }

func (l Limits) budget() budget {
	if l.Length < 0 {
		return budget{MaxElements, int(^uint(0) >> 1)}
	}
	return budget{MaxElements, max(minBytes, 4*min(l.Length, 1<<27))}
}

// cut returns s if it is shorter than the limit, or else a copy of the part within the limit. A
// text of exactly that length is copied too, because the SDK may have cut it.
func cut(s string, limit int) (kept string, changed bool) {
	if limit < 0 || len(s) < limit {
		return s, false
	}
	n := 0
	for i := range s {
		if n == limit {
			return strings.Clone(s[:i]), true
		}
		n++
	}
	return strings.Clone(s), n == limit
}

// Part returns a copy of s, which is a part of a longer text, such as a header or a line of a
// request, if that saves enough memory. whole is the length of the longer text in bytes.
func Part(s string, whole int) string {
	if whole > len(s)+Slack {
		return strings.Clone(s)
	}
	return s
}

// Copy returns attributes whose texts are copies, so that they keep nothing longer in memory.
func Copy(attrs []attribute.KeyValue) []attribute.KeyValue {
	copied := slices.Clone(attrs)
	for i, kv := range attrs {
		if kv.Value.Type() == attribute.STRING {
			copied[i].Value = attribute.StringValue(strings.Clone(kv.Value.AsString()))
		}
	}
	return copied
}

// Attributes returns attrs itself or, if something in them is beyond the limits, a new slice.
func (l Limits) Attributes(attrs []attribute.KeyValue) (kept []attribute.KeyValue, changed bool) {
	kept = attrs
	if cap(attrs) > 2*len(attrs)+Slack {
		kept, changed = slices.Clone(attrs), true
	}
	for i := range attrs {
		if l.allows(&attrs[i].Value) {
			continue
		}
		v, here := l.value(&attrs[i].Value)
		if !here {
			continue
		}
		if !changed {
			kept, changed = slices.Clone(attrs), true
		}
		kept[i].Value = v
	}
	return kept, changed
}

// allows is a quick check that passes most values. If it is false, the value may still be within
// the limits.
func (l Limits) allows(v *attribute.Value) bool {
	switch kind, text := peek.KindAndText(v); kind {
	case attribute.BOOL, attribute.INT64, attribute.FLOAT64, attribute.EMPTY:
		return true
	case attribute.STRING, attribute.BYTESLICE:
		return l.Length < 0 || len(text) < l.Length
	}
	return false
}

// value limits the value of an attribute.
func (l Limits) value(v *attribute.Value) (kept attribute.Value, changed bool) {
	if l.allows(v) {
		return *v, false
	}
	switch v.Type() {
	case attribute.STRING:
		s, changed := cut(v.AsString(), l.Length)
		return attribute.StringValue(s), changed
	case attribute.BYTESLICE:
		return attribute.ByteSliceValue(v.AsByteSlice()[:l.Length]), true
	}
	b := l.budget()
	return l.within(v, &b)
}

// within limits a slice or map, and the values in it.
func (l Limits) within(v *attribute.Value, b *budget) (kept attribute.Value, changed bool) {
	switch v.Type() {
	case attribute.STRING:
		if s, changed := l.text(v.AsString(), b); changed {
			return attribute.StringValue(s), true
		}
	case attribute.BYTESLICE:
		if s, changed := l.text(v.AsString(), b); changed {
			return attribute.ByteSliceValue([]byte(s)), true
		}
	case attribute.BOOLSLICE:
		if items, changed := take(v.AsBoolSlice(), b); changed {
			return attribute.BoolSliceValue(items), true
		}
	case attribute.INT64SLICE:
		if items, changed := take(v.AsInt64Slice(), b); changed {
			return attribute.Int64SliceValue(items), true
		}
	case attribute.FLOAT64SLICE:
		if items, changed := take(v.AsFloat64Slice(), b); changed {
			return attribute.Float64SliceValue(items), true
		}
	case attribute.STRINGSLICE:
		if items, changed := each(v.AsStringSlice(), b, l.text); changed {
			return attribute.StringSliceValue(items), true
		}
	case attribute.SLICE:
		if items, changed := each(v.AsSlice(), b, func(item attribute.Value, b *budget) (attribute.Value, bool) {
			return l.within(&item, b)
		}); changed {
			return attribute.SliceValue(items...), true
		}
	case attribute.MAP:
		if members, changed := each(v.AsMap(), b, func(kv attribute.KeyValue, b *budget) (attribute.KeyValue, bool) {
			v, changed := l.within(&kv.Value, b)
			return attribute.KeyValue{Key: kv.Key, Value: v}, changed
		}); changed {
			return attribute.MapValue(members...), true
		}
	}
	return *v, false
}

func (l Limits) text(s string, b *budget) (kept string, changed bool) {
	kept, changed = cut(s, l.Length)
	if len(kept) > b.bytes {
		n := b.bytes
		for n > 0 && !utf8.RuneStart(kept[n]) {
			n--
		}
		kept, changed = strings.Clone(kept[:n]), true
	}
	b.bytes -= len(kept)
	return kept, changed
}

// take returns as many items as the budget allows. The slice is already a copy.
func take[T any](items []T, b *budget) (kept []T, changed bool) {
	n := min(len(items), b.elements)
	b.elements -= n
	return items[:n:n], n < len(items)
}

// each does the same as take, and also limits each item.
func each[T any](all []T, b *budget, limit func(T, *budget) (T, bool)) (kept []T, changed bool) {
	kept, changed = take(all, b)
	for i := range kept {
		var here bool
		kept[i], here = limit(kept[i], b)
		changed = changed || here
	}
	return kept, changed
}

// Span returns s itself or, if something in it is beyond the limits, a span that holds no more than
// they allow. look reads the spans of one provider.
func (l Limits) Span(s sdktrace.ReadOnlySpan, look *peek.Spans) sdktrace.ReadOnlySpan {
	parts := look.Parts(s)
	if !l.parts(&parts) {
		return s
	}
	return newHeldSpan(s, parts)
}

func (l Limits) parts(p *peek.Parts) (limited bool) {
	var name, description, attributes, events, links bool
	p.Name, name = cut(p.Name, MaxText)
	p.Description, description = cut(p.Description, MaxText)
	p.Attributes, attributes = l.Attributes(p.Attributes)
	p.Events, events = l.events(p.Events)
	p.Links, links = l.links(p.Links)
	return name || description || attributes || events || links
}

func (l Limits) events(all []sdktrace.Event) (kept []sdktrace.Event, changed bool) {
	kept = all
	for i := range all {
		name, inName := cut(all[i].Name, MaxText)
		attrs, inAttributes := l.Attributes(all[i].Attributes)
		if !inName && !inAttributes {
			continue
		}
		if !changed {
			kept, changed = slices.Clone(all), true
		}
		kept[i].Name, kept[i].Attributes = name, attrs
	}
	return kept, changed
}

func (l Limits) links(all []sdktrace.Link) (kept []sdktrace.Link, changed bool) {
	kept = all
	for i := range all {
		attrs, here := l.Attributes(all[i].Attributes)
		if !here {
			continue
		}
		if !changed {
			kept, changed = slices.Clone(all), true
		}
		kept[i].Attributes = attrs
	}
	return kept, changed
}

// Record cuts the texts and values of a record in place.
func (l Limits) Record(r *sdklog.Record) {
	body := r.Body()
	if v, changed := (Limits{maxBody}).value(&body); changed {
		r.SetBody(v)
	}
	if s, changed := cut(r.EventName(), MaxText); changed {
		r.SetEventName(s)
	}
	if s, changed := cut(r.SeverityText(), MaxText); changed {
		r.SetSeverityText(s)
	}
	changed := false
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		if !l.allows(&kv.Value) {
			_, changed = l.value(&kv.Value)
		}
		return !changed
	})
	if changed {
		l.recordAttributes(r)
	}
}

// recordAttributes replaces the attributes that are beyond the limits.
func (l Limits) recordAttributes(r *sdklog.Record) {
	var all, beyond []attribute.KeyValue
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		v, changed := l.value(&kv.Value)
		kv.Value = v
		all = append(all, kv)
		if changed {
			beyond = append(beyond, kv)
		}
		return true
	})
	replaceValues(r, all, beyond)
}

// Resource returns r itself or, if something in it is beyond the limits, another one.
func (l Limits) Resource(r *resource.Resource) *resource.Resource {
	list, changed := l.Attributes(r.Attributes())
	if !changed {
		return r
	}
	return resource.NewWithAttributes(r.SchemaURL(), list...)
}

// Set returns s itself or, if something in it is beyond the limits, another one.
func (l Limits) Set(s attribute.Set) (kept attribute.Set, changed bool) {
	attrs, changed := l.Attributes(peek.Members(&s))
	if !changed {
		return s, false
	}
	return attribute.NewSet(attrs...), true
}
