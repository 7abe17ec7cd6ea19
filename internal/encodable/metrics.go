package encodable

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/peek"
	"github.com/fleetotel/telemetry/internal/points"
)

// Metrics repairs a collection in place, and limits its attribute values. The SDK allows only ASCII
// in the names of instruments, and [Resource] repairs the resource.
func (l Limits) Metrics(rm *metricdata.ResourceMetrics) {
	for i := range rm.ScopeMetrics {
		scoped := &rm.ScopeMetrics[i]
		scoped.Scope, _ = scope(scoped.Scope)
		for j := range scoped.Metrics {
			m := &scoped.Metrics[j]
			m.Description, _ = text(m.Description)
			m.Unit, _ = text(m.Unit)
			eachSet(m.Data, func(attrs []attribute.KeyValue) ([]attribute.KeyValue, bool) {
				limited, cut := l.Attributes(attrs)
				sound, repaired := attributes(limited, maxDepth)
				return sound, cut || repaired
			})
		}
	}
}

// edit returns the attributes themselves or, if something in them has to change, a new slice.
type edit func([]attribute.KeyValue) (edited []attribute.KeyValue, changed bool)

func (e edit) set(s *attribute.Set) {
	if edited, changed := e(peek.Members(s)); changed {
		*s = attribute.NewSet(edited...)
	}
}

// eachSet edits the attributes of all points and exemplars.
func eachSet(data metricdata.Aggregation, e edit) {
	points.Each(data, func(p *points.Point) {
		e.set(p.Attributes)
		for _, filtered := range p.Exemplars {
			*filtered, _ = e(*filtered)
		}
	})
}
