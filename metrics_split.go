package telemetry

import (
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// pointsBetween returns the data points from..to of rm, in the order of its metrics. rm stays as it is; the points are
// shared.
func pointsBetween(rm *metricdata.ResourceMetrics, from, to int64) *metricdata.ResourceMetrics {
	part := &metricdata.ResourceMetrics{Resource: rm.Resource}
	points := &pointRange{from: from, to: to}
	for _, scope := range rm.ScopeMetrics {
		all := scope.Metrics
		scope.Metrics = nil
		for _, m := range all {
			if m.Data = points.of(m.Data); pointsOf(m.Data) > 0 {
				scope.Metrics = append(scope.Metrics, m)
			}
		}
		if len(scope.Metrics) > 0 {
			part.ScopeMetrics = append(part.ScopeMetrics, scope)
		}
	}
	return part
}

// pointRange is a range of data points, and how many have passed.
type pointRange struct{ from, to, seen int64 }

// of returns a copy of data with those of its points that are in the range.
func (r *pointRange) of(data metricdata.Aggregation) metricdata.Aggregation {
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		d.DataPoints = take(r, d.DataPoints)
		return d
	case metricdata.Sum[float64]:
		d.DataPoints = take(r, d.DataPoints)
		return d
	case metricdata.Gauge[int64]:
		d.DataPoints = take(r, d.DataPoints)
		return d
	case metricdata.Gauge[float64]:
		d.DataPoints = take(r, d.DataPoints)
		return d
	case metricdata.Histogram[int64]:
		d.DataPoints = take(r, d.DataPoints)
		return d
	case metricdata.Histogram[float64]:
		d.DataPoints = take(r, d.DataPoints)
		return d
	case metricdata.ExponentialHistogram[int64]:
		d.DataPoints = take(r, d.DataPoints)
		return d
	case metricdata.ExponentialHistogram[float64]:
		d.DataPoints = take(r, d.DataPoints)
		return d
	case metricdata.Summary:
		d.DataPoints = take(r, d.DataPoints)
		return d
	}
	return data
}

// take returns those points of one metric that are in the range.
func take[P any](r *pointRange, points []P) []P {
	n := int64(len(points))
	from, to := min(max(r.from-r.seen, 0), n), min(max(r.to-r.seen, 0), n)
	r.seen += n
	return points[from:to]
}
