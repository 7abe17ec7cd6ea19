package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Transport returns a round tripper for an OTLP/HTTP exporter's client. It sends each POST through
// next until the request is settled. Give the client no timeout of its own, and the exporter no
// retry and no compression.
//
// When the context of a request carries an [Outcome], the exporter gets an empty success where the
// server reported a partial one, so it is reported only once. Redirects are not followed: they
// could lead from https to http, or carry the headers' secrets elsewhere, and OTLP has none.
// Requests other than POST pass through untouched.
func (e *Endpoint) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{endpoint: e, next: next}
}

type transport struct {
	endpoint *Endpoint
	next     http.RoundTripper
}

// CloseIdleConnections lets [http.Client.CloseIdleConnections] reach the pool below.
func (t *transport) CloseIdleConnections() {
	if pool, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		pool.CloseIdleConnections()
	}
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !isExport(req) {
		return t.next.RoundTrip(Watched(req))
	}
	defer req.Body.Close() // it was read, so an error says nothing
	p, err := t.prepare(req)
	if err != nil {
		return nil, err
	}
	var (
		e      = t.endpoint
		ctx    = req.Context()
		where  = publicURL(req.URL)
		of     = signalOf(req)
		encode = func() (encoded, error) { return e.encode(p) }
		x      = httpExchange{transport: t, request: p,
			secrets: append(secretsOf(req.Header), proxySecrets(req.URL)...)}
	)
	r := e.deliver(ctx, call{
		gate:   e.gate(where, of),
		where:  where,
		size:   p.size(),
		items:  itemsOf(ctx),
		try:    x.try,
		spool:  e.spooler(ctx, of, encode),
		unsent: unsent(ctx, of, encode),
	})
	out := OutcomeFrom(ctx)
	if out != nil {
		out.settle(r)
	}
	resp := x.resp
	switch {
	case r.verdict == spooled:
		return spooledResponse(req), nil
	case resp == nil || redirects(resp): // the client would follow a redirect
		return nil, r.err
	case r.verdict == accepted && out != nil:
		resp.Body, resp.ContentLength = http.NoBody, 0 // the outcome tells of a partial success
	}
	return resp, nil
}

// isExport reports whether a request is an exporter's, or one of [Ask].
func isExport(req *http.Request) bool {
	return req.Method == http.MethodPost && req.Body != nil && (req.Body != http.NoBody || isAsk(req.Context()))
}

// httpExchange makes the attempts of one request.
type httpExchange struct {
	transport *transport
	request   *prepared
	secrets   []string       // what a server must not make us log
	resp      *http.Response // the answer to the last attempt; nil if there was none
}

// try makes one attempt.
func (x *httpExchange) try(ctx context.Context) reply {
	e := x.transport.endpoint
	return e.withHeaders(ctx, func(current map[string]string) reply {
		secrets := append(slices.Clip(x.secrets), secretValues(current)...)
		resp, body, unread, err := x.transport.exchange(x.request.attempt(ctx, current))
		x.resp = resp
		if err != nil {
			return connectionReply(ctx, err, secrets, e.cfg.AttemptTimeout)
		}
		return responseReply(resp, body, unread, secrets)
	})
}

// redirects reports whether resp would make the client ask elsewhere.
func redirects(resp *http.Response) bool {
	return resp.StatusCode >= 300 && resp.StatusCode <= 399 && resp.Header.Get("Location") != ""
}

// prepared is a request whose body has been read, and compressed if it is to be.
type prepared struct {
	req      *http.Request
	header   http.Header
	payload  []byte
	plain    int64 // size before compression in bytes, 0 if the exporter compressed
	encoding string
}

// prepare reads and compresses the body of req, once for all attempts.
func (t *transport) prepare(req *http.Request) (*prepared, error) {
	var (
		body bytes.Buffer
		size = max(int(req.ContentLength), 0)
		p    = &prepared{req: req, header: req.Header, encoding: req.Header.Get("Content-Encoding")}
		err  error
	)
	if t.endpoint.cfg.Gzip && p.encoding == "" {
		body.Grow(size/4 + bytes.MinRead)
		p.plain, err = t.endpoint.gzip.compress(&body, req.Body, size)
		p.encoding = "gzip"
		p.header = req.Header.Clone()
		p.header.Set("Content-Encoding", "gzip")
	} else {
		body.Grow(size + bytes.MinRead)
		_, err = body.ReadFrom(req.Body)
	}
	p.payload = body.Bytes()
	return p, err
}

