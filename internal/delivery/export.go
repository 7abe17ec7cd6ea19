package delivery

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/fleetotel/telemetry/internal/contain"
)

// spoolTimeout bounds an export that is to be spooled. It is the default of both export timeouts of
// the specification.
const spoolTimeout = 30 * time.Second

// Export is one export of the items of a batch through an exporter that may be above an [Endpoint].
type Export struct {
	Items int64 // how many items there are; at least 1
	Keep  bool  // see [Outcome.Keep]
	// Spool says that the exporter's endpoint has a spool, or that Keep is set and the caller keeps
	// what is late: if ctx ends before the exporter has made a request, the exporter is called once
	// more, with a context of [SpoolOnly].
	Spool bool
	// Send exports the items from..to. If it panics, these items have failed.
	Send func(ctx context.Context, from, to int64) error
	// Settle is called once for each part with its outcome, in which every item is counted exactly
	// once.
	Settle func(*Outcome)
}

// Run exports the items. If the server refuses a request as too large, Run sends its items in
// parts, oldest first. A single item that is too large is settled as such.
func (e Export) Run(ctx context.Context) { e.part(ctx, 0, e.Items) }

func (e Export) part(ctx context.Context, from, to int64) {
	out := e.send(ctx, from, to)
	if !out.TooLarge || out.Items == 1 {
		e.Settle(out)
		return
	}
	for size := out.PartSize(); from < to; from += size {
		e.part(ctx, from, min(from+size, to))
	}
}

// send makes one request and returns its complete outcome.
func (e Export) send(ctx context.Context, from, to int64) *Outcome {
	out := &Outcome{Items: to - from, Keep: e.Keep}
	send := func(ctx context.Context) error {
		return contain.CatchIn("the exporter", func() error { return e.Send(WithOutcome(ctx, out), from, to) })
	}
	err := send(ctx)
	if e.Spool && !out.Filled && ctx.Err() != nil {
		// The exporter noticed the end of its time before it made a request. It needs a context
		// that has some time left.
		rest, cancel := context.WithTimeout(SpoolOnly(context.WithoutCancel(ctx)), spoolTimeout)
		defer cancel()
		again := send(rest)
		err = cmp.Or(err, again)
	}
	out.complete(to-from, err)
	return out
}

var errNoReason = errors.New("the exporter gives no reason")

// complete makes the parts of an outcome add up to items, even if a foreign exporter filled it in:
// what it counts twice is cut, and what it does not count has failed. If it was not filled in,
// there is no [Endpoint] below the exporter, and err decides.
func (o *Outcome) complete(items int64, err error) {
	o.Items = items
	switch {
	case !o.Filled && err != nil:
		*o = Outcome{Items: items, Failed: items, Err: err}
		return
	case !o.Filled:
		*o = Outcome{Items: items, Exported: items}
		return
	case o.TooLarge:
		o.Exported, o.Rejected, o.Spooled, o.Failed = 0, 0, 0, 0
		return
	}
	rest := items
	for _, part := range []*int64{&o.Exported, &o.Rejected, &o.Spooled} {
		*part = min(max(*part, 0), rest)
		rest -= *part
	}
	o.Failed = rest
	if o.Lost() > 0 && o.Err == nil {
		o.Err = errNoReason
	}
}
