package telemetrytest

import (
	"testing"
	"time"
)

// SetPatience shortens what failures wait for; for TestMain.
func SetPatience(d time.Duration) { requireTimeout = d }

// HasOpenSpans tells whether a span has been started and not ended.
func (r *Recorder) HasOpenSpans() bool { return r.open.count() > 0 }

// Rebind gives the collector to another test.
func Rebind(c *Collector, tb testing.TB) { c.tb = tb }

// SetFlushLimit shortens what questions wait for a collector that is down; before the first of
// them.
func SetFlushLimit(c *Collector, d time.Duration) { c.flushLimit = d }

// SetSettleTime changes how long it must be quiet; before the first question.
func SetSettleTime(c *Collector, d time.Duration) { c.settleTime = d }

// Quiet is for its test in virtual time.
type Quiet struct{ quiet }

func (q *Quiet) Lasts(now time.Time, items int, moreToCome bool) time.Duration {
	return q.lasts(now, items, moreToCome)
}
