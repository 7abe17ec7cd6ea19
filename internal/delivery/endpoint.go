package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetotel/telemetry/internal/spool"
)

// DefaultAttemptTimeout bounds one attempt unless configured:
// OTEL_EXPORTER_OTLP_TIMEOUT's default in the specification.
const DefaultAttemptTimeout = 10 * time.Second

// Config describes how requests to one endpoint are delivered.
type Config struct {
	// AttemptTimeout bounds one attempt, from the first byte sent to the last
	// byte of the answer: OTEL_EXPORTER_OTLP_TIMEOUT. All attempts together are
	// bounded by the context of the request. Zero or less means
	// [DefaultAttemptTimeout].
	AttemptTimeout time.Duration
	// Gzip compresses requests. Each is compressed once over HTTP, however
	// many attempts it takes, and once per attempt over gRPC.
	Gzip bool
	// Headers, if set, returns the headers of the moment: credentials that are
	// renewed while the process runs. They replace headers of the same name. It is
	// called for each attempt, concurrently; while it fails, requests wait as they
	// do for an endpoint that is down.
	Headers func(context.Context) (map[string]string, error)
	// Spool, if set, keeps requests whose first attempt fails in a way that is worth
	// retrying, those that are refused for what the endpoint or the credential is, and
	// those that come while the endpoint is down. A [Replayer] sends them. Requests
	// that it cannot keep are retried from memory, or fail.
	Spool *spool.Store
	// OnDown, if set, is called when requests of a signal begin to fail in a way
	// that is worth retrying, or are refused and kept, with the cause; OnUp when the server answers again,
	// with the time between and, if its answer is no, the reason. Both are called
	// from the goroutine of an export, OnUp before the export is booked, and must
	// not block.
	OnDown func(signal string, cause error)
	OnUp   func(signal string, after time.Duration, refusal error)
}

// Endpoint delivers requests to one endpoint, over HTTP through [Endpoint.Transport]
// or gRPC through [Endpoint.GRPCConn]. Share one between all exporters of a
// connection. It is safe for concurrent use and owns no goroutine.
//
// Each signal has a gate of its own: while a signal's requests fail, one worker
// at a time tries the endpoint and the others wait for it. The gates are not
// shared between signals, since collectors throttle by pipeline and refused log
// records must not hold spans back.
type Endpoint struct {
	cfg    Config
	gzip   gzipPool
	mu     sync.Mutex
	gates  map[string]*gate
	dialer dialer

	present atomic.Bool // an attempt has shown that something listens there
	givenUp atomic.Bool
}

// New returns an endpoint for cfg.
func New(cfg Config) *Endpoint {
	if cfg.AttemptTimeout <= 0 {
		cfg.AttemptTimeout = DefaultAttemptTimeout
	}
	return &Endpoint{cfg: cfg, gates: map[string]*gate{}}
}

// GiveUp ends the wait for an endpoint at which nothing has listened since New:
// each connection was refused, or its name not found. From then on a request
// whose attempt fails like that is given up, and spooled if it can be. It changes
// nothing for an endpoint that has answered, refused or kept silent.
func (e *Endpoint) GiveUp() {
	e.givenUp.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, g := range e.gates {
		g.mu.Lock()
		g.wake()
		g.mu.Unlock()
	}
}

func (e *Endpoint) hopeless() bool { return e.givenUp.Load() && !e.present.Load() }

// gate returns the gate of the requests that go to key: a URL or a gRPC method.
func (e *Endpoint) gate(key, signal string) *gate {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.gates[key]
	if g == nil {
		g = newGate(e.hopeless)
		if e.cfg.OnDown != nil {
			g.onDown = func(err error) { e.cfg.OnDown(signal, err) }
		}
		if e.cfg.OnUp != nil {
			g.onUp = func(after time.Duration, refusal error) { e.cfg.OnUp(signal, after, refusal) }
		}
		e.gates[key] = g
	}
	return g
}

// verdict is what an attempt's answer means for the request.
type verdict int

const (
	taken    verdict = iota // the server answered with success, perhaps a partial one
	retry                   // not now: worth another attempt
	kept                    // not now: on disk for later
	tooLarge                // not in this size
	refused                 // never
)

// reply is what one attempt learned.
type reply struct {
	verdict  verdict
	rejected int64         // items the server refused although it took the request, or would refuse
	after    time.Duration // how long the server asks to wait before the next attempt
	place    bool          // refused for what endpoint, credentials or TLS are, not for what was sent
	absent   bool          // nothing listens there
	local    bool          // no request was made: the answer is known
	fits     int64         // with tooLarge: how many items may fit
	late     bool          // refused because there is no time left
	unsent   *spool.Request
	err      error
}

