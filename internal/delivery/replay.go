package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetotel/telemetry/internal/spool"
)

const (
	// lookAround is how often a replayer looks for what other processes have left,
	// and says that its own lives.
	lookAround = 30 * time.Second
	// lastCall is how long a replayer that is closed goes on while the endpoint
	// takes what it sends: enough for what a short failure has just put on disk.
	lastCall = time.Second
	// firstRest and maxRest bound how long a replayer leaves the endpoint alone
	// after it was refused for a reason that only a person can remove, or a segment
	// that fails where others succeed.
	firstRest = 10 * time.Second
	maxRest   = 5 * time.Minute
	// maxPause bounds how long live requests get precedence after one of the spool.
	maxPause = time.Second
	// patience is how many probes are made while the endpoint is down before one is
	// made with another segment than the oldest: it may be the segment.
	patience = 8
)

// replay is the part of one request from the spool that deliver and the replayer
// share.
type replay struct {
	enter context.Context // bounds the wait for the gate, not the attempt
	items int64
	size  int64 // before compression, in bytes
	made  bool  // the request has come as far as the transport
	reply reply
	cut   bool  // the replayer's end came before an answer
	probe bool  // the gate was shut
	live  int64 // other requests on their way at the end

	lifted <-chan struct{} // closed when a live request gets another answer than such a refusal
}

type replayKey struct{}

func replayOf(ctx context.Context) *replay {
	r, _ := ctx.Value(replayKey{}).(*replay)
	return r
}

// deliverOnce makes one attempt for a request from the spool. It waits at the gate
// like any other, and so is the probe while the endpoint is down and live requests
// go to disk.
func (e *Endpoint) deliverOnce(ctx context.Context, c call, r *replay) reply {
	start := time.Now()
	r.made = true
	var (
		p   pass
		err = context.Canceled
	)
	if c.gate.sizes.awaitRest(r.enter) {
		p, err = c.gate.enter(r.enter)
	}
	if err != nil {
		r.reply, r.cut = reply{verdict: retry, err: err}, true
		return r.reply
	}
	r.reply = e.attempt(ctx, c)
	if r.reply.verdict == retry && ctx.Err() != nil {
		c.gate.abandon(p)
		r.cut = true
		return r.reply
	}
	if r.reply.local {
		c.gate.abandon(p)
		if r.reply.verdict == refused {
			r.reply.verdict = retry // nothing is sent for a while, and the disk is patient
		}
		return r.reply
	}
	answer := r.reply
	if answer.misplaced() {
		answer.verdict = kept
	}
	c.gate.leave(p, answer)
	r.lifted = c.gate.untilLifted()
	r.probe, r.live = p.probe, c.gate.live.Load()
	r.reply = r.reply.worded(c.where, 1, time.Since(start), nil)
	return r.reply
}

// Replayer sends what the spool holds of one signal, oldest first, one request at
// a time. While live requests are on their way it rests after each as long as that
// one took, so that it takes at most half a place beside theirs. It has two
// goroutines, until Close; the sending ends when the endpoint is given up.
type Replayer struct {
	store  *spool.Store
	signal spool.Signal
	send   Sender

	closing chan struct{}
	done    chan struct{}
	gates   context.Context // ends the wait for a gate
	leave   context.CancelFunc
	base    context.Context // ends the attempt under way
	cancel  context.CancelFunc
	down    atomic.Bool // the last attempt got no verdict on what it sent

	failures int // in a row; of the goroutine
	rests    int // in a row; of the goroutine
}

// Replay starts to send what store holds, and will hold, of a signal. Close it
// before the connection that send uses.
func Replay(store *spool.Store, signal spool.Signal, send Sender) *Replayer {
	r := &Replayer{store: store, signal: signal, send: send, closing: make(chan struct{}), done: make(chan struct{})}
	r.gates, r.leave = context.WithCancel(context.Background())
	r.base, r.cancel = context.WithCancel(context.Background())
	go r.run()
	return r
}

// Close ends the replay, not later than ctx. What is under way is finished, and
// while the endpoint takes it the rest goes on for a second; everything else stays
// on disk. Call it once.
func (r *Replayer) Close(ctx context.Context) {
	defer r.cancel()
	defer r.leave()
	close(r.closing)
	last := time.NewTimer(lastCall)
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
	grace := time.NewTimer(lastCall / 4)
	defer grace.Stop()
	select {
	case <-r.done:
	case <-grace.C:
	}
}

