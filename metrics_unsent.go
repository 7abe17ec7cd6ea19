package telemetry

import (
	"context"
	"time"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

// maxUnsent bounds the increments that wait for the collector, in bytes as they are sent, compressed. Some 500 series
// that are exported each minute take an hour to fill it.
const maxUnsent = 4 << 20

// unsentMetrics keeps what could not be delivered in time for the next export where points hold the increments of one
// interval: the SDK forgets them as it hands them out. Cumulative points need no such thing, since the next ones say all
// that the earlier ones said. nil means that nothing has to be kept.
func (c *connections) unsentMetrics() (*delivery.Unsent, error) {
	if c.cfg.temporality.value == temporalityCumulative {
		return nil, nil
	}
	send, err := c.sender(metrics, c.cfg.signals[metrics].target.url)
	if err != nil {
		return nil, err
	}
	return delivery.NewUnsent(send, maxUnsent), nil
}

// waiting is how many data points wait for the next export.
func (a *accountedMetrics) waiting() int64 {
	if a.unsent == nil {
		return 0
	}
	return a.unsent.Items()
}

// sendUnsent sends what waits, oldest first: each request as it was, with its own interval, so that no increment is
// counted twice and none is out of order.
func (a *accountedMetrics) sendUnsent(ctx context.Context) {
	if a.unsent == nil {
		return
	}
	err := a.unsent.Send(ctx, func(out *delivery.Outcome) {
		a.book(func(s *batch.Stats) { s.InFlight += out.Items })
		a.settle(out)
	})
	a.failed(err)
}

// failed notes why data points wait.
func (a *accountedMetrics) failed(err error) {
	if err != nil {
		a.book(func(s *batch.Stats) { s.LastError, s.LastErrorAt = err, time.Now() })
	}
}

// keep lets data points in flight wait for the next export. What there is no room for is lost.
func (a *accountedMetrics) keep(out *delivery.Outcome) {
	if a.waiting() == 0 { // else it was not even tried, for others wait, and why is known
		a.failed(out.Err)
	}
	dropped := a.unsent.Add(out.Unsent)
	a.book(func(s *batch.Stats) { s.InFlight -= out.Items })
	a.lose(dropped)
}

// dropUnsent gives up what waits. Its reason is that of the last failure.
func (a *accountedMetrics) dropUnsent() {
	if a.unsent != nil {
		a.lose(a.unsent.Close())
	}
}

// lose books data points that have waited in vain.
func (a *accountedMetrics) lose(points int64) {
	if points == 0 {
		return
	}
	a.book(func(s *batch.Stats) { s.InFlight += points })
	a.settle(&delivery.Outcome{Items: points, Failed: points, Err: a.Snapshot().LastError})
}
