package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

const (
	// adoptEvery is how often a replayer lets the store look for what other processes have left,
	// and show that its own process lives.
	adoptEvery = 30 * time.Second
	// closeDelay is how long a replayer that is closed goes on while the endpoint accepts what it
	// sends: enough for what a short failure has just put on disk.
	closeDelay = time.Second
	// firstRest and maxRest bound how long a replayer leaves the endpoint alone after a refusal
	// that only a person can resolve, or postpones a segment that fails where others succeed.
	firstRest = 10 * time.Second
	maxRest   = 5 * time.Minute
	// maxPause is the longest pause after a replayed request, during which live requests have
	// precedence.
	maxPause = time.Second
	// probesPerSegment is how many probes are made while the endpoint is down before one is made
	// with another segment than the oldest: the segment may be the reason.
	probesPerSegment = 8
)

// replay is the part of one request from the spool that deliver and the replayer share.
type replay struct {
	enter context.Context // bounds the wait for the gate, not the attempt
	items int64
	size  int64 // before compression, in bytes
	made  bool  // the request has come as far as the transport
	reply reply
	cut   bool  // the replayer's end came before an answer
	probe bool  // the gate was shut
	live  int64 // how many live requests were being delivered at the end

	refusalEnd <-chan struct{} // closed when a live request gets another answer than misconfigured
}

type replayKey struct{}

func replayOf(ctx context.Context) *replay {
	r, _ := ctx.Value(replayKey{}).(*replay)
	return r
}

// deliverReplay makes one attempt for a request from the spool. It waits at the gate like a live
// request. While the endpoint is down and live requests go to disk, it is the probe.
func (e *Endpoint) deliverReplay(ctx context.Context, c call, r *replay) reply {
	start := time.Now()
	r.made = true
	p, err := c.enterReplay(r.enter)
	if err != nil {
		r.reply, r.cut = reply{verdict: retry, err: err}, true
		return r.reply
	}
	r.reply = e.attempt(ctx, c)
	switch {
	case r.reply.verdict == retry && ctx.Err() != nil:
		c.gate.abandon(p)
		r.cut = true
		return r.reply
	case r.reply.notSent:
		c.gate.abandon(p)
		if r.reply.verdict == refused {
			r.reply.verdict = retry // nothing is sent for a while, and a file can wait
		}
		return r.reply
	}
	answer := r.reply
	if answer.verdict == misconfigured {
		answer.verdict = spooled // it still is
	}
	c.gate.leave(p, answer)
	r.refusalEnd = c.gate.refusalEnd()
	r.probe, r.live = p.probe, c.gate.live.Load()
	r.reply = r.reply.describe(c.where, 1, time.Since(start), nil)
	return r.reply
}

// enterReplay waits at the gate until an attempt may be made.
func (c call) enterReplay(ctx context.Context) (pass, error) {
	if !c.gate.sizes.awaitRest(ctx) {
		return pass{}, context.Canceled
	}
	return c.gate.enter(ctx)
}

// Replayer sends what the spool holds of one signal, oldest first, one request at a time. While
// live requests are being delivered it pauses after each as long as that one took, so that it uses
// the endpoint at most half of the time. It has two goroutines until Close. It sends nothing more
// once the endpoint is given up.
type Replayer struct {
	store  *spool.Store
	signal signal.Signal
	send   Sender

	closing chan struct{}
	done    chan struct{}
	gates   context.Context // ends the wait for a gate
	leave   context.CancelFunc
	base    context.Context // ends the attempt under way
	cancel  context.CancelFunc
	down    atomic.Bool // the last attempt failed for a reason other than what it sent

	failures int // in a row; of the goroutine
	rests    int // in a row; of the goroutine
}

// Replay starts to send what store holds, and will hold, of a signal. Close it before the
// connection that send uses.
func Replay(store *spool.Store, signal signal.Signal, send Sender) *Replayer {
	r := &Replayer{store: store, signal: signal, send: send, closing: make(chan struct{}), done: make(chan struct{})}
	r.gates, r.leave = context.WithCancel(context.Background())
	r.base, r.cancel = context.WithCancel(context.Background())
	go r.run()
	return r
}

// Close ends the replay, not later than ctx. The request under way is finished, and while the
// endpoint accepts requests the replay goes on for a second. Everything else stays on disk. Call it
// once.
func (r *Replayer) Close(ctx context.Context) {
	defer r.cancel()
	defer r.leave()
	close(r.closing)
	last := time.NewTimer(closeDelay)
	defer last.Stop()
	if !r.down.Load() {
		select {
		case <-r.done:
			return
		case <-last.C:
		case <-ctx.Done():
		}
	}
	r.leave()
	select {
	case <-r.done:
		return
	case <-ctx.Done():
	}
	r.cancel()
	// An attempt ends with its context; a disk that hangs does not.
	grace := time.NewTimer(closeDelay / 4)
	defer grace.Stop()
	select {
	case <-r.done:
	case <-grace.C:
	}
}

// adopt lets the store adopt the files of other processes from time to time. run cannot do that,
// because it may wait at the gate for as long as the endpoint is away.
func (r *Replayer) adopt() {
	for {
		r.sleep(adoptEvery, nil)
		if r.isClosing() {
			return
		}
		r.store.Adopt(time.Now())
	}
}

