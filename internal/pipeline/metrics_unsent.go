package pipeline

import (
	"context"
	"time"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

// waiting returns how many data points wait for the next export.
func (a *accountedMetrics) waiting() int64 {
	if a.unsent == nil {
		return 0
	}
	return a.unsent.Items()
}

// sendUnsent sends the requests that wait, oldest first. Each one is sent unchanged, with its own
// interval, so no increment is counted twice and none is out of order.
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

// keep lets data points in flight wait for the next export. Those for which there is no room are
// lost.
func (a *accountedMetrics) keep(out *delivery.Outcome) {
	if a.waiting() == 0 { // otherwise the request was not tried, because others wait, and their error is noted already
		a.failed(out.Err)
	}
	dropped := a.unsent.Add(out.Unsent)
	a.book(func(s *batch.Stats) { s.InFlight -= out.Items })
	a.lose(dropped)
}

// dropUnsent gives up the data points that wait. The reason is the last failure.
func (a *accountedMetrics) dropUnsent() {
	if a.unsent != nil {
		a.lose(a.unsent.Close())
	}
}

// lose books data points that have waited and will not be sent.
func (a *accountedMetrics) lose(points int64) {
	if points == 0 {
		return
	}
	a.book(func(s *batch.Stats) { s.InFlight += points })
	a.settle(&delivery.Outcome{Items: points, Failed: points, Err: a.Snapshot().LastError})
}
