package settings

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
)

// HeaderSource identifies where renewed headers come from. Two signals with the same source may
// share a connection.
type HeaderSource struct {
	TokenFile string
	Function  *HeaderFunc
}

// HeaderSource returns where the signal's renewed headers come from. It is zero if all its headers
// are fixed.
func (s SignalConfig) HeaderSource() HeaderSource {
	return HeaderSource{strings.TrimSpace(s.tokenFile.Value), s.HeaderFunc}
}

// warnPlainToken warns of a token that anyone on the network can read.
func (r *Resolution) warnPlainToken(s signal.Signal, sc *SignalConfig) {
	if sc.HeaderSource() == (HeaderSource{}) || sc.Target.URL == nil || sc.Target.Secure() ||
		isLoopback(sc.Target.URL.Hostname()) {
		return
	}
	r.notice(lines.PlainToken(sc.Endpoint.Origin, s))
}

// target is where the requests of one signal go.
type target struct {
	URL *url.URL // scheme http or https; over HTTP with the path of the signal
}

// Secure reports whether requests use TLS.
func (t target) Secure() bool { return t.URL.Scheme == "https" }

// HostPort returns the address to dial. The default port is that of the scheme.
func (t target) HostPort() string {
	if t.URL.Port() != "" {
		return t.URL.Host
	}
	if t.Secure() {
		return net.JoinHostPort(t.URL.Hostname(), "443")
	}
	return net.JoinHostPort(t.URL.Hostname(), "80")
}

const (
	defaultHTTPEndpoint = "http://localhost:4318"
	defaultGRPCEndpoint = "http://localhost:4317"
)

func endpointURL() kind[string] {
	return kind[string]{
		want:  "must be a URL such as http://collector:4318 or https://otlp.example.com",
		parse: func(text string) (string, error) { return text, nil },
		check: func(text string) error {
			_, _, err := ParseEndpoint(text)
			return err
		},
		show:  redactURL,
		quote: redactURL,
	}
}

// redactURL returns an endpoint as it can be shown. An invalid one may contain credentials where no
// parser finds them, so it is shown only if it cannot contain a secret.
func redactURL(text string) string {
	if _, _, err := ParseEndpoint(text); err != nil && strings.ContainsAny(text, "@?#") {
		return "<redacted>"
	}
	return text
}

// bareHost is a host name or an address, IPv6 in brackets and with or without a zone, with an
// optional port and path.
var bareHost = regexp.MustCompile(`^([0-9A-Za-z_.-]+|\[[0-9A-Fa-f:.]+(%[0-9A-Za-z_.~%-]+)?\])(:[0-9]+)?(/.*)?$`)

// Addresses other than host and port, as other programs accept them.
var (
	unixSocket = regexp.MustCompile(`(?i)^(unix(-abstract)?:|(https?\+)?unix://|https?://unix:/|/)`)
	nameScheme = regexp.MustCompile(`(?i)^(dns|passthrough|xds|ipv4|ipv6|vsock|srv):`)
)

// ParseEndpoint parses an http or https URL, or a host with an optional port and path. bare reports
// that text has no scheme.
func ParseEndpoint(text string) (u *url.URL, bare bool, err error) {
	bare = !strings.Contains(text, "://")
	switch {
	case unixSocket.MatchString(text):
		return nil, bare, errors.New("unix sockets are not supported: let the collector listen at a port, such as " +
			"http://localhost:4318")
	case nameScheme.MatchString(text) && !bareHost.MatchString(text):
		return nil, bare, errors.New("gRPC's own name schemes are not supported: write it as http://host:port")
	case bare && !bareHost.MatchString(text):
		return nil, bare, errors.New("it is neither a URL nor host:port")
	case bare:
		text = "//" + withEscapedZone(text)
	}
	u, err = url.Parse(text)
	if err != nil && strings.Contains(text, "[") && bareHost.MatchString(afterScheme(text)) {
		return nil, bare, errors.New("the % before the zone of an IPv6 address is written %25 in a URL")
	}
	if err != nil {
		return nil, bare, errors.New("it is not a URL") // the error of url.Parse repeats parts that may be a password
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, bare, errors.New("the port is not within 1 to 65535")
		}
	}
	switch {
	case !bare && u.Scheme != "http" && u.Scheme != "https":
		return nil, bare, fmt.Errorf("scheme %q is not http or https", u.Scheme)
	case u.Hostname() == "":
		return nil, bare, errors.New("it has no host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, bare, errors.New("credentials, a query or a fragment are not allowed (put credentials into the " +
			"headers)")
	case strings.HasSuffix(u.Host, ":"):
		return nil, bare, errors.New("there is no port after the colon")
	}
	return u, bare, nil
}

