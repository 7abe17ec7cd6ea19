package diagnose

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// Kind is a class of errors that have the same remedy.
type Kind int

// The kinds.
const (
	Unknown           Kind = iota
	NoHost                 // the name does not resolve
	Refused                // nothing listens
	Silent                 // no answer, or no connection, in time
	Broken                 // the connection ends before an answer: often the port speaks another protocol
	Authority              // TLS: the certificate is signed by an untrusted authority
	HostName               // TLS: the certificate is for another host
	Expired                // TLS: the certificate has expired, or is not valid yet
	ClientCertificate      // TLS: the client certificate is missing or refused
	PlainPort              // TLS sent to a plain-text port
	TLSPort                // plain text sent to a TLS port
	GRPCPort               // http/protobuf sent to a gRPC port
	HTTPPort               // gRPC sent to an HTTP port
	Unauthorized           // 401, 403 and their gRPC counterparts
	NotFound               // 404, 405 or a web page: a server answers, but not with OTLP
	NoService              // a gRPC server without this signal's service
	NoGzip                 // a gRPC server that cannot decompress
	Redirected             // 3xx
	Busy                   // 429, 502, 503, 504: temporary
	ProxyDown              // the proxy cannot be reached
	ProxyAuth              // the proxy requires credentials
	ProxyRefuses           // the proxy does not connect to the endpoint
	ProxyWrong             // the variable is not a proxy URL
)

// kindOf classifies an error of a delivery. Over HTTP most errors have types; gRPC keeps only their
// text.
func kindOf(err error, t Target) Kind {
	proxy, _ := t.proxy()
	if kind := proxyKind(err, proxy); kind != Unknown {
		return kind
	}
	answer := (*delivery.Answer)(nil)
	if errors.As(err, &answer) {
		return answerKind(answer, t, proxy != "")
	}
	return connectionKind(err, t)
}

// connectAnswer matches gRPC's error for a proxy that refused a tunnel.
var connectAnswer = regexp.MustCompile(`failed to do connect handshake, response: \\*"HTTP/1\.[01] (\d{3})`)

// proxyKind classifies an error of a proxy. proxy is its host and port.
func proxyKind(err error, proxy string) Kind {
	text := err.Error()
	status := 0
	if refused := (*delivery.ProxyError)(nil); errors.As(err, &refused) {
		status = refused.HTTPStatus
	} else if m := connectAnswer.FindStringSubmatch(text); m != nil {
		status, _ = strconv.Atoi(m[1])
	}
	switch {
	case strings.Contains(text, delivery.WantedProxy):
		return ProxyWrong
	case status == 407:
		return ProxyAuth
	case status != 0:
		return ProxyRefuses
	case strings.Contains(text, "proxyconnect tcp:"), proxy != "" && strings.Contains(text, "dial tcp "+proxy):
		return ProxyDown
	case strings.Contains(text, "socks connect tcp") && strings.Contains(text, "authentication"):
		return ProxyAuth
	case strings.Contains(text, "socks connect tcp"):
		return ProxyRefuses
	}
	return Unknown
}

// answerKind classifies the answer of a server.
func answerKind(a *delivery.Answer, t Target, proxied bool) Kind {
	text := a.Error()
	switch a.GRPCCode {
	case codes.Unauthenticated, codes.PermissionDenied:
		if strings.Contains(text, "unexpected HTTP status code") && t.GRPC {
			return HTTPPort
		}
		return Unauthorized
	case codes.Unimplemented, codes.Internal, codes.Unknown:
		switch {
		case strings.Contains(text, "unexpected HTTP status code"), strings.Contains(text, "unexpected content-type"):
			return HTTPPort
		case strings.Contains(text, "Decompressor is not installed"):
			return NoGzip
		case a.GRPCCode == codes.Unimplemented:
			return NoService
		}
	}
	switch s := a.HTTPStatus; {
	case a.GRPCCode == codes.Unavailable, a.GRPCCode == codes.ResourceExhausted:
		return Busy
	case a.WebPage:
		return NotFound
	case s >= 300 && s <= 399:
		return Redirected
	case s == 407:
		return ProxyAuth
	case proxied && (s == 502 || s == 503 || s == 504):
		return ProxyRefuses
	case s == 401 || s == 403:
		return Unauthorized
	case s == 404 || s == 405:
		return NotFound
	case s == 429 || s == 502 || s == 503 || s == 504:
		return Busy
	case s == 400 && containsAny(strings.ToLower(text), "http request to an https server",
		"plain http request was sent to https port"):
		return TLSPort
	case s == 415 && t.secure():
		return Broken // a gRPC server says this over HTTP/2
	}
	return Unknown
}

// connectionKind classifies an error without an answer.
func connectionKind(err error, t Target) Kind {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		text      = err.Error()
		has       = func(parts ...string) bool { return containsAny(text, parts...) }
	)
	switch {
	case errors.As(err, &dns), has("no such host", "name resolver error", "server misbehaving"):
		return NoHost
	case errors.As(err, &authority), has("signed by unknown authority"):
		return Authority
	case errors.As(err, &host), has("x509: certificate is valid for", "x509: cannot validate certificate for",
		"x509: certificate is not valid for any names"):
		return HostName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired, has("certificate has expired or is not yet valid"):
		return Expired
	case has("tls: certificate required", "tls: bad certificate", "tls: handshake failure",
		"tls: unknown certificate authority"):
		return ClientCertificate
	case errors.As(err, &record), has("first record does not look like a TLS handshake",
		"server gave HTTP response to HTTPS client"):
		return PlainPort
	case has("no application protocol", "missing selected ALPN property"), t.GRPC &&
		has("looked like an HTTP/1.1 header"):
		return HTTPPort
	case errors.Is(err, syscall.ECONNREFUSED), has("connection refused"):
		return Refused
	case has(`malformed HTTP response "\x00\x00`), !t.GRPC && has("readLoopPeekFailLocked"):
		return GRPCPort // the server sent first, as HTTP/2 servers do
	case has(`malformed HTTP response "\x15\x03`):
		return TLSPort // a TLS alert
	case errors.Is(err, delivery.ErrAttemptTimeout), errors.Is(err, os.ErrDeadlineExceeded),
		has("i/o timeout", "TLS handshake timeout", "no answer in time"):
		return Silent
	case has("EOF", "connection reset by peer", "broken pipe", "malformed HTTP", "error reading server preface",
		"server closed idle connection",
		"client conn could not be established", "client connection lost", "use of closed network connection"):
		return Broken
	}
	return Unknown
}

func containsAny(text string, parts ...string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
