package redact

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/points"
)

// Metrics masks the attributes of data points and exemplars in place, and returns how many values
// or parts of values that were. Points whose attributes become the same are not merged.
func (r *Redactor) Metrics(rm *metricdata.ResourceMetrics) (hits int) {
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			points.Each(m.Data, func(p *points.Point) {
				hits += r.set(p.Attributes)
				for _, filtered := range p.Exemplars {
					masked, n := r.Attributes(*filtered)
					*filtered = masked
					hits += n
				}
			})
		}
	}
	return hits
}

// set replaces an attribute set, which the SDK uses again.
func (r *Redactor) set(attrs *attribute.Set) int {
	masked, n := r.Attributes(attrs.ToSlice())
	if n > 0 {
		*attrs = attribute.NewSet(masked...)
	}
	return n
}