func afterScheme(text string) string {
	_, rest, _ := strings.Cut(text, "://")
	return rest
}

// withEscapedZone escapes the zone of a bare IPv6 address as URLs require (RFC 6874).
func withEscapedZone(address string) string {
	host, rest, found := strings.Cut(address, "]")
	ip, zone, zoned := strings.Cut(host, "%")
	if !found || !zoned {
		return address
	}
	return ip + "%25" + strings.TrimPrefix(zone, "25") + "]" + rest
}

// finishTarget turns the endpoint setting into the URL of the signal.
//
// A signal's own variable is the full URL (OTLP exporter specification, "Endpoint URLs for
// OTLP/HTTP"); everything else is a base URL. OTEL_EXPORTER_OTLP_INSECURE applies only to endpoints
// without a scheme, so https:// is never downgraded.
func (r *Resolution) finishTarget(s signal.Signal, sc *SignalConfig) {
	text := sc.Endpoint.Value
	if sc.Endpoint.IsDefault() && sc.Protocol.Value == ProtocolGRPC {
		text = defaultGRPCEndpoint
		sc.Endpoint.Value = text
	}
	u, bare, err := ParseEndpoint(text)
	if err != nil {
		return // reported by the table; the signal is off
	}
	tlsGiven, wrongTLS := r.tlsGiven(s, sc), r.wrong(s, tlsFiles...)
	if bare { // a certificate file that cannot be used also means that TLS was intended
		u.Scheme = assumedScheme(u, sc.insecure, tlsGiven || len(wrongTLS) > 0)
		r.notice(lines.AssumedScheme(sc.Endpoint.Origin, u.Scheme, text))
	}
	if u.Scheme == "http" {
		for _, p := range wrongTLS {
			if !r.hasWrong(s, "endpoint") {
				*p = withoutTLS(*p)
			}
		}
		if tlsGiven {
			r.notice(lines.UnusedTLS(sc.Endpoint.Origin))
		}
	}
	if sc.Protocol.Value == ProtocolGRPC && strings.Trim(u.Path, "/") != "" {
		r.notice(lines.UnusedPath(sc.Endpoint.Origin))
	}
	if sc.Protocol.Value == protocolHTTP {
		r.warnForeignPath(s, sc, u)
		if sc.Endpoint.Origin != SignalVariable(s, "ENDPOINT") {
			u = withSignalPath(u, s)
		} else if u.Path == "" {
			u.Path = "/"
		}
	}
	sc.Target = target{u}
}

// warnForeignPath warns if the path of a signal's endpoint ends in that of another signal, and says
// what was probably meant. The most common case is the full URL of traces in the variable of the
// base URL.
func (r *Resolution) warnForeignPath(s signal.Signal, sc *SignalConfig, u *url.URL) {
	path := strings.TrimSuffix(u.Path, "/")
	other := signal.Named(path[strings.LastIndex(path, "/")+1:])
	if other == signal.None || other == s || !strings.HasSuffix(path, "/v1/"+other.String()) {
		return
	}
	origin := sc.Endpoint.Origin
	scoped := lines.IsOption(origin) && r.Asked.Signals[s].Endpoint != nil
	if scoped {
		origin = scopeOf(s, origin)
	}
	if scoped || origin == SignalVariable(s, "ENDPOINT") {
		r.notice(lines.PathOfAnotherSignal(origin, other, s))
		return
	}
	ofSignal := "set " + SignalVariable(other, "ENDPOINT")
	if lines.IsOption(origin) {
		ofSignal = "use " + scopeOf(other, origin)
	}
	r.notice(lines.PathInBaseURL(origin, other, ofSignal))
}

// scopeOf returns the option as it is written for one signal.
func scopeOf(s signal.Signal, option string) string {
	return "For" + title(s.String()) + "(" + option + ")"
}

// notice adds a line, unless it is already there: a setting of all signals causes it once for each
// of them.
func (r *Resolution) notice(line lines.Line) {
	if !slices.ContainsFunc(r.notices, func(other lines.Line) bool { return other.Text() == line.Text() }) {
		r.notices = append(r.notices, line)
	}
}

func withSignalPath(u *url.URL, s signal.Signal) *url.URL {
	path := "v1/" + s.String()
	if strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/"+path) {
		return u
	}
	return u.JoinPath(path)
}

