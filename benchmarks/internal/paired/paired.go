// Package paired compares ways to instrument the same work. All sides live in one process and take
// turns in each round. The cost of the work without telemetry in that round is subtracted, ratios
// are taken within the round, and medians are printed.
package paired

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/benchmarks/internal/report"
	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
)

// Side is one way to instrument the work.
type Side struct {
	Name     string
	Against  string        // the name of the side that it is compared with; "": no telemetry, not printed
	Paced    bool          // everything is sampled
	Flush    func() error  // exports what is held; nil without spans
	Exported *atomic.Int64 // spans; nil without spans
}

// Cost is what one unit of the work takes.
type Cost struct{ Nanos, Bytes, Allocs float64 }

func (c Cost) minus(plain Cost) Cost {
	return Cost{c.Nanos - plain.Nanos, c.Bytes - plain.Bytes, c.Allocs - plain.Allocs}
}

// Paced sides do some 20,000 units a second at most, in bursts that every queue can hold: a stock
// batch processor takes 2,048 spans, and exports them when it has 512.
const (
	burst = 100
	Pause = 5 * time.Millisecond
)

// Measure does n units of the side's work, one after the other. The clock is that of a side that is
// not paced; for one that is, it is the processor's time, exports included.
func (s Side) Measure(n int, clock func() time.Duration, work func() error) (Cost, error) {
	if s.Paced {
		clock = usage.CPU
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := clock()
	for i := range n {
		if s.Paced && i%burst == 0 {
			time.Sleep(Pause) // the pace: the exporters catch up, so no span is dropped
		}
		if err := work(); err != nil {
			return Cost{}, err
		}
	}
	if s.Flush != nil {
		if err := s.Flush(); err != nil {
			return Cost{}, err
		}
	}
	elapsed := clock() - begin
	runtime.ReadMemStats(&after)
	units := float64(n)
	return Cost{
		float64(elapsed.Nanoseconds()) / units, float64(after.TotalAlloc-before.TotalAlloc) / units,
		float64(after.Mallocs-before.Mallocs) / units,
	}, nil
}

// Compare measures each side, given by its index, in each round, and prints each beside the one that
// it is compared with.
func Compare(out io.Writer, sides []Side, rounds int, measure func(i int) (Cost, error)) error {
	measured := make([][]Cost, len(sides)) // by side and round
	for round := range rounds + 1 {        // the first one fills pools and caches
		for i, s := range sides {
			c, err := measure(i)
			if err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			if round > 0 {
				measured[i] = append(measured[i], c)
			}
		}
	}
	var t report.Table
	t.Row("side", "µs", "bytes", "allocations", "against", "time ÷", "bytes ÷", "allocations ÷")
	for i, s := range sides {
		if s.Against == "" {
			continue
		}
		plain := slices.IndexFunc(sides, func(o Side) bool { return o.Against == "" && o.Paced == s.Paced })
		against := slices.IndexFunc(sides, func(o Side) bool { return o.Name == s.Against })
		var own, ratios [3][]float64
		for round := range measured[i] {
			mine := measured[i][round].minus(measured[plain][round])
			other := measured[against][round].minus(measured[plain][round])
			for k, pair := range [3][2]float64{{mine.Nanos, other.Nanos}, {mine.Bytes, other.Bytes},
				{mine.Allocs, other.Allocs}} {
				own[k], ratios[k] = append(own[k], pair[0]), append(ratios[k], pair[0]/pair[1])
			}
		}
		t.Row(s.Name, fmt.Sprintf("%.2f", report.Median(own[0])/1000), fmt.Sprintf("%.0f", report.Median(own[1])),
			fmt.Sprintf("%.1f", report.Median(own[2])),
			s.Against, fmt.Sprintf("%.2f", report.Median(ratios[0])), fmt.Sprintf("%.2f", report.Median(ratios[1])),
			fmt.Sprintf("%.2f", report.Median(ratios[2])))
	}
	t.Write(out)
	return nil
}

// Discard is an exporter of spans that counts them and throws them away.
type Discard struct{ Spans atomic.Int64 }

func (d *Discard) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	d.Spans.Add(int64(len(spans)))
	return nil
}

func (*Discard) Shutdown(context.Context) error { return nil }

var begun = time.Now()

// Wall is the time since the program began: a clock for work of one goroutine.
func Wall() time.Duration { return time.Since(begun) }
