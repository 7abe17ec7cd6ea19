package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/fleetotel/telemetry/internal/spool"
)

type (
	spoolOnlyKey struct{}
	signalKey    struct{}
)

// SpoolOnly returns a context whose exports are not sent but go straight to the
// spool: for what is left when there is no time for the network.
func SpoolOnly(ctx context.Context) context.Context {
	return context.WithValue(ctx, spoolOnlyKey{}, true)
}

func spoolOnly(ctx context.Context) bool { return ctx.Value(spoolOnlyKey{}) != nil }

// ForSignal returns a client whose requests are the given signal's ("traces",
// "metrics", "logs"), whatever their path is: operators may choose any.
func ForSignal(client *http.Client, signal string) *http.Client {
	named := *client
	named.Transport = signalTransport{client.Transport, signal}
	return &named
}

type signalTransport struct {
	next   http.RoundTripper
	signal string
}

func (t signalTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.next.RoundTrip(req.WithContext(context.WithValue(req.Context(), signalKey{}, t.signal)))
}

// signalOf names the signal of an HTTP request.
func signalOf(req *http.Request) string {
	if signal, ok := req.Context().Value(signalKey{}).(string); ok {
		return signal
	}
	return httpSignal(req.URL.Path)
}

// itemsOf returns how many items the request of ctx has, or 0 if it is not known.
func itemsOf(ctx context.Context) int64 {
	if replay := replayOf(ctx); replay != nil {
		return replay.items
	}
	if out := OutcomeFrom(ctx); out != nil {
		return out.Items
	}
	return 0
}

// encoded is a request as it goes to disk.
type encoded struct {
	gzip  []byte
	plain int64 // size before compression, in bytes
}

// keeper returns what puts a request on disk, or nil if it cannot be: there is no
// spool, the request is from the spool, or it is not known how many items it has.
func (e *Endpoint) keeper(ctx context.Context, signal string, encode func() (encoded, error)) func() error {
	out := OutcomeFrom(ctx)
	kind, known := spool.ParseSignal(signal)
	if e.cfg.Spool == nil || out == nil || out.Items == 0 || !known || replayOf(ctx) != nil {
		return nil
	}
	return func() error {
		body, err := encode()
		if err != nil {
			return err
		}
		return e.cfg.Spool.Put(spool.Request{Signal: kind, Items: out.Items, Plain: body.plain, Gzip: body.gzip})
	}
}

// unsent returns what gives a request to a caller who keeps it, or nil.
func unsent(ctx context.Context, signal string, encode func() (encoded, error)) func() *spool.Request {
	out := OutcomeFrom(ctx)
	kind, known := spool.ParseSignal(signal)
	if out == nil || !out.Keep || !known {
		return nil
	}
	return func() *spool.Request {
		body, err := encode()
		if err != nil {
			return nil
		}
		return &spool.Request{Signal: kind, Items: out.Items, Plain: body.plain, Gzip: body.gzip}
	}
}

// compressed returns plain as it goes to disk.
func (p *gzipPool) compressed(plain []byte) (encoded, error) {
	var body bytes.Buffer
	body.Grow(len(plain)/4 + bytes.MinRead)
	_, err := p.compress(&body, bytes.NewReader(plain), len(plain))
	return encoded{gzip: body.Bytes(), plain: int64(len(plain))}, err
}

var errNotSpooled = errors.New("there is no time to send it and no spool for it")

// keepNow settles a request of a [SpoolOnly] context.
func (c call) keepNow() reply {
	err := c.put()
	switch {
	case err == nil:
		return reply{verdict: kept, err: fmt.Errorf("%s: no time to send it", c.where)}
	case c.splits(err):
		return reply{verdict: tooLarge, err: fmt.Errorf("%s: %w", c.where, err)}
	case c.keep == nil:
		return c.leaves(reply{verdict: refused, err: fmt.Errorf("%s: %w", c.where, errNotSpooled)})
	}
	return c.leaves(reply{verdict: refused, err: fmt.Errorf("%s: no time to send it, and not spooled: %w", c.where, err)})
}

// leaves leaves a request for which there is no time to its caller.
func (c call) leaves(r reply) reply {
	r.late = true
	if c.unsent != nil {
		r.unsent = c.unsent()
	}
	return r
}

// put puts the request on disk.
func (c call) put() error {
	if c.keep == nil {
		return errNotSpooled
	}
	return c.keep()
}

// keeps puts the request on disk, and reports whether it is there.
func (c call) keeps() bool { return c.put() == nil }

// splits reports whether a request that was not put on disk may fit there in parts.
func (c call) splits(err error) bool { return c.items > 1 && errors.Is(err, spool.ErrTooLarge) }

// keptResponse is what an exporter gets for a request on disk: it is taken care
// of, and the [Outcome] says how.
func keptResponse(req *http.Request) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(http.NoBody), Request: req,
	}
}
