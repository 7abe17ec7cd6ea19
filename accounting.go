package telemetry

import (
	"context"
	"sync"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

// accountedMetrics books what becomes of data points, as the batch engine does for spans and log records, and can end
// the export in flight.
type accountedMetrics struct {
	sdkmetric.Exporter
	onError func(lost int64, err error)
	spools  bool
	unsent  *delivery.Unsent // what waits for the next export, or nil: no later export repeats increments
	stop    context.Context  // ends exports whose own context is not canceled
	abort   context.CancelFunc

	mu    sync.Mutex
	stats batch.Stats
}

func newAccountedMetrics(exporter sdkmetric.Exporter, spools bool, onError func(lost int64, err error)) *accountedMetrics {
	stop, abort := context.WithCancel(context.Background())
	return &accountedMetrics{Exporter: exporter, onError: onError, spools: spools, stop: stop, abort: abort}
}

// Export implements sdkmetric.Exporter. It has no error for the SDK, which would hand it to the process's error handler:
// what is lost is said to the guard's own log and stands in the books, from which ForceFlush and Shutdown take it.
func (a *accountedMetrics) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	ctx, cancel := withoutCancel(ctx)
	defer cancel(nil)
	defer context.AfterFunc(a.stop, func() { cancel(context.DeadlineExceeded) })()

	a.sendUnsent(ctx)
	points := dataPoints(rm)
	if points == 0 {
		return nil // a collection that found nothing needs no request, and cannot be lost
	}
	a.book(func(s *batch.Stats) {
		s.Accepted += points
		s.Submitted += points
		s.Queued += points
		s.InFlight += points
	})
	a.exportPart(ctx, rm, points)
	return nil
}

// exportPart sends data points and books them. What is too large for the server it sends in parts, as the batch engine
// does; a single point that is too large is dropped.
func (a *accountedMetrics) exportPart(ctx context.Context, rm *metricdata.ResourceMetrics, points int64) {
	out := a.call(ctx, rm, points)
	if out.TooLarge && points > 1 {
		for from, size := int64(0), out.PartSize(); from < points; from += size {
			to := min(from+size, points)
			a.exportPart(ctx, pointsBetween(rm, from, to), to-from)
		}
		return
	}
	if out.Unsent != nil && a.unsent != nil {
		a.keep(out)
		return
	}
	a.settle(out)
}

// settle books what has become of data points in flight.
func (a *accountedMetrics) settle(out *delivery.Outcome) {
	a.book(func(s *batch.Stats) { settle(s, out, time.Now()) })
	if out.Err != nil && out.Spooled < out.Items { // what is on disk is not lost
		a.onError(out.Lost(), out.Err)
	}
}

// call makes one export and returns an outcome in which every point has a place.
func (a *accountedMetrics) call(ctx context.Context, rm *metricdata.ResourceMetrics, points int64) *delivery.Outcome {
	var (
		out  = &delivery.Outcome{Items: points, Keep: a.unsent != nil}
		wait = delivery.SpoolOnly(context.WithoutCancel(ctx))
		err  error
	)
	if a.waiting() > 0 {
		err = a.Exporter.Export(delivery.WithOutcome(wait, out), rm) // after those before it
	} else {
		err = a.Exporter.Export(delivery.WithOutcome(ctx, out), rm)
	}
	if (a.spools || a.unsent != nil) && ctx.Err() != nil && !out.Filled {
		// The last collection came when the time was over, so the exporter did not even begin: there is still the disk.
		err = a.Exporter.Export(delivery.WithOutcome(wait, out), rm)
	}
	if !out.Filled {
		*out = delivery.Outcome{Items: out.Items, Failed: out.Items, Err: err}
		if err == nil {
			*out = delivery.Outcome{Items: out.Items, Exported: out.Items}
		}
	}
	return out
}

// withoutCancel keeps the deadline alone. The periodic reader cancels the export in flight as soon as its Shutdown
// begins; it would be lost in an orderly shutdown, only because the collector takes a moment to answer.
func withoutCancel(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	detached, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	deadline, ok := ctx.Deadline()
	if !ok {
		return detached, cancel
	}
	timed, stop := context.WithDeadline(detached, deadline)
	return timed, func(cause error) { cancel(cause); stop() }
}

// stopping makes shutdown end the export in flight when its time is over, with a spool a little earlier, at most by half:
// the periodic reader would wait for it whatever its context says. The error says how many data points were lost, those of
// that export included.
func (a *accountedMetrics) stopping(shutdown func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		defer a.abort()
		soft, cancel := ctx, func() {}
		if deadline, ok := ctx.Deadline(); ok && a.spools {
			soft, cancel = context.WithDeadline(ctx, deadline.Add(-min(spoolLead, time.Until(deadline)/2)))
		}
		defer cancel()
		defer context.AfterFunc(soft, a.abort)()
		return a.namingLoss(ctx, func(ctx context.Context) error {
			defer a.dropUnsent()
			return shutdown(ctx)
		})
	}
}

// flushing makes flush say how many data points were lost.
func (a *accountedMetrics) flushing(flush func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error { return a.namingLoss(ctx, flush) }
}

func (a *accountedMetrics) namingLoss(ctx context.Context, do func(context.Context) error) error {
	before := a.Snapshot()
	err := do(ctx)
	after := a.Snapshot()
	if lost := lostOf(after) - lostOf(before) + a.waiting(); lost > 0 {
		return &batch.LossError{Items: lost, Cause: after.LastError}
	}
	return err
}

func lostOf(s batch.Stats) int64 { return s.Failed + s.Rejected + s.Dropped.Total() }

func settle(s *batch.Stats, out *delivery.Outcome, now time.Time) {
	s.Queued -= out.Items
	s.InFlight -= out.Items
	s.Exported += out.Exported
	s.Rejected += out.Rejected
	s.Spooled += out.Spooled
	s.Failed += out.Failed
	if out.TooLarge {
		s.Dropped.TooLarge += out.Items
	}
	if out.Exported > 0 {
		s.LastSuccess = now
	}
	if out.Err != nil {
		s.LastError, s.LastErrorAt = out.Err, now
	}
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
			n += int64(pointsOf(m.Data))
		}
	}
	return n
}

func pointsOf(data metricdata.Aggregation) int {
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		return len(d.DataPoints)
	case metricdata.Sum[float64]:
		return len(d.DataPoints)
	case metricdata.Gauge[int64]:
		return len(d.DataPoints)
	case metricdata.Gauge[float64]:
		return len(d.DataPoints)
	case metricdata.Histogram[int64]:
		return len(d.DataPoints)
	case metricdata.Histogram[float64]:
		return len(d.DataPoints)
	case metricdata.ExponentialHistogram[int64]:
		return len(d.DataPoints)
	case metricdata.ExponentialHistogram[float64]:
		return len(d.DataPoints)
	case metricdata.Summary:
		return len(d.DataPoints)
	}
	return 0
}
