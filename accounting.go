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
	onError func(error)
	stop    context.Context //nolint:containedctx // ends exports whose own context nobody cancels
	abort   context.CancelFunc

	mu    sync.Mutex
	stats batch.Stats
}

func newAccountedMetrics(exporter sdkmetric.Exporter, onError func(error)) *accountedMetrics {
	stop, abort := context.WithCancel(context.Background())
	return &accountedMetrics{Exporter: exporter, onError: onError, stop: stop, abort: abort}
}

// Export implements sdkmetric.Exporter. The error is for ForceFlush and Shutdown; it has been said by then.
func (a *accountedMetrics) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(a.stop, func() { cancel(context.DeadlineExceeded) })()

	out := &delivery.Outcome{Items: dataPoints(rm)}
	a.book(func(s *batch.Stats) { s.Accepted += out.Items; s.Queued += out.Items; s.InFlight += out.Items })
	err := a.Exporter.Export(delivery.WithOutcome(ctx, out), rm)
	if !out.Filled {
		*out = delivery.Outcome{Items: out.Items, Failed: out.Items, Err: err}
		if err == nil {
			*out = delivery.Outcome{Items: out.Items, Exported: out.Items}
		}
	}
	a.book(func(s *batch.Stats) { settle(s, out, time.Now()) })
	if out.Err != nil && (out.Spooled == 0 || out.Spooled < out.Items) { // what is on disk is not lost
		a.onError(out.Err)
	}
	if lost := out.Items - out.Exported - out.Spooled; lost > 0 {
		return reportedError{&batch.LossError{Items: lost, Cause: out.Err}}
	}
	return nil
}

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

// reportedError has been said to the guard's own log; OpenTelemetry's process-wide handler need not say it again.
type reportedError struct{ error }

func (e reportedError) Unwrap() error { return e.error }

// Reported marks the error for internal/diagnose.
func (reportedError) Reported() {}

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