// misplaced reports whether the request is refused for a reason outside of it that a
// person can remove: a wrong endpoint or credential.
func (r reply) misplaced() bool { return r.verdict == refused && r.place }

// call is one request, as deliver sees it.
type call struct {
	gate  *gate
	where string                      // names the endpoint for an operator
	size  int64                       // in bytes, before compression
	items int64                       // 0 if it is not known
	try   func(context.Context) reply // makes one attempt
	keep  func() error                // puts the request on disk; nil if it cannot be
	// unsent returns the request for its caller to keep; nil if it does not ask for it.
	unsent func() *spool.Request
}

var (
	// ErrAttemptTimeout is the cause of an attempt's end when the attempt, and not
	// the request, ran out of time.
	ErrAttemptTimeout = errors.New("no answer in time")
	// errNoAnswer is the error of an attempt that the request's end cut short.
	errNoAnswer = errors.New("no answer yet")
	// errNeverThere is the reason why a request is not tried again after GiveUp.
	errNeverThere = errors.New("nothing has ever listened there")
)

// deliver tries until a reply settles the request, the request is on disk, ctx
// ends, or the endpoint is given up. It returns the last reply, worded for an
// operator.
func (e *Endpoint) deliver(ctx context.Context, c call) reply {
	if replay := replayOf(ctx); replay != nil {
		return e.deliverOnce(ctx, c, replay)
	}
	if asking(ctx) {
		c.items = 0 // it has none
		return e.attempt(ctx, c).worded(c.where, 1, 0, nil)
	}
	if spoolOnly(ctx) {
		return c.keepNow()
	}
	var (
		g        = c.gate
		start    = time.Now()
		last     reply
		attempts int
		relapses int
		end      error // why there is no further attempt
	)
	g.live.Add(1)
	defer g.live.Add(-1)
	onDisk := func(cause error) reply {
		return reply{verdict: kept, err: cause}.worded(c.where, attempts, time.Since(start), nil)
	}
	for {
		if cause := g.cause(); cause != nil && c.keeps() {
			return onDisk(cause)
		}
		p, err := g.enter(ctx)
		if err != nil {
			end = err
			if last.err == nil {
				last.err = g.cause()
			}
			break
		}
		attempts++
		r := e.attempt(ctx, c)
		if r.verdict == retry && ctx.Err() != nil {
			// The end of the request's own time says nothing about the endpoint; the
			// attempt before may have.
			if last.err == nil {
				last = r
			}
			g.abandon(p)
			break
		}
		last = c.judge(p, r)
		if last.verdict != retry {
			return last.worded(c.where, attempts, time.Since(start), nil)
		}
		// A request that fails again where others have just succeeded is itself
		// the trouble: it must not shut the gate for them at every turn.
		if attempts > 1 && !p.probe {
			relapses++
			if wait(ctx, backoff(relapses)) != nil {
				break
			}
		}
	}
	end = cmp.Or(end, context.Cause(ctx))
	last.verdict = refused
	if err := c.put(); err == nil {
		return onDisk(cmp.Or(last.err, end))
	} else if c.splits(err) {
		last.verdict = tooLarge
	} else {
		last = c.leaves(last)
	}
	return last.worded(c.where, attempts, time.Since(start), end)
}

// judge tells the gate what an attempt learned, and puts the request on disk if it
// has to wait: the reply is then kept.
func (c call) judge(p pass, r reply) reply {
	if r.local {
		c.gate.abandon(p)
		if r.verdict == refused && c.keeps() {
			r.verdict = kept
		}
		return r
	}
	if r.misplaced() && c.keeps() {
		r.verdict = kept
	}
	c.gate.leave(p, r)
	if r.verdict == retry && c.keeps() {
		r.verdict = kept
	}
	return r
}

// enoughTime is how long an attempt has to be without an answer, at least, before
// it speaks against its connection.
const enoughTime = time.Second

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
		r = e.heard(timed, begin, r)
	}
	if !r.absent && ctx.Err() == nil { // what is cut short has learned nothing
		e.present.Store(true)
	}
	return turn.learn(r)
}

// heard notes whether the attempt of ctx, which began at a time, had an answer, and
// returns its reply with what is known of the connection.
func (e *Endpoint) heard(ctx context.Context, begin time.Time, r reply) reply {
	silent := r.verdict == retry && errors.Is(ctx.Err(), context.DeadlineExceeded)
	if silent {
		if how := e.dialer.unconnected(); how != "" {
			r.err = fmt.Errorf("%w: %s", r.err, how)
		}
	}
	// What little time the request had left says nothing about the connection.
	if !silent || time.Since(begin) >= min(e.cfg.AttemptTimeout, enoughTime) {
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
