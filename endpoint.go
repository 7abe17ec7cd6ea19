package telemetry

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
)

// target is where one signal's requests go, fully decided.
type target struct {
	url *url.URL // scheme http or https; over HTTP with the path of the signal
}

func (t target) secure() bool { return t.url.Scheme == "https" }

// hostPort is the address to dial, with the port that the scheme implies when none is written.
func (t target) hostPort() string {
	if t.url.Port() != "" {
		return t.url.Host
	}
	if t.secure() {
		return net.JoinHostPort(t.url.Hostname(), "443")
	}
	return net.JoinHostPort(t.url.Hostname(), "80")
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
			_, _, err := parseEndpoint(text)
			return err
		},
		show:  redactURL,
		quote: redactURL,
	}
}

// redactURL shows an endpoint. A wrong one may hold credentials in a place where no parser finds them, so it is shown
// only where no secret can be in it.
func redactURL(text string) string {
	if _, _, err := parseEndpoint(text); err != nil && strings.ContainsAny(text, "@?#") {
		return "<redacted>"
	}
	return text
}

// bareHost is a host name or an address, IPv6 in brackets and with or without a zone, with an optional port and path.
var bareHost = regexp.MustCompile(`^([0-9A-Za-z_.-]+|\[[0-9A-Fa-f:.]+(%[0-9A-Za-z_.~%-]+)?\])(:[0-9]+)?(/.*)?$`)

// Addresses of another kind than host and port, as they are written for other programs.
var (
	unixSocket = regexp.MustCompile(`(?i)^(unix(-abstract)?:|(https?\+)?unix://|https?://unix:/|/)`)
	nameScheme = regexp.MustCompile(`(?i)^(dns|passthrough|xds|ipv4|ipv6|vsock|srv):`)
)

// parseEndpoint accepts http, https and a bare host with optional port, which it tells by bare.
func parseEndpoint(text string) (u *url.URL, bare bool, err error) {
	bare = !strings.Contains(text, "://")
	switch {
	case unixSocket.MatchString(text):
		return nil, bare, errors.New("unix sockets are not supported: let the collector listen at a port, such as http://localhost:4318")
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
		return nil, bare, errors.New("it is not a URL") // url.Parse's own words repeat parts that may be a password
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
		return nil, bare, errors.New("credentials, a query or a fragment are not allowed (put credentials into the headers)")
	case strings.HasSuffix(u.Host, ":"):
		return nil, bare, errors.New("there is no port after the colon")
	}
	return u, bare, nil
}

func afterScheme(text string) string {
	_, rest, _ := strings.Cut(text, "://")
	return rest
}

// withEscapedZone writes the zone of a bare IPv6 address as URLs have it (RFC 6874).
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
// A signal's own variable is the full URL (OTLP exporter specification, "Endpoint URLs for OTLP/HTTP"); everything
// else is a base. OTEL_EXPORTER_OTLP_INSECURE speaks about endpoints without a scheme only, so that https:// can never
// be downgraded.
func (r *resolution) finishTarget(s signal, sc *signalConfig) {
	text := sc.endpoint.value
	if sc.endpoint.isDefault() && sc.protocol.value == ProtocolGRPC {
		text = defaultGRPCEndpoint
		sc.endpoint.value = text
	}
	u, bare, err := parseEndpoint(text)
	if err != nil {
		return // reported by the table; the signal is off
	}
	tlsGiven, wrongTLS := r.tlsGiven(s, sc), r.wrong(s, tlsFiles...)
	if bare { // a file that cannot be used was meant to be, so it speaks for https, too
		u.Scheme = assumedScheme(u, sc.insecure, tlsGiven || len(wrongTLS) > 0)
		r.notice(fmt.Sprintf("%s has no scheme: %s is assumed; write %s://%s to be explicit",
			sc.endpoint.origin, u.Scheme, u.Scheme, text))
	}
	if u.Scheme == "http" {
		for _, p := range wrongTLS {
			if !r.hasWrong(s, "endpoint") {
				*p = withoutTLS(*p)
			}
		}
		if tlsGiven {
			r.notice(fmt.Sprintf("%s says http://, so the TLS settings are not used", sc.endpoint.origin))
		}
	}
	if sc.protocol.value == ProtocolGRPC && strings.Trim(u.Path, "/") != "" {
		r.notice(fmt.Sprintf("%s has a path, which is ignored over gRPC", sc.endpoint.origin))
	}
	if sc.protocol.value == ProtocolHTTP {
		r.warnForeignPath(s, sc, u)
		if sc.endpoint.origin != signalEnv(s, "ENDPOINT") {
			u = withSignalPath(u, s)
		} else if u.Path == "" {
			u.Path = "/"
		}
	}
	sc.target = target{u}
}

