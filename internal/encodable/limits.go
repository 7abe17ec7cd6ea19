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
	// MaxText is how many characters the names of spans and events and the description of a status may have.
	MaxText = 32_768
	// MaxBody is how many characters the body of a log record may have. A body is often a whole document.
	MaxBody = 131_072
	// MaxElements is how many elements a slice or map may have, with those inside. The encoding of one takes about a hundred
	// bytes of memory, whatever its size.
	MaxElements = 4_096
	// minBytes is how much text a slice or map may have at least: what 32,768 characters can take.
	minBytes = 4 * MaxText
	// Slack is how much longer, in bytes or attributes, the whole may be that a part keeps alive.
	Slack = 256
)

// Limits bound what an item holds. The SDK cuts the texts of spans' and records' attributes and nothing else, and what it
// cuts keeps the whole alive: a megabyte for each span, if a stranger likes. So what is as long as the limit is copied.
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

// cut returns s, or a copy of what is within the limit if s has been, or is to be, cut.
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

// Part is a copy of a text that is a part of something longer, such as a header or a line of a request, if the rest is
// worth the copy.
func Part(s string, whole int) string {
	if whole > len(s)+Slack {
		return strings.Clone(s)
	}
	return s
}

// Copy returns attributes whose texts are parts of nothing.
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

// allows tells at a glance that most values are within the limits.
func (l Limits) allows(v *attribute.Value) bool {
	switch kind, text := peek.KindAndText(v); kind {
	case attribute.BOOL, attribute.INT64, attribute.FLOAT64, attribute.EMPTY:
		return true
	case attribute.STRING, attribute.BYTESLICE:
		return l.Length < 0 || len(text) < l.Length
	}
	return false
}

// value is for the value of an attribute.
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

// within is value for what is, or is inside, a slice or map.
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

// take is as many items as the budget allows. The slice is a copy already.
func take[T any](items []T, b *budget) (kept []T, changed bool) {
	n := min(len(items), b.elements)
	b.elements -= n
	return items[:n:n], n < len(items)
}

// each is take with every item within the limits.
func each[T any](all []T, b *budget, limit func(T, *budget) (T, bool)) (kept []T, changed bool) {
	kept, changed = take(all, b)
	for i := range kept {
		var here bool
		kept[i], here = limit(kept[i], b)
		changed = changed || here
	}
	return kept, changed
}

// Span returns s itself or, if something in it is beyond the limits, a span that holds no more than they allow. look is where
// the spans of one provider are read.
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

// Record cuts the record itself.
func (l Limits) Record(r *sdklog.Record) {
	body := r.Body()
	if v, changed := (Limits{MaxBody}).value(&body); changed {
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

// recordAttributes replaces what is beyond the limits. To set all attributes would forget how many the SDK has left out.
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
	if r.DroppedAttributes() > 0 {
		r.AddAttributes(beyond...)
		return
	}
	r.SetAttributes(all...)
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
