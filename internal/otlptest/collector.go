// Package otlptest runs an OTLP server inside the process: HTTP and gRPC, traces, metrics and logs,
// gzip and TLS. It keeps what arrives, decoded, and misbehaves on request, so that a test can
// assert what really reached a collector.
package otlptest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// The protocols, as OTEL_EXPORTER_OTLP_PROTOCOL spells them.
const (
	protocolHTTP = "http/protobuf"
	protocolGRPC = "grpc"
)

// TB is the part of testing.TB that New needs; the package does not import testing, so that
// programs can use it too.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Option configures Start and New.
type Option func(*Collector)

// WithTLS makes both ports speak TLS with this configuration, which must have a server certificate.
// Plaintext is then refused, and counted by PlaintextBytes. Nil means no TLS.
func WithTLS(config *tls.Config) Option {
	return func(c *Collector) { c.tls = config }
}

// WithMaxRequestBytes refuses requests of more than n bytes; see Collector.SetMaxRequestBytes.
func WithMaxRequestBytes(n int) Option {
	return func(c *Collector) { c.SetMaxRequestBytes(n) }
}

// Collector is a running OTLP server. All methods are safe for concurrent use.
type Collector struct {
	tls       *tls.Config // nil: plaintext
	httpAddr  string      // claimed by Start until Close
	grpcAddr  string      // the same
	maxBytes  atomic.Int64
	plaintext atomic.Int64

	lifecycle sync.Mutex   // serializes Up, Down and Close
	down      func() error // stops both servers; nil while they are down
	claims    []io.Closer  // of both addresses; nil once closed
	closed    bool

	mu       sync.Mutex
	requests []*Request
	probes   []*Request // those without items
	stored   batch
	changed  chan struct{} // closed and replaced at each arrival
	faults   map[Signal]*armedFault
}

// Start listens on two free ports of 127.0.0.1, one for OTLP/HTTP and one for OTLP/gRPC. The caller
// must Close it.
func Start(opts ...Option) (*Collector, error) {
	c := &Collector{changed: make(chan struct{}), faults: make(map[Signal]*armedFault)}
	for _, opt := range opts {
		opt(c)
	}
	if c.tls != nil && len(c.tls.Certificates) == 0 && c.tls.GetCertificate == nil && c.tls.GetConfigForClient == nil {
		return nil, errors.New("otlptest: the TLS configuration has no server certificate")
	}
	for _, addr := range []*string{&c.httpAddr, &c.grpcAddr} {
		claimed, err := claim()
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.claims = append(c.claims, claimed)
		*addr = claimed.LocalAddr().String()
	}
	if err := c.serve(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// New is Start for tests: it fails the test if the collector cannot start, and closes it when the
// test ends.
func New(tb TB, opts ...Option) *Collector {
	tb.Helper()
	c, err := Start(opts...)
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// HTTPEndpoint returns the base URL for OTLP/HTTP, such as "http://127.0.0.1:40001"; https with
// TLS.
func (c *Collector) HTTPEndpoint() string { return c.url(c.httpAddr) }

// GRPCEndpoint returns the URL for OTLP/gRPC, such as "http://127.0.0.1:40002"; https with TLS.
func (c *Collector) GRPCEndpoint() string { return c.url(c.grpcAddr) }

// Endpoint returns the URL for the protocol "http/protobuf" or "grpc", and "" for any other.
func (c *Collector) Endpoint(protocol string) string {
	switch protocol {
	case protocolHTTP:
		return c.HTTPEndpoint()
	case protocolGRPC:
		return c.GRPCEndpoint()
	}
	return ""
}

func (c *Collector) url(addr string) string {
	if c.tls != nil {
		return "https://" + addr
	}
	return "http://" + addr
}

// SetMaxRequestBytes refuses, from the next request on, those whose body has more than n bytes once
// decompressed: with status 413 over HTTP, with ResourceExhausted and grpc-go's own words over
// gRPC. Zero or less means no limit, the default.
func (c *Collector) SetMaxRequestBytes(n int) { c.maxBytes.Store(int64(n)) }

// tooLarge reports whether a body of this size exceeds the limit, and the limit.
func (c *Collector) tooLarge(size int64) (limit int64, exceeded bool) {
	limit = c.maxBytes.Load()
	return limit, limit > 0 && size > limit
}

// PlaintextBytes returns how many bytes the collector has read from connections that did not begin
// with a TLS handshake although it speaks TLS. It stays 0 without TLS.
func (c *Collector) PlaintextBytes() int64 { return c.plaintext.Load() }

// Down closes both ports and resets every connection at once, as a collector that is restarted
// does: requests under way get no answer. It returns when nothing runs any more. What has arrived
// is kept. Down is a no-op while down.
func (c *Collector) Down() error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	return c.stop()
}

// Up listens again, on the same ports, after Down; no other collector has taken them. It fails if a
// foreign process has, or if the collector is closed. Up is a no-op while up.
func (c *Collector) Up() error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	switch {
	case c.closed:
		return errors.New("otlptest: the collector is closed")
	case c.down != nil:
		return nil
	}
	return c.serve()
}

// Close is Down for good; no goroutine is left. What has arrived stays readable. It may be called
// more than once.
func (c *Collector) Close() error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	c.closed = true
	errs := []error{c.stop()}
	for _, claimed := range c.claims {
		errs = append(errs, claimed.Close())
	}
	c.claims = nil
	return errors.Join(errs...)
}

// stop stops both servers if they run. The caller holds c.lifecycle.
func (c *Collector) stop() error {
	if c.down == nil {
		return nil
	}
	err := c.down()
	c.down = nil
	return err
}

// serve starts both servers and sets c.down.
func (c *Collector) serve() error {
	web, err := c.listen(c.httpAddr)
	if err != nil {
		return fmt.Errorf("otlptest: listen for OTLP/HTTP: %w", err)
	}
	rpc, err := c.listen(c.grpcAddr)
	if err != nil {
		return errors.Join(fmt.Errorf("otlptest: listen for OTLP/gRPC: %w", err), web.Close())
	}
	stopHTTP, stopGRPC := c.serveHTTP(web), c.serveGRPC(rpc)
	c.down = func() error {
		// Both ports and all connections go first: a server that is stopped in order would still
		// answer.
		err := errors.Join(web.abort(), rpc.abort())
		stopHTTP()
		stopGRPC()
		return err
	}
	return nil
}
