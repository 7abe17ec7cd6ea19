package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// gate holds the workers of one signal back while its endpoint fails. Open, it
// lets everyone through. A failure that is worth retrying shuts it; then one
// worker at a time, the prober, is let through after a back-off, and its success
// opens the gate for all.
//
// A gate is barred while requests are refused for what endpoint or credential is, and
// kept on disk: then everyone gets through, since live requests find out soonest
// when that is over, and the replayer rests until one does.
type gate struct {
	onDown func(error)
	onUp   func(time.Duration, error)
	// hopeless says that the endpoint is not worth waiting for.
	hopeless func() bool
	live     atomic.Int64 // requests that are being delivered, those from the spool apart
	sizes    sizes

	mu       sync.Mutex
	shut     bool
	probing  bool
	failures int       // in a row, since the gate was last open
	since    time.Time // when it was shut or barred
	until    time.Time // no probe before
	err      error     // the last failure
	era      uint64    // counts failures that moved the gate and openings
	changed  chan struct{}
	lifted   chan struct{} // closed when the bar is lifted; nil unless barred
}

func newGate(hopeless func() bool) *gate {
	return &gate{hopeless: hopeless, changed: make(chan struct{})}
}

// pass is the leave to make one attempt. Its era tells what the gate knew when
// it was given: eight workers that fail together are one failure, not eight.
type pass struct {
	era   uint64
	probe bool
}

// enter returns when the caller may make an attempt, or with the reason why it
// must not: the cause of ctx's end, or that there is nothing to wait for. Each
// pass must be returned to leave or abandon.
func (g *gate) enter(ctx context.Context) (pass, error) {
	for {
		if ctx.Err() != nil {
			return pass{}, context.Cause(ctx)
		}
		g.mu.Lock()
		if !g.shut {
			p := pass{era: g.era}
			g.mu.Unlock()
			return p, nil
		}
		if g.hopeless() {
			g.mu.Unlock()
			return pass{}, errNeverThere
		}
		rest := time.Until(g.until)
		if !g.probing && rest <= 0 {
			g.probing = true
			p := pass{era: g.era, probe: true}
			g.mu.Unlock()
			return p, nil
		}
		changed, probing := g.changed, g.probing
		g.mu.Unlock()

		if probing {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		t := time.NewTimer(rest)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// leave tells the gate what the attempt of p learned. Any answer but "retry" is
// proof that the endpoint works.
func (g *gate) leave(p pass, r reply) {
	g.mu.Lock()
	stale := p.era != g.era
	switch {
	case stale && r.verdict == retry && r.after > 0 && g.shut:
		// The gate knows of the failure, but not how long the server wants us away.
		if until := time.Now().Add(r.after); until.After(g.until) {
			g.until = until
		}
		g.mu.Unlock()
	case stale:
		g.mu.Unlock()
	case r.verdict == retry:
		g.fail(r)
	case r.verdict == kept:
		g.bar(r)
	case g.shut || g.lifted != nil:
		g.open(r)
	default:
		g.mu.Unlock()
	}
}

// abandon returns a pass whose attempt was cut short by its request's own end.
func (g *gate) abandon(p pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.probe && p.era == g.era {
		g.probing = false
		g.wake()
	}
}

// cause returns the failure that shut the gate, or nil.
func (g *gate) cause() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		return nil
	}
	return g.err
}

// fail shuts the gate, or keeps it shut for longer. It unlocks g.mu.
func (g *gate) fail(r reply) {
	first := !g.shut
	now := time.Now()
	if first {
		g.began(now)
		g.shut, g.failures = true, 0
	}
	g.failures++
	// The server's wish counts when it is longer than our own patience.
	g.until = now.Add(max(backoff(g.failures), r.after))
	g.lift()
	g.changes(r.err)
	g.mu.Unlock()
	if first && g.onDown != nil {
		g.onDown(r.err)
	}
}

// bar lets everyone through for refusals that are kept. It unlocks g.mu.
func (g *gate) bar(r reply) {
	first := g.lifted == nil
	if first {
		g.began(time.Now())
		g.lifted = make(chan struct{})
		g.shut = false
		g.changes(r.err)
	}
	g.mu.Unlock()
	if first && g.onDown != nil {
		g.onDown(r.err)
	}
}

// open lets everyone through. It unlocks g.mu.
func (g *gate) open(r reply) {
	down := time.Since(g.since)
	g.shut = false
	g.lift()
	g.changes(nil)
	g.mu.Unlock()
	if g.onUp != nil {
		var refusal error
		if r.verdict == refused {
			refusal = r.err
		}
		g.onUp(down, refusal)
	}
}

// began notes when the trouble began: an endpoint that is down and then refuses has
// been in trouble all the time.
func (g *gate) began(now time.Time) {
	if !g.shut && g.lifted == nil {
		g.since = now
	}
}

func (g *gate) lift() {
	if g.lifted != nil {
		close(g.lifted)
		g.lifted = nil
	}
}

// untilLifted is closed when the bar is lifted. It is closed already if the gate is not
// barred: an answer may come after the one that has lifted the bar.
func (g *gate) untilLifted() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lifted == nil {
		return noBar
	}
	return g.lifted
}

// noBar is closed.
var noBar = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// changes ends the era.
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
