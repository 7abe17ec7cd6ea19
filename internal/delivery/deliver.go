package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetotel/telemetry/internal/spool"
)

// verdict is what the answer to an attempt means for the request.
type verdict int

const (
	accepted      verdict = iota // the server took the request, perhaps without some of its items
	retry                        // it failed, and another attempt may succeed
	spooled                      // it is on disk, to be sent later
	tooLarge                     // its items may be accepted in smaller requests
	refused                      // it will not be accepted, because of what was sent
	misconfigured                // the endpoint, the credentials or TLS are wrong: any request would be refused
)

// reply is what one attempt learned.
type reply struct {
	verdict    verdict
	rejected   int64         // items that the server refused, in a request that it accepted or refused
	after      time.Duration // how long the server asks to wait before the next attempt
	noListener bool          // nothing listens at the endpoint
	notSent    bool          // no request was made, because the answer was known
	fits       int64         // with tooLarge: how many items may fit
	late       bool          // refused because there is no time left
	unsent     *spool.Request
	err        error
}

// call is one request, independent of its protocol.
type call struct {
	gate  *gate
	where string                      // names the endpoint for an operator
	size  int64                       // in bytes, before compression
	items int64                       // 0 if it is not known
	try   func(context.Context) reply // makes one attempt
	spool func() error                // puts the request on disk; nil if that is not possible
	// unsent returns the request for the caller to keep; nil if the caller did not ask for it.
	unsent func() *spool.Request
}

var (
	// ErrAttemptTimeout is the cause of an attempt's end when the attempt, and not the request, ran
	// out of time.
	ErrAttemptTimeout = errors.New("no answer in time")
	// errCutShort is the error of an attempt that the request's end cut short.
	errCutShort = errors.New("no answer yet")
	// errNeverReached is the reason why a request is not tried again after GiveUp.
	errNeverReached = errors.New("nothing has ever listened there")
)

// deliver delivers a request and returns the last reply, with an error for an operator.
func (e *Endpoint) deliver(ctx context.Context, c call) reply {
	replay := replayOf(ctx)
	switch {
	case replay != nil:
		return e.deliverReplay(ctx, c, replay)
	case isAsk(ctx):
		c.items = 0 // it has none
		return e.attempt(ctx, c).describe(c.where, 1, 0, nil)
	case isSpoolOnly(ctx):
		return c.spoolAtOnce()
	}
	c.gate.live.Add(1)
	defer c.gate.live.Add(-1)
	return e.deliverLive(ctx, &liveRequest{call: c, start: time.Now()})
}

// liveRequest is a request that comes from an exporter and not from the spool, with what its
// attempts learned.
type liveRequest struct {
	call
	start    time.Time
	attempts int
	repeats  int // failures while the gate was open
	last     reply
}

// deliverLive makes attempts until the server settles the request, the request is on disk, ctx
// ends, or the endpoint is given up.
func (e *Endpoint) deliverLive(ctx context.Context, c *liveRequest) reply {
	for {
		// While the gate is shut, the replayer tries the endpoint.
		if cause := c.gate.cause(); cause != nil && c.trySpool() {
			return c.onDisk(cause)
		}
		p, err := c.gate.enter(ctx)
		if err != nil {
			c.last.err = cmp.Or(c.last.err, c.gate.cause())
			return c.giveUp(err)
		}
		c.attempts++
		r := e.attempt(ctx, c.call)
		if r.verdict == retry && ctx.Err() != nil {
			c.gate.abandon(p)
			c.cutShort(r)
			return c.giveUp(context.Cause(ctx))
		}
		if c.last = c.judge(p, r); c.last.verdict != retry {
			return c.describe(c.last, nil)
		}
		if err := c.backOff(ctx, p); err != nil {
			return c.giveUp(err)
		}
	}
}

// judge tells the gate what an attempt learned, and puts the request on disk if it has to wait:
// then the verdict is spooled.
func (c call) judge(p pass, r reply) reply {
	if r.notSent {
		c.gate.abandon(p)
		if r.verdict == refused && c.trySpool() {
			r.verdict = spooled
		}
		return r
	}
	if r.verdict == misconfigured && c.trySpool() {
		r.verdict = spooled
	}
	c.gate.leave(p, r)
	if r.verdict == retry && c.trySpool() {
		r.verdict = spooled
	}
	return r
}

// cutShort notes an attempt that ended with the request's own time. That says nothing about the
// endpoint, but the attempt before it may have.
func (c *liveRequest) cutShort(r reply) {
	if c.last.err == nil {
		c.last = r
	}
}

// backOff waits if the request fails again while the gate is open, which means that other requests
// have just succeeded. Without the wait, such a request would shut the gate for the others again
// and again. While the gate is shut, the gate decides how long to wait.
func (c *liveRequest) backOff(ctx context.Context, p pass) error {
	if c.attempts == 1 || p.probe {
		return nil
	}
	c.repeats++
	return wait(ctx, backoff(c.repeats))
}

// giveUp ends a request without a further attempt. end is the reason.
func (c *liveRequest) giveUp(end error) reply {
	r := c.last
	r.verdict = refused
	switch err := c.putOnDisk(); {
	case err == nil:
		return c.onDisk(cmp.Or(r.err, end))
	case c.fitsInParts(err):
		r.verdict = tooLarge
	default:
		r = c.handBack(r)
	}
	return c.describe(r, end)
}

// onDisk is the reply to a request that was put on disk because of cause.
func (c *liveRequest) onDisk(cause error) reply {
	return c.describe(reply{verdict: spooled, err: cause}, nil)
}

func (c *liveRequest) describe(r reply, end error) reply {
	return r.describe(c.where, c.attempts, time.Since(c.start), end)
}

// hangAfter is how long an attempt must at least have waited for an answer before it counts against
// its connection.
const hangAfter = time.Second

// attempt makes one attempt within its own time, unless the answer is known.
func (e *Endpoint) attempt(ctx context.Context, c call) reply {
	turn, known := c.gate.sizes.enter(ctx, c.size, c.items)
	if turn == nil {
		return known
	}
	defer turn.leave()
	timed, cancel := context.WithTimeoutCause(ctx, e.cfg.AttemptTimeout, ErrAttemptTimeout)
	defer cancel()
	begin := time.Now()
	r := c.try(timed)
	if !errors.Is(r.err, errNoCredentials) {
		r = e.noteAnswer(timed, begin, r)
	}
	if !r.noListener && ctx.Err() == nil { // an attempt that was cut short has learned nothing
		e.reached.Store(true)
	}
	return turn.learn(r)
}

// noteAnswer notes whether the attempt of ctx, which began at begin, got an answer, and returns its
// reply with what is known of the connection.
func (e *Endpoint) noteAnswer(ctx context.Context, begin time.Time, r reply) reply {
	silent := r.verdict == retry && errors.Is(ctx.Err(), context.DeadlineExceeded)
	if silent {
		if progress := e.dialer.unconnected(); progress != "" {
			r.err = fmt.Errorf("%w: %s", r.err, progress)
		}
	}
	// If the request had little time left, its end says nothing about the connection.
	if !silent || time.Since(begin) >= min(e.cfg.AttemptTimeout, hangAfter) {
		e.dialer.attempted(begin, silent)
	}
	return r
}

// wait returns after d, or with the cause of ctx's end.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
