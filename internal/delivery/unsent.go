package delivery

import (
	"context"
	"slices"
	"sync"

	"github.com/fleetotel/telemetry/internal/spool"
)

const (
	// askAfter is how often in a row the oldest request may run out of time before the endpoint is
	// asked whether it accepts anything at all: the request may be the reason.
	askAfter = 8
	// maxStrikes is how often the request may run out of time right after the endpoint accepted the
	// empty request of [Ask]. Then it is given up, because all others wait behind it.
	maxStrikes = 3
)

// Unsent holds requests for which there was no time, and sends them later, oldest first: increments
// of metrics, which no later request repeats. It is safe for concurrent use.
type Unsent struct {
	send Sender
	max  int

	mu       sync.Mutex
	requests []*spool.Request // oldest first
	late     int              // how often in a row the oldest has run out of time
	strikes  int              // how many of those came right after a successful Ask
	closed   bool
}

// NewUnsent holds at most maxBytes of compressed requests, and sends them through send.
func NewUnsent(send Sender, maxBytes int) *Unsent { return &Unsent{send: send, max: maxBytes} }

// Items returns how many items are held.
func (u *Unsent) Items() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.items()
}

// items is Items for a caller that holds the lock.
func (u *Unsent) items() (items int64) {
	for _, r := range u.requests {
		items += r.Items
	}
	return items
}

// Add holds a request. It returns how many items are dropped: those of the oldest requests, to make
// room, or its own if it is larger than the bound.
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

// Close drops what is held, and returns how many items that are. Requests that are added later are
// dropped, too.
func (u *Unsent) Close() (dropped int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	dropped = u.items()
	u.requests, u.closed = nil, true
	return dropped
}

// Send sends what is held until ctx ends. The error is why a request has to wait. Send calls settle
// for each request that is no longer held, with its outcome.
func (u *Unsent) Send(ctx context.Context, settle func(*Outcome)) error {
	for r := u.oldest(); r != nil && ctx.Err() == nil; r = u.oldest() {
		asked := u.isSuspect() && Ask(ctx, r.Signal, u.send) == nil
		out := u.sendOne(ctx, r)
		if out.Late && u.waits(asked) {
			return out.Err
		}
		if out.TooLarge && u.split(r) {
			continue
		}
		if u.replace(r) {
			settle(out)
		}
	}
	return nil
}

func (u *Unsent) sendOne(ctx context.Context, r *spool.Request) *Outcome {
	out := &Outcome{Items: r.Items}
	err := u.send(WithOutcome(ctx, out), *r)
	if !out.Filled {
		return &Outcome{Items: r.Items, Failed: r.Items, Late: ctx.Err() != nil, Err: err}
	}
	return out
}

// split replaces a request by its halves. It returns false if that is not possible.
func (u *Unsent) split(r *spool.Request) bool {
	a, b, err := halve(*r)
	if err != nil {
		return false
	}
	u.replace(r, &a, &b)
	return true
}

func (u *Unsent) oldest() *spool.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		return nil
	}
	return u.requests[0]
}

// isSuspect reports whether the oldest request may be the reason why it fails, and not the
// endpoint.
func (u *Unsent) isSuspect() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.late >= askAfter
}

// waits counts that the oldest request has run out of time, and reports whether it waits for the
// next Send. asked says that a successful Ask came right before.
func (u *Unsent) waits(asked bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.late++
	if asked {
		u.strikes++
	}
	return u.strikes < maxStrikes
}

// replace puts parts in the place of a request. It returns false if the request was dropped in the
// meantime.
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
