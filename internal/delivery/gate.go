package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// gate holds the workers of one signal back while its endpoint fails. An open gate lets every
// worker through. A failure that is worth retrying shuts it. Then one worker at a time is let
// through after a back-off, as a probe, and the success of a probe opens the gate for all.
//
// While requests are refused because of the endpoint or the credential, and spooled, the gate is
// open: live requests find out soonest when that is over. The gate notes this state as a refusal,
// and the replayer rests until a live request ends it.
type gate struct {
	onDown func(error)
	onUp   func(time.Duration, error)
	// givenUp says that requests no longer wait for the endpoint.
	givenUp func() bool
	live    atomic.Int64 // requests that are being delivered, without those from the spool
	sizes   sizes

	mu       sync.Mutex
	shut     bool
	probing  bool
	failures int       // in a row, since the gate was last open
	since    time.Time // when it was shut, or the refusal began
	until    time.Time // no probe before
	err      error     // the last failure
	era      uint64    // counts the changes of the gate's state
	changed  chan struct{}
	refusal  chan struct{} // closed when the refusal ends; nil if there is none
	news     []func()      // calls of onDown and onUp that are still to be made, in order
	telling  bool          // one of them is under way
}

func newGate(givenUp func() bool) *gate {
	return &gate{givenUp: givenUp, changed: make(chan struct{})}
}

// pass is the permission to make one attempt. Its era tells what the gate knew when the pass was
// issued: eight workers that fail together are one failure, not eight.
type pass struct {
	era   uint64
	probe bool
}

// enter waits until the caller may make an attempt. The error is the reason why it may not: the
// cause of ctx's end, or that the endpoint is given up. The caller must return each pass through
// leave or abandon.
func (g *gate) enter(ctx context.Context) (pass, error) {
	for {
		if ctx.Err() != nil {
			return pass{}, context.Cause(ctx)
		}
		p, rest, changed := g.tryEnter()
		switch {
		case p != nil:
			return *p, nil
		case changed == nil:
			return pass{}, errNeverReached
		}
		waitForChange(ctx, changed, rest)
	}
}

// tryEnter returns a pass if the caller may make an attempt now. Otherwise it returns a channel
// that is closed when the gate changes, nil if the endpoint is given up, and how long to wait for
// that at most, 0 while another worker makes a probe.
func (g *gate) tryEnter() (p *pass, rest time.Duration, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.shut:
		return &pass{era: g.era}, 0, nil
	case g.givenUp():
		return nil, 0, nil
	case g.probing:
		return nil, 0, g.changed
	}
	if rest = time.Until(g.until); rest > 0 {
		return nil, rest, g.changed
	}
	g.probing = true
	return &pass{era: g.era, probe: true}, 0, nil
}

// waitForChange returns when changed is closed, when ctx ends or, if d is not 0, after d.
func waitForChange(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
	case <-changed:
	case <-ctx.Done():
	}
}

// leave returns a pass, with the reply to its attempt. Any verdict except retry proves that the
// endpoint works.
func (g *gate) leave(p pass, r reply) {
	defer g.tell()
	g.mu.Lock()
	defer g.mu.Unlock()
	stale := p.era != g.era
	switch {
	case stale && r.verdict == retry && r.after > 0 && g.shut:
		// The gate knows of the failure, but not how long the server asks to wait.
		if until := time.Now().Add(r.after); until.After(g.until) {
			g.until = until
		}
	case stale:
	case r.verdict == retry:
		g.fail(r)
	case r.verdict == spooled:
		g.noteRefusal(r)
	case g.shut || g.refusal != nil:
		g.open(r)
	}
}

// abandon returns a pass whose attempt was cut short by the end of its request.
func (g *gate) abandon(p pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.probe && p.era == g.era {
		g.probing = false
		g.wake()
	}
}

// cause returns the failure that shut the gate, or nil if it is open.
func (g *gate) cause() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		return nil
	}
	return g.err
}

// fail shuts the gate, or keeps it shut for longer.
func (g *gate) fail(r reply) {
	now := time.Now()
	if !g.shut {
		g.noteStart(now)
		g.shut, g.failures = true, 0
		g.isDown(r.err)
	}
	g.failures++
	// A longer wait that the server asks for takes precedence over the back-off.
	g.until = now.Add(max(backoff(g.failures), r.after))
	g.endRefusal()
	g.changes(r.err)
}

// noteRefusal lets all workers through while their requests are refused and spooled.
func (g *gate) noteRefusal(r reply) {
	if g.refusal != nil {
		return
	}
	g.noteStart(time.Now())
	g.refusal = make(chan struct{})
	g.shut = false
	g.isDown(r.err)
	g.changes(r.err)
}

// open lets all workers through.
func (g *gate) open(r reply) {
	down := time.Since(g.since)
	g.shut = false
	g.endRefusal()
	g.changes(nil)
	if g.onUp != nil {
		var refusal error
		if r.verdict == refused || r.verdict == misconfigured {
			refusal = r.err
		}
		g.news = append(g.news, func() { g.onUp(down, refusal) })
	}
}

func (g *gate) isDown(err error) {
	if g.onDown != nil {
		g.news = append(g.news, func() { g.onDown(err) })
	}
}

// tell makes the calls of onDown and onUp that are due, one at a time. If another worker is in one,
// that worker makes the next: a log must not end with the line about an outage that is over.
func (g *gate) tell() {
	for g.tellNext() {
	}
}

func (g *gate) tellNext() bool {
	g.mu.Lock()
	if g.telling || len(g.news) == 0 {
		g.mu.Unlock()
		return false
	}
	next := g.news[0]
	g.news, g.telling = g.news[1:], true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.telling = false
	}()
	next()
	return true
}

// noteStart notes when the trouble began. An endpoint that is down and then refuses has been in
// trouble all the time.
func (g *gate) noteStart(now time.Time) {
	if !g.shut && g.refusal == nil {
		g.since = now
	}
}

func (g *gate) endRefusal() {
	if g.refusal != nil {
		close(g.refusal)
		g.refusal = nil
	}
}

// refusalEnd returns a channel that is closed when the refusal ends. It is closed already if there
// is none: another request may have ended it in the meantime.
func (g *gate) refusalEnd() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusal == nil {
		return closedChan
	}
	return g.refusal
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// changes begins a new era.
func (g *gate) changes(err error) {
	g.probing, g.err = false, err
	g.era++
	g.wake()
}

// wake makes every waiting worker look again.
func (g *gate) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}
