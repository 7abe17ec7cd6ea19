package encodable

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/peek"
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
			eachSet(m.Data, func(attrs []attribute.KeyValue) ([]attribute.KeyValue, bool) {
				limited, cut := l.Attributes(attrs)
				sound, repaired := attributes(limited, maxDepth)
				return sound, cut || repaired
			})
		}
	}
}

// edit returns attributes themselves or, if something in them has to change, a new slice.
type edit func([]attribute.KeyValue) (edited []attribute.KeyValue, changed bool)

func (e edit) set(s *attribute.Set) {
	if edited, changed := e(peek.Members(s)); changed {
		*s = attribute.NewSet(edited...)
	}
}

// eachSet edits the attributes of all points and exemplars.
func eachSet(data metricdata.Aggregation, e edit) {
	switch data := data.(type) {
	case metricdata.Gauge[int64]:
		numbers(e, data.DataPoints)
	case metricdata.Gauge[float64]:
		numbers(e, data.DataPoints)
	case metricdata.Sum[int64]:
		numbers(e, data.DataPoints)
	case metricdata.Sum[float64]:
		numbers(e, data.DataPoints)
	case metricdata.Histogram[int64]:
		histograms(e, data.DataPoints)
	case metricdata.Histogram[float64]:
		histograms(e, data.DataPoints)
	case metricdata.ExponentialHistogram[int64]:
		exponentials(e, data.DataPoints)
	case metricdata.ExponentialHistogram[float64]:
		exponentials(e, data.DataPoints)
	case metricdata.Summary:
		for i := range data.DataPoints {
			e.set(&data.DataPoints[i].Attributes)
		}
	}
}

func numbers[N int64 | float64](e edit, points []metricdata.DataPoint[N]) {
	for i := range points {
		e.set(&points[i].Attributes)
		exemplars(e, points[i].Exemplars)
	}
}

func histograms[N int64 | float64](e edit, points []metricdata.HistogramDataPoint[N]) {
	for i := range points {
		e.set(&points[i].Attributes)
		exemplars(e, points[i].Exemplars)
	}
}

func exponentials[N int64 | float64](e edit, points []metricdata.ExponentialHistogramDataPoint[N]) {
	for i := range points {
		e.set(&points[i].Attributes)
		exemplars(e, points[i].Exemplars)
	}
}

func exemplars[N int64 | float64](e edit, all []metricdata.Exemplar[N]) {
	for i := range all {
		all[i].FilteredAttributes, _ = e(all[i].FilteredAttributes)
	}
}
