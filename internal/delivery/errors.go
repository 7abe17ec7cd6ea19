package delivery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"
)

// maxNote bounds how much of a server's message goes into an error, in bytes.
const maxNote = 300

// worded puts the endpoint, the number of attempts and, for a request that ran
// out of time, the reason of its end around the cause.
func (r reply) worded(where string, attempts int, took time.Duration, end error) reply {
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
		e.text = fmt.Sprintf("%s: %v (%s in %s)", where, r.err, counted(attempts, "attempt"), took.Round(time.Millisecond))
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

// failure is an error with a text for operators. It unwraps to the cause and to
// the reason why there was no further attempt.
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

// Answer is the error of a request that the endpoint has answered and not taken.
// The text may be printed: header values are masked in it.
type Answer struct {
	HTTPStatus int        // 0 over gRPC
	GRPCCode   codes.Code // OK over HTTP
	WebPage    bool       // a success with HTML in it, over HTTP
	Location   string     // of a redirect, without user and query
	text       string
}

func (a *Answer) Error() string { return a.text }

// ProxyError is the error of a connection that a proxy refuses to make for us.
type ProxyError struct {
	HTTPStatus int
	Proxy      string // host and port
}

func (p *ProxyError) Error() string {
	return fmt.Sprintf("the proxy %s answers CONNECT with %d %s", p.Proxy, p.HTTPStatus, http.StatusText(p.HTTPStatus))
}

// ended returns err, or, if ctx ended the attempt, an error that says whose time
// was up.
func ended(ctx context.Context, err error, limit time.Duration) error {
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), ErrAttemptTimeout):
		return fmt.Errorf("%w (%s)", ErrAttemptTimeout, limit)
	default:
		return errNoAnswer
	}
}

// hidden stands where a secret was.
const hidden = "[redacted]"

// masked returns err without the secrets in its text. It unwraps to err: net/http
// quotes an answer that is no HTTP, and a server may answer with what it was sent.
func masked(err error, secrets []string) error {
	if text := hide(err.Error(), secrets); text != err.Error() {
		return &failure{text: text, cause: err}
	}
	return err
}

// hide masks the secrets, as they are and as an error quotes them; the longest
// first, since one may be a part of another.
func hide(text string, secrets []string) string {
	secrets = slices.Clone(secrets)
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		for _, form := range []string{secret, strings.Trim(strconv.Quote(secret), `"`)} {
			text = strings.ReplaceAll(text, form, hidden)
		}
	}
	return text
}

// note makes a server's message fit for one log line: masked, printable, short.
func note(message string, secrets []string) string {
	message = hide(message, secrets)
	message = strings.Join(strings.FieldsFunc(message, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(message) > maxNote {
		message = strings.ToValidUTF8(message[:maxNote], "") + "…"
	}
	return message
}

// minSecret is the shortest header value, in bytes, that is masked in a server's
// message. Shorter ones would blank out common words, and are no secret.
const minSecret = 6

// publicHeaders are set by the exporters and the protocol, not by the operator.
var publicHeaders = map[string]bool{
	"content-type": true, "content-encoding": true, "content-length": true,
	"user-agent": true, "accept-encoding": true, "te": true,
}

// secretsOf returns what a server must not make us log: the values of the
// operator's headers, whole and by word ("Bearer" and the token).
func secretsOf(headers map[string][]string) []string {
	var secrets []string
	for name, values := range headers {
		if publicHeaders[strings.ToLower(name)] {
			continue
		}
		for _, value := range values {
			for _, part := range append([]string{value}, strings.Fields(value)...) {
				if len(part) >= minSecret {
					secrets = append(secrets, part)
				}
			}
		}
	}
	return secrets
}

// place returns a URL without what may be secret in it: user and query.
func place(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
