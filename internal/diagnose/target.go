package diagnose

import (
	"crypto/tls"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Target is where one signal's requests go, and the names of the settings that decide it, which a
// diagnosis tells a person to change.
type Target struct {
	Signal  signal.Signal
	GRPC    bool        // the protocol is grpc, else http/protobuf
	URL     *url.URL    // http or https; over HTTP with the path of the signal
	Address string      // host and port to dial
	TLS     *tls.Config // for https
	Timeout time.Duration

	DefaultEndpoint bool // none was set
	OwnURL          bool // the URL is the signal's own and used as is; else the signal's path was added to a base URL
	HasHeaders      bool

	// The settings to change.
	Endpoint, Protocol, Headers, Certificate, ClientCertificate, ClientKey, Compression lines.Setting
	OwnCertificate                                                                      bool // Certificate is set
}

func (t Target) secure() bool { return t.URL.Scheme == "https" }

func (t Target) hasClientCertificate() bool {
	return t.TLS != nil && (len(t.TLS.Certificates) > 0 || t.TLS.GetClientCertificate != nil)
}

func protocolName(grpc bool) string {
	if grpc {
		return "grpc"
	}
	return "http/protobuf"
}

// signalPath is the path of the signal over OTLP/HTTP (OTLP specification, "OTLP/HTTP Request").
func (t Target) signalPath() string { return "/v1/" + t.Signal.String() }

// withSignalPath is the URL of the target with the path of its signal in place of its own.
func (t Target) withSignalPath() *url.URL {
	u := *t.URL
	u.Path = t.signalPath()
	return &u
}

// lacksPath reports whether a signal's own URL, to which no path is added, has none.
func (t Target) lacksPath() bool { return t.OwnURL && strings.Trim(t.URL.Path, "/") == "" }

// endpointFor returns the value of the endpoint setting that makes the signal go to u. Over HTTP, u
// is the full URL of the signal.
func (t Target) endpointFor(u *url.URL) string {
	if t.OwnURL {
		return u.String()
	}
	base := *u
	base.Path = strings.TrimSuffix(strings.TrimSuffix(base.Path, t.signalPath()), "/")
	return base.String()
}

// place is how sentences name the destination of a request. Signals that share a base URL have the
// same name for it, so they share a line.
func (t Target) place() string { return t.placeOf(t.URL) }

func (t Target) placeOf(u *url.URL) string {
	switch base, ok := strings.CutSuffix(u.String(), t.signalPath()); {
	case t.GRPC:
		return t.Address
	case ok && !t.OwnURL:
		return base + "/v1/*"
	}
	return u.String()
}

// withScheme is the URL of the target with another scheme.
func (t Target) withScheme(scheme string) *url.URL {
	u := *t.URL
	u.Scheme, u.Host = scheme, t.Address
	return &u
}

// onThisMachine reports whether the address is a loopback address, of this machine or container.
func (t Target) onThisMachine() bool {
	host := t.URL.Hostname()
	ip, err := netip.ParseAddr(host) // also with a zone
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// proxy is the proxy that requests go through, as the exporters choose it: host and port, and the
// variable that names it. Both are empty for a direct connection.
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
		u.Scheme, u.Host = "https", t.Address // gRPC always asks its proxy for a tunnel
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
