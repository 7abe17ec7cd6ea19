// Command edge measures what an agent on a small machine costs: examples/edge-agent beside the same
// agent with the stock SDK, each built as a program of its own and run as a process of its own, at
// the same time, once with a collector and once without.
//
//	go run -C benchmarks ./edge
//	go run -C benchmarks ./edge -duration 10m
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetotel/telemetry/benchmarks/internal/child"
	"github.com/fleetotel/telemetry/benchmarks/internal/report"
	"github.com/fleetotel/telemetry/benchmarks/internal/sink"
)

func main() {
	child.Main(map[string]func(*child.Pipe) error{sink.Role: sink.Serve})
	if err := run(os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	duration, scan time.Duration
	full           float64
	memoryLimit    string
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("edge", flag.ContinueOnError)
	flags.DurationVar(&s.duration, "duration", 40*time.Second, "how long the agents run; the figure is for 10m")
	flags.DurationVar(&s.scan, "scan", time.Minute,
		"the time between two scans: a span, and with -full 0 two log records or more")
	flags.Float64Var(&s.full, "full", 0.9, "the share of a file system above which its use is logged; 0: at each scan")
	flags.StringVar(&s.memoryLimit, "gomemlimit", "32MiB", "GOMEMLIMIT of the agents")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.duration < 2*time.Second || s.scan < 10*time.Millisecond {
		return s, fmt.Errorf("-duration %v, -scan %v: want 2s and 10ms or more", s.duration, s.scan)
	}
	return s, nil
}

func run(out io.Writer, args []string) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "edge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	programs, err := buildAll(dir)
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
	nobody, err := closedPort()
	if err != nil {
		return err
	}

	var agents []*agent
	defer func() {
		for _, a := range agents {
			a.kill()
		}
	}()
	for _, where := range []struct{ name, endpoint string }{{"there", at.HTTP}, {"away", nobody}} {
		for _, p := range programs {
			a := &agent{program: p, collector: where.name, spool: filepath.Join(dir, "spool", p.name, where.name)}
			if err := a.start(where.endpoint, s); err != nil {
				return err
			}
			agents = append(agents, a)
		}
	}
	measure(agents, s.duration)
	if err := collector.Ask(sink.Command{Keep: true}, &at); err != nil {
		return err
	}
	for _, a := range agents {
		if err := a.stop(); err != nil {
			return fmt.Errorf("%s, collector %s: %w", a.program.name, a.collector, err)
		}
	}
	print(out, agents, s)
	return nil
}

// closedPort is the address of a port on which nobody listens.
func closedPort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return "http://" + l.Addr().String(), l.Close()
}

// measure takes samples of all agents at the same moments: at the beginning, when all have started,
// and at each quarter.
func measure(agents []*agent, d time.Duration) {
	began := time.Now()
	for _, due := range []time.Duration{time.Second, d / 4, d / 2, 3 * d / 4, d} {
		time.Sleep(time.Until(began.Add(due)))
		for _, a := range agents {
			a.sample()
		}
	}
}

func print(out io.Writer, agents []*agent, s settings) {
	var table report.Table
	table.Row("agent", "collector", "RSS after 1 s", "at 1/4", "at 1/2", "at 3/4", "at the end", "of it anonymous",
		"live heap", "Go runtime", "processor time", "program", "on disk")
	for _, a := range agents {
		row := []string{a.program.name, a.collector}
		for _, u := range a.samples {
			row = append(row, report.MiB(u.RSS))
		}
		heap := a.memory()
		disk := "-"
		if a.program.ours {
			disk = fmt.Sprintf("%.1f KiB, %d files", float64(a.held.bytes)/1024, a.held.files)
		}
		table.Row(append(row, report.MiB(a.samples[len(a.samples)-1].Anonymous), report.MiB(int64(heap.Live)),
			report.MiB(int64(heap.Runtime)),
			fmt.Sprintf("%.3f s", a.cpu.Seconds()), report.MiB(a.program.size), disk)...)
	}
	table.Write(out)
	fmt.Fprintf(out, "\n%v with GOMEMLIMIT=%s, a scan every %v. Live heap is what the last garbage collection found "+
		"in use, Go runtime what\n"+
		"GOMEMLIMIT counts; the rest of RSS is mostly the pages of the program's file. On disk is the spool at the "+
		"end, before the\nsignal to stop.\n", s.duration, s.memoryLimit, s.scan)
}
