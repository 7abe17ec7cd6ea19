// Command delivered measures which share of the spans and log records that a service offers arrives
// at a collector that takes its time to answer: this library's pipeline, the SDK's with its
// defaults, and the SDK's with this library's queue and batch size, one after the other in each
// row.
//
//	go run -C benchmarks ./delivered
//	go run -C benchmarks ./delivered -rates 20000 -delays 50ms -duration 1s -protocols http -signals spans
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
)

func main() {
	child.Main(map[string]func(*child.Pipe) error{sink.Role: sink.Serve, sideRole: serveSide})
	if err := run(os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "delivered:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	rates     []int
	delays    []time.Duration
	protocols []telemetry.Protocol
	signals   []string
	duration  time.Duration
	drain     time.Duration
	producers int
	gzip      bool
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("delivered", flag.ContinueOnError)
	rates := flags.String("rates", "20000,30000,60000", "items offered per second")
	delays := flags.String("delays", "0,20ms,50ms,100ms", "how long the collector takes to answer")
	protocols := flags.String("protocols", "http,grpc", "http, grpc or both")
	signals := flags.String("signals", "spans,logs", "spans, logs or both")
	flags.DurationVar(&s.duration, "duration", 5*time.Second, "how long items are offered")
	flags.DurationVar(&s.drain, "drain", 10*time.Second, "how long the shutdown afterwards may take")
	flags.IntVar(&s.producers, "producers", 4, "goroutines that offer items")
	flags.BoolVar(&s.gzip, "gzip", true, "compress, on all sides; the SDK's own default is not to")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var errs [4]error
	s.rates, errs[0] = report.Ints(*rates)
	s.delays, errs[1] = report.Durations(*delays)
	s.protocols, errs[2] = report.Protocols(*protocols)
	s.signals, errs[3] = report.Names(*signals, load.Spans, load.Records)
	if s.producers < 1 {
		return s, errors.New("at least one producer")
	}
	return s, errors.Join(errs[:]...)
}

// run measures row by row and prints each as soon as it is known; the table comes at the end.
func run(out io.Writer, args []string) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
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
	table.Row("signal", "protocol", "offered/s", "collector delay", "stock", "stock, 8192 + 1024", "ours",
		"ours: lost, by Health", "machine busy")
	honest := true
	for _, signal := range s.signals {
		for _, protocol := range s.protocols {
			for _, rate := range s.rates {
				for _, delay := range s.delays {
					r, err := measureRow(collector, at, s, signal, protocol, rate, delay)
					if err != nil {
						return err
					}
					honest = honest && r.honest()
					table.Row(r.cells()...)
					fmt.Fprintln(os.Stderr, r.cells())
				}
			}
		}
	}
	table.Write(out)
	fmt.Fprintln(out, legend)
	if !honest {
		return errors.New("what Health says of our side is not what the collector counted")
	}
	return nil
}

const legend = `
Shares are of the items offered in that run. * the machine was busy for 95 % or more of that run: the cores are the limit.
"machine busy" is of our run, by everybody on the machine; "late" is how far the load generator fell behind in it at worst.`

// measureRow runs the three sides, one after the other.
func measureRow(collector *child.Process, at sink.Arrived, s settings, signal string, protocol telemetry.Protocol,
	rate int, delay time.Duration) (row, error) {
	r := row{signal: signal, protocol: protocol, rate: rate, delay: delay}
	for i, name := range []string{side.Stock, side.Tuned, side.Ours} {
		var arrived sink.Arrived
		if err := collector.Ask(sink.Command{Delay: delay, Reset: true}, &arrived); err != nil {
			return r, err
		}
		endpoint := at.HTTP
		if protocol == telemetry.ProtocolGRPC {
			endpoint = at.GRPC
		}
		result, err := runSide(order{
			Config: side.Config{Side: name, Protocol: protocol, Endpoint: endpoint, Gzip: s.gzip},
			Signal: signal, Rate: rate, Duration: s.duration, Drain: s.drain, Producers: s.producers,
		})
		if err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
		if err := collector.Ask(sink.Command{Keep: true}, &arrived); err != nil {
			return r, err
		}
		r.runs[i] = sideRun{result, arrived.Items()}
	}
	return r, nil
}

// runSide has a process of its own offer the load.
func runSide(o order) (result, error) {
	var r result
	process, err := child.Start(sideRole)
	if err != nil {
		return r, err
	}
	err = process.Ask(o, &r)
	return r, errors.Join(err, process.Stop())
}

// serveSide is the process under test.
func serveSide(p *child.Pipe) error {
	var o order
	if err := p.Receive(&o); err != nil {
		return err
	}
	r, err := o.run(context.Background())
	if err != nil {
		return err
	}
	return p.Send(r)
}
