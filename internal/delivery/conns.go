package delivery

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// maxSilent is how many attempts in a row may get no answer before their connections are closed.
// HTTP/1.1 closes the connection after each such attempt. The streams of HTTP/2 share a connection,
// which may answer pings although the backend behind it hangs. The default export timeout is long
// enough for a third attempt.
const maxSilent = 2

var errHung = errors.New("the connection was closed: requests got no answer")

// hangs counts attempts in a row without an answer.
type hangs struct {
	silent int
	last   time.Time // end of the last one that was counted; one that began before it ran beside it
}

// attempted tells d whether an attempt that began at begin ended without an answer. Attempts that
// ran side by side count as one. After too many in a row, the connections that were open when the
// last one began are closed, so that the next attempt makes a new one, preferably to another
// address.
func (d *dialer) attempted(begin time.Time, silent bool) {
	for _, c := range d.hung(begin, silent) {
		c.hung.Store(true)
		_ = c.Close()
	}
}

// hung returns the connections to close.
func (d *dialer) hung(begin time.Time, silent bool) (hung []*conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &d.hangs
	switch {
	case !silent:
		h.silent = 0
	case !begin.Before(h.last):
		h.silent, h.last = h.silent+1, time.Now()
	}
	if h.silent < maxSilent {
		return nil
	}
	h.silent = 0
	for c := range d.conns {
		if c.since.Before(begin) {
			hung = append(hung, c)
		}
	}
	return hung
}

// conn is an open connection of an endpoint.
type conn struct {
	net.Conn
	dialer      *dialer
	address     string
	since       time.Time
	wrote, read atomic.Bool // whether anything was
	hung        atomic.Bool
	closing     sync.Once
}

// track watches a connection until it is closed.
func (d *dialer) track(raw net.Conn) *conn {
	c := &conn{Conn: raw, dialer: d, address: raw.RemoteAddr().String(), since: time.Now()}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		d.conns = map[*conn]struct{}{}
	}
	d.conns[c] = struct{}{}
	return c
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.read.Swap(true) {
		c.dialer.learn(c.address, true)
	}
	return n, c.reason(err)
}

func (c *conn) Write(p []byte) (int, error) {
	c.wrote.Store(true)
	n, err := c.Conn.Write(p)
	return n, c.reason(err)
}

// reason replaces the error of a connection that was closed for hanging.
func (c *conn) reason(err error) error {
	if err != nil && c.hung.Load() {
		return errHung
	}
	return err
}

func (c *conn) Close() error {
	c.closing.Do(func() {
		c.dialer.mu.Lock()
		delete(c.dialer.conns, c)
		c.dialer.mu.Unlock()
		if c.hung.Load() || c.wrote.Load() && !c.read.Load() {
			c.dialer.learn(c.address, false)
		}
	})
	return c.Conn.Close()
}

// dialTracked is dial for HTTP.
func (d *dialer) dialTracked(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return d.track(raw), nil
}

// trackingCredentials track the connections of gRPC. They cannot be wrapped when they are dialed,
// because gRPC sets a socket option on connections that are not wrapped.
type trackingCredentials struct {
	credentials.TransportCredentials
	dialer *dialer
}

func (t trackingCredentials) ClientHandshake(
	ctx context.Context, authority string, raw net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	c := t.dialer.track(raw)
	secured, info, err := t.TransportCredentials.ClientHandshake(ctx, authority, c)
	if err != nil {
		_ = c.Close()
	}
	return secured, info, err
}

func (t trackingCredentials) Clone() credentials.TransportCredentials {
	return trackingCredentials{t.TransportCredentials.Clone(), t.dialer}
}
