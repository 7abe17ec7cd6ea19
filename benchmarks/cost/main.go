// Command cost measures what a span and a log record cost the process that makes them: processor
// time from Start to the wire, allocations, bytes on the wire, and the part of it that the
// service's own goroutine pays (OnEnd and OnEmit).
//
//	go run -C benchmarks ./cost
//	go run -C benchmarks ./cost -items 20000 -rounds 2 -bench 20ms
//
// Every pipeline runs in a process of its own and sends to a collector in another one. The
// pipelines take turns in each round, so that a disturbance of the machine meets all of them;
// figures are medians over the rounds, and ratios are taken within a round.
package main

import (
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
)

func main() {
	child.Main(map[string]func(*child.Pipe) error{sink.Role: sink.Serve, sideRole: serveSide})
	if err := run(os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	items     int
	rounds    int
	gzip      bool
	protocols []telemetry.Protocol
	signals   []string
	bench     time.Duration
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("cost", flag.ContinueOnError)
	flags.IntVar(&s.items, "items", 200_000, "spans or records of one run")
	flags.IntVar(&s.rounds, "rounds", 5, "runs of each pipeline")
	flags.BoolVar(&s.gzip, "gzip", true, "compress, on all sides")
	flags.DurationVar(&s.bench, "bench", time.Second, "time of one benchmark of OnEnd and OnEmit; 0: leave them out")
	protocols := flags.String("protocols", "http,grpc", "http, grpc or both")
	signals := flags.String("signals", "spans,logs", "spans, logs or both")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var errs [2]error
	s.protocols, errs[0] = report.Protocols(*protocols)
	s.signals, errs[1] = report.Names(*signals, load.Spans, load.Records)
	if s.items < burst || s.rounds < 1 {
		return s, fmt.Errorf("at least %d items and one round", burst)
	}
	return s, errors.Join(errs[:]...)
}

func run(out io.Writer, args []string) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if err := exportCost(out, s); err != nil {
		return err
	}
	if s.bench == 0 {
		return nil
	}
	fmt.Fprintln(out)
	return hotPath(out, s)
}

// exportCost prints the table of processor time, allocations and bytes.
func exportCost(out io.Writer, s settings) (err error) {
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
	table.Row("item", "protocol", "pipeline", "CPU µs", "ours ÷ it", "of which export", "ours ÷ it", "allocs", "bytes",
		"bytes on the wire")
	for _, signal := range s.signals {
		for _, protocol := range s.protocols {
			m, err := measure(collector, at, s, signal, protocol)
			if err != nil {
				return err
			}
			for _, name := range []string{side.Stock, side.Tuned, side.Ours} {
				table.Row(m.cells(signal, protocol, name)...)
			}
		}
	}
	table.Write(out)
	fmt.Fprintf(out, legend, s.rounds, report.Count(int64(s.items)), s.gzip)
	return nil
}

const legend = `
Per item, from Start to the answer of the collector; medians of %d rounds of %s items, gzip %t, nothing lost. "CPU" is
user and system time of the process under test; "of which export" is without what the same items cost when a provider
throws them away. "ours ÷ it" is below 1 where this library is cheaper.
`

// measure runs all pipelines in turn, round by round.
func measure(collector *child.Process, at sink.Arrived, s settings, signal string,
	protocol telemetry.Protocol) (measured, error) {
	m := measured{}
	endpoint := at.HTTP
	if protocol == telemetry.ProtocolGRPC {
		endpoint = at.GRPC
	}
	for range s.rounds {
		for _, name := range []string{side.Null, side.Stock, side.Tuned, side.Ours} {
			var arrived sink.Arrived
			if err := collector.Ask(sink.Command{Reset: true}, &arrived); err != nil {
				return m, err
			}
			r, err := runSide(order{
				Config: side.Config{Side: name, Protocol: protocol, Endpoint: endpoint, Gzip: s.gzip,
					SpansAndLogs: true},
				Signal: signal, Items: s.items,
			})
			if err != nil {
				return m, fmt.Errorf("%s: %w", name, err)
			}
			if err := collector.Ask(sink.Command{Keep: true}, &arrived); err != nil {
				return m, err
			}
			if want := int64(s.items); name != side.Null && arrived.Items() != want {
				return m, fmt.Errorf("%s delivered %d of %d: the figures would not be per exported item", name,
					arrived.Items(), want)
			}
			m[name] = append(m[name], r.perItem(s.items, arrived.Bytes))
		}
	}
	return m, nil
}

// runSide has a process of its own do the work.
func runSide(o order) (result, error) {
	var r result
	process, err := child.Start(sideRole)
	if err != nil {
		return r, err
	}
	err = process.Ask(o, &r)
	return r, errors.Join(err, process.Stop())
}
