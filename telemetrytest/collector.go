package telemetrytest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// Signal is one of the three kinds of telemetry.
type Signal string

// The signals.
const (
	Traces  Signal = "traces"
	Metrics Signal = "metrics"
	Logs    Signal = "logs"
)

// Fault is a way for a collector to misbehave. The zero Fault is a healthy collector. Fields combine: the delay comes
// first, then the hang, the cut, the error and the partial success, the first of these that applies to the protocol being
// the answer. Only a request that is well-formed and not too large meets the fault.
type Fault struct {
	Delay      time.Duration // answer this late, successes too; what a client that has gone away by then sent is not stored
	HTTPStatus int           // over HTTP, answer this status (300 to 599) instead of accepting; 0: accept
	GRPCCode   codes.Code    // over gRPC, answer this code instead of accepting; OK: accept
	RetryAfter time.Duration // sent with the error: Retry-After in seconds, rounded up, or RetryInfo; 0: not sent
	Hang       bool          // never answer, until the client goes away, or Down or the next SetFault, whose fault is then met
	Cut        bool          // read the request, then reset the connection without an answer
	Rejected   int64         // partial success: the last N items of each request are rejected, thus not stored; 0: none
	Message    string        // of the error or the partial success; alone, it is a warning in a full success
	Times      int           // of each signal, only the next N requests meet the fault, over either protocol; 0: all
}

// Request is one export request that reached a collector, whether it was accepted or not.
type Request struct {
	Signal   Signal      // "" if the HTTP path is none of OTLP's
	Protocol string      // "http/protobuf" or "grpc"
	Path     string      // over gRPC, the full method
	Header   http.Header // over gRPC, the metadata; Get works in any case for both
	Encoding string      // "gzip", "" for none, or another that was refused
	Bytes    int         // size of the body on the wire, thus compressed; 0 over gRPC if it could not be decoded
	Items    int         // spans, log records or metric data points, the rejected included; 0 if refused before it was decoded
	Accepted bool        // answered with success, be it partial; false also while it has no answer yet
	At       time.Time   // when it arrived
}

// Collector is an OTLP server in this process. All methods are safe for concurrent use.
//
// Every question asked of it first flushes what was started with [Start], so that what has ended by then has arrived when
// it answers; while it is down or misbehaves, that takes up to 15 s. Of a service that was started in another way, such as
// a process of its own, it knows what has arrived so far; the Require methods wait for what is on its way.
//
// The Require methods wait up to 5 s for what is missing, since a span may begin at any time. They give up after 500 ms in
// which nothing arrives if something of that name is there, with other attributes or in another trace, no span is open,
// and all that has arrived is of services which were started with [Start]: then it was most likely recorded in another
// way than the test expects. Where a worker pauses for longer between two spans of the same name, wait for the worker
// before asking.
type Collector struct {
	server     *otlptest.Collector
	tb         testing.TB
	settleTime time.Duration // how long it must be quiet before what is missing is not waited for
	flushLimit time.Duration // how long a question waits for a collector that is down, slow or hangs

	mu        sync.Mutex
	recorders []*Recorder
}

// NewCollector starts a collector on two free ports of the loopback interface, for OTLP over HTTP and over gRPC. It is
// closed when the test ends. It is for services that call telemetry.Init themselves, or that run as a process of their
// own; [Start] has one already.
func NewCollector(tb testing.TB) *Collector {
	tb.Helper()
	return &Collector{server: otlptest.New(tb), tb: tb, settleTime: settleTime, flushLimit: flushLimit}
}

// HTTPEndpoint returns the base URL for OTLP over HTTP, for OTEL_EXPORTER_OTLP_ENDPOINT.
func (c *Collector) HTTPEndpoint() string { return c.server.HTTPEndpoint() }

// GRPCEndpoint returns the URL for OTLP over gRPC, for OTEL_EXPORTER_OTLP_ENDPOINT with OTEL_EXPORTER_OTLP_PROTOCOL=grpc.
func (c *Collector) GRPCEndpoint() string { return c.server.GRPCEndpoint() }

// SetFault makes the requests that arrive from now on meet the fault: those of the given signals, or of all three. It
// replaces these signals' earlier fault; the zero Fault heals. A request under way keeps the fault it met, unless it hangs.
func (c *Collector) SetFault(f Fault, signals ...Signal) {
	c.server.SetFault(otlptest.Fault(f), each(signals, func(s Signal) otlptest.Signal { return otlptest.Signal(s) })...)
}

// SetMaxRequestBytes refuses, from the next request on, those whose body has more than n bytes once decompressed. Zero or
// less means no limit, the default.
func (c *Collector) SetMaxRequestBytes(n int) { c.server.SetMaxRequestBytes(n) }

// Down closes both ports and resets every connection at once, as a collector that is restarted does: requests under way
// get no answer. What has arrived is kept. Down is a no-op while down.
func (c *Collector) Down() {
	c.tb.Helper()
	if err := c.server.Down(); err != nil {
		c.tb.Errorf("telemetrytest: the collector does not go down: %v", err)
	}
}

// Up listens again, on the same ports, after [Collector.Down]; if another process has taken one meanwhile, the test fails.
// Up is a no-op while up.
func (c *Collector) Up() {
	c.tb.Helper()
	if err := c.server.Up(); err != nil {
		c.tb.Errorf("telemetrytest: the collector does not come up again: %v", err)
	}
}

// Reset forgets what has arrived, but not the faults. What is still on its way is flushed first, and forgotten with the
// rest.
func (c *Collector) Reset() {
	_ = c.flush()
	c.server.Reset()
}

// Requests returns the requests that have reached the collector, oldest first. A request is there as soon as it has been
// read, thus while its answer is late or never comes. It alone does not flush, since a request is what it asks about.
func (c *Collector) Requests() []Request {
	return each(c.server.Requests(), func(r otlptest.Request) Request {
		return Request{
			Signal(r.Signal), r.Protocol, r.Path, r.Header, r.Encoding, r.Bytes, r.Items, r.Accepted, r.At,
		}
	})
}

// settleTime is enough for a goroutine to begin what another one has left to it, also on a busy machine.
const settleTime = 500 * time.Millisecond

// flushLimit is long, because machines that run tests are busy.
const flushLimit = 15 * time.Second

// flush delivers what has been recorded so far with Start. The error says what was not delivered; a test that has made the
// collector misbehave expects it.
func (c *Collector) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.flushLimit)
	defer cancel()
	recorders := c.started()
	errs := make([]error, len(recorders))
	var flushes sync.WaitGroup
	for i, r := range recorders {
		flushes.Go(func() { errs[i] = r.Guard.ForceFlush(ctx) })
	}
	flushes.Wait()
	return errors.Join(errs...)
}

func (c *Collector) started() []*Recorder {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.recorders)
}