func (r *Resolution) tlsGiven(s signal.Signal, sc *SignalConfig) bool {
	return r.Asked.TLS(s) != nil || !sc.Certificate.IsDefault() || !sc.ClientCertificate.IsDefault()
}

// hasWrong reports whether a signal has a problem with one of these settings.
func (r *Resolution) hasWrong(s signal.Signal, what ...string) bool {
	return len(r.wrong(s, what...)) > 0
}

func (r *Resolution) wrong(s signal.Signal, what ...string) (wrong []*problem) {
	for i := range r.Problems {
		if name, rest, _ := strings.Cut(r.Problems[i].Setting, " "); name == s.String() && slices.Contains(what, rest) {
			wrong = append(wrong, &r.Problems[i])
		}
	}
	return wrong
}

// tlsFiles are the settings of a signal that apply only to an https:// endpoint.
var tlsFiles = []string{"certificate", "client certificate", "client key"}

// withoutTLS returns the problem of a file as a warning, for an http:// endpoint. Without the file,
// no data goes to an unintended place.
func withoutTLS(p problem) problem {
	p.Fatal, p.signals, p.outcome = false, nil, "it is not used: the endpoint is http://"
	return p
}

func assumedScheme(u *url.URL, insecure Setting[bool], tlsGiven bool) string {
	plain := insecure.Value
	if insecure.IsDefault() && !tlsGiven {
		plain = isLoopback(u.Hostname())
	}
	if plain {
		return "http"
	}
	return "https"
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// WithoutZone returns a host without the zone of an address. A zone has a meaning only on this
// machine, so certificates and the peer do not know it (RFC 6874, section 1).
func WithoutZone(host string) string {
	host, _, _ = strings.Cut(host, "%")
	return host
}

// TLSSource identifies a TLS configuration. Two signals with the same one may share a connection.
type TLSSource struct {
	Given                                     *tls.Config
	Certificate, ClientCertificate, ClientKey string
}

// finishTLS builds the TLS configuration from WithTLSConfig or from the certificate files.
func (r *Resolution) finishTLS(s signal.Signal, sc *SignalConfig) {
	if given := r.Asked.TLS(s); given != nil {
		sc.TLS = given.Clone()
		sc.TLSSource = TLSSource{Given: given}
	} else {
		sc.TLS = &tls.Config{}
		sc.TLSSource = TLSSource{
			Certificate: sc.Certificate.Value.path, ClientCertificate: sc.ClientCertificate.Value.path,
			ClientKey: sc.ClientKey.Value.path,
		}
		if sc.Certificate.Value.data != nil {
			sc.TLS.RootCAs = x509.NewCertPool()
			sc.TLS.RootCAs.AppendCertsFromPEM(sc.Certificate.Value.data)
		}
		r.loadKeyPair(s, sc)
	}
	if sc.TLS.MinVersion == 0 {
		sc.TLS.MinVersion = tls.VersionTLS12
	}
	if u := sc.Target.URL; u != nil && sc.TLS.ServerName == "" && strings.Contains(u.Hostname(), "%") {
		sc.TLS.ServerName = WithoutZone(u.Hostname())
	}
}

func (r *Resolution) loadKeyPair(s signal.Signal, sc *SignalConfig) {
	cert, key := sc.ClientCertificate, sc.ClientKey
	if cert.IsDefault() && key.IsDefault() || r.hasWrong(s, tlsFiles...) || r.isOff(s) {
		return
	}
	p := problem{
		Setting: s.String() + " client key pair", Origin: cert.Origin, value: fmt.Sprintf("%q", cert.Value.path),
		Fatal: true, signals: []signal.Signal{s}, outcome: s.String() + " are off",
	}
	switch {
	case cert.IsDefault():
		p.Origin, p.value = key.Origin, fmt.Sprintf("%q", key.Value.path)
		p.cause = "needs its certificate: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE too"
	case key.IsDefault():
		p.cause = "needs its key: set OTEL_EXPORTER_OTLP_CLIENT_KEY too"
	default:
		pair, err := tls.X509KeyPair(cert.Value.data, key.Value.data)
		if err == nil {
			sc.TLS.Certificates = []tls.Certificate{pair}
			return
		}
		p.cause = fmt.Sprintf("does not match the key of %s: %v", key.Origin, err)
	}
	if u := sc.Target.URL; u != nil && u.Scheme == "http" {
		p = withoutTLS(p)
	}
	r.add(p)
}

func firstNonNil[T any](pointers ...*T) *T {
	for _, p := range pointers {
		if p != nil {
			return p
		}
	}
	return nil
}
