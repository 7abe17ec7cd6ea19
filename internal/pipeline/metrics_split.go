package pipeline

import (
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/points"
)

// pointsBetween returns the data points from..to of rm, in the order of its metrics. rm stays as it
// is; the points are shared.
func pointsBetween(rm *metricdata.ResourceMetrics, from, to int64) *metricdata.ResourceMetrics {
	part := &metricdata.ResourceMetrics{Resource: rm.Resource}
	var before int64 // points of the metrics before this one
	for _, scope := range rm.ScopeMetrics {
		all := scope.Metrics
		scope.Metrics = nil
		for _, m := range all {
			n := int64(points.Count(m.Data))
			first, end := max(from-before, 0), min(to-before, n)
			before += n
			if first < end {
				m.Data = points.Slice(m.Data, int(first), int(end))
				scope.Metrics = append(scope.Metrics, m)
			}
		}
		if len(scope.Metrics) > 0 {
			part.ScopeMetrics = append(part.ScopeMetrics, scope)
		}
	}
	return part
}
