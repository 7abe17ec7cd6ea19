// Command outage is the real-time proof that nothing is lost: 1,000 spans and 1,000 log records a
// second for 15 s, while the collector is down for 10 s, cuts connections in mid-request, answers
// 503 or 429, or takes 2 s for every request; over HTTP and over gRPC. All cases run at the same
// time, each with a collector and a guard of its own.
//
//	go run -C benchmarks ./outage
//	go run -C benchmarks ./outage -duration 3s -outage 2s -slow 500ms -retry-after 1s
//
// It exits with 1 if anything was lost, if something arrived twice that need not have, or if the
// books do not balance.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/benchmarks/internal/report"
)

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "outage:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	rate       int
	duration   time.Duration
	outage     time.Duration
	slow       time.Duration
	retryAfter time.Duration
	protocols  []telemetry.Protocol
	only       string
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("outage", flag.ContinueOnError)
	flags.IntVar(&s.rate, "rate", 1000, "spans, and as many log records, per second")
	flags.DurationVar(&s.duration, "duration", 15*time.Second, "how long they are offered")
	flags.DurationVar(&s.outage, "outage", 10*time.Second,
		"how long the collector fails; it begins after a tenth of the duration")
	flags.DurationVar(&s.slow, "slow", 2*time.Second, "how long the slow collector takes to answer")
	flags.DurationVar(&s.retryAfter, "retry-after", 2*time.Second, "what the 429 asks for")
	flags.StringVar(&s.only, "only", "", "only the cases whose name contains this")
	protocols := flags.String("protocols", "http,grpc", "http, grpc or both")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.protocols, err = report.Protocols(*protocols); err != nil {
		return s, err
	}
	if least := shortestOutage(s.rate); s.outage < least {
		return s, fmt.Errorf("at %d/s the outage must last %s at least, or no request may fall into it", s.rate, least)
	}
	return s, nil
}

// shortestOutage is one and a half times what a batch of the default size takes to fill, or to
// leave unfilled.
func shortestOutage(rate int) time.Duration {
	const batch, scheduleDelay = 1024, 3 * time.Second
	return min(batch*time.Second/time.Duration(max(rate, 1)), scheduleDelay) * 3 / 2
}

func run(out io.Writer, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	var (
		wg      sync.WaitGroup
		results []*result
	)
	for _, f := range faults(s) {
		if !strings.Contains(f.name, s.only) {
			continue
		}
		for _, protocol := range s.protocols {
			r := &result{fault: f, protocol: protocol}
			results = append(results, r)
			wg.Go(func() { r.err = r.play(context.Background(), s) })
		}
	}
	wg.Wait()

	var table report.Table
	table.Row("collector", "protocol", "spans arrived/offered", "twice", "records arrived/offered", "twice",
		"delivered after", "books", "verdict")
	var errs []error
	for _, r := range results {
		table.Row(r.cells()...)
		if err := r.judge(); err != nil {
			errs = append(errs, fmt.Errorf("%s over %s: %w", r.fault.name, report.Short(r.protocol), err))
		}
	}
	table.Write(out)
	fmt.Fprintf(out, legend, s.outage)
	return errors.Join(errs...)
}

const legend = `
The collector fails for %s. "delivered after" is how long Shutdown took once the last item had been offered. "twice" are
items that arrived more than once: unavoidable where a connection is cut while the answer is on its way, and over gRPC all
requests share one connection. Books: accepted = exported + dropped + failed + rejected + queued + spooled, by Health.
`
