// Command request measures what telemetry adds to an HTTP request with one child span: time, memory
// and allocations, of this library and of otelhttp over the stock SDK.
//
//	go run -C benchmarks ./request
//	go run -C benchmarks ./request -requests 2000 -rounds 3
//
// All sides live in one process and serve the same request through an http.ServeMux, with exporters
// that discard: in memory, and over a loopback connection, where the client's part is the same for
// all. They take turns in each round; the cost of the plain handler in that round is subtracted,
// ratios are taken within the round, and medians are printed.
//
// In memory, the time is that of the goroutine that serves. Over loopback it is the time of the
// process's threads. Where everything is sampled, requests are paced so that no queue is full and
// no span is dropped; the time is the processor's, exports included.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/fleetotel/telemetry/benchmarks/internal/report"
)

func main() {
	if err := run(context.Background(), os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "request:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("request", flag.ContinueOnError)
	requests := flags.Int("requests", 20_000, "requests of each side in a round")
	rounds := flags.Int("rounds", 9, "rounds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *requests < 1 || *rounds < 1 {
		return fmt.Errorf("-requests is %d and -rounds is %d, want at least 1", *requests, *rounds)
	}
	sides, closeAll, err := newSides(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()

	for _, way := range ways {
		measured := make([][]cost, len(sides)) // by side and round
		for round := range *rounds + 1 {       // the first one fills pools and caches
			for i, s := range sides {
				c, err := way.measure(s, *requests)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", way.name, s.name, err)
				}
				if round > 0 {
					measured[i] = append(measured[i], c)
				}
			}
		}
		fmt.Fprintf(out, "%s:\n\n", way.name)
		table(out, sides, measured)
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "What telemetry adds to a request with one child span: medians of %d rounds of %s requests, "+
		"the plain handler subtracted. Spans dropped: none of those that were paced.\n",
		*rounds, report.Count(int64(*requests)))
	return nil
}

// cost is what one request takes.
type cost struct{ nanos, bytes, allocs float64 }

func (c cost) minus(plain cost) cost {
	return cost{c.nanos - plain.nanos, c.bytes - plain.bytes, c.allocs - plain.allocs}
}

// table prints each side beside the one that it is compared with.
func table(out io.Writer, sides []side, measured [][]cost) {
	var t report.Table
	t.Row("side", "µs", "bytes", "allocations", "against", "time ÷", "bytes ÷", "allocations ÷")
	for i, s := range sides {
		if s.against == "" {
			continue
		}
		var own, ratios [3][]float64
		for round := range measured[i] {
			plain := measured[s.plain(sides)][round]
			mine, other := measured[i][round].minus(plain), measured[s.index(sides)][round].minus(plain)
			for k, pair := range [3][2]float64{{mine.nanos, other.nanos}, {mine.bytes, other.bytes},
				{mine.allocs, other.allocs}} {
				own[k], ratios[k] = append(own[k], pair[0]), append(ratios[k], pair[0]/pair[1])
			}
		}
		t.Row(s.name, fmt.Sprintf("%.2f", report.Median(own[0])/1000), fmt.Sprintf("%.0f", report.Median(own[1])),
			fmt.Sprintf("%.1f", report.Median(own[2])),
			s.against, fmt.Sprintf("%.2f", report.Median(ratios[0])), fmt.Sprintf("%.2f", report.Median(ratios[1])),
			fmt.Sprintf("%.2f", report.Median(ratios[2])))
	}
	t.Write(out)
}
