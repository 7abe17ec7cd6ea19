package encodable

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Metrics repairs a collection in place, and cuts values that are beyond the limits. The names of instruments are ASCII by the
// SDK's own rules, the resource is [Resource]'s.
func (l Limits) Metrics(rm *metricdata.ResourceMetrics) {
	for i := range rm.ScopeMetrics {
		scoped := &rm.ScopeMetrics[i]
		scoped.Scope, _ = scope(scoped.Scope)
		for j := range scoped.Metrics {
			m := &scoped.Metrics[j]
			m.Description, _ = text(m.Description)
			m.Unit, _ = text(m.Unit)
			l.aggregation(m.Data)
		}
	}
}

func (l Limits) aggregation(data metricdata.Aggregation) {
	switch data := data.(type) {
	case metricdata.Gauge[int64]:
		numbers(l, data.DataPoints)
	case metricdata.Gauge[float64]:
		numbers(l, data.DataPoints)
	case metricdata.Sum[int64]:
		numbers(l, data.DataPoints)
	case metricdata.Sum[float64]:
		numbers(l, data.DataPoints)
	case metricdata.Histogram[int64]:
		histograms(l, data.DataPoints)
	case metricdata.Histogram[float64]:
		histograms(l, data.DataPoints)
	case metricdata.ExponentialHistogram[int64]:
		exponentials(l, data.DataPoints)
	case metricdata.ExponentialHistogram[float64]:
		exponentials(l, data.DataPoints)
	case metricdata.Summary:
		for i := range data.DataPoints {
			l.repairSet(&data.DataPoints[i].Attributes)
		}
	}
}

func numbers[N int64 | float64](l Limits, points []metricdata.DataPoint[N]) {
	for i := range points {
		l.repairSet(&points[i].Attributes)
		exemplars(l, points[i].Exemplars)
	}
}

func histograms[N int64 | float64](l Limits, points []metricdata.HistogramDataPoint[N]) {
	for i := range points {
		l.repairSet(&points[i].Attributes)
		exemplars(l, points[i].Exemplars)
	}
}

func exponentials[N int64 | float64](l Limits, points []metricdata.ExponentialHistogramDataPoint[N]) {
	for i := range points {
		l.repairSet(&points[i].Attributes)
		exemplars(l, points[i].Exemplars)
	}
}

func exemplars[N int64 | float64](l Limits, all []metricdata.Exemplar[N]) {
	for i := range all {
		attrs, _ := l.Attributes(all[i].FilteredAttributes)
		all[i].FilteredAttributes, _ = attributes(attrs, maxDepth)
	}
}

func (l Limits) repairSet(s *attribute.Set) {
	if limited, changed := l.Set(*s); changed {
		*s = limited
	}
	if sound, repaired := set(*s); repaired {
		*s = sound
	}
}
