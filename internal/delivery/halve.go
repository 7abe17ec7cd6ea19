package delivery

import (
	"errors"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

var (
	errSingle   = errors.New("it has only one item")
	errMiscount = errors.New("the number of its items is wrong")
)

// halve returns the two halves of a spooled request that is too large for the server, as the batch
// engine does with one that is not spooled.
func halve(r spool.Request) (a, b spool.Request, err error) {
	if r.Items < 2 {
		return a, b, errSingle
	}
	body, err := r.Body()
	if err != nil {
		return a, b, err
	}
	first, err := part(r, body, 0, r.Items/2)
	if err != nil {
		return a, b, err
	}
	second, err := part(r, body, r.Items/2, r.Items)
	return first, second, err
}

// part returns the items from..to of a request. Decoding it once for each half is slow, but simple
// and rare.
func part(r spool.Request, body []byte, from, to int64) (spool.Request, error) {
	cut := &cut{from: from, to: to}
	var msg proto.Message
	switch r.Signal {
	case signal.Traces:
		req := &coltracepb.ExportTraceServiceRequest{}
		msg = req
		if err := proto.Unmarshal(body, req); err != nil {
			return r, err
		}
		req.ResourceSpans = keepIf(req.ResourceSpans, func(rs *tracepb.ResourceSpans) bool {
			rs.ScopeSpans = keepIf(rs.ScopeSpans, func(ss *tracepb.ScopeSpans) bool {
				ss.Spans = take(cut, ss.Spans)
				return len(ss.Spans) > 0
			})
			return len(rs.ScopeSpans) > 0
		})
	case signal.Logs:
		req := &collogspb.ExportLogsServiceRequest{}
		msg = req
		if err := proto.Unmarshal(body, req); err != nil {
			return r, err
		}
		req.ResourceLogs = keepIf(req.ResourceLogs, func(rl *logspb.ResourceLogs) bool {
			rl.ScopeLogs = keepIf(rl.ScopeLogs, func(sl *logspb.ScopeLogs) bool {
				sl.LogRecords = take(cut, sl.LogRecords)
				return len(sl.LogRecords) > 0
			})
			return len(rl.ScopeLogs) > 0
		})
	case signal.Metrics:
		req := &colmetricspb.ExportMetricsServiceRequest{}
		msg = req
		if err := proto.Unmarshal(body, req); err != nil {
			return r, err
		}
		req.ResourceMetrics = keepIf(req.ResourceMetrics, func(rm *metricspb.ResourceMetrics) bool {
			rm.ScopeMetrics = keepIf(rm.ScopeMetrics, func(sm *metricspb.ScopeMetrics) bool {
				sm.Metrics = keepIf(sm.Metrics, cut.points)
				return len(sm.Metrics) > 0
			})
			return len(rm.ScopeMetrics) > 0
		})
	}
	if cut.seen != r.Items {
		return r, errMiscount
	}
	plain, err := proto.Marshal(msg)
	if err != nil {
		return r, err
	}
	var pool gzipPool
	half, err := pool.compressed(plain)
	return spool.Request{Signal: r.Signal, Items: to - from, Plain: half.plain, Gzip: half.gzip}, err
}

// cut is a range of items, and how many were seen.
type cut struct{ from, to, seen int64 }

// take returns the part of a list that is in the range.
func take[T any](c *cut, list []T) []T {
	start := c.seen
	c.seen += int64(len(list))
	from, to := max(c.from-start, 0), min(c.to-start, int64(len(list)))
	if from >= to {
		return nil
	}
	return list[from:to]
}

// points takes a metric's data points, and reports whether any are in the range.
func (c *cut) points(m *metricspb.Metric) bool {
	switch data := m.GetData().(type) {
	case *metricspb.Metric_Gauge:
		data.Gauge.DataPoints = take(c, data.Gauge.DataPoints)
		return len(data.Gauge.DataPoints) > 0
	case *metricspb.Metric_Sum:
		data.Sum.DataPoints = take(c, data.Sum.DataPoints)
		return len(data.Sum.DataPoints) > 0
	case *metricspb.Metric_Histogram:
		data.Histogram.DataPoints = take(c, data.Histogram.DataPoints)
		return len(data.Histogram.DataPoints) > 0
	case *metricspb.Metric_ExponentialHistogram:
		data.ExponentialHistogram.DataPoints = take(c, data.ExponentialHistogram.DataPoints)
		return len(data.ExponentialHistogram.DataPoints) > 0
	case *metricspb.Metric_Summary:
		data.Summary.DataPoints = take(c, data.Summary.DataPoints)
		return len(data.Summary.DataPoints) > 0
	}
	return false
}

func keepIf[T any](list []T, keep func(T) bool) []T {
	kept := list[:0]
	for _, item := range list {
		if keep(item) {
			kept = append(kept, item)
		}
	}
	return kept
}
