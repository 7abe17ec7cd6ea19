package points_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/points"
)

type number interface{ int64 | float64 }

func set(i int) attribute.Set { return attribute.NewSet(attribute.Int("i", i)) }

func exemplars[N number](i int) []metricdata.Exemplar[N] {
	return []metricdata.Exemplar[N]{
		{FilteredAttributes: []attribute.KeyValue{attribute.Int("first", i)}},
		{FilteredAttributes: []attribute.KeyValue{attribute.Int("second", i)}},
	}
}

func numbers[N number]() (all []metricdata.DataPoint[N]) {
	for i := range 3 {
		all = append(all, metricdata.DataPoint[N]{Attributes: set(i), Value: N(i + 10), Exemplars: exemplars[N](i)})
	}
	return all
}

func histograms[N number]() (all []metricdata.HistogramDataPoint[N]) {
	for i := range 3 {
		all = append(all, metricdata.HistogramDataPoint[N]{Attributes: set(i), Count: uint64(i + 1), Sum: N(i + 20),
			Max:    metricdata.NewExtrema(N(i + 5)),
			Bounds: []float64{1, 2}, BucketCounts: []uint64{uint64(i + 1), 0, 0}, Exemplars: exemplars[N](i)})
	}
	return all
}

func exponentials[N number]() (all []metricdata.ExponentialHistogramDataPoint[N]) {
	for i := range 3 {
		all = append(all, metricdata.ExponentialHistogramDataPoint[N]{Attributes: set(i), Count: uint64(i + 1),
			Sum: N(i + 20),
			Max: metricdata.NewExtrema(N(i + 5)), Exemplars: exemplars[N](i)})
	}
	return all
}

func summaries() (all []metricdata.SummaryDataPoint) {
	for i := range 3 {
		all = append(all, metricdata.SummaryDataPoint{Attributes: set(i), Count: uint64(i + 1), Sum: float64(i + 20)})
	}
	return all
}

type aggregation struct {
	data metricdata.Aggregation
	want func(i int) points.Point // without pointers
}

func allKinds() []aggregation {
	value := func(kind points.Kind) func(int) points.Point {
		return func(i int) points.Point { return points.Point{Kind: kind, Value: float64(i + 10)} }
	}
	exponential := func(i int) points.Point {
		return points.Point{Kind: points.Histogram, Count: uint64(i + 1), Sum: float64(i + 20), Max: float64(i + 5)}
	}
	histogram := func(i int) points.Point {
		p := exponential(i)
		p.Bounds, p.BucketCounts = []float64{1, 2}, []uint64{uint64(i + 1), 0, 0}
		return p
	}
	summary := func(i int) points.Point {
		return points.Point{Kind: points.Histogram, Count: uint64(i + 1), Sum: float64(i + 20)}
	}
	return []aggregation{
		{metricdata.Gauge[int64]{DataPoints: numbers[int64]()}, value(points.Gauge)},
		{metricdata.Gauge[float64]{DataPoints: numbers[float64]()}, value(points.Gauge)},
		{metricdata.Sum[int64]{DataPoints: numbers[int64](), IsMonotonic: true}, value(points.Counter)},
		{metricdata.Sum[float64]{DataPoints: numbers[float64](), IsMonotonic: true}, value(points.Counter)},
		{metricdata.Sum[int64]{DataPoints: numbers[int64]()}, value(points.Gauge)},
		{metricdata.Sum[float64]{DataPoints: numbers[float64]()}, value(points.Gauge)},
		{metricdata.Histogram[int64]{DataPoints: histograms[int64]()}, histogram},
		{metricdata.Histogram[float64]{DataPoints: histograms[float64]()}, histogram},
		{metricdata.ExponentialHistogram[int64]{DataPoints: exponentials[int64]()}, exponential},
		{metricdata.ExponentialHistogram[float64]{DataPoints: exponentials[float64]()}, exponential},
		{metricdata.Summary{DataPoints: summaries()}, summary},
	}
}

func TestEachReadsEveryKind(t *testing.T) {
	for _, a := range allKinds() {
		t.Run(fmt.Sprintf("%T", a.data), func(t *testing.T) {
			i := 0
			points.Each(a.data, func(p *points.Point) {
				require.Equal(t, set(i), *p.Attributes)
				got := *p
				got.Attributes, got.Exemplars = nil, nil
				require.Equal(t, a.want(i), got)
				if _, isSummary := a.data.(metricdata.Summary); isSummary {
					require.Empty(t, p.Exemplars)
				} else {
					require.Len(t, p.Exemplars, 2)
					require.Equal(t, []attribute.KeyValue{attribute.Int("second", i)}, *p.Exemplars[1])
				}
				i++
			})
			require.Equal(t, 3, i)
		})
	}
}

func TestEachEditsInPlace(t *testing.T) {
	for _, a := range allKinds() {
		t.Run(fmt.Sprintf("%T", a.data), func(t *testing.T) {
			edited := []attribute.KeyValue{attribute.Bool("edited", true)}
			points.Each(a.data, func(p *points.Point) {
				*p.Attributes = attribute.NewSet(edited...)
				for _, filtered := range p.Exemplars {
					*filtered = edited
				}
			})
			points.Each(a.data, func(p *points.Point) {
				require.Equal(t, attribute.NewSet(edited...), *p.Attributes)
				for _, filtered := range p.Exemplars {
					require.Equal(t, edited, *filtered)
				}
			})
		})
	}
}

func TestSliceLeavesTheOriginal(t *testing.T) {
	for _, a := range allKinds() {
		t.Run(fmt.Sprintf("%T", a.data), func(t *testing.T) {
			require.Equal(t, 3, points.Count(a.data))
			for _, r := range [][2]int{{0, 0}, {0, 1}, {1, 3}, {0, 3}, {3, 3}} {
				part := points.Slice(a.data, r[0], r[1])
				require.IsType(t, a.data, part)
				require.Equal(t, r[1]-r[0], points.Count(part))
				i := r[0]
				points.Each(part, func(p *points.Point) {
					require.Equal(t, a.want(i).Kind, p.Kind, "the part is as monotonic as the whole")
					require.Equal(t, set(i), *p.Attributes)
					i++
				})
				require.Equal(t, 3, points.Count(a.data))
			}
		})
	}
}

func TestUnknownAggregation(t *testing.T) {
	require.Zero(t, points.Count(nil))
	require.Nil(t, points.Slice(nil, 0, 0))
	points.Each(nil, func(*points.Point) { t.Error("no point expected") })
}
