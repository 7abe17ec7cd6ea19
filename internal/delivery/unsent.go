package delivery

import (
	"context"
	"slices"
	"sync"

	"github.com/fleetotel/telemetry/internal/spool"
)

const (
	// suspicious is how often in a row the oldest request may run out of time before
	// the endpoint is asked whether it takes anything at all: it may be the request.
	suspicious = 8
	// maxStrikes is how often that may happen right after the endpoint has said yes.
	// Then the request is given up, for all others wait behind it.
	maxStrikes = 3
)

// Unsent holds requests for which there was no time, and sends them later, oldest
// first: increments of metrics, which no later request repeats. It is safe for
// concurrent use.
type Unsent struct {
	send Sender
	max  int

	mu       sync.Mutex
	requests []*spool.Request // oldest first
	late     int              // how often in a row the oldest has run out of time
	strikes  int              // how often of those the endpoint had said yes
	closed   bool
}

// NewUnsent holds at most maxBytes of compressed requests, and sends them through
// send.
func NewUnsent(send Sender, maxBytes int) *Unsent { return &Unsent{send: send, max: maxBytes} }

// Items returns how many items are held.
func (u *Unsent) Items() (items int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range u.requests {
		items += r.Items
	}
	return items
}

// Add holds a request. It returns how many items are dropped: those of the oldest
// requests, which make room for it, or its own if there is no room for it at all.
func (u *Unsent) Add(r *spool.Request) (dropped int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || len(r.Gzip) > u.max {
		return r.Items
	}
	u.requests = append(u.requests, r)
	bytes := 0
	for _, held := range u.requests {
		bytes += len(held.Gzip)
	}
	for bytes > u.max {
		u.late, u.strikes = 0, 0
		bytes -= len(u.requests[0].Gzip)
		dropped += u.requests[0].Items
		u.requests = slices.Delete(u.requests, 0, 1)
	}
	return dropped
}

// Close drops what is held, and whatever is added later. It returns how many items
// that are.
func (u *Unsent) Close() (dropped int64) {
	dropped = u.Items()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests, u.closed = nil, true
	return dropped
}

// Send sends what is held until there is no time, and returns why a request has to
// wait. It calls settle for each that is not held any longer, with what has become of
// it.
func (u *Unsent) Send(ctx context.Context, settle func(*Outcome)) error {
	for r := u.oldest(); r != nil && ctx.Err() == nil; r = u.oldest() {
		taking := u.suspects() && Ask(ctx, r.Signal, u.send) == nil
		out := &Outcome{Items: r.Items}
		err := u.send(WithOutcome(ctx, out), *r)
		if !out.Filled {
			*out = Outcome{Items: r.Items, Failed: r.Items, Late: ctx.Err() != nil, Err: err}
		}
		if out.Late && u.waits(taking) {
			return out.Err
		}
		if out.TooLarge {
			if a, b, err := halve(*r); err == nil {
				u.replace(r, &a, &b)
				continue
			}
		}
		if u.replace(r) {
			settle(out)
		}
	}
	return nil
}

func (u *Unsent) oldest() *spool.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		return nil
	}
	return u.requests[0]
}

// suspects reports whether it may be the oldest request that fails, and not the
// endpoint.
func (u *Unsent) suspects() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.late >= suspicious
}

// waits reports whether the oldest request, which has run out of time, waits for
// the next time. taking says that the endpoint took something just before.
func (u *Unsent) waits(taking bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.late++
	if taking {
		u.strikes++
	}
	return u.strikes < maxStrikes
}

// replace puts parts in the place of a request, which may have been dropped since.
func (u *Unsent) replace(r *spool.Request, parts ...*spool.Request) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.Index(u.requests, r)
	if i < 0 {
		return false
	}
	u.late, u.strikes = 0, 0
	u.requests = slices.Replace(u.requests, i, i+1, parts...)
	return true
}
