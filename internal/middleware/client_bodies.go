package middleware

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// requestBody counts the bytes that the base sends.
type requestBody struct {
	io.ReadCloser
	sending *sending
	read    atomic.Int64
	closed  atomic.Bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// Close records the metrics first, because a body may block while it closes.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	b.sending.record()
	return b.ReadCloser.Close()
}

// nextBody is the GetBody of a request that the base sends again, as net/http does over a new
// connection. Only the last body counts.
func (x *sending) nextBody() (io.ReadCloser, error) {
	body, err := x.getBody()
	if err != nil {
		x.use(nil)
		return nil, err
	}
	if body == nil || body == http.NoBody {
		return body, nil
	}
	next := &requestBody{ReadCloser: body, sending: x}
	x.use(next)
	return next, nil
}

func (x *sending) use(body *requestBody) {
	x.mu.Lock()
	x.body = body
	x.mu.Unlock()
}

// wrapBody makes the span end with the response body.
func (x *sending) wrapBody(response *http.Response) {
	body := &x.response
	body.ReadCloser, body.sending, body.response = response.Body, x, response
	response.Body = body
	if writer, ok := body.ReadCloser.(io.Writer); ok {
		c := connection{responseBody: body, writer: writer}
		response.Body = &c
		if half, ok := body.ReadCloser.(writeCloser); ok {
			response.Body = &halfCloser{c, half}
		}
	}
}

// responseBody ends the span when it is closed or read to its end.
type responseBody struct {
	io.ReadCloser
	sending  *sending
	response *http.Response // gets its trailer at the end of the body
	over     atomic.Bool
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		b.sending.believe(b.response.Trailer)
		b.end()
	default:
		b.sending.fail(err)
	}
	return n, err
}

// Close ends the span first, because a body may block while it closes.
func (b *responseBody) Close() error {
	b.end()
	return b.ReadCloser.Close()
}

func (b *responseBody) end() {
	if b.over.CompareAndSwap(false, true) {
		b.sending.span.End()
	}
}

// connection is the body of a response that switches protocols (101), which net/http makes
// writable.
type connection struct {
	*responseBody
	writer io.Writer
}

func (c *connection) Write(p []byte) (int, error) {
	n, err := c.writer.Write(p)
	if err != nil {
		c.sending.fail(err)
	}
	return n, err
}

// writeCloser closes one direction of a connection, which tells the peer that nothing follows.
// Reverse proxies ask for it.
type writeCloser interface{ CloseWrite() error }

// halfCloser is a connection that can close one direction, as net/http's can.
type halfCloser struct {
	connection
	half writeCloser
}

// CloseWrite leaves the span open, because the peer may still answer. Not supporting it is not a
// failure of the connection.
func (c *halfCloser) CloseWrite() error {
	err := c.half.CloseWrite()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		c.sending.fail(err)
	}
	return err
}
