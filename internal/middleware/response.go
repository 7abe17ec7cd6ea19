package middleware

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// Response is the ResponseWriter that a handler gets. It passes everything on and keeps what the client gets: the status,
// the number of body bytes, and whether the client was still there.
type Response struct {
	http.ResponseWriter
	request *http.Request
	prepare func(http.Header) // may be nil

	status   atomic.Int32 // the final one; 0 as long as there is none
	size     atomic.Int64
	hijacked atomic.Bool
	deserted atomic.Bool
}

// NewResponse wraps the server's writer. The function prepare, which may be nil, is called with the header right before
// it is sent: for each informational answer, and for the final one.
func NewResponse(w http.ResponseWriter, r *http.Request, prepare func(http.Header)) *Response {
	return &Response{ResponseWriter: w, request: r, prepare: prepare}
}

// Writer offers what the server's own writer offers: HTTP/1.1 can be hijacked, HTTP/2 can push, and code asks for either
// by a type assertion.
func (w *Response) Writer() http.ResponseWriter {
	switch server := w.ResponseWriter.(type) {
	case http.Hijacker:
		return hijackable{w, server}
	case http.Pusher:
		return struct {
			*Response
			http.Pusher
		}{w, server}
	default:
		return w
	}
}

// Status is the status that the client gets when the handler ends now: 0 if it gets none, or if the handler has written
// it past the server. A handler that has returned without writing has answered 200; one that panicked has not.
func (w *Response) Status(returned bool) int {
	switch status := int(w.status.Load()); {
	case status != 0:
		return status
	case w.hijacked.Load() && w.request.Header.Get("Upgrade") != "":
		return http.StatusSwitchingProtocols // written to the connection, as WebSocket libraries do
	case w.hijacked.Load() || !returned:
		return 0
	}
	return http.StatusOK
}

// Size is how many bytes of the body have been written.
func (w *Response) Size() int64 { return w.size.Load() }

// Deserted tells whether the client had gone away before the final header was written. A context that was cancelled
// with a cause of its own, such as that of a shutdown, is the service's doing and says nothing about the client.
func (w *Response) Deserted() bool { return w.deserted.Load() }

// Prepare readies the header of a handler that has returned; it does nothing once the header is sent.
func (w *Response) Prepare() {
	if w.prepare != nil && w.status.Load() == 0 {
		w.prepare(w.Header())
	}
}

// WriteHeader may come more than once: informational answers precede the final one.
func (w *Response) WriteHeader(status int) {
	w.Prepare()
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	deserted := clientIsGone(w.request.Context())
	w.ResponseWriter.WriteHeader(status) // panics if there is no such status
	w.settle(status, deserted)
}

func (w *Response) Write(p []byte) (int, error) {
	w.implicitHeader()
	n, err := w.ResponseWriter.Write(p)
	w.size.Add(int64(n))
	return n, err
}

// ReadFrom lets the server's writer use sendfile. The header goes out with the first byte: a source without any leaves it
// to the handler, which may answer 502.
func (w *Response) ReadFrom(src io.Reader) (n int64, err error) {
	w.Prepare()
	deserted, returned := clientIsGone(w.request.Context()), false
	defer func() {
		w.size.Add(n)
		if n > 0 || !returned { // how much a source that panics has given is not known
			w.settle(http.StatusOK, deserted)
		}
	}()
	n, err = io.Copy(w.ResponseWriter, src)
	returned = true
	return n, err
}

// Flush implements [http.Flusher].
func (w *Response) Flush() { _ = w.FlushError() }

// FlushError is for [http.ResponseController].
func (w *Response) FlushError() error {
	w.Prepare()
	deserted := clientIsGone(w.request.Context())
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		w.settle(http.StatusOK, deserted)
	}
	return err
}

// CloseNotify implements the deprecated http.CloseNotifier, which gin's Context.Stream asks for without looking.
func (w *Response) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(w.request.Context(), func() { gone <- true })
	return gone
}

// Unwrap is for [http.ResponseController].
func (w *Response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// implicitHeader is what the server does at the first byte of a body.
func (w *Response) implicitHeader() {
	if w.status.Load() == 0 {
		w.Prepare()
		w.settle(http.StatusOK, clientIsGone(w.request.Context()))
	}
}

// settle keeps the first final status. The server sends no other, and none on a connection that was taken over.
func (w *Response) settle(status int, deserted bool) {
	if !w.hijacked.Load() && w.status.CompareAndSwap(0, int32(status)) {
		w.deserted.Store(deserted)
	}
}

// clientIsGone tells a context that net/http has cancelled, because the connection is closed or the stream is reset.
func clientIsGone(ctx context.Context) bool {
	return ctx.Err() == context.Canceled && context.Cause(ctx) == context.Canceled
}

type hijackable struct {
	*Response
	server http.Hijacker
}

func (w hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := w.server.Hijack()
	if err == nil {
		w.hijacked.Store(true)
	}
	return conn, buffer, err
}
