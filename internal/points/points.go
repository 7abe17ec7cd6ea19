// Package points reads the data points of a metric of any kind. metricdata.Aggregation has nine
// types, which share no method; this package holds the one switch over them.
//
// [Count] and [Slice] are for exporters that account for points and split requests. [Each] is for
// code that reads points or edits their attributes.
package points

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Kind is how the numbers of a point are to be read.
type Kind uint8

const (
	Gauge     Kind = iota // a gauge, or a sum that can fall
	Counter               // a monotonic sum
	Histogram             // a histogram with explicit or exponential buckets, or a summary
)

// Point is a data point of any kind. Attributes and Exemplars point into the aggregation, so that
// they can be edited there. The slices are those of the aggregation too.
type Point struct {
	Kind       Kind
	Attributes *attribute.Set
	Exemplars  []*[]attribute.KeyValue // the filtered attributes of each exemplar

	Value float64 // of a Gauge or Counter

	Count        uint64 // of a Histogram, as all below
	Sum          float64
	Max          float64   // 0 if unknown
	Bounds       []float64 // nil unless the buckets are explicit, as BucketCounts
	BucketCounts []uint64
}

// Count returns how many data points an aggregation has, 0 for an unknown type.
func Count(data metricdata.Aggregation) int { return listOf(data).count }

// Slice returns a copy of an aggregation that has its data points from ≤ i < to only. The copy
// shares them with data. The range must be within [Count].
func Slice(data metricdata.Aggregation, from, to int) metricdata.Aggregation {
	if all := listOf(data); all.slice != nil {
		return all.slice(from, to)
	}
	return data
}

// Each calls visit for each data point, in order. The Point is valid during the call only.
func Each(data metricdata.Aggregation, visit func(*Point)) {
	if all := listOf(data); all.each != nil {
		all.each(visit)
	}
}

// list holds the data points of one aggregation. The zero value is that of an unknown type.
type list struct {
	count int
	slice func(from, to int) metricdata.Aggregation
	each  func(visit func(*Point))
}

func listOf(data metricdata.Aggregation) list {
	switch d := data.(type) {
	case metricdata.Gauge[int64]:
		return gauge(d)
	case metricdata.Gauge[float64]:
		return gauge(d)
	case metricdata.Sum[int64]:
		return sum(d)
	case metricdata.Sum[float64]:
		return sum(d)
	case metricdata.Histogram[int64]:
		return histogram(d)
	case metricdata.Histogram[float64]:
		return histogram(d)
	case metricdata.ExponentialHistogram[int64]:
		return exponential(d)
	case metricdata.ExponentialHistogram[float64]:
		return exponential(d)
	case metricdata.Summary:
		return summary(d)
	}
	return list{}
}

// newList returns the list of all. read converts a data point to a Point. with returns the
// aggregation with other data points.
func newList[P any](all []P, kind Kind, read func(*Point, *P), with func([]P) metricdata.Aggregation) list {
	return list{
		count: len(all),
		slice: func(from, to int) metricdata.Aggregation { return with(all[from:to]) },
		each: func(visit func(*Point)) {
			p := Point{Kind: kind}
			for i := range all {
				p.Exemplars = p.Exemplars[:0]
				read(&p, &all[i])
				visit(&p)
			}
		},
	}
}

func gauge[N int64 | float64](d metricdata.Gauge[N]) list {
	return newList(d.DataPoints, Gauge, readNumber, func(points []metricdata.DataPoint[N]) metricdata.Aggregation {
		d.DataPoints = points
		return d
	})
}

func sum[N int64 | float64](d metricdata.Sum[N]) list {
	kind := Gauge
	if d.IsMonotonic {
		kind = Counter
	}
	return newList(d.DataPoints, kind, readNumber, func(points []metricdata.DataPoint[N]) metricdata.Aggregation {
		d.DataPoints = points
		return d
	})
}

func readNumber[N int64 | float64](p *Point, from *metricdata.DataPoint[N]) {
	p.Attributes, p.Value = &from.Attributes, float64(from.Value)
	p.Exemplars = appendExemplars(p.Exemplars, from.Exemplars)
}

func histogram[N int64 | float64](d metricdata.Histogram[N]) list {
	return newList(d.DataPoints, Histogram, readHistogram,
		func(points []metricdata.HistogramDataPoint[N]) metricdata.Aggregation {
			d.DataPoints = points
			return d
		})
}

func readHistogram[N int64 | float64](p *Point, from *metricdata.HistogramDataPoint[N]) {
	p.Attributes, p.Count, p.Sum, p.Max = &from.Attributes, from.Count, float64(from.Sum), valueOf(from.Max)
	p.Bounds, p.BucketCounts = from.Bounds, from.BucketCounts
	p.Exemplars = appendExemplars(p.Exemplars, from.Exemplars)
}

func exponential[N int64 | float64](d metricdata.ExponentialHistogram[N]) list {
	return newList(d.DataPoints, Histogram, readExponential,
		func(points []metricdata.ExponentialHistogramDataPoint[N]) metricdata.Aggregation {
			d.DataPoints = points
			return d
		})
}

func readExponential[N int64 | float64](p *Point, from *metricdata.ExponentialHistogramDataPoint[N]) {
	p.Attributes, p.Count, p.Sum, p.Max = &from.Attributes, from.Count, float64(from.Sum), valueOf(from.Max)
	p.Exemplars = appendExemplars(p.Exemplars, from.Exemplars)
}

func summary(d metricdata.Summary) list {
	return newList(d.DataPoints, Histogram, readSummary,
		func(points []metricdata.SummaryDataPoint) metricdata.Aggregation {
			d.DataPoints = points
			return d
		})
}

func readSummary(p *Point, from *metricdata.SummaryDataPoint) {
	p.Attributes, p.Count, p.Sum = &from.Attributes, from.Count, from.Sum
}

func appendExemplars[N int64 | float64](to []*[]attribute.KeyValue,
	from []metricdata.Exemplar[N]) []*[]attribute.KeyValue {
	for i := range from {
		to = append(to, &from[i].FilteredAttributes)
	}
	return to
}

// valueOf returns the value of an extremum, 0 if it is not defined.
func valueOf[N int64 | float64](e metricdata.Extrema[N]) float64 {
	value, _ := e.Value()
	return float64(value)
}
