package main

import (
	"context"
	"runtime"
	"strconv"
	"time"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/benchmarks/internal/child"
	"github.com/fleetotel/telemetry/benchmarks/internal/load"
	"github.com/fleetotel/telemetry/benchmarks/internal/report"
	"github.com/fleetotel/telemetry/benchmarks/internal/side"
	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
)

const (
	sideRole = "side"
	// burst is how many items are made before everything is flushed: half of the smallest queue, so
	// that no pipeline loses any, and a whole number of batches for each.
	burst = 1024
)

// order is what the process under test has to do.
type order struct {
	side.Config
	Signal string
	Items  int
}

// result is what it took, without the start-up and a first burst.
type result struct {
	CPU            time.Duration
	Mallocs, Bytes uint64
}

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

// run makes the items in bursts. The first one, which connects and fills the pools, is not
// measured; its items are part of the number that has to arrive.
func (o order) run(ctx context.Context) (r result, err error) {
	s, err := side.New(ctx, o.Config)
	if err != nil {
		return r, err
	}
	emit := load.Emitter(o.Signal, s.Tracer, s.Logger)
	made := 0
	bursts := func(until int) error {
		for made < until {
			for range min(burst, until-made) {
				emit(int64(made))
				made++
			}
			if err := s.Flush(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	if err := bursts(burst); err != nil {
		return r, err
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu := usage.CPU()
	if err := bursts(o.Items); err != nil {
		return r, err
	}
	r.CPU = usage.CPU() - cpu
	runtime.ReadMemStats(&after)
	r.Mallocs, r.Bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return r, s.Shutdown(ctx)
}

// perItem is a result divided by the number of items.
type perItem struct {
	micros        float64
	allocs, bytes float64
	wire          float64
}

func (r result) perItem(items int, wire int64) perItem {
	n := float64(items - burst) // the first burst is not in it
	return perItem{
		micros: float64(r.CPU.Nanoseconds()) / 1000 / n,
		allocs: float64(r.Mallocs) / n,
		bytes:  float64(r.Bytes) / n,
		wire:   float64(wire) / float64(items),
	}
}

// measured is one perItem per round and pipeline.
type measured map[string][]perItem

// median is that of one figure of a pipeline.
func (m measured) median(name string, figure func(perItem) float64) float64 {
	var all []float64
	for _, p := range m[name] {
		all = append(all, figure(p))
	}
	return report.Median(all)
}

// export is the processor time of a round without what the API itself takes.
func (m measured) export(name string) (all []float64) {
	for i, p := range m[name] {
		all = append(all, p.micros-m[side.Null][i].micros)
	}
	return all
}

func (m measured) total(name string) (all []float64) {
	for _, p := range m[name] {
		all = append(all, p.micros)
	}
	return all
}

// ratio is the median of a round's quotients: both runs of a round met the same machine.
func ratio(ours, theirs []float64) float64 {
	var all []float64
	for i := range ours {
		if theirs[i] > 0 {
			all = append(all, ours[i]/theirs[i])
		}
	}
	return report.Median(all)
}

func (m measured) cells(signal string, protocol telemetry.Protocol, name string) []string {
	item := "span"
	if signal == load.Records {
		item = "log record"
	}
	quotient := func(of func(string) []float64) string {
		if name == side.Ours {
			return ""
		}
		return strconv.FormatFloat(ratio(of(side.Ours), of(name)), 'f', 2, 64)
	}
	label := name
	if name == side.Tuned {
		label = "stock, 8192 + 1024"
	}
	number := func(v float64, decimals int) string { return strconv.FormatFloat(v, 'f', decimals, 64) }
	return []string{
		item, report.Short(protocol), label,
		number(report.Median(m.total(name)), 2), quotient(m.total),
		number(report.Median(m.export(name)), 2), quotient(m.export),
		number(m.median(name, func(p perItem) float64 { return p.allocs }), 1),
		number(m.median(name, func(p perItem) float64 { return p.bytes }), 0),
		number(m.median(name, func(p perItem) float64 { return p.wire }), 1),
	}
}