func (r *Replayer) run() {
	defer close(r.done)
	var adopting sync.WaitGroup
	adopting.Go(r.adopt)
	defer adopting.Wait()
	for r.gates.Err() == nil {
		seg, came, wait := r.store.Claim(r.signal, r.skip(), time.Now())
		switch {
		case seg != nil:
			if pause := r.replay(seg); pause > 0 {
				r.sleep(pause, nil)
			}
		case r.isClosing():
			return
		default:
			if wait == 0 {
				wait = adoptEvery
			}
			r.sleep(wait, came)
		}
		if r.isClosing() && r.down.Load() {
			return
		}
	}
}

// skip returns which segment is next. It is the oldest, except that every eighth probe, and every
// second attempt after refusals, is made with another one: the segment may be the reason.
func (r *Replayer) skip() int {
	if r.rests%2 == 1 {
		return 1
	}
	if r.failures%probesPerSegment == probesPerSegment-1 {
		return r.failures/probesPerSegment + 1
	}
	return 0
}

func (r *Replayer) isClosing() bool {
	select {
	case <-r.closing:
		return true
	default:
		return false
	}
}

// sleep returns after d, or when came or closing is closed. It reports whether came was.
func (r *Replayer) sleep(d time.Duration, came <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-came:
		return true
	case <-r.closing:
	}
	return false
}

// replay sends a claimed segment, settles it or gives it back, and returns how long live requests
// have precedence before the next one.
func (r *Replayer) replay(seg *spool.Segment) (pause time.Duration) {
	req, err := r.store.Load(seg)
	switch {
	case errors.Is(err, spool.ErrUnreadable):
		return 0
	case err != nil:
		r.postpone(seg)
		return 0
	}
	start := time.Now()
	call := &replay{enter: r.gates, items: req.Items, size: req.Plain}
	_ = r.send(context.WithValue(r.base, replayKey{}, call), req) // call.reply says more
	if !call.made {
		seg.Failures++ // the sender cannot even make a request of it
		r.postpone(seg)
		return 0
	}
	took := time.Since(start)
	r.down.Store(call.reply.verdict == retry || call.reply.verdict == misconfigured)
	switch {
	case call.cut: // the replay is over, or the endpoint is given up
		r.store.Release(seg)
		r.leave()
		return 0
	case call.reply.verdict == retry:
		r.retryLater(seg, call)
		return 0 // the gate decides when
	case call.reply.verdict == misconfigured:
		r.awaitSetup(seg, call)
		return 0
	}
	r.failures, r.rests = 0, 0
	r.settle(seg, req, call.reply)
	if call.live == 0 {
		return 0
	}
	return min(took, maxPause)
}

// retryLater gives a segment back that failed in a way that is worth retrying. If it failed before,
// or where other requests have just succeeded, it is postponed behind the others.
func (r *Replayer) retryLater(seg *spool.Segment, call *replay) {
	r.failures++
	r.rests = 0
	if (!call.probe || seg.Failures > 1) && relapsed(seg) {
		r.postpone(seg)
		return
	}
	r.store.Release(seg)
}

// awaitSetup rests after a refusal because of the endpoint or the credential, until a live request
// gets another answer or the rest is over. If this segment gets the same answer once more after a
// live request got another one, the segment itself is the reason.
func (r *Replayer) awaitSetup(seg *spool.Segment, call *replay) {
	r.rests++
	ended := r.sleep(restAfter(r.rests), call.refusalEnd)
	if ended && relapsed(seg) {
		r.rests = 0
		r.postpone(seg)
		return
	}
	r.store.Release(seg)
}

// relapsed counts a failure of a segment while other requests succeed, and reports whether it
// failed before.
func relapsed(seg *spool.Segment) bool {
	seg.Failures++
	return seg.Failures > 1
}

// settle books the answer to a segment.
func (r *Replayer) settle(seg *spool.Segment, req spool.Request, v reply) {
	result := spool.Result{Err: v.err}
	switch v.verdict {
	case accepted:
		result.Rejected = min(max(v.rejected, 0), seg.Items)
		result.Exported = seg.Items - result.Rejected
	case tooLarge:
		a, b, err := halve(req)
		if err == nil {
			if r.store.Replace(seg, a, b) != nil {
				r.postpone(seg) // the disk has no room for the halves now
			}
			return
		}
		result.TooLarge = seg.Items
		result.Err = errors.Join(v.err, unlessSingle(err))
	}
	r.store.Settle(seg, result)
}

// unlessSingle drops the error of a single item, because it says nothing new.
func unlessSingle(err error) error {
	if errors.Is(err, errSingle) {
		return nil
	}
	return fmt.Errorf("it cannot be halved: %w", err)
}

// postpone gives a segment back for later, so that others are sent before it.
func (r *Replayer) postpone(seg *spool.Segment) {
	seg.NotBefore = time.Now().Add(restAfter(seg.Failures))
	r.store.Release(seg)
}

// restAfter doubles from firstRest to maxRest.
func restAfter(times int) time.Duration {
	return min(firstRest<<min(max(times-1, 0), 10), maxRest)
}
