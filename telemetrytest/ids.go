package telemetrytest

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// WithDeterministicIDs numbers traces and spans, so that a test gets the same ids in every run. The
// first half of a trace id and the whole span id count from 1. The second half of a trace id, which
// samplers use, is evenly distributed but the same in every run. Spans started at the same time may
// swap numbers. Each use has its own counter.
func WithDeterministicIDs() telemetry.Option { return telemetry.WithIDGenerator(&counter{}) }

type counter struct{ traces, spans atomic.Uint64 }

var _ sdktrace.IDGenerator = (*counter)(nil)

func (c *counter) NewIDs(ctx context.Context) (id trace.TraceID, _ trace.SpanID) {
	n := c.traces.Add(1)
	binary.BigEndian.PutUint64(id[:8], n)
	binary.BigEndian.PutUint64(id[8:], rand.NewPCG(n, 0).Uint64())
	return id, c.NewSpanID(ctx, id)
}

func (c *counter) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], c.spans.Add(1))
	return id
}
