package console

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Metrics is a metric exporter that prints the series which have changed since it printed last, and nothing when none
// has. It is for a periodic reader; all methods are safe for concurrent use.
type Metrics struct {
	screen      *Screen
	aggregation sdkmetric.AggregationSelector
	hide        func(scope, name string) bool

	atTheEnd bool

	mu   sync.Mutex
	last map[seriesKey]reading // as printed last
	at   time.Time
	held *collection // not printed yet
}

// collection is what one has found, compared with what was printed last.
type collection struct {
	table  table
	series map[seriesKey]reading
	at     time.Time
}

type seriesKey struct {
	scope, name string
	attrs       attribute.Distinct
}

// reading is the state of one series.
type reading struct {
	value   float64 // of a sum or gauge
	count   uint64  // of a histogram
	sum     float64
	bounds  []float64
	buckets []uint64
	largest float64 // of a histogram that knows it
}

// NewMetrics returns an exporter that prints to the screen all but what hide names. The series that it hides are those
// which change at each collection even if the service does nothing.
func NewMetrics(screen *Screen, aggregation sdkmetric.AggregationSelector, hide func(scope, name string) bool) *Metrics {
	return &Metrics{screen: screen, aggregation: aggregation, hide: hide, last: map[seriesKey]reading{}}
}

// Temporality is cumulative for everything: totals are shown, and what is new is the difference from the last.
func (*Metrics) Temporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	return metricdata.CumulativeTemporality
}

// Aggregation is that of the other exporters.
func (m *Metrics) Aggregation(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return m.aggregation(kind)
}

// AtTheEnd makes the exporter print when it is flushed or shut down, and not at each collection: a table between the log
// lines interrupts the reader. It is for the time before the first collection.
func (m *Metrics) AtTheEnd() { m.atTheEnd = true }

// Export prints what has changed, or holds it for the end.
func (m *Metrics) Export(_ context.Context, all *metricdata.ResourceMetrics) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	t := table{elapsed: now.Sub(m.at), first: m.at.IsZero()}
	seen := make(map[seriesKey]reading, len(m.last))
	for _, scope := range all.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if m.hide(scope.Scope.Name, metric.Name) {
				continue
			}
			m.compare(&t, seen, scope.Scope.Name, metric)
		}
	}
	m.held = &collection{t, seen, now}
	if m.atTheEnd {
		return nil
	}
	return m.print()
}

// print is called with the lock held. A series that is gone is forgotten.
func (m *Metrics) print() error {
	c := m.held
	if c == nil {
		return nil
	}
	m.last, m.at, m.held = c.series, c.at, nil
	return m.screen.print(c.table.block(c.at, m.screen.columns()))
}

// ForceFlush prints what is held.
func (m *Metrics) ForceFlush(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.print()
}

// Shutdown prints what is held.
func (m *Metrics) Shutdown(ctx context.Context) error { return m.ForceFlush(ctx) }

// compare adds the rows of one instrument.
func (m *Metrics) compare(t *table, seen map[seriesKey]reading, scope string, metric metricdata.Metrics) {
	var rows []row
	labels := map[string]int{}
	each(metric.Data, func(attrs attribute.Set, now reading, kind rowKind) {
		key := seriesKey{scope, metric.Name, attrs.Equivalent()}
		before, known := m.last[key]
		seen[key] = now
		r := row{kind: kind, attrs: attrs, now: now, before: before, unit: metric.Unit, isNew: !known}
		r.label = strings.TrimSpace(text(summary("", 0, attrs.ToSlice())))
		labels[r.label]++
		if r.changed() {
			rows = append(rows, r)
		}
	})
	for i := range rows {
		if labels[rows[i].label] > 1 { // what summary leaves out makes the difference
			rows[i].label = allAttributes(rows[i].attrs)
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.label, b.label) })
	if len(rows) > 0 {
		t.groups = append(t.groups, group{name: short(metric.Name), rows: rows, alone: len(labels) == 1 && labels[""] == 1})
	}
	t.series += len(rows)
}

func allAttributes(set attribute.Set) string {
	var parts []string
	for _, kv := range set.ToSlice() {
		parts = append(parts, pair(kv))
	}
	return strings.Join(parts, " ")
}

// each reads the points of all kinds of metrics.
func each(data metricdata.Aggregation, visit func(attribute.Set, reading, rowKind)) {
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		eachNumber(data.DataPoints, sumKind(data.IsMonotonic), visit)
	case metricdata.Sum[float64]:
		eachNumber(data.DataPoints, sumKind(data.IsMonotonic), visit)
	case metricdata.Gauge[int64]:
		eachNumber(data.DataPoints, level, visit)
	case metricdata.Gauge[float64]:
		eachNumber(data.DataPoints, level, visit)
	case metricdata.Histogram[int64]:
		eachHistogram(data.DataPoints, visit)
	case metricdata.Histogram[float64]:
		eachHistogram(data.DataPoints, visit)
	case metricdata.ExponentialHistogram[int64]:
		eachExponential(data.DataPoints, visit)
	case metricdata.ExponentialHistogram[float64]:
		eachExponential(data.DataPoints, visit)
	case metricdata.Summary:
		for _, p := range data.DataPoints {
			visit(p.Attributes, reading{count: p.Count, sum: p.Sum}, distribution)
		}
	}
}

func sumKind(monotonic bool) rowKind {
	if monotonic {
		return counter
	}
	return level
}

func eachNumber[N int64 | float64](points []metricdata.DataPoint[N], kind rowKind, visit func(attribute.Set, reading, rowKind)) {
	for _, p := range points {
		visit(p.Attributes, reading{value: float64(p.Value)}, kind)
	}
}

func eachHistogram[N int64 | float64](points []metricdata.HistogramDataPoint[N], visit func(attribute.Set, reading, rowKind)) {
	for _, p := range points {
		visit(p.Attributes, reading{
			count: p.Count, sum: float64(p.Sum), bounds: p.Bounds, buckets: append([]uint64(nil), p.BucketCounts...), largest: largest(p.Max),
		}, distribution)
	}
}

func eachExponential[N int64 | float64](points []metricdata.ExponentialHistogramDataPoint[N], visit func(attribute.Set, reading, rowKind)) {
	for _, p := range points {
		visit(p.Attributes, reading{count: p.Count, sum: float64(p.Sum), largest: largest(p.Max)}, distribution)
	}
}

func largest[N int64 | float64](e metricdata.Extrema[N]) float64 {
	value, _ := e.Value()
	return float64(value)
}
