package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry/benchmarks/internal/child"
	"github.com/fleetotel/telemetry/benchmarks/internal/load"
	"github.com/fleetotel/telemetry/benchmarks/internal/report"
	"github.com/fleetotel/telemetry/benchmarks/internal/side"
	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
)

const (
	sideRole = "side"
	// fillItems is more than any of the queues holds, exports in flight included.
	fillItems = 32 << 10
	// slack is how much a heap may move without growing: buffers of requests under way.
	slack = 2 << 20
)

// order is what the process under test has to do: fill its queue, or offer a load while the
// collector is away.
type order struct {
	side.Config
	Fill, FillBytes int
	Rate            int
	Away            time.Duration
}

// sample is a reading of the memory.
type sample struct {
	At        time.Duration
	Heap, RSS int64
	Held      int64 // items, by Health; ours only
}

// result is what was seen.
type result struct {
	Samples []sample
	Lost    int64
	Books   string
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

// run plays the order. It does not shut down: what is held would only be tried once more.
func (o order) run(ctx context.Context) (r result, err error) {
	s, err := side.New(ctx, o.Config)
	if err != nil {
		return r, err
	}
	start := time.Now()
	take := func() {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		r.Samples = append(r.Samples, sample{time.Since(start), int64(m.HeapAlloc), usage.RSS(),
			s.Health().Traces.Queued})
	}
	take()
	if o.Fill > 0 {
		o.fill(ctx, s)
		take()
	} else {
		o.wait(ctx, s, take)
	}
	h := s.Health().Traces
	r.Lost = h.Lost()
	if err := report.Identity("traces", h); err != nil {
		r.Books = err.Error()
	}
	return r, nil
}

// fill offers more than the queue holds, slowly enough that the exports in flight take their share.
func (o order) fill(ctx context.Context, s *side.Side) {
	for i := range o.Fill {
		_, span := s.Tracer.Start(ctx, "GET /orders/{id}")
		span.SetAttributes(attribute.Int("number", i), attribute.String("http.route", "/orders/{id}"),
			attribute.String("http.request.method", "GET"), attribute.Int("http.response.status_code", 200))
		if o.FillBytes > 0 {
			span.SetAttributes(attribute.String("payload", noise(o.FillBytes)))
		}
		span.End()
		if i%256 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	time.Sleep(200 * time.Millisecond)
}

// noise is text of which every span has its own and gzip makes little.
func noise(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	var b strings.Builder
	b.Grow(n)
	for range n {
		b.WriteByte(letters[rand.N(len(letters))]) // no secret
	}
	return b.String()
}

// samplesPerRun are spread evenly, so that a run of 10 minutes is not one of collecting garbage.
const samplesPerRun = 40

// wait offers the load and takes samples meanwhile.
func (o order) wait(ctx context.Context, s *side.Side, take func()) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		load.Run(ctx, o.Rate, o.Away, 1, load.Emitter(load.Spans, s.Tracer, s.Logger))
	}()
	ticker := time.NewTicker(o.Away / samplesPerRun)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			take()
		case <-over:
			take()
			return
		}
	}
}

// at is the sample nearest to a share of the time.
func (r result) at(share float64) sample {
	end := r.Samples[len(r.Samples)-1].At
	for _, s := range r.Samples {
		if float64(s.At) >= share*float64(end) {
			return s
		}
	}
	return r.Samples[len(r.Samples)-1]
}

// halves are the largest heaps of the first and the second half of the time.
func (r result) halves() (first, second int64) {
	middle := r.Samples[len(r.Samples)-1].At / 2
	for _, s := range r.Samples {
		if s.At < middle {
			first = max(first, s.Heap)
		} else {
			second = max(second, s.Heap)
		}
	}
	return first, second
}

// flat says that the second half needed no more than the first.
func (r result) flat() bool {
	first, second := r.halves()
	return second-first < max(slack, first/10)
}

func (r result) judge() error {
	var errs []error
	if !r.flat() {
		first, second := r.halves()
		errs = append(errs, fmt.Errorf("the heap grows: %s in the first half, %s in the second", report.MiB(first),
			report.MiB(second)))
	}
	if r.Books != "" {
		errs = append(errs, errors.New(r.Books))
	}
	return errors.Join(errs...)
}

func (r result) cells() []string {
	first, second := r.halves()
	verdict := "flat"
	if !r.flat() {
		verdict = "grows"
	}
	return []string{
		report.MiB(r.Samples[0].RSS), report.MiB(r.at(0.25).RSS), report.MiB(r.at(0.5).RSS), report.MiB(r.at(0.75).RSS),
		report.MiB(r.at(1).RSS), growth(first, second), verdict,
	}
}
