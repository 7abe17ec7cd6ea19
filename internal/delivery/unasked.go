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

// errUnasked is the end of a connection on which the server speaks first.
var errUnasked = errors.New("the server has spoken before it was asked")

// readBuffer is net/http's default of [http.Transport.ReadBufferSize], in bytes.
const readBuffer = 4 << 10

// askedConn keeps from net/http what a server sends without being asked, over HTTP/1
// without TLS. net/http writes such bytes into the log of the process, which is the
// service's. It reads the connection through a buffer, so a Read into that buffer
// gets one byte: there is never more in it than belongs to the answer.
type askedConn struct {
	net.Conn
	buffer *bufio.Reader
	begun  atomic.Bool                           // something was written
	passes atomic.Bool                           // what was written is not an HTTP request to the server: TLS, SOCKS or CONNECT
	asked  atomic.Pointer[httptrace.ClientTrace] // of the request whose answer is awaited
	used   atomic.Bool                           // a request has been answered
	ended  atomic.Bool                           // there is more than the answer
}

func newAskedConn(c net.Conn) *askedConn {
	return &askedConn{Conn: c, buffer: bufio.NewReaderSize(c, readBuffer)}
}

func (c *askedConn) Write(p []byte) (int, error) {
	// An HTTP request begins with its method, a TLS handshake (RFC 8446 §5.1) and SOCKS (RFC 1928 §3) with a number.
	if !c.begun.Swap(true) && len(p) > 0 && (p[0] < 'A' || p[0] > 'Z' || bytes.HasPrefix(p, []byte("CONNECT "))) {
		c.passes.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *askedConn) Read(p []byte) (int, error) {
	if c.passes.Load() {
		return c.buffer.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	_, err := c.buffer.Peek(1)
	switch {
	case err != nil:
		return 0, err
	case c.asked.Load() == nil && !c.used.Load() && !c.passes.Load():
		return 0, errUnasked
	case c.ended.Load(), c.asked.Load() == nil:
		return 0, io.EOF // as if the server had closed the connection in time
	case len(p) <= readBuffer:
		p = p[:1]
	}
	return c.buffer.Read(p)
}

// answered is called when net/http has read the answer to a request, before it reads
// on. Another request may have got the connection by then.
func (c *askedConn) answered(request *httptrace.ClientTrace) {
	c.used.Store(true)
	if c.buffer.Buffered() > 0 {
		c.ended.Store(true)
	}
	c.asked.CompareAndSwap(request, nil)
}

// Watched returns req with what tells the connections of [Endpoint.NewTransport] when
// they are asked.
func Watched(req *http.Request) *http.Request {
	var current atomic.Pointer[askedConn]
	trace := &httptrace.ClientTrace{}
	trace.GotConn = func(info httptrace.GotConnInfo) {
		c, _ := info.Conn.(*askedConn)
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

// dialAsked is dialTracked for net/http.
func (d *dialer) dialAsked(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.dialTracked(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newAskedConn(c), nil
}
