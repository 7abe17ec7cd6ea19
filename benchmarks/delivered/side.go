package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/benchmarks/internal/load"
	"github.com/fleetotel/telemetry/benchmarks/internal/report"
	"github.com/fleetotel/telemetry/benchmarks/internal/side"
	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
)

const sideRole = "side"

// order is what the process under test has to do.
type order struct {
	side.Config
	Signal          string
	Rate, Producers int
	Duration, Drain time.Duration
}

// result is what it did.
type result struct {
	Offered  load.Offered
	Busy     float64 // share of the machine's processors while the load was offered, by everybody
	Exported int64   // by Health; ours only, as the next two
	Lost     int64
	Why      map[string]int64
	Books    string // what is wrong with them, if anything
}

// run offers the load, and then gives the pipeline time to deliver what it holds, as a service's
// shutdown does.
func (o order) run(ctx context.Context) (r result, err error) {
	s, err := side.New(ctx, o.Config)
	if err != nil {
		return r, err
	}
	before := usage.ReadMachine()
	r.Offered = load.Run(ctx, o.Rate, o.Duration, o.Producers, load.Emitter(o.Signal, s.Tracer, s.Logger))
	r.Busy = usage.ReadMachine().BusySince(before)

	ctx, cancel := context.WithTimeout(ctx, o.Drain)
	defer cancel()
	_ = s.Shutdown(ctx) // what it cost is counted
	h := s.Health().Traces
	if o.Signal == load.Records {
		h = s.Health().Logs
	}
	r.Exported, r.Lost, r.Why = h.Exported, h.Lost(), reasons(h)
	if err := report.Identity(o.Signal, h); err != nil {
		r.Books = err.Error()
	}
	return r, nil
}

func reasons(h telemetry.SignalHealth) map[string]int64 {
	why := map[string]int64{}
	for reason, n := range h.DroppedBy {
		why[reason] = n
	}
	why["failed"], why["rejected"] = h.Failed, h.Rejected
	return why
}

// sideRun is one run, seen from both ends.
type sideRun struct {
	result
	arrived int64
}

// share prints how much of the offered items arrived.
func (r sideRun) share() string {
	share := report.Share(r.arrived, r.Offered.Items)
	if r.saturated() {
		share += " *"
	}
	return share
}

// saturated says that the cores, not the pipeline, were the limit.
func (r sideRun) saturated() bool { return r.Busy >= 0.95 }

// lost prints what Health counted as lost, and why.
func (r sideRun) lost() string {
	if r.Lost == 0 {
		return "0"
	}
	var parts []string
	for _, reason := range []string{"queue_full", "bytes_full", "too_large", "shutdown", "failed", "rejected"} {
		if n := r.Why[reason]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", report.Count(n), reason))
		}
	}
	return strings.Join(parts, ", ")
}

// row is one line of the table.
type row struct {
	signal   string
	protocol telemetry.Protocol
	rate     int
	delay    time.Duration
	runs     [3]sideRun // stock, tuned, ours
}

func (r row) ours() sideRun { return r.runs[2] }

// honest says that our side's Health agrees with the collector: every item offered is either there
// or counted as lost. A collector that answers too late to be believed has more than was counted as
// exported, never less.
func (r row) honest() bool {
	ours := r.ours()
	return ours.Books == "" && ours.Exported+ours.Lost == ours.Offered.Items && ours.arrived >= ours.Exported
}

func (r row) cells() []string {
	ours := r.ours()
	offered := int64(float64(ours.Offered.Items) / ours.Offered.Took.Seconds())
	cells := []string{r.signal, report.Short(r.protocol), report.Count(offered), r.delay.String()}
	for _, side := range r.runs {
		cells = append(cells, side.share())
	}
	lost := ours.lost()
	if !r.honest() {
		lost += fmt.Sprintf(" (!) exported %d, arrived %d, offered %d %s", ours.Exported, ours.arrived,
			ours.Offered.Items, ours.Books)
	}
	machine := fmt.Sprintf("%.0f %%", 100*ours.Busy)
	if late := ours.Offered.Late; late >= 20*time.Millisecond {
		machine += fmt.Sprintf(", %d ms late", late.Milliseconds())
	}
	return append(cells, lost, machine)
}
