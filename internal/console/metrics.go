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

	"github.com/fleetotel/telemetry/internal/points"
)

// Metrics is a metric exporter that prints the series that have changed since its last output, or
// nothing if none has. It is for a periodic reader; all methods are safe for concurrent use.
//
// It is the only way to see metrics without a collector in a form that fits a terminal: the console
// exporter's JSON of one collection fills several screens. So it is worth its 350 lines, in this
// file and table.go.
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

// collection is the result of one collection, compared with what was printed last.
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
	largest float64 // of a histogram; 0 if unknown
}

// readingOf copies the buckets, which the SDK uses again for the next collection.
func readingOf(p *points.Point) reading {
	return reading{value: p.Value, count: p.Count, sum: p.Sum, bounds: p.Bounds, buckets: slices.Clone(p.BucketCounts),
		largest: p.Max}
}

// NewMetrics returns an exporter that prints to the screen. hide tells which metrics are left out:
// those that change at each collection even if the service does nothing.
func NewMetrics(screen *Screen, aggregation sdkmetric.AggregationSelector,
	hide func(scope, name string) bool) *Metrics {
	return &Metrics{screen: screen, aggregation: aggregation, hide: hide, last: map[seriesKey]reading{}}
}

// Temporality is cumulative for all instruments: the view shows totals, and the difference from the
// last output.
func (*Metrics) Temporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	return metricdata.CumulativeTemporality
}

// Aggregation is the same as for the other exporters.
func (m *Metrics) Aggregation(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return m.aggregation(kind)
}

// AtTheEnd makes the exporter print when it is flushed or shut down, and not at each collection: a
// table between the log lines interrupts the reader. It is for the time before the first
// collection.
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

// print prints what is held. A series that no longer exists is forgotten. The caller holds the
// lock.
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
	points.Each(metric.Data, func(p *points.Point) {
		attrs, now := *p.Attributes, readingOf(p)
		key := seriesKey{scope, metric.Name, attrs.Equivalent()}
		before, known := m.last[key]
		seen[key] = now
		r := row{kind: p.Kind, attrs: attrs, now: now, before: before, unit: metric.Unit, isNew: !known}
		r.label = strings.TrimSpace(text(summary("", 0, attrs.ToSlice())))
		labels[r.label]++
		if r.changed() {
			rows = append(rows, r)
		}
	})
	for i := range rows {
		if labels[rows[i].label] > 1 { // their attributes differ, but summary leaves those out
			rows[i].label = allAttributes(rows[i].attrs)
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.label, b.label) })
	if len(rows) > 0 {
		t.groups = append(t.groups, group{name: short(metric.Name), rows: rows, alone: len(labels) == 1 &&
			labels[""] == 1})
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
