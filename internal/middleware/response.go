package middleware

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/fleetotel/telemetry/internal/sampling"
)

// core is what all ResponseWriters of writers.go have in common. It passes everything on and notes
// what the client gets: the status, the number of body bytes, and whether the client was still
// connected.
type core struct {
	http.ResponseWriter
	exchange *exchange // whose response this is
	sampled  sampling.Request

	timing timing
	told   string // the decision, once it is in a header

	status   atomic.Int32 // the final one; 0: none yet
	size     atomic.Int64 // of the body, in bytes
	hijacked atomic.Bool
	flushed  atomic.Bool
	deserted atomic.Bool // the client had disconnected before the final header was written
}

// finalStatus is the status that the client gets if the handler ends now. It is 0 if the client
// gets none, or if the handler has bypassed the server to write it. A handler that returned without
// writing has responded 200; one that panicked has not.
func (w *core) finalStatus(returned bool) int {
	switch status := int(w.status.Load()); {
	case status != 0:
		return status
	case w.hijacked.Load() && w.exchange.request.Header.Get("Upgrade") != "":
		return http.StatusSwitchingProtocols // written to the connection, as WebSocket libraries do
	case w.hijacked.Load() || !returned:
		return 0
	}
	return http.StatusOK
}

// prepare completes the header that is about to be sent: the final one, or, with status 0, that of
// an informational response. It does nothing once the final header is sent.
func (w *core) prepare(status int) {
	if w.status.Load() != 0 || w.hijacked.Load() {
		return
	}
	header := w.Header()
	removeDecisions(header, serverTiming) // those of other services, which a proxy forwards
	w.timing.addTo(header, w.exchange.span.SpanContext())
	if kind := header["Content-Type"]; len(kind) > 0 && isEventStream(kind[0]) {
		w.sampled.MarkStream()
	}
	if status != 0 {
		w.tell(header, status >= http.StatusInternalServerError && !clientIsGone(w.exchange.request.Context()))
	}
}

// isEventStream reports whether a content type is that of server-sent events, with or without
// parameters (HTML, §9.2.5).
func isEventStream(contentType string) bool {
	const events = "text/event-stream"
	return len(contentType) >= len(events) && strings.EqualFold(contentType[:len(events)], events)
}

// WriteHeader may be called more than once: informational responses precede the final one.
func (w *core) WriteHeader(status int) {
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		w.prepare(0)
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.prepare(status)
	deserted := clientIsGone(w.exchange.request.Context())
	w.ResponseWriter.WriteHeader(status) // panics if there is no such status
	w.settle(status, deserted)
}

func (w *core) Write(p []byte) (int, error) {
	w.implicitHeader()
	n, err := w.ResponseWriter.Write(p)
	w.size.Add(int64(n))
	return n, err
}

// WriteString implements [io.StringWriter], which saves net/http's servers a copy.
func (w *core) WriteString(s string) (int, error) {
	w.implicitHeader()
	n, err := io.WriteString(w.ResponseWriter, s)
	w.size.Add(int64(n))
	return n, err
}

// FlushError is for [http.ResponseController].
func (w *core) FlushError() error {
	w.prepare(http.StatusOK)
	deserted := clientIsGone(w.exchange.request.Context())
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		w.flushed.Store(true)
		w.settle(http.StatusOK, deserted)
	}
	return err
}

// self lets an inner handler recognize the writer.
func (w *core) self() *core { return w }

// Unwrap is for [http.ResponseController], which asks the writers below for the abilities that a
// writer itself does not have. A connection that is hijacked there must still be noticed.
func (w *core) Unwrap() http.ResponseWriter {
	if _, can := w.ResponseWriter.(http.Hijacker); !can && hijacksBelow(w.ResponseWriter) {
		return &unwrapped{w.ResponseWriter, w}
	}
	return w.ResponseWriter
}

// hijacksBelow reports whether http.ResponseController would find an [http.Hijacker] among the
// writers that w wraps.
func hijacksBelow(w http.ResponseWriter) bool {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = wrapper.Unwrap()
		if _, can := w.(http.Hijacker); can {
			return true
		}
	}
}

// unwrapped is the writer below a core. It hijacks through a writer further below.
type unwrapped struct {
	http.ResponseWriter
	core *core
}

func (u *unwrapped) Unwrap() http.ResponseWriter                  { return u.ResponseWriter }
func (u *unwrapped) Hijack() (net.Conn, *bufio.ReadWriter, error) { return u.core.hijack() }

// readFrom lets the server's writer use sendfile. The header is sent with the first byte. If the
// source is empty, the handler can still choose the status, such as 502.
func (w *core) readFrom(src io.Reader) (n int64, err error) {
	w.prepare(http.StatusOK)
	deserted, returned := clientIsGone(w.exchange.request.Context()), false
	defer func() {
		w.size.Add(n)
		if n > 0 || !returned { // a source that panics may have been read before
			w.settle(http.StatusOK, deserted)
		}
	}()
	n, err = w.ResponseWriter.(io.ReaderFrom).ReadFrom(src)
	returned = true
	return n, err
}

func (w *core) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked.Store(true)
		w.sampled.MarkStream()
	}
	return conn, buffer, err
}

// closeNotify is for the deprecated http.CloseNotifier, which gin's Context.Stream asks for.
func (w *core) closeNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(w.exchange.request.Context(), func() { gone <- true })
	return gone
}

// implicitHeader does what the server does before the first byte of a body: it sends the header
// with status 200.
func (w *core) implicitHeader() {
	if w.status.Load() == 0 {
		w.prepare(http.StatusOK)
		w.settle(http.StatusOK, clientIsGone(w.exchange.request.Context()))
	}
}

// settle notes the first final status. The server sends no other, and none on a hijacked
// connection.
func (w *core) settle(status int, deserted bool) {
	if !w.hijacked.Load() && w.status.CompareAndSwap(0, int32(status)) && deserted {
		w.deserted.Store(true)
	}
}

// clientIsGone reports whether net/http has canceled the context, because the connection is closed
// or the stream is reset.
func clientIsGone(ctx context.Context) bool {
	return ctx.Err() == context.Canceled && context.Cause(ctx) == context.Canceled
}

// countedBody counts the bytes that the handler reads.
type countedBody struct {
	io.ReadCloser
	received, served *http.Request // the server's own, and its copy for the handler
	read             atomic.Int64
}

// Read passes on trailers that no header has announced: at the end of the body, net/http sets them
// on its own request only.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	if err == io.EOF && b.received.Trailer != nil && b.served.Trailer == nil {
		b.served.Trailer = b.received.Trailer
	}
	return n, err
}
