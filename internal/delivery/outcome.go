// Package delivery is the one transport policy of the library. It sits under
// the official OTLP exporters, in the HTTP client and the gRPC connection they
// are given; their own retry, timeout and compression are off. It retries what
// the OTLP specification calls retryable and what a restarting collector
// causes, bounds each attempt, holds workers back while an endpoint is down,
// compresses, and reads the server's verdict.
//
// What became of the items of an export is told through an [Outcome] in the
// export's context, because an exporter's error or nil says neither how many
// items the server took nor why it refused the rest.
//
// With a spool, a request goes to disk when its first attempt fails in a retryable
// way or is refused for what the endpoint is, at once while its signal's gate is shut,
// and when its time ends. A
// [Replayer] for each signal sends the oldest file through the same client or
// connection, with today's headers; while the gate is shut it is the probe that
// opens it. Delivery is at least once: a request cut off after the server took it,
// and a process killed between the answer and the removal, are sent again. What the
// server says to a file decides about it: too large halves it; refused for what it
// is (400) fails it; refused for what the endpoint is (401, 403, 404, certificates)
// keeps it and lets the replay rest; one that fails where others succeed, or cannot
// be sent at all, is postponed and never dropped.
package delivery

import (
	"context"

	"github.com/fleetotel/telemetry/internal/spool"
)

// Outcome is what became of the items of one export. The caller of the exporter
// puts it into the export's context with Items set; delivery fills in the rest
// before the exporter returns.
//
// Units are those of the signal: spans, log records, metric data points. When
// Filled, Exported + Rejected + Spooled + Failed = Items, unless TooLarge.
//
// An Outcome is not safe for concurrent use: it belongs to one export, which
// runs on one goroutine at a time.
type Outcome struct {
	Items int64 // how many items the export carries; set by the caller
	Keep  bool  // ask for the request, in Unsent, if it is Late; set by the caller

	Exported int64 // the server took them
	Rejected int64 // the server answered, and refused them: a partial success
	Spooled  int64 // kept on disk for later
	Failed   int64 // given up

	// TooLarge says that the server refuses a request of this size: nothing was
	// taken, and smaller requests may succeed.
	TooLarge bool
	// Fits is, with TooLarge, how many of the items may fit into a request, by estimate;
	// 0 if nothing is known.
	Fits int64
	// Late says that items failed only because there was no time left: the same request
	// may succeed later.
	Late bool
	// Unsent is the request to send later, with Keep and Late.
	Unsent *spool.Request
	// Err says why items were rejected, failed, spooled or too large, in an
	// operator's words. It may be set although everything was exported: a server's
	// warning.
	Err error
	// Filled says that a request was made, or given up, and the fields above
	// are the truth about it.
	Filled bool
}

// Lost is how many items will not arrive.
func (o *Outcome) Lost() int64 {
	if o.TooLarge {
		return o.Items
	}
	return o.Failed + o.Rejected
}

// PartSize is how many items to send at once of those that are too large together:
// as many as may fit, at most half of them, in parts of the same size.
func (o *Outcome) PartSize() int64 {
	fits := min(max(o.Fits, 0), o.Items/2)
	if fits == 0 {
		fits = (o.Items + 1) / 2
	}
	parts := (o.Items + fits - 1) / fits
	return max((o.Items+parts-1)/parts, 1)
}

type outcomeKey struct{}

// WithOutcome returns a context that carries o to the transport below an
// exporter.
func WithOutcome(ctx context.Context, o *Outcome) context.Context {
	return context.WithValue(ctx, outcomeKey{}, o)
}

// OutcomeFrom returns the outcome to fill for the export of ctx, or nil if
// it has none.
func OutcomeFrom(ctx context.Context) *Outcome {
	o, _ := ctx.Value(outcomeKey{}).(*Outcome)
	return o
}

// settle books the final reply of a request. A later request of the same
// export, after a redirect, replaces what an earlier one said.
func (o *Outcome) settle(r reply) {
	*o = Outcome{Items: o.Items, Keep: o.Keep, Late: r.late, Unsent: r.unsent, Err: r.err, Filled: true}
	switch r.verdict {
	case taken:
		// A server that claims to have refused more than it was sent must not
		// make the books wrong.
		o.Rejected = min(max(r.rejected, 0), o.Items)
		o.Exported = o.Items - o.Rejected
	case kept:
		o.Spooled = o.Items
	case tooLarge:
		o.TooLarge, o.Fits = true, r.fits
	default:
		o.Rejected = min(max(r.rejected, 0), o.Items)
		o.Failed = o.Items - o.Rejected
	}
}
