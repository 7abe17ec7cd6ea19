package delivery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// errUnsolicited is the end of a connection on which the server writes first.
var errUnsolicited = errors.New("the server sent data before it got a request")

// readBuffer is net/http's default of [http.Transport.ReadBufferSize], in bytes.
const readBuffer = 4 << 10

// quietConn hides from net/http what a server sends without a request, over HTTP/1 without TLS.
// net/http writes such bytes to the standard logger, which belongs to the service. net/http reads
// the connection through a buffer, so a Read into that buffer gets one byte: the buffer never holds
// more than the answer.
type quietConn struct {
	net.Conn
	buffer *bufio.Reader
	begun  atomic.Bool // something was written
	// what was written is not an HTTP request to the server: TLS, SOCKS or CONNECT
	opaque atomic.Bool
	asked  atomic.Pointer[httptrace.ClientTrace] // of the request whose answer is awaited
	used   atomic.Bool                           // a request has been answered
	ended  atomic.Bool                           // there is more than the answer
}

func newQuietConn(c net.Conn) *quietConn {
	return &quietConn{Conn: c, buffer: bufio.NewReaderSize(c, readBuffer)}
}

func (c *quietConn) Write(p []byte) (int, error) {
	// An HTTP request begins with its method, a TLS handshake (RFC 8446 §5.1) and SOCKS (RFC 1928
	// §3) with a number.
	if !c.begun.Swap(true) && len(p) > 0 && (p[0] < 'A' || p[0] > 'Z' || bytes.HasPrefix(p, []byte("CONNECT "))) {
		c.opaque.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *quietConn) Read(p []byte) (int, error) {
	if c.opaque.Load() {
		return c.buffer.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	_, err := c.buffer.Peek(1)
	switch {
	case err != nil:
		return 0, err
	case c.asked.Load() == nil && !c.used.Load() && !c.opaque.Load():
		return 0, errUnsolicited
	case c.ended.Load(), c.asked.Load() == nil:
		return 0, io.EOF // as if the server had closed the connection in time
	case len(p) <= readBuffer:
		p = p[:1]
	}
	return c.buffer.Read(p)
}

// answered is called when net/http has read the answer to a request, before it reads more. Another
// request may use the connection by then.
func (c *quietConn) answered(request *httptrace.ClientTrace) {
	c.used.Store(true)
	if c.buffer.Buffered() > 0 {
		c.ended.Store(true)
	}
	c.asked.CompareAndSwap(request, nil)
}

// Watched returns req with a trace that tells the connections of [Endpoint.NewTransport] when a
// request uses them.
func Watched(req *http.Request) *http.Request {
	var current atomic.Pointer[quietConn]
	trace := &httptrace.ClientTrace{}
	trace.GotConn = func(info httptrace.GotConnInfo) {
		c, _ := info.Conn.(*quietConn)
		if current.Store(c); c != nil {
			c.asked.Store(trace)
		}
	}
	trace.PutIdleConn = func(error) {
		if c := current.Load(); c != nil {
			c.answered(trace)
		}
	}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
}

// dialQuiet is dialTracked for net/http.
func (d *dialer) dialQuiet(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.dialTracked(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newQuietConn(c), nil
}