// warnForeignPath says that a signal's requests go to a path which ends in that of another one, and what was probably meant.
// The commonest case is the full URL of traces in the variable of the base URL.
func (r *resolution) warnForeignPath(s signal, sc *signalConfig, u *url.URL) {
	path := strings.TrimSuffix(u.Path, "/")
	foreign := slices.IndexFunc(allSignals(), func(other signal) bool { return other != s && strings.HasSuffix(path, "/v1/"+other.String()) })
	if foreign < 0 {
		return
	}
	origin, other := sc.endpoint.origin, signal(foreign)
	scoped := isOption(origin) && r.opts.signals[s].endpoint != nil
	if scoped {
		origin = scopeOf(s, origin)
	}
	if scoped || origin == signalEnv(s, "ENDPOINT") {
		r.notice(fmt.Sprintf("%s ends in /v1/%s, but is the endpoint of %s: did you mean /v1/%s?", origin, other, s, s))
		return
	}
	ofSignal := "set " + signalEnv(other, "ENDPOINT")
	if isOption(origin) {
		ofSignal = "use " + scopeOf(other, origin)
	}
	r.notice(fmt.Sprintf("%s ends in /v1/%s, but is the base URL of all signals: the others go to /v1/%s/v1/…; leave /v1/%s out, or %s instead if it is for %s only",
		origin, other, other, other, ofSignal, other))
}

// scopeOf is how an option is written for one signal.
func scopeOf(s signal, option string) string { return "For" + title(s.String()) + "(" + option + ")" }

func (r *resolution) notice(line string) {
	if !slices.Contains(r.notices, line) {
		r.notices = append(r.notices, line)
	}
}

func withSignalPath(u *url.URL, s signal) *url.URL {
	path := "v1/" + s.String()
	if strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/"+path) {
		return u
	}
	return u.JoinPath(path)
}

func (r *resolution) tlsGiven(s signal, sc *signalConfig) bool {
	return r.opts.tls(s) != nil || !sc.certificate.isDefault() || !sc.clientCertificate.isDefault()
}

// hasWrong tells whether one of these settings of a signal cannot be used as it was given.
func (r *resolution) hasWrong(s signal, what ...string) bool { return len(r.wrong(s, what...)) > 0 }

func (r *resolution) wrong(s signal, what ...string) (wrong []*problem) {
	for i := range r.problems {
		if name, rest, _ := strings.Cut(r.problems[i].setting, " "); name == s.String() && slices.Contains(what, rest) {
			wrong = append(wrong, &r.problems[i])
		}
	}
	return wrong
}

// tlsFiles are the settings of a signal that mean something to an https:// endpoint only.
var tlsFiles = []string{"certificate", "client certificate", "client key"}

// withoutTLS is a problem of a file where the endpoint is http://: nothing is sent astray without the file.
func withoutTLS(p problem) problem {
	p.fatal, p.signals, p.outcome = false, nil, "it is not used: the endpoint is http://"
	return p
}

func assumedScheme(u *url.URL, insecure setting[bool], tlsGiven bool) string {
	plain := insecure.value
	if insecure.isDefault() && !tlsGiven {
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

// withoutZone is what certificates and the peer know of a host: the zone of an address means something on this machine
// only (RFC 6874, section 1).
func withoutZone(host string) string {
	host, _, _ = strings.Cut(host, "%")
	return host
}

// tlsSource tells whether two signals have the same TLS configuration and may share a connection.
type tlsSource struct {
	given                                     *tls.Config
	certificate, clientCertificate, clientKey string
}

// finishTLS builds the TLS configuration from WithTLSConfig or from the certificate files.
func (r *resolution) finishTLS(s signal, sc *signalConfig) {
	if given := r.opts.tls(s); given != nil {
		sc.tls = given.Clone()
		sc.tlsSource = tlsSource{given: given}
	} else {
		sc.tls = &tls.Config{}
		sc.tlsSource = tlsSource{
			certificate: sc.certificate.value.path, clientCertificate: sc.clientCertificate.value.path, clientKey: sc.clientKey.value.path,
		}
		if sc.certificate.value.data != nil {
			sc.tls.RootCAs = x509.NewCertPool()
			sc.tls.RootCAs.AppendCertsFromPEM(sc.certificate.value.data)
		}
		r.loadKeyPair(s, sc)
	}
	if sc.tls.MinVersion == 0 {
		sc.tls.MinVersion = tls.VersionTLS12
	}
	if u := sc.target.url; u != nil && sc.tls.ServerName == "" && strings.Contains(u.Hostname(), "%") {
		sc.tls.ServerName = withoutZone(u.Hostname())
	}
}

func (r *resolution) loadKeyPair(s signal, sc *signalConfig) {
	cert, key := sc.clientCertificate, sc.clientKey
	if cert.isDefault() && key.isDefault() || r.hasWrong(s, tlsFiles...) || r.isOff(s) {
		return
	}
	p := problem{
		setting: s.String() + " client key pair", origin: cert.origin, value: fmt.Sprintf("%q", cert.value.path),
		fatal: true, signals: []signal{s}, outcome: s.String() + " are off",
	}
	switch {
	case cert.isDefault():
		p.origin, p.value = key.origin, fmt.Sprintf("%q", key.value.path)
		p.cause = "needs its certificate: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE too"
	case key.isDefault():
		p.cause = "needs its key: set OTEL_EXPORTER_OTLP_CLIENT_KEY too"
	default:
		pair, err := tls.X509KeyPair(cert.value.data, key.value.data)
		if err == nil {
			sc.tls.Certificates = []tls.Certificate{pair}
			return
		}
		p.cause = fmt.Sprintf("does not match the key of %s: %v", key.origin, err)
	}
	if u := sc.target.url; u != nil && u.Scheme == "http" {
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
