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

	"github.com/fleetotel/telemetry/benchmarks/internal/paired"
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
		fmt.Fprintf(out, "%s:\n\n", way.name)
		err := paired.Compare(out, common(sides), *rounds, func(i int) (paired.Cost, error) {
			return way.measure(sides[i], *requests)
		})
		if err != nil {
			return fmt.Errorf("%s, %w", way.name, err)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "What telemetry adds to a request with one child span: medians of %d rounds of %s requests, "+
		"the plain handler subtracted. Spans dropped: none of those that were paced.\n",
		*rounds, report.Count(int64(*requests)))
	return nil
}
