package delivery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry/internal/mask"
)

// describe adds the endpoint, the number of attempts and, for a request that ran out of time, the
// reason of its end to the error.
func (r reply) describe(where string, attempts int, took time.Duration, end error) reply {
	if r.err == nil && end == nil {
		return r
	}
	e := &failure{cause: r.err, end: end}
	switch {
	case r.err == nil:
		e.text = fmt.Sprintf("%s: not attempted: %v", where, end)
	case attempts == 0:
		e.text = fmt.Sprintf("%s: not attempted, waiting for the endpoint: %v", where, r.err)
	case attempts == 1 && end == nil:
		e.text = fmt.Sprintf("%s: %v", where, r.err)
	default:
		e.text = fmt.Sprintf("%s: %v (%s in %s)", where, r.err, counted(attempts, "attempt"),
			took.Round(time.Millisecond))
	}
	if end != nil && r.err != nil {
		e.text += "; gave up: " + end.Error()
	}
	r.err = e
	return r
}

// counted puts the number before its noun.
func counted[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// failure is an error with a text for operators. It unwraps to the cause and to the reason why
// there was no further attempt.
type failure struct {
	text       string
	cause, end error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error {
	var errs []error
	for _, err := range []error{f.cause, f.end} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Answer is the error of a request that the endpoint has answered and not accepted. The text may be
// printed: header values are masked in it.
type Answer struct {
	HTTPStatus int        // 0 over gRPC
	GRPCCode   codes.Code // OK over HTTP
	WebPage    bool       // a success with HTML in it, over HTTP
	Location   string     // of a redirect, without user and query
	text       string
}

func (a *Answer) Error() string { return a.text }

// ProxyError is the error of a connection that a proxy refuses to make.
type ProxyError struct {
	HTTPStatus int
	Proxy      string // host and port
}

func (p *ProxyError) Error() string {
	return fmt.Sprintf("the proxy %s answers CONNECT with %d %s", p.Proxy, p.HTTPStatus, http.StatusText(p.HTTPStatus))
}

// ended returns err or, if ctx ended the attempt, an error that says whether the time of the
// attempt or of the request was over.
func ended(ctx context.Context, err error, limit time.Duration) error {
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), ErrAttemptTimeout):
		return fmt.Errorf("%w (%s)", ErrAttemptTimeout, limit)
	default:
		return errCutShort
	}
}

// masked returns the error of an attempt without an answer, bounded and without secrets: net/http
// quotes an answer that is not HTTP, and TLS the names of a certificate.
func masked(err error, secrets []string) error { return mask.New(secrets).SaidError(err) }

// note returns a server's message, bounded and without secrets.
func note(message string, secrets []string) string { return mask.New(secrets).Said(message) }

// publicHeaders are set by the exporters and the protocol, not by the operator.
var publicHeaders = map[string]bool{
	"content-type": true, "content-encoding": true, "content-length": true,
	"user-agent": true, "accept-encoding": true, "te": true,
}

// secretsOf returns what must not be logged if a server repeats it: the values of the operator's
// headers.
func secretsOf(headers map[string][]string) []string {
	var secrets []string
	for name, values := range headers {
		if !publicHeaders[strings.ToLower(name)] {
			secrets = append(secrets, values...)
		}
	}
	return secrets
}

// proxySecrets are the credentials that a request to u shows the proxy, which may repeat them.
func proxySecrets(u *url.URL) []string {
	proxy, err := ProxyOf(u)
	if err != nil || proxy == nil || proxy.User == nil {
		return nil
	}
	return []string{mask.OfUser(proxy.User)}
}

// publicURL returns a URL without what may be secret in it: user and query.
func publicURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
