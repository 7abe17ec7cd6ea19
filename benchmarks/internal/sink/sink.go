// Package sink is an OTLP collector in a process of its own that counts what arrives, over HTTP and
// gRPC, and answers after a delay. It decodes next to nothing; internal/otlptest keeps everything,
// decoded, and would itself need a core at the rates measured here.
package sink

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fleetotel/telemetry/benchmarks/internal/child"
)

// Role is the sink's, for child.Main.
const Role = "collector"

// Command changes the delay of the answers and, as every command does, asks for what has arrived
// since the last Reset.
type Command struct {
	Delay time.Duration
	Reset bool // forget what has arrived
	Keep  bool // leave the delay as it is
}

// Arrived is what has arrived. An item counts as soon as its request has been read.
type Arrived struct {
	HTTP, GRPC string // the base URLs
	Spans      int64
	Records    int64
	Bytes      int64         // of the bodies of traces and logs, compressed, as they came over the wire
	Requests   int64         // of traces and logs
	CPU        time.Duration // of the collector's process
}

// Items are the spans or the log records, whichever was sent.
func (a Arrived) Items() int64 { return a.Spans + a.Records }

// counters is the sink.
type counters struct {
	delay                           atomic.Int64
	spans, records, bytes, requests atomic.Int64
}

// signals are told by the end of the HTTP path or by the gRPC service; metrics are answered and not
// counted.
func (c *counters) add(signal string, items, wire int64) {
	switch {
	case strings.Contains(signal, "trace"):
		c.spans.Add(items)
	case strings.Contains(signal, "log"):
		c.records.Add(items)
	default:
		return
	}
	c.bytes.Add(wire)
	c.requests.Add(1)
}

// answer waits as long as a distant or busy collector would.
func (c *counters) answer(ctx context.Context) {
	delay := time.Duration(c.delay.Load())
	if delay <= 0 {
		return
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Serve plays the role: it sends an Arrived at first, for the addresses, and then one for each
// Command.
func Serve(p *child.Pipe) error {
	var c counters
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	rpc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = (&http.Server{Handler: &c}).Serve(web) }() // both end with the process
	go func() { _ = c.grpcServer().Serve(rpc) }()
	reply := func() Arrived {
		return Arrived{
			HTTP: "http://" + web.Addr().String(), GRPC: "http://" + rpc.Addr().String(),
			Spans: c.spans.Load(), Records: c.records.Load(), Bytes: c.bytes.Load(), Requests: c.requests.Load(),
			CPU: cpu(),
		}
	}
	for {
		if err := p.Send(reply()); err != nil {
			return err
		}
		var command Command
		if err := p.Receive(&command); err != nil {
			return err
		}
		if !command.Keep {
			c.delay.Store(int64(command.Delay))
		}
		if command.Reset {
			for _, n := range []*atomic.Int64{&c.spans, &c.records, &c.bytes, &c.requests} {
				n.Store(0)
			}
		}
	}
}

// ServeHTTP implements OTLP/HTTP.
func (c *counters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone away
	}
	plain, err := decompress(r.Header.Get("Content-Encoding"), body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.add(r.URL.Path, countItems(plain.Bytes()), int64(len(body)))
	release(plain)
	c.answer(r.Context())
	w.Header().Set("Content-Type", "application/x-protobuf")
}
