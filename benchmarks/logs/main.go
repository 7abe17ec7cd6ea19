// Command logs measures what a slog record costs: time, memory and allocations, of this library and
// of the stock handlers.
//
//	go run -C benchmarks ./logs
//	go run -C benchmarks ./logs -records 20000 -rounds 3
//
// All sides live in one process and write the same record in the context of a span, to a console
// that discards and to an exporter that discards. They take turns in each round, ratios are taken
// within the round, and medians are printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/fleetotel/telemetry/benchmarks/internal/report"
	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
)

// burst is how many records are written before they are flushed. It fits into every queue, so that
// none is dropped.
const burst = 1000

func main() {
	if err := run(context.Background(), os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "logs:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("logs", flag.ContinueOnError)
	records := flags.Int("records", 50_000, "records of each side in a round")
	rounds := flags.Int("rounds", 15, "rounds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *records < burst || *rounds < 1 {
		return fmt.Errorf("-records is %d and -rounds is %d, want at least %d and 1", *records, *rounds, burst)
	}
	sides, closeAll, err := newSides(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()

	measured := make([][]cost, len(sides)) // by side and round
	for round := range *rounds + 1 {       // the first one fills pools and caches
		for turn := range sides {
			i := (turn + round) % len(sides)
			c, err := measure(ctx, sides[i], *records)
			if err != nil {
				return err
			}
			if round > 0 {
				measured[i] = append(measured[i], c)
			}
		}
	}
	table(out, sides, measured)
	fmt.Fprintf(out, "\nMedians of %d rounds of %s records with five attributes. ns: of the goroutine that writes "+
		"them. "+
		"CPU: of the\nwhole process, with the export. bytes and allocations: of the whole process.\n", *rounds,
		report.Count(int64(*records)))
	return nil
}

// cost is what one record takes.
type cost struct{ nanos, cpu, bytes, allocs float64 }

func measure(ctx context.Context, s side, records int) (cost, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	busy := usage.CPU()
	var elapsed time.Duration
	for done := 0; done < records; done += burst {
		begin := time.Now()
		for range burst {
			s.write()
		}
		elapsed += time.Since(begin)
		if s.flush != nil {
			if err := s.flush(ctx); err != nil {
				return cost{}, err
			}
		}
	}
	busy = usage.CPU() - busy
	runtime.ReadMemStats(&after)
	n := float64((records + burst - 1) / burst * burst)
	return cost{float64(elapsed.Nanoseconds()) / n, float64(busy.Nanoseconds()) / n,
		float64(after.TotalAlloc-before.TotalAlloc) / n, float64(after.Mallocs-before.Mallocs) / n}, nil
}

// table prints each side beside the one that it is compared with.
func table(out io.Writer, sides []side, measured [][]cost) {
	var t report.Table
	t.Row("record", "side", "ns", "bytes", "allocations", "time ÷", "CPU ÷", "bytes ÷", "allocations ÷")
	stock := 0
	for i, s := range sides {
		if s.isStock {
			stock = i
		}
		var own, ratios [4][]float64
		for round := range measured[i] {
			mine, other := measured[i][round], measured[stock][round]
			for k, pair := range [4][2]float64{{mine.nanos, other.nanos}, {mine.cpu, other.cpu},
				{mine.bytes, other.bytes}, {mine.allocs, other.allocs}} {
				own[k], ratios[k] = append(own[k], pair[0]), append(ratios[k], pair[0]/pair[1])
			}
		}
		cells := []string{s.record, s.name, fmt.Sprintf("%.0f", report.Median(own[0])),
			fmt.Sprintf("%.0f", report.Median(own[2])), fmt.Sprintf("%.1f", report.Median(own[3]))}
		for k := range ratios {
			cells = append(cells, ratio(report.Median(own[k]), report.Median(ratios[k])))
		}
		t.Row(cells...)
	}
	t.Write(out)
}

// ratio leaves out the ratio of a side that takes nothing, or next to nothing.
func ratio(own, ratio float64) string {
	if own < 0.1 {
		return "-"
	}
	return fmt.Sprintf("%.2f", ratio)
}
