package sampling

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// Request is what a server's instrumentation and the tail tell each other about the span of one
// request. The context in which the span starts has it under RequestKey. The zero value is ready.
// It is safe for concurrent use.
type Request struct {
	claimed, stream, kept, second atomic.Bool

	own   trace.SpanID     // set before the handler runs
	start *StartAttributes // until the sampler has taken them

	tail atomic.Pointer[tail] // the one that has claimed it, if its trace may be kept

	// The mutex of the tail guards these.
	span           trace.SpanID
	next, previous *Request
	slow           slowness // by its late route; 0: that of the trace; negative: never
	dropped        bool     // by the rule of its late route
	remote         bool     // the span has a parent
}

// RequestKey is the context key of a *Request.
type RequestKey struct{}

// MarkStream says that the request lasts as long as its client listens. Its duration is then no
// reason to keep the trace.
func (r *Request) MarkStream() { r.stream.Store(true) }

// IsStream reports whether MarkStream was called.
func (r *Request) IsStream() bool { return r.stream.Load() }

// Started says which span is the request's. It must be called before the request is served.
func (r *Request) Started(span trace.SpanID) {
	r.own = span
	if r.start != nil { // the span was started without the sampler
		r.start = nil
	}
}

// HasSecondSpan reports whether another instrumentation has started a server span directly below
// the request's.
func (r *Request) HasSecondSpan() bool { return r.second.Load() }

// noticeServerSpan is called for a server span with a local parent.
func noticeServerSpan(ctx context.Context, parent trace.SpanID) {
	if r, _ := ctx.Value(RequestKey{}).(*Request); r != nil && r.own == parent {
		r.second.Store(true)
	}
}

// Kept reports, after the span's end, whether the tail has kept its trace for its outcome. It is
// false until that is decided.
func (r *Request) Kept() bool { return r.kept.Load() }

// tell notes the decision. r is nil if the span has no request.
func (r *Request) tell(kept bool) {
	if r != nil && kept {
		r.kept.Store(true)
	}
}

// claim returns the request in ctx for its own span, which is the first one that starts with it.
// Later ones are new roots that the handler has started.
func claim(ctx context.Context, span trace.SpanID) *Request {
	r, _ := ctx.Value(RequestKey{}).(*Request)
	if r == nil || !r.claimed.CompareAndSwap(false, true) {
		return nil
	}
	r.span = span
	return r
}

// openRequests are the requests of a trace whose local roots have not ended. There is rarely more
// than one, but a caller may send any number with one trace ID, so a map finds them if there are
// many.
type openRequests struct {
	first  *Request
	count  int
	bySpan map[trace.SpanID]*Request // nil while there are few
}

// fewRequests is the number up to which a list is searched faster than a map.
const fewRequests = 16

func (o *openRequests) add(r *Request) {
	if r.next = o.first; r.next != nil {
		r.next.previous = r
	}
	o.first = r
	if o.count++; o.count <= fewRequests {
		return
	}
	if o.bySpan == nil {
		o.bySpan = make(map[trace.SpanID]*Request, 2*fewRequests)
		for r := o.first; r != nil; r = r.next {
			o.bySpan[r.span] = r
		}
	}
	o.bySpan[r.span] = r
}

// find returns the request of a local root, or nil if it has none or has ended.
func (o *openRequests) find(span trace.SpanID) *Request {
	if o.bySpan != nil {
		return o.bySpan[span]
	}
	for r := o.first; r != nil; r = r.next {
		if r.span == span {
			return r
		}
	}
	return nil
}

// take removes and returns what find returns.
func (o *openRequests) take(span trace.SpanID) *Request {
	r := o.find(span)
	if r == nil {
		return nil
	}
	if r.previous != nil {
		r.previous.next = r.next
	} else {
		o.first = r.next
	}
	if r.next != nil {
		r.next.previous = r.previous
	}
	r.next, r.previous = nil, nil
	if o.count--; o.count == 0 {
		o.bySpan = nil
	} else {
		delete(o.bySpan, span)
	}
	return r
}
