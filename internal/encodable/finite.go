package encodable

import (
	"math"
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// JSON has no NaN and no infinities. If an attribute contains one, encoding/json fails for the
// whole span or collection. FiniteSpans and FiniteMetrics replace them with the texts "NaN", "+Inf"
// and "-Inf". The values of metrics are not changed, because the encoder handles them.

// FiniteSpans replaces the spans with such attributes.
func FiniteSpans(spans []sdktrace.ReadOnlySpan) {
	for i, s := range spans {
		candidate := finiteSpan{soundSpan{
			ReadOnlySpan: s, name: s.Name(), events: s.Events(), links: s.Links(), status: s.Status(),
			scope: s.InstrumentationScope(),
		}, s.Resource()}
		if candidate.fill() {
			spans[i] = &candidate
		}
	}
}

type finiteSpan struct {
	soundSpan
	resource *resource.Resource
}

func (s *finiteSpan) Resource() *resource.Resource { return s.resource }

func (s *finiteSpan) fill() (changed bool) {
	s.attributes, changed = finite(s.ReadOnlySpan.Attributes())
	s.events = slices.Clone(s.events)
	for i := range s.events {
		var here bool
		s.events[i].Attributes, here = finite(s.events[i].Attributes)
		changed = changed || here
	}
	s.links = slices.Clone(s.links)
	for i := range s.links {
		var here bool
		s.links[i].Attributes, here = finite(s.links[i].Attributes)
		changed = changed || here
	}
	if attrs, here := finite(s.scope.Attributes.ToSlice()); here {
		s.scope.Attributes, changed = attribute.NewSet(attrs...), true
	}
	if r, here := finiteResource(s.resource); here {
		s.resource, changed = r, true
	}
	return changed
}

// FiniteMetrics replaces such attributes of a collection in place.
func FiniteMetrics(rm *metricdata.ResourceMetrics) {
	rm.Resource, _ = finiteResource(rm.Resource)
	for i := range rm.ScopeMetrics {
		scoped := &rm.ScopeMetrics[i]
		edit(finite).set(&scoped.Scope.Attributes)
		for j := range scoped.Metrics {
			eachSet(scoped.Metrics[j].Data, finite)
		}
	}
}

func finiteResource(r *resource.Resource) (edited *resource.Resource, changed bool) {
	if r == nil {
		return r, false
	}
	attrs, changed := finite(r.Attributes())
	if !changed {
		return r, false
	}
	return resource.NewWithAttributes(r.SchemaURL(), attrs...), true
}

// finite is an [edit].
func finite(attrs []attribute.KeyValue) (edited []attribute.KeyValue, changed bool) {
	edited = attrs
	for i := range attrs {
		v, here := finiteValue(&attrs[i].Value)
		if !here {
			continue
		}
		if !changed {
			edited, changed = slices.Clone(attrs), true
		}
		edited[i].Value = v
	}
	return edited, changed
}

func finiteValue(v *attribute.Value) (edited attribute.Value, changed bool) {
	switch v.Type() {
	case attribute.FLOAT64:
		return finiteNumber(v.AsFloat64())
	case attribute.FLOAT64SLICE:
		items := v.AsFloat64Slice()
		values := make([]attribute.Value, len(items))
		for i, f := range items {
			var here bool
			values[i], here = finiteNumber(f)
			changed = changed || here
		}
		if changed {
			return attribute.SliceValue(values...), true
		}
	case attribute.SLICE:
		items := v.AsSlice() // a copy
		for i := range items {
			if item, here := finiteValue(&items[i]); here {
				items[i], changed = item, true
			}
		}
		if changed {
			return attribute.SliceValue(items...), true
		}
	case attribute.MAP:
		if members, changed := finite(v.AsMap()); changed {
			return attribute.MapValue(members...), true
		}
	}
	return *v, false
}

func finiteNumber(f float64) (v attribute.Value, changed bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return attribute.StringValue(strconv.FormatFloat(f, 'g', -1, 64)), true
	}
	return attribute.Float64Value(f), false
}
