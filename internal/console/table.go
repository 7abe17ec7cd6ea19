package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry/internal/points"
)

// maxRows bounds one table.
const maxRows = 40

// row is a series that has changed.
type row struct {
	kind        points.Kind
	attrs       attribute.Set
	label, unit string
	now, before reading
	isNew       bool
}

// group is one instrument.
type group struct {
	name  string
	rows  []row
	alone bool // one series without attributes, which fits beside the name
}

// table has the changes of one collection.
type table struct {
	groups  []group
	series  int
	elapsed time.Duration
	first   bool
}

// changed reports whether the series has changed. A new series at zero has not: all instruments
// start there.
func (r row) changed() bool {
	if r.kind == points.Histogram {
		return r.now.count != r.before.count
	}
	return r.now.value != r.before.value
}

func (t table) block(now time.Time, width int) []line {
	if t.series == 0 {
		return nil
	}
	said := " " + count(t.series, "series")
	if t.series != 1 {
		said = fmt.Sprintf(" %d series", t.series)
	}
	said += " changed"
	if !t.first {
		said += " in " + age(t.elapsed)
	}
	block := []line{{clock(now), {text: " "}, {"METRICS", cyan}, {said, dim}}}
	slices.SortStableFunc(t.groups, func(a, b group) int { return strings.Compare(a.name, b.name) })
	left := t.series
	for _, g := range t.groups {
		if len(block) > maxRows {
			break
		}
		indent := ""
		if !g.alone {
			block = append(block, line{{g.name, plain}}.cut(width))
			indent = "  "
		}
		for _, r := range g.rows {
			if len(block) > maxRows {
				break
			}
			label := indent + r.label
			if g.alone {
				label = g.name
			}
			block = append(block, r.lines(label, width, t)...)
			left--
		}
	}
	if left > 0 {
		block = append(block, line{{fmt.Sprintf("… %d more series", left), yellow}})
	}
	return block
}

// minForQuantiles is the smallest number of new values for which quantiles are shown. For fewer
// values, the mean and the largest value say more.
const minForQuantiles = 10

// The columns of a row after its label.
const (
	valueColumns  = 10
	deltaColumns  = 9
	detailColumns = 37
)

// lines returns the row. A label that does not fit beside the numbers has its own line before it.
// If the terminal is too narrow for all columns, the row is cut on the right.
func (r row) lines(label string, width int, t table) (lines []line) {
	value, delta, detail := r.numbers(t)
	name := max(width-valueColumns-deltaColumns-detailColumns, width/4)
	row := line{{label, plain}}
	if row.width() > name {
		lines, row = append(lines, row.cut(width)), nil
	}
	row = append(row.fit(name),
		piece{fmt.Sprintf("%*s", valueColumns, value), bold},
		piece{fmt.Sprintf(" %*s", deltaColumns-1, delta), green},
		piece{"  " + detail, dim})
	return append(lines, row.cut(width))
}

// numbers returns the columns of a row: the total, the change, and a rate or the distribution of
// the new values.
func (r row) numbers(t table) (value, delta, detail string) {
	if r.kind != points.Histogram {
		change := r.now.value - r.before.value
		if r.kind == points.Counter && change < 0 { // it was reset
			change = r.now.value
		}
		if !(r.isNew && r.kind == points.Gauge) {
			delta = signed(change, r.unit)
		}
		if r.kind == points.Counter && !t.first && t.elapsed > 0 {
			detail = digits(change/t.elapsed.Seconds()) + "/s"
		}
		return quantity(r.now.value, r.unit), delta, detail
	}
	fresh := r.now.since(r.before)
	value, delta = fmt.Sprint(r.now.count), fmt.Sprintf("+%d", fresh.count)
	detail = "mean " + quantity(fresh.sum/float64(fresh.count), r.unit)
	var p50, p95 string
	if fresh.count >= minForQuantiles && len(fresh.bounds) > 0 && len(fresh.buckets) == len(fresh.bounds)+1 {
		p50, p95 = fresh.quantile(0.5, r.unit), fresh.quantile(0.95, r.unit)
	}
	newLargest := r.now.count > 1 && r.now.largest > r.before.largest // only then it is one of the new values
	switch {
	case p50 != p95:
		detail += " p50 " + p50 + " p95 " + p95
	case newLargest:
		detail += " max " + quantity(fresh.largest, r.unit)
	case p95 != "":
		detail += " p95 " + p95
	}
	return value, delta, detail
}

// signed formats a change. It leaves out a unit that is shown beside the total.
func signed(v float64, unit string) string {
	if unit != "s" && unit != "ms" && unit != "By" {
		unit = ""
	}
	if v < 0 {
		return "-" + quantity(-v, unit)
	}
	return "+" + quantity(v, unit)
}

// since returns the difference from an earlier reading of the same histogram. All values of a
// histogram that was reset are new.
func (r reading) since(before reading) reading {
	if before.count > r.count || len(before.buckets) != len(r.buckets) {
		return r
	}
	fresh := r
	fresh.count, fresh.sum = r.count-before.count, r.sum-before.sum
	fresh.buckets = slices.Clone(r.buckets)
	for i, n := range before.buckets {
		fresh.buckets[i] -= min(n, fresh.buckets[i])
	}
	return fresh
}

// quantile returns an upper bound of the quantile q: the bound of its bucket, or the largest value
// if that is lower. It is not known where in the bucket the values are.
func (r reading) quantile(q float64, unit string) string {
	rank, below, low := q*float64(r.count), 0.0, 0.0
	for i, bound := range r.bounds {
		below += float64(r.buckets[i])
		if r.buckets[i] > 0 && below >= rank {
			if r.largest > low {
				bound = min(bound, r.largest)
			}
			return "≤" + quantity(bound, unit)
		}
		low = bound
	}
	if r.largest > low {
		return "≤" + quantity(r.largest, unit)
	}
	return ">" + quantity(low, unit)
}
