package redact

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Metrics masks the attributes of data points and exemplars in place, and says how many values or parts of values that
// were. Points whose attributes become the same stay apart.
func (r *Redactor) Metrics(rm *metricdata.ResourceMetrics) (hits int) {
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			hits += r.aggregation(m.Data)
		}
	}
	return hits
}

func (r *Redactor) aggregation(data metricdata.Aggregation) int {
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		return numbers(r, d.DataPoints)
	case metricdata.Sum[float64]:
		return numbers(r, d.DataPoints)
	case metricdata.Gauge[int64]:
		return numbers(r, d.DataPoints)
	case metricdata.Gauge[float64]:
		return numbers(r, d.DataPoints)
	case metricdata.Histogram[int64]:
		return histograms(r, d.DataPoints)
	case metricdata.Histogram[float64]:
		return histograms(r, d.DataPoints)
	case metricdata.ExponentialHistogram[int64]:
		return exponentials(r, d.DataPoints)
	case metricdata.ExponentialHistogram[float64]:
		return exponentials(r, d.DataPoints)
	case metricdata.Summary:
		hits := 0
		for i := range d.DataPoints {
			hits += r.set(&d.DataPoints[i].Attributes)
		}
		return hits
	}
	return 0
}

func numbers[N int64 | float64](r *Redactor, points []metricdata.DataPoint[N]) (hits int) {
	for i := range points {
		hits += r.set(&points[i].Attributes) + exemplars(r, points[i].Exemplars)
	}
	return hits
}

func histograms[N int64 | float64](r *Redactor, points []metricdata.HistogramDataPoint[N]) (hits int) {
	for i := range points {
		hits += r.set(&points[i].Attributes) + exemplars(r, points[i].Exemplars)
	}
	return hits
}

func exponentials[N int64 | float64](r *Redactor, points []metricdata.ExponentialHistogramDataPoint[N]) (hits int) {
	for i := range points {
		hits += r.set(&points[i].Attributes) + exemplars(r, points[i].Exemplars)
	}
	return hits
}

func exemplars[N int64 | float64](r *Redactor, all []metricdata.Exemplar[N]) (hits int) {
	for i := range all {
		masked, n := r.Attributes(all[i].FilteredAttributes)
		all[i].FilteredAttributes = masked
		hits += n
	}
	return hits
}

// set replaces an attribute set: the SDK holds the one it was.
func (r *Redactor) set(attrs *attribute.Set) int {
	masked, n := r.Attributes(attrs.ToSlice())
	if n > 0 {
		*attrs = attribute.NewSet(masked...)
	}
	return n
}
