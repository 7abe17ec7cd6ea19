package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// DefaultAttemptTimeout bounds one attempt unless configured: OTEL_EXPORTER_OTLP_TIMEOUT's default
// in the specification.
const DefaultAttemptTimeout = 10 * time.Second

// Config describes how requests to one endpoint are delivered.
type Config struct {
	// AttemptTimeout bounds one attempt, from the first byte sent to the last byte of the answer:
	// OTEL_EXPORTER_OTLP_TIMEOUT. All attempts together are bounded by the context of the request.
	// Zero or less means [DefaultAttemptTimeout].
	AttemptTimeout time.Duration
	// Gzip compresses requests. Each is compressed once over HTTP, however many attempts it takes,
	// and once per attempt over gRPC.
	Gzip bool
	// Headers, if set, returns the current headers: credentials that are renewed while the process
	// runs. They replace headers of the same name. It is called for each attempt, concurrently;
	// while it fails, requests wait as they do for an endpoint that is down.
	Headers func(context.Context) (map[string]string, error)
	// Spool, if set, keeps requests whose first attempt fails in a way that is worth retrying,
	// those that are refused because of the endpoint or the credential, and those that arrive while
	// the endpoint is down. A [Replayer] sends them. Requests that cannot be spooled are retried
	// from memory, or fail.
	Spool *spool.Store
	// OnDown, if set, is called with the cause when requests of a signal begin to fail in a way
	// that is worth retrying, or to be refused and spooled. OnUp is called when the server answers
	// again, with the time since OnDown and, if the server refused the request, the reason. Both
	// are called from the goroutine of an export, for each signal one after the other, and must not
	// block. OnUp is called before the export is counted, unless another goroutine was in OnDown.
	OnDown func(of signal.Signal, cause error)
	OnUp   func(of signal.Signal, after time.Duration, refusal error)
}

// Endpoint delivers requests to one endpoint, over HTTP through [Endpoint.Transport] or gRPC
// through [Endpoint.GRPCConn]. Share one between all exporters of a connection. It is safe for
// concurrent use and owns no goroutine.
//
// Each signal has its own gate: while a signal's requests fail, one worker at a time tries the
// endpoint and the others wait for it. Signals do not share a gate, because collectors throttle by
// pipeline, and refused log records must not hold spans back.
type Endpoint struct {
	cfg    Config
	gzip   gzipPool
	mu     sync.Mutex
	gates  map[string]*gate
	dialer dialer

	reached atomic.Bool // an attempt has shown that something listens there
	givenUp atomic.Bool // see GiveUp
}

// New returns an endpoint for cfg.
func New(cfg Config) *Endpoint {
	if cfg.AttemptTimeout <= 0 {
		cfg.AttemptTimeout = DefaultAttemptTimeout
	}
	return &Endpoint{cfg: cfg, gates: map[string]*gate{}}
}

// GiveUp ends the wait for an endpoint at which nothing has listened since New: each connection was
// refused, or its name not found. From then on a request whose attempt fails like that is given up,
// and spooled if possible. It changes nothing for an endpoint that has answered, has refused a
// request or is silent.
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

// isGivenUp reports whether requests no longer wait for the endpoint.
func (e *Endpoint) isGivenUp() bool { return e.givenUp.Load() && !e.reached.Load() }

// gate returns the gate of the requests that go to key: a URL or a gRPC method.
func (e *Endpoint) gate(key string, of signal.Signal) *gate {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.gates[key]
	if g == nil {
		g = newGate(e.isGivenUp)
		if e.cfg.OnDown != nil {
			g.onDown = func(err error) { e.cfg.OnDown(of, err) }
		}
		if e.cfg.OnUp != nil {
			g.onUp = func(after time.Duration, refusal error) { e.cfg.OnUp(of, after, refusal) }
		}
		e.gates[key] = g
	}
	return g
}
