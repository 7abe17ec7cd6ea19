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
	"github.com/fleetotel/telemetry/internal/signal"
)

// Signal is one of the three signals.
type Signal string

// The signals.
const (
	Traces  Signal = "traces"
	Metrics Signal = "metrics"
	Logs    Signal = "logs"
)

// Fault is a way for a collector to misbehave. The zero Fault is a healthy collector. Fields
// combine: the delay comes first, then the hang, the cut, the error and the partial success. Of
// these, the first one that applies to the protocol is the answer. A fault applies only to a
// well-formed request that is not too large.
type Fault struct {
	Delay      time.Duration // delays every answer; if the client has disconnected by then, its request is not stored
	HTTPStatus int           // over HTTP, answer this status (300 to 599) instead of accepting; 0: accept
	GRPCCode   codes.Code    // over gRPC, answer this code instead of accepting; OK: accept
	RetryAfter time.Duration // sent with the error: Retry-After in seconds, rounded up, or RetryInfo; 0: not sent
	Hang       bool          // no answer until the client disconnects, Down, or the next SetFault, which then applies
	Cut        bool          // read the request, then reset the connection
	Rejected   int64         // partial success: the last N items of each request are rejected and not stored; 0: none
	Message    string        // the message of the error or partial success; alone, a warning in a full success
	Times      int           // only the next N requests of each signal, over either protocol; 0: all
}

// Request is one export request that reached a collector, whether it was accepted or not.
type Request struct {
	Signal   Signal      // "" if the HTTP path is not an OTLP path
	Protocol string      // "http/protobuf" or "grpc"
	Path     string      // over gRPC, the full method
	Header   http.Header // over gRPC, the metadata; Get works in any case for both
	Encoding string      // "gzip", "" for none, or an encoding that was refused
	Bytes    int         // size of the body on the wire, compressed; 0 over gRPC if it could not be decoded
	Items    int         // spans, log records or data points, including rejected ones; 0 if refused before decoding
	Accepted bool        // answered with full or partial success; false until answered
	At       time.Time   // when it arrived
}

// Collector is an OTLP server in this process. All methods are safe for concurrent use.
//
// Every query first flushes the telemetry started with [Start], so everything that has ended has
// arrived. While the collector is down or misbehaves, the flush takes up to 15 s. A service that
// was started in another way, such as a separate process, is not flushed. For it, the result is
// what has arrived so far, and the Require methods wait for the rest.
//
// The Require methods wait up to 5 s, because a span may begin at any time. They give up after 500
// ms without new data if something of that name has arrived with other attributes or in another
// trace, no span is open, and all services that sent data were started with [Start]. Then it was
// most likely recorded differently from what the test expects. If a worker pauses longer than that
// between two spans of the same name, wait for the worker first.
type Collector struct {
	server     *otlptest.Collector
	tb         testing.TB
	settleTime time.Duration // how long without new data until a Require method gives up early
	flushLimit time.Duration // how long a flush waits for a collector that is down, slow or hanging

	mu        sync.Mutex
	recorders []*Recorder
}

// NewCollector starts a collector on two free ports of the loopback interface, for OTLP over HTTP
// and over gRPC. It is closed at the end of the test. Use it for services that call telemetry.Init
// themselves or run as a separate process. [Start] already includes a collector.
func NewCollector(tb testing.TB) *Collector {
	tb.Helper()
	return &Collector{server: otlptest.New(tb), tb: tb, settleTime: settleTime, flushLimit: flushLimit}
}

// HTTPEndpoint returns the base URL for OTLP over HTTP, for OTEL_EXPORTER_OTLP_ENDPOINT.
func (c *Collector) HTTPEndpoint() string { return c.server.HTTPEndpoint() }

// GRPCEndpoint returns the URL for OTLP over gRPC, for OTEL_EXPORTER_OTLP_ENDPOINT with
// OTEL_EXPORTER_OTLP_PROTOCOL=grpc.
func (c *Collector) GRPCEndpoint() string { return c.server.GRPCEndpoint() }

// SetFault applies the fault to new requests of the given signals, or of all signals if none are
// given. It replaces their earlier fault; the zero Fault makes the collector healthy. Requests in
// progress keep their fault, unless they hang.
func (c *Collector) SetFault(f Fault, signals ...Signal) {
	c.server.SetFault(otlptest.Fault(f),
		each(signals, func(s Signal) otlptest.Signal { return signal.Named(string(s)) })...)
}

// SetMaxRequestBytes refuses new requests whose body is larger than n bytes after decompression.
// Zero or less means no limit, the default.
func (c *Collector) SetMaxRequestBytes(n int) { c.server.SetMaxRequestBytes(n) }

// Down closes both ports and resets all connections, like a collector that restarts. Requests in
// progress get no answer. Data that has arrived is kept. Down does nothing if the collector is
// down.
func (c *Collector) Down() {
	c.tb.Helper()
	if err := c.server.Down(); err != nil {
		c.tb.Errorf("telemetrytest: the collector does not go down: %v", err)
	}
}

// Up listens again on the same ports after [Collector.Down]. If another process has taken one of
// them, the test fails. Up does nothing if the collector is up.
func (c *Collector) Up() {
	c.tb.Helper()
	if err := c.server.Up(); err != nil {
		c.tb.Errorf("telemetrytest: the collector does not come up again: %v", err)
	}
}

// Reset discards the data that has arrived, but not the faults. Pending data is flushed first and
// discarded too.
func (c *Collector) Reset() {
	_ = c.flush()
	c.server.Reset()
}

// Requests returns the requests that have reached the collector, oldest first. A request is
// included as soon as it has been read, even if its answer is late or never comes. Unlike the other
// queries, Requests does not flush, because a flush sends requests.
func (c *Collector) Requests() []Request {
	return each(c.server.Requests(), func(r otlptest.Request) Request {
		return Request{
			Signal(r.Signal.String()), r.Protocol, r.Path, r.Header, r.Encoding, r.Bytes, r.Items, r.Accepted, r.At,
		}
	})
}

// settleTime is long enough for one goroutine to start work for another, even on a busy machine.
const settleTime = 500 * time.Millisecond

// flushLimit is long because machines that run tests are busy.
const flushLimit = 15 * time.Second

// flush delivers everything recorded so far with Start. The error says what was not delivered. A
// test that made the collector misbehave expects it.
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
