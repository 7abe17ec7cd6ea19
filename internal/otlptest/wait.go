package otlptest

import (
	"context"
	"fmt"
)

// Wait returns nil as soon as until does true. It calls until at once, whenever a request has
// arrived, and whenever one has been accepted, on the caller's goroutine and without a lock. When
// ctx ends first, the error wraps its cause and says what had arrived.
func (c *Collector) Wait(ctx context.Context, until func(*Collector) bool) error {
	for {
		changed := c.next() // before until looks, so that nothing is missed after it
		if until(c) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("otlptest: %w; until then had arrived: %v", context.Cause(ctx), c.count())
		}
	}
}

// WaitSpans waits until at least n spans have been accepted. It returns all there are, also with an
// error.
func (c *Collector) WaitSpans(ctx context.Context, n int) ([]Span, error) {
	err := c.Wait(ctx, func(c *Collector) bool { return c.count().spans >= n })
	return c.Spans(), err
}

// WaitLogRecords waits until at least n log records have been accepted. It returns all there are,
// also with an error.
func (c *Collector) WaitLogRecords(ctx context.Context, n int) ([]LogRecord, error) {
	err := c.Wait(ctx, func(c *Collector) bool { return c.count().logs >= n })
	return c.LogRecords(), err
}

// WaitMetric waits until a metric of this name has been accepted, and returns its newest export.
func (c *Collector) WaitMetric(ctx context.Context, name string) (Metric, error) {
	var found Metric
	err := c.Wait(ctx, func(c *Collector) bool {
		for _, m := range c.Metrics() {
			if m.Name == name {
				found = m
			}
		}
		return found.Name == name
	})
	if err != nil {
		return Metric{}, fmt.Errorf("metric %q: %w", name, err)
	}
	return found, nil
}

// counts says how much has arrived.
type counts struct{ requests, accepted, spans, logs, metrics int }

func (n counts) String() string {
	return fmt.Sprintf("%d requests (%d accepted) with %d spans, %d log records, %d metrics",
		n.requests, n.accepted, n.spans, n.logs, n.metrics)
}

func (c *Collector) count() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := counts{requests: len(c.requests), spans: len(c.stored.spans), logs: len(c.stored.logs),
		metrics: len(c.stored.metrics)}
	for _, r := range c.requests {
		if r.Accepted {
			n.accepted++
		}
	}
	return n
}

// next returns the channel that the next arrival closes.
func (c *Collector) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// wake ends the wait of all callers of next. The caller holds c.mu.
func (c *Collector) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}
