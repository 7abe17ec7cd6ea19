package otlptest

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// tlsHandshake is the type of the first record of every TLS connection (RFC 8446, section 5.1).
const tlsHandshake = 0x16

// listener knows its open connections, so that one or all of them can be cut below TLS, HTTP and
// gRPC.
type listener struct {
	net.Listener
	plaintext *atomic.Int64 // counts bytes that are not TLS; nil: TLS is not expected

	mu     sync.Mutex
	conns  map[string]*conn // by remote address, which is what both servers tell of a request's connection
	closed bool
}

func (c *Collector) listen(addr string) (*listener, error) {
	inner, err := listenAgain(addr)
	if err != nil {
		return nil, err
	}
	l := &listener{Listener: inner, conns: make(map[string]*conn)}
	if c.tls != nil {
		l.plaintext = &c.plaintext
	}
	return l, nil
}

// listenAgain listens at a port that this process may have closed just before. Until a process that
// is started at that time runs its own program, it holds what was open here.
func listenAgain(addr string) (net.Listener, error) {
	const patience, pause = 2 * time.Second, time.Millisecond
	for start := time.Now(); ; time.Sleep(pause) {
		l, err := net.Listen("tcp", addr)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(start) > patience {
			return l, err
		}
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	accepted := &conn{Conn: inner, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.Join(net.ErrClosed, accepted.reset())
	}
	l.conns[inner.RemoteAddr().String()] = accepted
	return accepted, nil
}

// cut resets the connection of one client.
func (l *listener) cut(remoteAddr string) {
	l.mu.Lock()
	open := l.conns[remoteAddr]
	l.mu.Unlock()
	if open != nil {
		_ = open.reset()
	}
}

// abort closes the port and resets every connection.
func (l *listener) abort() error {
	err := l.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, open := range l.conns {
		_ = open.reset()
	}
	return err
}

func (l *listener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A client may have reconnected from the same address already.
	if addr := c.RemoteAddr().String(); l.conns[addr] == c {
		delete(l.conns, addr)
	}
}

type conn struct {
	net.Conn
	listener *listener
	begun    bool // the first byte has been read; only Read uses it and secure, and no server reads concurrently
	secure   bool // the first byte begins a TLS handshake
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.listener.plaintext != nil {
		if !c.begun {
			c.begun, c.secure = true, p[0] == tlsHandshake
		}
		if !c.secure {
			c.listener.plaintext.Add(int64(n))
		}
	}
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.forget(c)
	return c.Conn.Close()
}

// reset closes the connection with a TCP RST: the client learns at once that no answer will come,
// and the port is free for Up. The server that owns the connection still closes it, which makes the
// listener forget it.
func (c *conn) reset() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return c.Conn.Close()
}
