package delivery

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// responseReply reads an OTLP/HTTP response (OTLP specification, "OTLP/HTTP Response"). unread says
// why body is not the whole answer, nil if it is.
func responseReply(resp *http.Response, body []byte, unread error, secrets []string) reply {
	status := resp.StatusCode
	if status >= 200 && status <= 299 {
		return successReply(resp, body, unread, secrets)
	}
	r := reply{verdict: refusal(status), err: statusError(resp, body, secrets)}
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		r.verdict = retry
		r.after = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	case http.StatusRequestEntityTooLarge:
		r.verdict = tooLarge
	case http.StatusBadRequest:
		// The Collector's way of saying 413 (opentelemetry-collector #11066).
		if bytes.Contains(body, []byte("request body too large")) {
			r.verdict = tooLarge
		}
	}
	return r
}

// refusal is the verdict of an HTTP status that refuses a request for good. Some say that the
// endpoint or the credential is wrong, and nothing about what was sent. So does a success in the
// place of an answer over gRPC.
func refusal(status int) verdict {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired:
		return misconfigured
	}
	if status < 400 {
		return misconfigured
	}
	return refused
}

// successReply reads the partial success out of a 2xx response. An OTLP answer that cannot be read
// does not make the request fail: the server took it.
func successReply(resp *http.Response, body []byte, unread error, secrets []string) reply {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch media {
	case "text/html":
		if len(bytes.TrimSpace(body)) > 0 {
			return reply{verdict: misconfigured, err: &Answer{HTTPStatus: resp.StatusCode, WebPage: true,
				text: statusOf(resp, secrets) + " with a web page: no OTLP receiver here, check host, port and path"}}
		}
	case "application/x-protobuf":
		// The three signals' responses have the same fields on the wire.
		var msg coltracepb.ExportTraceServiceResponse
		if err := cmp.Or(unread, proto.Unmarshal(body, &msg)); err != nil {
			return unreadableReply(err, secrets)
		}
		p := msg.GetPartialSuccess()
		return partialReply(p.GetRejectedSpans(), p.GetErrorMessage(), secrets)
	case "application/json":
		return jsonReply(body, unread, secrets)
	}
	return reply{verdict: accepted}
}

// jsonReply reads an OTLP/JSON response, in which 64-bit numbers may be strings.
func jsonReply(body []byte, unread error, secrets []string) reply {
	var msg struct {
		PartialSuccess struct {
			RejectedSpans      json.Number `json:"rejectedSpans"`
			RejectedLogRecords json.Number `json:"rejectedLogRecords"`
			RejectedDataPoints json.Number `json:"rejectedDataPoints"`
			ErrorMessage       string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if len(body) == 0 && unread == nil {
		return reply{verdict: accepted} // an empty protobuf message is as short
	}
	if err := cmp.Or(unread, json.Unmarshal(body, &msg)); err != nil {
		return unreadableReply(err, secrets)
	}
	var rejected int64
	p := msg.PartialSuccess
	for _, number := range []json.Number{p.RejectedSpans, p.RejectedLogRecords, p.RejectedDataPoints} {
		n, _ := number.Int64()
		rejected = max(rejected, n)
	}
	return partialReply(rejected, p.ErrorMessage, secrets)
}

// unreadableReply is a success whose answer cannot be read: how many items the server refused, if
// any, is not known.
func unreadableReply(why error, secrets []string) reply {
	return reply{verdict: accepted,
		err: fmt.Errorf("the server took the request, but its answer cannot be read: %s", note(why.Error(), secrets))}
}

// partialReply is a success in which the server refused some items, or, with none rejected, one
// with a warning.
func partialReply(rejected int64, message string, secrets []string) reply {
	r := reply{verdict: accepted, rejected: rejected}
	message = note(message, secrets)
	switch {
	case rejected > 0 && message == "":
		r.err = fmt.Errorf("the server rejected %s without a reason", counted(rejected, "item"))
	case rejected > 0:
		r.err = fmt.Errorf("the server rejected %s: %s", counted(rejected, "item"), message)
	case message != "":
		r.err = fmt.Errorf("the server took everything and warns: %s", message)
	}
	return r
}

// statusError describes a response that is not a success.
func statusError(resp *http.Response, body []byte, secrets []string) error {
	status := statusOf(resp, secrets)
	if redirects(resp) {
		at := "another place"
		if u, err := resp.Location(); err == nil {
			at = publicURL(u)
		}
		at = note(at, secrets)
		return &Answer{HTTPStatus: resp.StatusCode, Location: at,
			text: fmt.Sprintf("%s redirects to %s: set the endpoint to that", status, at)}
	}
	if msg := note(bodyMessage(resp, body), secrets); msg != "" {
		status += ": " + msg
	}
	return &Answer{HTTPStatus: resp.StatusCode, text: status}
}

// statusOf is the status line, whose phrase the server chooses.
func statusOf(resp *http.Response, secrets []string) string {
	if status := note(resp.Status, secrets); status != "" {
		return status
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// bodyMessage returns the readable part of an error response: the message of a google.rpc.Status,
// which has the field number of a partial success' message, or text. An HTML page tells an operator
// nothing.
func bodyMessage(resp *http.Response, body []byte) string {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch media {
	case "application/x-protobuf":
		var msg coltracepb.ExportTracePartialSuccess
		if proto.Unmarshal(body, &msg) != nil {
			return ""
		}
		return msg.GetErrorMessage()
	case "text/html":
		return ""
	}
	return string(body)
}

// connectionReply interprets an attempt that got no answer. What may be temporary is tried again
// within the request's time, even if Go does not call it temporary: refused, reset and closed
// connections, DNS failures, timeouts.
func connectionReply(ctx context.Context, err error, secrets []string, limit time.Duration) reply {
	r := reply{verdict: retry, noListener: noListener(err), err: ended(ctx, masked(err, secrets), limit)}
	if isSetupError(err) {
		r.verdict = misconfigured
	}
	return r
}

// noListener reports whether a connection fails because nothing listens there, or there is no such
// place: no such host, or an address that this machine does not have, as [::1] in a container
// without IPv6.
func noListener(err error) bool {
	var dns *net.DNSError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.As(err, &dns) &&
		dns.IsNotFound
}

// isSetupError reports whether a connection fails for a reason that only a person can remove.
func isSetupError(err error) bool {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		proxy     *ProxyError
	)
	if errors.As(err, &proxy) {
		return proxy.HTTPStatus >= 400 && proxy.HTTPStatus <= 499
	}
	if errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &record) {
		return true
	}
	for _, text := range []string{
		"server gave HTTP response to HTTPS client", // https:// to a plain port
		"malformed HTTP response",                   // HTTP to a gRPC port
		"unsupported protocol scheme",
		"invalid header field",
		"no Host in request URL",
	} {
		if _, after, found := strings.Cut(err.Error(), text); found {
			return !beginsHTTP(after)
		}
	}
	return false
}

// beginsHTTP reports whether the text that net/http quotes as malformed is the beginning of an HTTP
// answer, which was cut within its first word.
func beginsHTTP(quoted string) bool {
	literal, err := strconv.QuotedPrefix(strings.TrimSpace(quoted))
	if err != nil {
		return false
	}
	text, _ := strconv.Unquote(literal)
	return strings.HasPrefix("HTTP/1.1", text) || strings.HasPrefix("HTTP/1.0", text)
}
