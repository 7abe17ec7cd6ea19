// Command memory measures what the pipelines hold in memory when a collector does not answer: at a
// full queue, with ordinary and with large items, and over a long absence of the collector under a
// steady load.
//
//	go run -C benchmarks ./memory
//	go run -C benchmarks ./memory -away 10m
//
// Every pipeline runs in a process of its own. It exits with 1 if this library's memory grows while
// the collector is away, or if its books do not balance.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/benchmarks/internal/child"
	"github.com/fleetotel/telemetry/benchmarks/internal/report"
	"github.com/fleetotel/telemetry/benchmarks/internal/side"
	"github.com/fleetotel/telemetry/benchmarks/internal/sink"
)

func main() {
	child.Main(map[string]func(*child.Pipe) error{sink.Role: sink.Serve, sideRole: serveSide})
	if err := run(os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "memory:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	away      time.Duration
	rate      int
	protocols []telemetry.Protocol
	sizes     []int
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("memory", flag.ContinueOnError)
	flags.DurationVar(&s.away, "away", 40*time.Second, "how long the collector is away; the figure is for 10m")
	flags.IntVar(&s.rate, "rate", 1000, "spans offered per second meanwhile")
	sizes := flags.String("attribute-bytes", "0,16384", "size of one more attribute, different in each span; 0: none")
	protocols := flags.String("protocols", "http,grpc", "http, grpc or both")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var errs [2]error
	s.protocols, errs[0] = report.Protocols(*protocols)
	s.sizes, errs[1] = report.Ints(*sizes)
	if s.away < time.Second {
		return s, errors.New("the collector must be away for a second at least")
	}
	return s, errors.Join(errs[:]...)
}

func run(out io.Writer, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if err := fullQueues(out, s); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return absences(out, s)
}

var sides = []string{side.Stock, side.Tuned, side.Ours}

func label(name string) string {
	if name == side.Tuned {
		return "stock, 8192 + 1024"
	}
	return name
}

// fullQueues fills each queue against a collector that takes minutes to answer.
func fullQueues(out io.Writer, s settings) (err error) {
	collector, err := child.Start(sink.Role)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, collector.Stop()) }()
	var at sink.Arrived
	if err := collector.Receive(&at); err != nil {
		return err
	}
	if err := collector.Ask(sink.Command{Delay: time.Hour}, &at); err != nil {
		return err
	}
	var table report.Table
	table.Row("pipeline", "attribute", "heap", "RSS", "held, by Health")
	for _, size := range s.sizes {
		for _, name := range sides {
			r, err := runSide(order{
				Config:    side.Config{Side: name, Protocol: telemetry.ProtocolHTTP, Endpoint: at.HTTP, Gzip: true},
				FillBytes: size, Fill: fillItems,
			})
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			last := r.Samples[len(r.Samples)-1]
			held := "-"
			if name == side.Ours {
				held = report.Count(last.Held) + " spans"
			}
			first := r.Samples[0]
			table.Row(label(name), fmt.Sprintf("%d B", size), growth(first.Heap, last.Heap),
				growth(first.RSS, last.RSS), held)
		}
	}
	table.Write(out)
	fmt.Fprintf(out, "\nBefore, and after %s spans were offered to a collector that does not answer: live heap after "+
		"a collection, and resident\n"+
		"memory. This library's queue is bounded in bytes, too: 32 MiB of items by default, those in flight "+
		"included. The encoded\n"+
		"and the compressed form of the requests in flight come on top of it, on all sides.\n", report.Count(fillItems))
	return nil
}

func growth(before, after int64) string { return report.MiB(before) + " → " + report.MiB(after) }

// absences offers a steady load to a port on which nobody listens.
func absences(out io.Writer, s settings) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	endpoint := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	type absence struct {
		protocol telemetry.Protocol
		side     string
		result   result
		err      error
	}
	var all []*absence
	var wg sync.WaitGroup
	for _, protocol := range s.protocols {
		for _, name := range sides {
			a := &absence{protocol: protocol, side: name}
			all = append(all, a)
			wg.Go(func() { // together: they take long and do little
				a.result, a.err = runSide(order{
					Config: side.Config{Side: name, Protocol: protocol, Endpoint: endpoint, Gzip: true},
					Rate:   s.rate, Away: s.away,
				})
			})
		}
	}
	wg.Wait()

	var table report.Table
	var errs []error
	table.Row("pipeline", "protocol", "RSS at start", "at 1/4", "at 1/2", "at 3/4", "at the end",
		"heap, first → second half", "growth", "lost, by Health")
	for _, a := range all {
		if a.err != nil {
			return fmt.Errorf("%s: %w", a.side, a.err)
		}
		lost := "-"
		if a.side == side.Ours {
			lost = report.Count(a.result.Lost)
			errs = append(errs, a.result.judge())
		}
		table.Row(append([]string{label(a.side), report.Short(a.protocol)}, append(a.result.cells(), lost)...)...)
	}
	table.Write(out)
	fmt.Fprintf(out, "\n%d spans/s for %s with the collector's port closed. Heap is the largest live heap seen after "+
		"a garbage collection in\n"+
		"each half; flat is a growth of less than %s or a tenth. Only after this library's queue is full, at 1,000/s "+
		"after 16 s,\ncan it be flat.\n", s.rate, s.away, report.MiB(slack))
	return errors.Join(errs...)
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
