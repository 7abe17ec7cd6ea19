package otlptest

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
)

// Fault is a way to misbehave. The zero Fault is a healthy collector. Fields combine: the delay
// comes first, then the hang, the cut, the error and the partial success, the first of these that
// applies to the protocol being the answer. Only a request that is well-formed and not too large
// meets the fault.
type Fault struct {
	// answer this late, successes too; what a client that has gone away by then sent is not stored
	Delay      time.Duration
	HTTPStatus int           // over HTTP, answer this status (300 to 599) instead of accepting; 0: accept
	GRPCCode   codes.Code    // over gRPC, answer this code instead of accepting; OK: accept
	RetryAfter time.Duration // sent with the error: Retry-After in seconds, rounded up, or RetryInfo; 0: not sent
	// never answer, until the client goes away, Close, Down, or SetFault, whose fault is then met
	Hang     bool
	Cut      bool   // read the request, then reset the connection without an answer
	Rejected int64  // partial success: the last N items of each request are rejected and not stored; 0: none
	Message  string // of the error or the partial success; alone, it is a warning in a full success
	Times    int    // of each signal, only the next N requests meet the fault, over either protocol; 0: all
}

// armedFault is the fault in force for one signal.
type armedFault struct {
	Fault
	left     int           // requests still to meet it, if Times is set
	replaced chan struct{} // closed by the next SetFault
}

// SetFault makes the requests that arrive from now on meet the fault: those of the given signals,
// or of all three. It replaces these signals' earlier fault; the zero Fault heals. A request under
// way keeps the fault it met, unless it hangs.
func (c *Collector) SetFault(f Fault, signals ...Signal) {
	if len(signals) == 0 {
		signals = []Signal{Traces, Metrics, Logs}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range signals {
		if earlier := c.faults[s]; earlier != nil {
			close(earlier.replaced)
		}
		c.faults[s] = &armedFault{Fault: f, left: f.Times, replaced: make(chan struct{})}
	}
}

// takeFault returns the fault that a request meets, and a channel that is closed when it is
// replaced. The caller holds c.mu.
func (c *Collector) takeFault(r *Request) (Fault, <-chan struct{}) {
	armed := c.faults[r.Signal]
	if armed == nil {
		return Fault{}, nil
	}
	if armed.Times > 0 {
		if armed.left == 0 {
			return Fault{}, nil
		}
		if !r.empty {
			armed.left--
		}
	}
	return armed.Fault, armed.replaced
}

// meetFault records a request, takes a fault and lives through its delay and hang. The context is
// the client's: it ends with the client or its connection, and so does meetFault.
func (c *Collector) meetFault(ctx context.Context, r *Request) (Fault, error) {
	c.mu.Lock()
	c.keep(r)
	f, replaced := c.takeFault(r) // at once: the next SetFault of a test that sees the request comes after it
	c.mu.Unlock()
	for {
		if f.Delay > 0 {
			late := time.NewTimer(f.Delay)
			select {
			case <-late.C:
			case <-ctx.Done():
				late.Stop()
			}
		}
		if !f.Hang {
			return f, ctx.Err()
		}
		select {
		case <-replaced:
			c.mu.Lock()
			f, replaced = c.takeFault(r)
			c.mu.Unlock()
		case <-ctx.Done():
			return f, ctx.Err()
		}
	}
}

// refuses reports whether nothing of a request over this protocol is accepted.
func (f Fault) refuses(protocol string) bool {
	switch protocol {
	case protocolHTTP:
		return f.Cut || f.HTTPStatus != 0
	default:
		return f.Cut || f.GRPCCode != codes.OK
	}
}

// receive lets a request that could be decoded meet the fault in force, and stores what that lets
// through. It returns the fault to answer with, its Rejected being the number of items really
// rejected; after an error there is no client to be answered.
func (c *Collector) receive(ctx context.Context, r *Request, items batch) (Fault, error) {
	r.Items = items.len()
	f, err := c.meetFault(ctx, r)
	if err != nil || f.refuses(r.Protocol) {
		return f, err
	}
	f.Rejected = max(0, min(f.Rejected, int64(r.Items)))
	c.accept(r, items.withoutLast(int(f.Rejected)))
	return f, nil
}
