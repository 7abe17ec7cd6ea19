package delivery

import (
	"context"

	"github.com/fleetotel/telemetry/internal/spool"
)

// Outcome is what became of the items of one export. The caller of the exporter puts it into the
// export's context with Items set; delivery fills in the rest before the exporter returns.
//
// Units are those of the signal: spans, log records, metric data points. If Filled, Exported +
// Rejected + Spooled + Failed = Items, unless TooLarge.
//
// An Outcome is not safe for concurrent use: it belongs to one export, which runs on one goroutine
// at a time.
type Outcome struct {
	Items int64 // how many items the export carries; set by the caller
	Keep  bool  // return the request in Unsent if it is Late; set by the caller

	Exported int64 // accepted by the server
	Rejected int64 // refused by the server in a partial success
	Spooled  int64 // on disk, to be sent later
	Failed   int64 // given up

	// TooLarge says that the server refuses a request of this size: nothing was accepted, and
	// smaller requests may succeed.
	TooLarge bool
	// Fits is, with TooLarge, how many of the items may fit into a request, by estimate; 0 if
	// nothing is known.
	Fits int64
	// Late says that items failed only because there was no time left: the same request may succeed
	// later.
	Late bool
	// Unsent is the request to send later, with Keep and Late.
	Unsent *spool.Request
	// Err says to an operator why items were rejected, failed, spooled or too large. It may be set
	// although everything was exported: a server's warning.
	Err error
	// Filled says that a request was made, or given up, and that the fields above describe it.
	Filled bool
}

// Lost is how many items will not arrive.
func (o *Outcome) Lost() int64 {
	if o.TooLarge {
		return o.Items
	}
	return o.Failed + o.Rejected
}

// PartSize returns how many items to send at once if all together are too large: as many as may
// fit, but at most half of them, in parts of about the same size.
func (o *Outcome) PartSize() int64 {
	fits := min(max(o.Fits, 0), o.Items/2)
	if fits == 0 {
		fits = (o.Items + 1) / 2
	}
	parts := (o.Items + fits - 1) / fits
	return max((o.Items+parts-1)/parts, 1)
}

type outcomeKey struct{}

// WithOutcome returns a context that carries o to the transport below an exporter.
func WithOutcome(ctx context.Context, o *Outcome) context.Context {
	return context.WithValue(ctx, outcomeKey{}, o)
}

// OutcomeFrom returns the outcome to fill for the export of ctx, or nil if it has none.
func OutcomeFrom(ctx context.Context) *Outcome {
	o, _ := ctx.Value(outcomeKey{}).(*Outcome)
	return o
}

// settle fills in the final reply to a request. A later request of the same export replaces what an
// earlier one said.
func (o *Outcome) settle(r reply) {
	*o = Outcome{Items: o.Items, Keep: o.Keep, Late: r.late, Unsent: r.unsent, Err: r.err, Filled: true}
	switch r.verdict {
	case accepted:
		// A server may claim to have refused more than it was sent.
		o.Rejected = min(max(r.rejected, 0), o.Items)
		o.Exported = o.Items - o.Rejected
	case spooled:
		o.Spooled = o.Items
	case tooLarge:
		o.TooLarge, o.Fits = true, r.fits
	default:
		o.Rejected = min(max(r.rejected, 0), o.Items)
		o.Failed = o.Items - o.Rejected
	}
}
