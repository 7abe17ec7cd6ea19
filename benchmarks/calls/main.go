// Command calls measures what telemetry adds to a call: to an HTTP request on the side that sends
// it, and to a unary gRPC call on either side. It compares this library with otelhttp and otelgrpc.
//
//	go run -C benchmarks ./calls
//	go run -C benchmarks ./calls -calls 2000 -rounds 3 -only client
//
// All sides live in one process and make the same calls, with exporters that discard. They take
// turns in each round; the cost of the plain call in that round is subtracted, ratios are taken
// within the round, and medians are printed. Each call is the root of its trace.
//
// In memory, the other end is a function: for HTTP a RoundTripper that answers, for gRPC the events
// that gRPC reports of a call. Over a connection, the time is that of the process's threads, and
// includes what gRPC or net/http does with the headers that are sent. Where everything is sampled,
// calls are paced so that no span is dropped; the time is the processor's, exports included.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/fleetotel/telemetry/benchmarks/internal/paired"
	"github.com/fleetotel/telemetry/benchmarks/internal/report"
)

func main() {
	if err := run(context.Background(), os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "calls:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("calls", flag.ContinueOnError)
	calls := flags.Int("calls", 20_000, "calls of each side in a round")
	rounds := flags.Int("rounds", 9, "rounds")
	only := flags.String("only", "",
		"a part of the names of the kinds of calls: HTTP, gRPC, client, server, \"in memory\"")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *calls < 1 || *rounds < 1 {
		return fmt.Errorf("-calls is %d and -rounds is %d, want at least 1", *calls, *rounds)
	}
	sides, closeAll, err := newSides(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()

	for _, way := range ways {
		if !strings.Contains(way.name, *only) {
			continue
		}
		fmt.Fprintf(out, "%s:\n\n", way.name)
		err := paired.Compare(out, common(sides), *rounds, func(i int) (paired.Cost, error) {
			return way.measure(sides[i], *calls)
		})
		if err != nil {
			return fmt.Errorf("%s, %w", way.name, err)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "What telemetry adds to a call: medians of %d rounds of %s calls, the plain call subtracted.\n",
		*rounds, report.Count(int64(*calls)))
	return nil
}