// look lets the store adopt. It does not leave that to run, which may wait at the
// gate for as long as the endpoint is away.
func (r *Replayer) look() {
	for {
		r.sleep(lookAround, nil)
		if r.isClosing() {
			return
		}
		r.store.Adopt(time.Now())
	}
}

func (r *Replayer) run() {
	defer close(r.done)
	var looking sync.WaitGroup
	looking.Go(r.look)
	defer looking.Wait()
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
				wait = lookAround
			}
			r.sleep(wait, came)
		}
		if r.isClosing() && r.down.Load() {
			return
		}
	}
}

// skip is which segment is next: the oldest, but every eighth probe another one, and
// every other one after refusals: the segment may be the reason.
func (r *Replayer) skip() int {
	if r.rests%2 == 1 {
		return 1
	}
	if r.failures%patience == patience-1 {
		return r.failures/patience + 1
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

// sleep returns after d, or when came or closing is closed, and whether it was came.
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

// replay sends a claimed segment, settles it or gives it back, and returns how
// long live requests have precedence before the next one.
func (r *Replayer) replay(seg *spool.Segment) time.Duration {
	req, err := r.store.Load(seg)
	if errors.Is(err, spool.ErrUnreadable) {
		return 0
	}
	if err != nil {
		r.postpone(seg)
		return 0
	}
	start := time.Now()
	call := &replay{enter: r.gates, items: req.Items, size: req.Plain}
	_ = r.send(context.WithValue(r.base, replayKey{}, call), req) // call.reply says more
	if !call.made {
		seg.Relapses++ // it cannot even be put into a request
		r.postpone(seg)
		return 0
	}
	took := time.Since(start)
	v := call.reply
	r.down.Store(v.verdict == retry || v.misplaced())
	switch {
	case call.cut: // the replay is over, or the endpoint given up
		r.store.Release(seg)
		r.leave()
		return 0
	case v.verdict == retry:
		r.failures++
		r.rests = 0
		// It fails where others have just succeeded, or has done so before.
		if !call.probe || seg.Relapses > 1 {
			if seg.Relapses++; seg.Relapses > 1 {
				r.postpone(seg)
				return 0
			}
		}
		r.store.Release(seg)
		return 0 // the gate decides when to try again
	case v.misplaced():
		r.rests++
		if r.sleep(restAfter(r.rests), call.lifted) {
			// Live requests get another answer. If this one gets the same once more, it is
			// itself the trouble.
			if seg.Relapses++; seg.Relapses > 1 {
				r.rests = 0
				r.postpone(seg)
				return 0
			}
		}
		r.store.Release(seg)
		return 0
	}
	r.failures, r.rests = 0, 0
	r.settle(seg, req, v)
	if call.live > 0 {
		return min(took, maxPause)
	}
	return 0
}

// settle books the answer to a segment.
func (r *Replayer) settle(seg *spool.Segment, req spool.Request, v reply) {
	result := spool.Result{Err: v.err}
	switch v.verdict {
	case taken:
		result.Rejected = min(max(v.rejected, 0), seg.Items)
		result.Exported = seg.Items - result.Rejected
	case tooLarge:
		a, b, err := halve(req)
		if err == nil {
			err = r.store.Replace(seg, a, b)
			if err == nil {
				return
			}
			r.postpone(seg) // the disk has no room for the halves now
			return
		}
		result.TooLarge = seg.Items
		result.Err = errors.Join(v.err, unlessSingle(err))
	}
	r.store.Settle(seg, result)
}

// unlessSingle leaves out the error that says nothing new: one item is too large.
func unlessSingle(err error) error {
	if errors.Is(err, errSingle) {
		return nil
	}
	return fmt.Errorf("it cannot be halved: %w", err)
}

// postpone gives a segment back for later, so that it does not stand in the way of
// others.
func (r *Replayer) postpone(seg *spool.Segment) {
	seg.NotBefore = time.Now().Add(restAfter(seg.Relapses))
	r.store.Release(seg)
}

// restAfter doubles from firstRest to maxRest.
func restAfter(times int) time.Duration {
	return min(firstRest<<min(max(times-1, 0), 10), maxRest)
}
