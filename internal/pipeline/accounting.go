package pipeline

import (
	"context"
	"sync"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/points"
)

// accountedMetrics books what becomes of data points, as the batch engine does for spans and log
// records, and can end the export in flight.
type accountedMetrics struct {
	sdkmetric.Exporter
	onError func(lost int64, err error)
	spools  bool
	unsent  *delivery.Unsent // what waits for the next export, since no later export repeats increments; or nil
	stop    context.Context  // ends exports whose own context is not canceled
	abort   context.CancelFunc

	mu    sync.Mutex
	stats batch.Stats
}

func newAccountedMetrics(exporter sdkmetric.Exporter, spools bool,
	onError func(lost int64, err error)) *accountedMetrics {
	stop, abort := context.WithCancel(context.Background())
	return &accountedMetrics{Exporter: exporter, onError: onError, spools: spools, stop: stop, abort: abort}
}

// Export implements sdkmetric.Exporter. It returns no error, because the SDK would pass it to the
// process's error handler. Losses are reported to the guard's own log and counted in the books,
// from which ForceFlush and Shutdown take them.
func (a *accountedMetrics) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	ctx, cancel := withoutCancel(ctx)
	defer cancel(nil)
	defer context.AfterFunc(a.stop, func() { cancel(context.DeadlineExceeded) })()

	a.sendUnsent(ctx)
	n := dataPoints(rm)
	if n == 0 {
		return nil // a collection that found nothing needs no request, and cannot be lost
	}
	a.book(func(s *batch.Stats) {
		s.Accepted += n
		s.Submitted += n
		s.Queued += n
		s.InFlight += n
	})
	delivery.Export{
		Items: n,
		Keep:  a.unsent != nil,
		Spool: a.spools || a.unsent != nil,
		Send: func(ctx context.Context, from, to int64) error {
			if a.waiting() > 0 { // requests that wait are sent first
				ctx = delivery.SpoolOnly(context.WithoutCancel(ctx))
			}
			part := rm
			if to-from < n {
				part = pointsBetween(rm, from, to)
			}
			return a.Exporter.Export(ctx, part)
		},
		Settle: func(out *delivery.Outcome) {
			if out.Unsent != nil && a.unsent != nil {
				a.keep(out)
				return
			}
			a.settle(out)
		},
	}.Run(ctx)
	return nil
}

// settle books what has become of data points in flight.
func (a *accountedMetrics) settle(out *delivery.Outcome) {
	a.book(func(s *batch.Stats) {
		s.Queued -= out.Items
		s.InFlight -= out.Items
		s.Settle(out, time.Now())
	})
	if out.Err != nil && out.Spooled < out.Items { // what is on disk is not lost
		a.onError(out.Lost(), out.Err)
	}
}

// withoutCancel returns a context with the deadline of ctx but not its cancellation. The periodic
// reader cancels the export in flight as soon as its Shutdown begins. Without this, that export
// would be lost in an orderly shutdown only because the collector takes a moment to answer.
func withoutCancel(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	detached, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	deadline, ok := ctx.Deadline()
	if !ok {
		return detached, cancel
	}
	timed, stop := context.WithDeadline(detached, deadline)
	return timed, func(cause error) { cancel(cause); stop() }
}

// stopping returns a shutdown that ends the export in flight when its time is over, or, with a
// spool, a little earlier (see [delivery.SpoolLead]). The periodic reader itself waits for that
// export even after its context has ended. The error says how many data points were lost, including
// those of that export.
func (a *accountedMetrics) stopping(shutdown func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		defer a.abort()
		soft, cancel := ctx, func() {}
		if deadline, ok := ctx.Deadline(); ok && a.spools {
			soft, cancel = context.WithDeadline(ctx, deadline.Add(-delivery.SpoolLead(time.Until(deadline))))
		}
		defer cancel()
		defer context.AfterFunc(soft, a.abort)()
		return a.namingLoss(ctx, func(ctx context.Context) error {
			defer a.dropUnsent()
			return shutdown(ctx)
		})
	}
}

// flushing returns a flush whose error says how many data points were lost.
func (a *accountedMetrics) flushing(flush func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error { return a.namingLoss(ctx, flush) }
}

func (a *accountedMetrics) namingLoss(ctx context.Context, do func(context.Context) error) error {
	before := a.Snapshot()
	err := do(ctx)
	after := a.Snapshot()
	if lost := after.Lost() - before.Lost() + a.waiting(); lost > 0 {
		return &batch.LossError{Items: lost, Cause: after.LastError}
	}
	return err
}

func (a *accountedMetrics) book(change func(*batch.Stats)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.stats)
}

// Snapshot returns the books at this moment.
func (a *accountedMetrics) Snapshot() batch.Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

func dataPoints(rm *metricdata.ResourceMetrics) (n int64) {
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			n += int64(points.Count(m.Data))
		}
	}
	return n
}
