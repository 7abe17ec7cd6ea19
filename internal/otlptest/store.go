package otlptest

import "slices"

// batch is what was decoded from one request, or from all.
type batch struct {
	spans   []Span
	logs    []LogRecord
	metrics []Metric
}

// len returns the number of items in OTLP's units: spans, log records and metric data points.
func (b batch) len() int {
	n := len(b.spans) + len(b.logs)
	for _, m := range b.metrics {
		n += len(m.Points)
	}
	return n
}

// withoutLast returns the batch of one request without its last n items. A metric without points is
// gone.
func (b batch) withoutLast(n int) batch {
	b.spans = b.spans[:max(0, len(b.spans)-n)]
	b.logs = b.logs[:max(0, len(b.logs)-n)]
	for n > 0 && len(b.metrics) > 0 {
		last := &b.metrics[len(b.metrics)-1]
		if n < len(last.Points) {
			last.Points = last.Points[:len(last.Points)-n]
			break
		}
		n -= len(last.Points)
		b.metrics = b.metrics[:len(b.metrics)-1]
	}
	return b
}

// Spans returns the spans accepted so far, oldest first. The slice is the caller's; what its
// elements point to, here and in LogRecords, Metrics and Requests, is shared and must not be
// modified.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.stored.spans)
}

// LogRecords returns the log records accepted so far, oldest first.
func (c *Collector) LogRecords() []LogRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.stored.logs)
}

// Metrics returns the metrics accepted so far, oldest first: one per metric per export.
func (c *Collector) Metrics() []Metric {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.stored.metrics)
}

// Requests returns the requests that have reached the server, oldest first, except probes. A request
// is included as soon as it has been read, even if its answer is late or never comes. Requests that
// gRPC itself refuses, for an unknown method or a body that it cannot decompress, are not included.
func (c *Collector) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return copies(c.requests)
}

// Probes returns the requests in whose body there was nothing at all, oldest first: a client's
// question whether it would be taken. They meet the faults, whose Times they do not count towards.
func (c *Collector) Probes() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return copies(c.probes)
}

func copies(requests []*Request) []Request {
	all := make([]Request, len(requests))
	for i, r := range requests {
		all[i] = *r
	}
	return all
}

// Reset forgets what has arrived, but not the faults. A request under way is forgotten; its items,
// if it is accepted later, are stored.
func (c *Collector) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.probes, c.stored = nil, nil, batch{}
}

// record keeps a request that meets no fault, being refused already.
func (c *Collector) record(r *Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(r)
}

// keep adds a request. From here on accept alone may write to it. The caller holds c.mu.
func (c *Collector) keep(r *Request) {
	if r.empty {
		c.probes = append(c.probes, r)
	} else {
		c.requests = append(c.requests, r)
	}
	c.wake()
}

// accept stores the items of a recorded request.
func (c *Collector) accept(r *Request, items batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Accepted = true
	c.stored.spans = append(c.stored.spans, items.spans...)
	c.stored.logs = append(c.stored.logs, items.logs...)
	c.stored.metrics = append(c.stored.metrics, items.metrics...)
	c.wake()
}
