package diagnose

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// Target is where one signal's requests go, and which settings say so: what a diagnosis needs to tell a person what to
// change.
type Target struct {
	Signal  string      // "traces", "metrics" or "logs"
	GRPC    bool        // the protocol is grpc, else http/protobuf
	URL     *url.URL    // http or https; over HTTP with the path of the signal
	Address string      // host and port to dial
	TLS     *tls.Config // for https
	Timeout time.Duration

	DefaultEndpoint bool // none was set
	OwnURL          bool // the URL is the signal's own and used as it is; else the signal's path was added to a base
	HasHeaders      bool

	// What a person sets to change something.
	Endpoint, Protocol, Headers, Certificate, ClientCertificate, ClientKey, Compression Setting
	OwnCertificate                                                                      bool // Certificate is set
}

// Setting is the name of an option or of a variable, or [Argument].
type Setting string

// Argument is what cmd/telemetry was given for an endpoint.
const Argument Setting = "the argument"

// to is the advice to give the setting a value.
func (s Setting) to(value string) string {
	switch {
	case s == Argument:
		return "use " + value
	case strings.HasPrefix(string(s), "With"):
		return fmt.Sprintf("use %s(%q)", s, value)
	}
	return fmt.Sprintf("set %s=%s", s, value)
}

// toFile is the advice to give the setting a file, in words.
func (s Setting) toFile(words string) string {
	if s == Argument || strings.HasPrefix(string(s), "With") {
		return fmt.Sprintf("use %s with %s", s, words)
	}
	return fmt.Sprintf("set %s to %s", s, words)
}

func (t Target) secure() bool { return t.URL.Scheme == "https" }

func (t Target) hasClientCertificate() bool {
	return t.TLS != nil && (len(t.TLS.Certificates) > 0 || t.TLS.GetClientCertificate != nil)
}

func (t Target) protocol() string { return protocolName(t.GRPC) }

func protocolName(grpc bool) string {
	if grpc {
		return "grpc"
	}
	return "http/protobuf"
}

// signalPath is where OTLP/HTTP has the signal (OTLP specification, "OTLP/HTTP Request").
func (t Target) signalPath() string { return "/v1/" + t.Signal }

// setURL is the advice to send the signal to u, over HTTP the full URL of the signal.
func (t Target) setURL(u *url.URL) string {
	if t.OwnURL {
		return t.Endpoint.to(u.String())
	}
	base := *u
	base.Path = strings.TrimSuffix(strings.TrimSuffix(base.Path, t.signalPath()), "/")
	return t.Endpoint.to(base.String())
}

// withScheme is the URL of the target, over another protocol.
func (t Target) withScheme(scheme string) *url.URL {
	u := *t.URL
	u.Scheme, u.Host = scheme, t.Address
	return &u
}

// onThisMachine tells whether the address means the machine, or the container, itself.
func (t Target) onThisMachine() bool {
	host := t.URL.Hostname()
	ip, err := netip.ParseAddr(host) // also with a zone
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// proxy is the proxy that requests go through, as the exporters choose it: host and port, and the variable it is from.
// Both are empty when the way is direct.
func (t Target) proxy() (address, variable string) {
	p, variable := t.proxyURL()
	if p == nil {
		return "", ""
	}
	return p.Host, variable
}

func (t Target) proxyScheme() string {
	if p, _ := t.proxyURL(); p != nil {
		return p.Scheme
	}
	return ""
}

func (t Target) proxyURL() (p *url.URL, variable string) {
	u, variable := *t.URL, "HTTPS_PROXY"
	if t.GRPC {
		u.Scheme, u.Host = "https", t.Address // gRPC asks its proxy for a tunnel in any case
	}
	if u.Scheme == "http" {
		variable = "HTTP_PROXY"
	}
	p, err := delivery.ProxyOf(&u)
	if err != nil {
		return nil, variable
	}
	return p, variable
}
