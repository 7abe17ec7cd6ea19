// Command redaction measures the price of redaction: the processor time of an exported span or log
// record with its default, divided by that without.
//
//	go run -C benchmarks ./redaction
//
// Both pipelines live in one process, apart from the collector's, and take turns burst by burst, so
// that whatever else the machine does meets both alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/benchmarks/internal/child"
	"github.com/fleetotel/telemetry/benchmarks/internal/load"
	"github.com/fleetotel/telemetry/benchmarks/internal/report"
	"github.com/fleetotel/telemetry/benchmarks/internal/side"
	"github.com/fleetotel/telemetry/benchmarks/internal/sink"
	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
)

// burst is how many items are made before they are flushed: two batches.
const burst = 2048

func main() {
	child.Main(map[string]func(*child.Pipe) error{sink.Role: sink.Serve})
	if err := run(context.Background(), os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "redaction:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("redaction", flag.ContinueOnError)
	bursts := flags.Int("bursts", 200, fmt.Sprintf("bursts of %d items of each pipeline", burst))
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *bursts < 1 {
		return fmt.Errorf("-bursts is %d, want at least 1", *bursts)
	}
	collector, err := child.Start(sink.Role)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, collector.Stop()) }()
	var at sink.Arrived
	if err := collector.Receive(&at); err != nil {
		return err
	}
	var table report.Table
	table.Row("item", "redaction off, CPU µs", "on", "on ÷ off")
	for _, signal := range []string{load.Spans, load.Records} {
		off, on, err := measure(ctx, signal, at.HTTP, *bursts)
		if err != nil {
			return err
		}
		micros := func(d time.Duration) string {
			return fmt.Sprintf("%.2f", float64(d.Nanoseconds())/1000/float64(*bursts*burst))
		}
		table.Row(signal, micros(off), micros(on), fmt.Sprintf("%.3f", float64(on)/float64(off)))
	}
	var arrived sink.Arrived
	if err := collector.Ask(sink.Command{Keep: true}, &arrived); err != nil {
		return err
	}
	if want := int64(4 * (*bursts + 1) * burst); arrived.Items() != want {
		return fmt.Errorf("%d of %d items arrived: the figures would not be per exported item", arrived.Items(), want)
	}
	table.Write(out)
	fmt.Fprintf(out, "\nPer item with five attributes, from Start to the answer of the collector, over HTTP with "+
		"gzip; %d bursts of %d.\n", *bursts, burst)
	return nil
}

// pipeline is one of the two, and the processor time it has taken.
type pipeline struct {
	*side.Side
	emit func(int64)
	cpu  time.Duration
}

func measure(ctx context.Context, signal, endpoint string, bursts int) (off, on time.Duration, err error) {
	var both [2]pipeline
	for i, name := range []string{side.Bare, side.Ours} {
		s, err := side.New(ctx, side.Config{Side: name, Protocol: telemetry.ProtocolHTTP, Endpoint: endpoint,
			Gzip: true})
		if err != nil {
			return 0, 0, err
		}
		both[i] = pipeline{Side: s, emit: load.Emitter(signal, s.Tracer, s.Logger)}
		defer func() { err = errors.Join(err, s.Shutdown(ctx)) }()
	}
	for round := range bursts + 1 { // the first one connects and fills the pools
		for turn := range both {
			p := &both[(turn+round)%2]
			begin := usage.CPU()
			for i := range burst {
				p.emit(int64(round*burst + i))
			}
			if err := p.Flush(ctx); err != nil {
				return 0, 0, err
			}
			if round > 0 {
				p.cpu += usage.CPU() - begin
			}
		}
	}
	return both[0].cpu, both[1].cpu, nil
}
