package encodable

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Metrics repairs a collection in place. The names of instruments are ASCII by the SDK's own rules, the resource is
// [Resource]'s.
func Metrics(rm *metricdata.ResourceMetrics) {
	for i := range rm.ScopeMetrics {
		scoped := &rm.ScopeMetrics[i]
		scoped.Scope, _ = scope(scoped.Scope)
		for j := range scoped.Metrics {
			m := &scoped.Metrics[j]
			m.Description, _ = text(m.Description)
			m.Unit, _ = text(m.Unit)
			aggregation(m.Data)
		}
	}
}

func aggregation(data metricdata.Aggregation) {
	switch data := data.(type) {
	case metricdata.Gauge[int64]:
		numbers(data.DataPoints)
	case metricdata.Gauge[float64]:
		numbers(data.DataPoints)
	case metricdata.Sum[int64]:
		numbers(data.DataPoints)
	case metricdata.Sum[float64]:
		numbers(data.DataPoints)
	case metricdata.Histogram[int64]:
		histograms(data.DataPoints)
	case metricdata.Histogram[float64]:
		histograms(data.DataPoints)
	case metricdata.ExponentialHistogram[int64]:
		exponentials(data.DataPoints)
	case metricdata.ExponentialHistogram[float64]:
		exponentials(data.DataPoints)
	case metricdata.Summary:
		for i := range data.DataPoints {
			repairSet(&data.DataPoints[i].Attributes)
		}
	}
}

func numbers[N int64 | float64](points []metricdata.DataPoint[N]) {
	for i := range points {
		repairSet(&points[i].Attributes)
		exemplars(points[i].Exemplars)
	}
}

func histograms[N int64 | float64](points []metricdata.HistogramDataPoint[N]) {
	for i := range points {
		repairSet(&points[i].Attributes)
		exemplars(points[i].Exemplars)
	}
}

func exponentials[N int64 | float64](points []metricdata.ExponentialHistogramDataPoint[N]) {
	for i := range points {
		repairSet(&points[i].Attributes)
		exemplars(points[i].Exemplars)
	}
}

func exemplars[N int64 | float64](all []metricdata.Exemplar[N]) {
	for i := range all {
		all[i].FilteredAttributes, _ = attributes(all[i].FilteredAttributes, maxDepth)
	}
}

func repairSet(s *attribute.Set) {
	if sound, repaired := set(*s); repaired {
		*s = sound
	}
}
