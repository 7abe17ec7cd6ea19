package middleware

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/encodable"
)

// target is where a request says that it was sent. Spans and metrics have it as attributes.
type target struct {
	scheme   string // "http" or "https"
	host     string
	port     int    // 0: the request does not say
	protocol string // lower case, such as "http"
	version  string
	client   string // the client's address, according to a proxy; "" without one
}

// targetOf reads what proxies say about the client's own request, and otherwise the request itself
// (semantic conventions, http/http-spans.md, "Setting server.address and server.port attributes").
func targetOf(r *http.Request) target {
	f := forwardedOf(r.Header)
	t := target{scheme: f.proto, client: f.client}
	if t.scheme == "" {
		t.scheme = schemeOf(r)
	}
	if f.host == "" {
		f.host = r.Host
	}
	t.host, t.port = splitHost(f.host)
	t.protocol, t.version = protocolOf(r.Proto)
	return t
}

// startAttributes appends the attributes that a span has at its start, where samplers see them.
// There are at most maxStartAttributes.
func (x *exchange) startAttributes(attrs []attribute.KeyValue, r *http.Request) []attribute.KeyValue {
	t := &x.target
	path, query := "", ""
	if r.URL != nil {
		path, query = r.URL.Path, r.URL.RawQuery
	}
	attrs = append(attrs,
		semconv.HTTPRequestMethodKey.String(x.operation.method), semconv.URLScheme(t.scheme), semconv.URLPath(path))
	if x.operation.route != "" {
		attrs = append(attrs, semconv.HTTPRoute(x.operation.route))
	}
	if x.operation.method == otherMethod && r.Method != "" {
		attrs = append(attrs, semconv.HTTPRequestMethodOriginal(r.Method))
	}
	if query != "" {
		attrs = append(attrs, semconv.URLQuery(scrubbedQuery(query)))
	}
	if t.host != "" {
		attrs = append(attrs, semconv.ServerAddress(t.host))
		if t.port > 0 {
			attrs = append(attrs, semconv.ServerPort(t.port))
		}
	}
	peer, port := peerOf(r.RemoteAddr)
	if peer != "" {
		attrs = append(attrs, semconv.NetworkPeerAddress(peer))
		if port > 0 {
			attrs = append(attrs, semconv.NetworkPeerPort(port))
		}
	}
	if t.client != "" {
		peer = t.client
	}
	if peer != "" {
		attrs = append(attrs, semconv.ClientAddress(peer))
	}
	if t.version != "" {
		if t.protocol != "http" && t.protocol != "" {
			attrs = append(attrs, semconv.NetworkProtocolName(t.protocol))
		}
		attrs = append(attrs, semconv.NetworkProtocolVersion(t.version))
	}
	if agent := r.Header["User-Agent"]; len(agent) > 0 && agent[0] != "" {
		attrs = append(attrs, semconv.UserAgentOriginal(agent[0]))
	}
	return attrs
}

// longRequest reports whether the strings that startAttributes takes from the request line, the
// host or the forwarding headers keep much memory alive.
func longRequest(r *http.Request) bool {
	if len(r.RequestURI) > encodable.Slack || len(r.Host) > encodable.Slack {
		return true
	}
	for _, name := range [...]string{"X-Forwarded-For", "X-Forwarded-Host", "Forwarded"} {
		for _, value := range r.Header[name] {
			if len(value) > encodable.Slack {
				return true
			}
		}
	}
	return false
}

// splitHost splits a Host header into host and port. The port is 0 if the header has none, and the
// host is "" if the header is malformed.
func splitHost(hostport string) (host string, port int) {
	if strings.IndexByte(hostport, ':') < 0 {
		return hostport, 0
	}
	if strings.HasPrefix(hostport, "[") && strings.HasSuffix(hostport, "]") {
		return hostport[1 : len(hostport)-1], 0
	}
	host, text, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", 0
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return host, 0
	}
	return host, int(number)
}

// peerOf splits the remote address that net/http reports for a connection. It is "@" for a Unix
// socket without a name.
func peerOf(remote string) (address string, port int) {
	if remote == "@" {
		return "", 0
	}
	return splitHost(remote)
}

func schemeOf(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// protocolOf splits a protocol such as "HTTP/1.1" into name and version. The usual ones are
// constants: the SDK holds the attributes of metrics until the process ends, and proto is a part of
// a request line that may be a megabyte.
func protocolOf(proto string) (name, version string) {
	switch proto {
	case "HTTP/1.1":
		return "http", "1.1"
	case "HTTP/2.0", "HTTP/2":
		return "http", "2"
	case "HTTP/1.0":
		return "http", "1.0"
	case "HTTP/3.0", "HTTP/3":
		return "http", "3"
	}
	name, version, _ = strings.Cut(strings.Clone(proto), "/")
	return strings.ToLower(name), version
}

// scrubbedQuery hides the values of the parameters that the semantic conventions name: the
// signatures and credentials of signed URLs.
func scrubbedQuery(query string) string {
	if !strings.Contains(query, "ig") && !strings.Contains(query, "AWS") && !strings.Contains(query, "Amz") {
		return query // no such parameter
	}
	var scrubbed strings.Builder
	separator := ""
	for parameter := range strings.SplitSeq(query, "&") {
		scrubbed.WriteString(separator)
		separator = "&"
		name, _, has := strings.Cut(parameter, "=")
		if has && isSignature(name) {
			parameter = name + "=REDACTED"
		}
		scrubbed.WriteString(parameter)
	}
	return scrubbed.String()
}

func isSignature(parameter string) bool {
	switch parameter {
	case "AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature",
		"X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token":
		return true
	}
	return false
}
