package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"time"

	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

type (
	spoolOnlyKey struct{}
	signalKey    struct{}
)

// SpoolOnly returns a context whose exports are spooled and not sent, for items that are left when
// there is no time to send them.
func SpoolOnly(ctx context.Context) context.Context {
	return context.WithValue(ctx, spoolOnlyKey{}, true)
}

// SpoolLead returns how long before the end of a shutdown exports end so that what is left can be
// spooled: a second, or half of the time that is left if that is shorter. A queue of 8,192 spans is
// encoded, compressed and written in 0.1 s.
func SpoolLead(left time.Duration) time.Duration { return min(left/2, time.Second) }

func isSpoolOnly(ctx context.Context) bool { return ctx.Value(spoolOnlyKey{}) != nil }

// ForSignal returns a client whose requests are those of one signal, whatever their path is: an
// operator may choose any path.
func ForSignal(client *http.Client, of signal.Signal) *http.Client {
	named := *client
	named.Transport = signalTransport{client.Transport, of}
	return &named
}

type signalTransport struct {
	next   http.RoundTripper
	signal signal.Signal
}

func (t signalTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.next.RoundTrip(req.WithContext(context.WithValue(req.Context(), signalKey{}, t.signal)))
}

// signalOf is the signal of an HTTP request: the one of [ForSignal], or the last element of the
// path, which is the specification's unless an operator chose another one.
func signalOf(req *http.Request) signal.Signal {
	if of, ok := req.Context().Value(signalKey{}).(signal.Signal); ok {
		return of
	}
	return signal.Named(path.Base(req.URL.Path))
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

// spooler returns a function that puts a request on disk, or nil if that is not possible: there is
// no spool, the request is from the spool, or it is not known how many items it has.
func (e *Endpoint) spooler(ctx context.Context, of signal.Signal, encode func() (encoded, error)) func() error {
	out := OutcomeFrom(ctx)
	if e.cfg.Spool == nil || out == nil || out.Items == 0 || of == signal.None || replayOf(ctx) != nil {
		return nil
	}
	return func() error {
		body, err := encode()
		if err != nil {
			return err
		}
		return e.cfg.Spool.Put(spool.Request{Signal: of, Items: out.Items, Plain: body.plain, Gzip: body.gzip})
	}
}

// unsent returns a function that returns the request for the caller to keep, or nil if the caller
// did not ask for it.
func unsent(ctx context.Context, of signal.Signal, encode func() (encoded, error)) func() *spool.Request {
	out := OutcomeFrom(ctx)
	if out == nil || !out.Keep || of == signal.None {
		return nil
	}
	return func() *spool.Request {
		body, err := encode()
		if err != nil {
			return nil
		}
		return &spool.Request{Signal: of, Items: out.Items, Plain: body.plain, Gzip: body.gzip}
	}
}

// compressed returns plain as it goes to disk.
func (p *gzipPool) compressed(plain []byte) (encoded, error) {
	var body bytes.Buffer
	body.Grow(len(plain)/4 + bytes.MinRead)
	_, err := p.compress(&body, bytes.NewReader(plain), len(plain))
	return encoded{gzip: body.Bytes(), plain: int64(len(plain))}, err
}

var errNotSpooled = errors.New("no time to send it, and no spool")

// spoolAtOnce settles a request of a [SpoolOnly] context.
func (c call) spoolAtOnce() reply {
	err := c.putOnDisk()
	switch {
	case err == nil:
		return reply{verdict: spooled, err: fmt.Errorf("%s: no time to send it", c.where)}
	case c.fitsInParts(err):
		return reply{verdict: tooLarge, err: fmt.Errorf("%s: %w", c.where, err)}
	case c.spool == nil:
		return c.handBack(reply{verdict: refused, err: fmt.Errorf("%s: %w", c.where, errNotSpooled)})
	}
	return c.handBack(reply{verdict: refused,
		err: fmt.Errorf("%s: no time to send it, and not spooled: %w", c.where, err)})
}

// handBack gives a request for which there is no time to the caller, if the caller keeps it.
func (c call) handBack(r reply) reply {
	r.late = true
	if c.unsent != nil {
		r.unsent = c.unsent()
	}
	return r
}

// putOnDisk puts the request on disk.
func (c call) putOnDisk() error {
	if c.spool == nil {
		return errNotSpooled
	}
	return c.spool()
}

// trySpool puts the request on disk, and reports whether it is there.
func (c call) trySpool() bool { return c.putOnDisk() == nil }

// fitsInParts reports whether a request that was not put on disk may fit there in parts.
func (c call) fitsInParts(err error) bool { return c.items > 1 && errors.Is(err, spool.ErrTooLarge) }

// spooledResponse is the response that an exporter gets for a request on disk. The exporter has
// nothing more to do, and the [Outcome] says what became of the items.
func spooledResponse(req *http.Request) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(http.NoBody), Request: req,
	}
}