// size is how many bytes the request has before compression, as far as it is known.
func (p *prepared) size() int64 {
	if replay := replayOf(p.req.Context()); replay != nil {
		return replay.size
	}
	return max(p.plain, int64(len(p.payload)))
}

// attempt returns the request of one attempt, with the current headers.
func (p *prepared) attempt(ctx context.Context, current map[string]string) *http.Request {
	attempt := p.req.WithContext(ctx)
	attempt.Header = p.header
	if len(current) > 0 {
		attempt.Header = p.header.Clone()
		for name, value := range current {
			attempt.Header.Set(name, value)
		}
	}
	attempt.ContentLength = int64(len(p.payload))
	attempt.GetBody = func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(p.payload)), nil
	}
	attempt.Body, _ = attempt.GetBody()
	return attempt
}

// encode returns a request as it goes to disk.
func (e *Endpoint) encode(p *prepared) (encoded, error) {
	switch {
	case p.encoding == "":
		return e.gzip.compressed(p.payload)
	case p.plain > 0:
		return encoded{gzip: p.payload, plain: p.plain}, nil
	}
	return encoded{}, fmt.Errorf("a body that the exporter has compressed is not spooled (%s)", p.encoding)
}

// maxResponse bounds how much of an answer is read, in bytes. An OTLP response is a number and a
// sentence.
const maxResponse = 1 << 20

// MaxResponseHeader bounds the status line and the headers of an answer, and of gRPC its headers
// and trailers, in bytes. net/http's own default is 10 MB, gRPC's 16 MiB.
const MaxResponseHeader = 64 << 10

var errInterim = errors.New("the server switches protocols in place of an answer")

// exchange makes one attempt and reads the whole answer, so that the attempt's context may end
// before the exporter reads it. An answer that is cut short, or longer than maxResponse, is still
// an answer, and unread says why it is incomplete. Its status says that the server has the request,
// and to send it again would duplicate it.
func (t *transport) exchange(req *http.Request) (resp *http.Response, body []byte, unread, err error) {
	resp, err = t.next.RoundTrip(Watched(req))
	if err != nil {
		return nil, nil, nil, err
	}
	defer resp.Body.Close() // an error only means that the connection is not reused
	if resp.StatusCode < 200 {
		// The body of 101 is the connection, which outlives the attempt and its context. An OTLP
		// client asks for no other protocol, so this is not the answer, and this connection cannot
		// bring it any more.
		return nil, nil, nil, fmt.Errorf("%w: %d %s", errInterim, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body, unread = io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if len(body) > maxResponse {
		body, unread = body[:maxResponse], fmt.Errorf("it is larger than %d bytes", maxResponse)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, body, unread, nil
}

// NewTransport returns the connection pool to use under [Endpoint.Transport], for inFlight requests
// at a time. It is the standard library's default transport except that idle connections are kept
// for each request in flight (default: 2), that all addresses of a name are tried, and that a
// silent HTTP/2 peer is noticed. A nil tlsConfig means the system's roots.
func (e *Endpoint) NewTransport(tlsConfig *tls.Config, inFlight int) *http.Transport {
	return &http.Transport{
		Proxy: func(req *http.Request) (*url.URL, error) { return ProxyOf(req.URL) },
		OnProxyConnectResponse: func(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			return &ProxyError{HTTPStatus: resp.StatusCode, Proxy: proxy.Host}
		},
		DialContext:           e.dialer.dialQuiet,
		ReadBufferSize:        readBuffer,
		TLSClientConfig:       tlsConfig.Clone(), // net/http adds protocols to it
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   max(inFlight, http.DefaultMaxIdleConnsPerHost),
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,

		MaxResponseHeaderBytes: MaxResponseHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}
