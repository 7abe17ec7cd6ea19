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
type gate struct {
	onDown func(error)
	onUp   func(time.Duration, error)
	// hopeless says that the endpoint is not worth waiting for.
	hopeless func() bool
	live     atomic.Int64 // requests that are being delivered, those from the spool apart

	mu       sync.Mutex
	shut     bool
	probing  bool
	failures int       // in a row, since the gate was last open
	since    time.Time // when it was shut
	until    time.Time // no probe before
	err      error     // the last failure
	era      uint64    // counts failures that moved the gate and openings
	changed  chan struct{}
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
			return pass{}, errNobody
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
	case stale || (!g.shut && r.verdict != retry):
		g.mu.Unlock()
	case r.verdict == retry:
		g.fail(r)
	default:
		g.open(r)
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
		g.shut, g.since, g.failures = true, now, 0
	}
	g.failures++
	g.era++
	g.probing = false
	g.err = r.err
	// The server's wish counts when it is longer than our own patience.
	g.until = now.Add(max(backoff(g.failures), r.after))
	g.wake()
	g.mu.Unlock()
	if first && g.onDown != nil {
		g.onDown(r.err)
	}
}

// open lets everyone through. It unlocks g.mu.
func (g *gate) open(r reply) {
	down := time.Since(g.since)
	g.shut, g.probing, g.err = false, false, nil
	g.era++
	g.wake()
	g.mu.Unlock()
	if g.onUp != nil {
		var refusal error
		if r.verdict == refused {
			refusal = r.err
		}
		g.onUp(down, refusal)
	}
}

// wake makes every waiting worker look again.
func (g *gate) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}
