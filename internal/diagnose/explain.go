package diagnose

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/mask"
)

// Finding says what is wrong with a target and what to change, in one line. It holds no header value.
type Finding struct {
	Kind Kind
	Text string

	sign  Kind // what the error alone says; Kind may be what a closer look has found behind it
	known facts
}

// facts is what is known besides the kind of an error. All of it may be missing.
type facts struct {
	said         string      // the server's or the system's own words
	location     string      // of a redirect
	connects     *bool       // whether a connection comes about at all
	tried        string      // how many addresses of the name, if it has more than one
	peer         certificate // of the server
	otherGRPC    *bool       // which protocol answers behind TLS
	found        *url.URL    // where OTLP is
	others       bool        // other signals are taken there
	untrusted    bool        // the authority of a port with TLS is not one of ours
	lookedAround bool
}

// Explain words an error of a delivery. ok is false where its own words are as good as any.
func Explain(err error, t Target) (f Finding, ok bool) {
	kind := kindOf(err, t)
	switch kind {
	case Unknown, Busy, Broken:
		return Finding{Kind: kind, sign: kind}, false
	}
	f = Finding{Kind: kind, sign: kind, known: factsOf(err)}
	f.Text = sentence(kind, t, f.known)
	return f, true
}

// Brief is the text without what to change: for the lines that come after one that had it.
func (f Finding) Brief() string {
	if f.Kind == Unknown || f.Kind == Busy {
		return f.Text // it has no advice
	}
	depth := 0
	for i, r := range f.Text {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ':':
			if depth == 0 && strings.HasPrefix(f.Text[i:], ": ") {
				return f.Text[:i]
			}
		}
	}
	return f.Text
}

// about is the same finding about another signal of the same connection.
func (f Finding) about(t Target) *Finding {
	f.Text = sentence(f.Kind, t, f.known)
	return &f
}

// concernsConnection tells whether the finding holds for whatever goes the same way.
func (f Finding) concernsConnection() bool {
	switch f.Kind {
	case Unknown, Unauthorized, NotFound, NoService, NoGzip, Redirected, Busy:
		return false
	}
	return true
}

// Is tells whether an error of this kind is what led to the finding.
func (f Finding) Is(k Kind) bool { return f.sign == k }

func factsOf(err error) facts {
	var f facts
	if answer := (*delivery.Answer)(nil); errors.As(err, &answer) {
		f.said, f.location = answer.Error(), answer.Location
	} else {
		f.said = innermost(err.Error())
	}
	f.tried = addressesTried.FindString(err.Error())
	if unconnected.MatchString(err.Error()) {
		f.connects = new(bool)
	}
	return f
}

// addresses says how many addresses of a name were tried.
func (f facts) addresses() string {
	if f.tried == "" {
		return ""
	}
	return " (" + f.tried + " tried)"
}

// What package delivery says of a dial. Over gRPC an error is nothing but its words.
var (
	addressesTried = regexp.MustCompile(`\d+ of \d+ addresses\b`)
	unconnected    = regexp.MustCompile(`no connection yet|dial tcp [^ ]+: i/o timeout`)
)

// innermost leaves out what the wrappers of an error say: where it happened, which the sentence says better.
func innermost(text string) string {
	for _, marker := range []string{"x509: ", "lookup ", "remote error: "} {
		if i := strings.LastIndex(text, marker); i >= 0 {
			return bounded(strings.TrimRight(text[i:], `"`))
		}
	}
	return bounded(text)
}

func sentence(k Kind, t Target, f facts) string {
	switch k {
	case NoHost, Refused, Silent, Broken:
		return t.unreachable(k, f)
	case Authority, HostName, Expired, ClientCertificate:
		return t.distrust(k, f)
	case PlainPort, TLSPort, GRPCPort, HTTPPort:
		return t.mismatch(k, f)
	case ProxyDown, ProxyAuth, ProxyRefuses, ProxyWrong:
		return t.proxied(k, f)
	}
	return t.answered(k, f)
}

func (t Target) unreachable(k Kind, f facts) string {
	var self string
	if t.onThisMachine() {
		self = " (in a container, " + t.URL.Hostname() + " is the container itself)"
	}
	switch k {
	case NoHost:
		return fmt.Sprintf("the host name %s does not resolve: correct it in %s", t.URL.Hostname(), t.Endpoint)
	case Refused:
		if t.DefaultEndpoint {
			return fmt.Sprintf("nothing listens at %s and no endpoint is set: start a collector there%s, set %s, or set TELEMETRY_PROFILE=development to see everything on this console",
				t.Address, self, t.Endpoint)
		}
		if self == "" {
			return fmt.Sprintf("nothing listens at %s%s: start the collector, or correct the host and port in %s", t.Address, f.addresses(), t.Endpoint)
		}
		return fmt.Sprintf("nothing listens at %s: start the collector, or correct the host and port in %s%s", t.Address, t.Endpoint, self)
	case Silent:
		if f.connects != nil && !*f.connects {
			return fmt.Sprintf("cannot connect to %s within %s%s: a firewall or network policy drops the packets, or the address in %s is wrong", t.Address, t.Timeout, f.addresses(), t.Endpoint)
		}
		return fmt.Sprintf("%s does not answer within %s: something else listens there, or the collector is stuck: check %s, or raise OTEL_EXPORTER_OTLP_TIMEOUT", t.Address, t.Timeout, t.Endpoint)
	}
	return fmt.Sprintf("%s closes each connection without an answer: no OTLP receiver listens there, or none is behind the load balancer: check the host, port and scheme in %s", t.Address, t.Endpoint)
}

func (t Target) distrust(k Kind, f facts) string {
	switch k {
	case Authority:
		if t.OwnCertificate {
			return fmt.Sprintf("the certificate of %s is signed by an authority that %s does not hold%s: add the authority's certificate to it", t.Address, t.Certificate, f.peer.issuer())
		}
		return fmt.Sprintf("the certificate of %s is signed by an authority that is not trusted here%s: %s", t.Address, f.peer.issuer(), t.Certificate.toFile("a PEM file that contains the authority's certificate"))
	case HostName:
		if names := f.peer.names(); names != "" {
			use := "use that name"
			if strings.Contains(names, ", ") {
				use = "use one of these names"
			}
			return fmt.Sprintf("the certificate of %s is valid for %s, not for %s: %s in %s, or renew the certificate with the name",
				t.Address, names, t.serverName(), use, t.Endpoint)
		}
		return fmt.Sprintf("the certificate of %s is not valid for that name (%s): use a name it is valid for in %s, or renew the certificate with the name", t.Address, f.said, t.Endpoint)
	case Expired:
		return fmt.Sprintf("the certificate of %s is not valid today%s: renew it on the collector, or correct this machine's clock", t.Address, f.peer.period())
	}
	if t.hasClientCertificate() {
		return fmt.Sprintf("%s does not accept the client certificate (%s): correct %s and %s", t.Address, f.said, t.ClientCertificate, t.ClientKey)
	}
	return fmt.Sprintf("%s requires a client certificate: %s and %s", t.Address,
		t.ClientCertificate.toFile("a PEM file"), strings.TrimPrefix(t.ClientKey.toFile("the file of its key"), "set "))
}

// mismatch is about a port that speaks something else.
func (t Target) mismatch(k Kind, f facts) string {
	switch k {
	case PlainPort:
		return fmt.Sprintf("%s does not speak TLS, but the endpoint is https://: use the port that does, or %s if the network may read the data",
			t.Address, t.setURL(t.withScheme("http")))
	case TLSPort:
		advice, what := t.setURL(t.withScheme("https")), "speaks TLS"
		but := "the endpoint is http://"
		if f.otherGRPC != nil && *f.otherGRPC != t.GRPC {
			what += " and " + protocolName(!t.GRPC)
			but += " and the protocol " + t.protocol()
			advice = joined(advice, " and ", t.Protocol.to(protocolName(!t.GRPC)))
		}
		if f.untrusted && !t.OwnCertificate {
			advice = joined(advice, ", and ", t.Certificate.toFile("a PEM file that contains its authority's certificate")) + f.peer.issuer()
		}
		return fmt.Sprintf("%s %s, but %s: %s", t.Address, what, but, advice)
	case GRPCPort:
		return fmt.Sprintf("%s answers gRPC, but the protocol is %s: %s or use %s", t.Address, t.protocol(), t.Protocol.to("grpc"), t.otherPort())
	}
	if t.OwnURL && strings.Trim(t.URL.Path, "/") == "" {
		u := *t.URL
		u.Path = t.signalPath()
		return fmt.Sprintf("%s answers HTTP, but the protocol is %s: %s and %s, or use %s", t.Address, t.protocol(), t.Protocol.to("http/protobuf"),
			strings.TrimPrefix(t.Endpoint.to(u.String()), "set "), t.otherPort())
	}
	return fmt.Sprintf("%s answers HTTP, but the protocol is %s: %s or use %s", t.Address, t.protocol(), t.Protocol.to("http/protobuf"), t.otherPort())
}

// joined is one advice and another, without a second "set".
func joined(advice, and, another string) string {
	if strings.HasPrefix(advice, "set ") {
		another = strings.TrimPrefix(another, "set ")
	}
	return advice + and + another
}

// otherPort is where the protocol of the target usually is.
func (t Target) otherPort() string {
	used, other := ":4317", "4318"
	if t.GRPC {
		used, other = ":4318", "4317"
	}
	if strings.HasSuffix(t.Address, used) {
		return "port " + other
	}
	return "the port for " + t.protocol() + ", usually " + other
}

func (t Target) proxied(k Kind, f facts) string {
	proxy, variable := t.proxy()
	direct := fmt.Sprintf("add %s to NO_PROXY to go there directly", t.URL.Hostname())
	switch k {
	case ProxyWrong:
		_, variable = t.proxyURL()
		return fmt.Sprintf("%s cannot be used: it %s, or %s", variable, delivery.WantedProxy, direct)
	case ProxyDown:
		return fmt.Sprintf("the proxy %s cannot be reached: correct %s, or %s", proxy, variable, direct)
	case ProxyAuth:
		scheme, said := t.proxyScheme(), " (407)"
		if strings.HasPrefix(scheme, "socks") {
			said = ""
		}
		return fmt.Sprintf("the proxy %s requires credentials%s: put them into %s as %s://<user>:<password>@%s, or %s", proxy, said, variable, scheme, proxy, direct)
	}
	return fmt.Sprintf("the proxy %s (%s) does not get through to %s: %s, or allow it in the proxy", proxy, variable, t.Address, direct)
}

// answered is about an endpoint that speaks the protocol and does not take the request.
func (t Target) answered(k Kind, f facts) string {
	place := t.place()
	switch k {
	case Unauthorized:
		var between string
		if proxy, variable := t.proxy(); proxy != "" && !t.GRPC && !t.secure() {
			between = fmt.Sprintf(", or allow it in the proxy %s (%s)", proxy, variable) // either may have answered
		}
		if !t.HasHeaders {
			return fmt.Sprintf("%s requires credentials (%s): set %s=name=value as its operator specifies%s", place, f.said, t.Headers, between)
		}
		return fmt.Sprintf("%s refuses the credentials (%s): correct them in %s%s", place, f.said, t.Headers, between)
	case NoService:
		return fmt.Sprintf("%s answers gRPC, but does not accept %s (%s): add its OTLP receiver to a pipeline for %s, or set OTEL_%s_EXPORTER=none",
			t.Address, t.Signal, f.said, t.Signal, strings.ToUpper(t.Signal))
	case NoGzip:
		return fmt.Sprintf("%s cannot decompress (%s): %s", t.Address, f.said, t.Compression.to("none"))
	case Redirected:
		if u, err := url.Parse(f.location); err == nil && u.Host != "" {
			text := fmt.Sprintf("%s redirects to %s, and redirects are not followed: %s", place, t.placeOf(u), t.setURL(u))
			return strings.ReplaceAll(text, url.PathEscape(mask.Hidden), mask.Hidden)
		}
		return fmt.Sprintf("%s answers %s, and redirects are not followed: correct %s", place, f.said, t.Endpoint)
	case NotFound:
		return t.notFound(f)
	}
	if k == Busy {
		return fmt.Sprintf("%s answers %s", place, f.said)
	}
	return fmt.Sprintf("requests to %s fail: %s", place, f.said)
}

// place names what is spoken to. The signals that share a base share the name, and thus the line.
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

func (t Target) notFound(f facts) string {
	f.said, _, _ = strings.Cut(f.said, ":") // pages of "not found" tell nothing more
	switch {
	case f.found != nil:
		return fmt.Sprintf("there is no OTLP receiver at %s (%s), but there is one at %s: %s", t.place(), f.said, t.placeOf(f.found), t.setURL(f.found))
	case f.others:
		return fmt.Sprintf("%s does not accept %s (%s): add its OTLP receiver to a pipeline for %s, or set OTEL_%s_EXPORTER=none",
			t.Address, t.Signal, f.said, t.Signal, strings.ToUpper(t.Signal))
	case t.OwnURL && strings.Trim(t.URL.Path, "/") == "":
		u := *t.URL
		u.Path = t.signalPath()
		return fmt.Sprintf("there is no OTLP receiver at %s (%s): %s is used as it is, %s", t.place(), f.said, t.Endpoint, t.Endpoint.to(u.String()))
	case f.lookedAround:
		return fmt.Sprintf("there is no OTLP receiver at %s (%s), nor at the usual paths of %s: correct the host and port in %s", t.place(), f.said, t.Address, t.Endpoint)
	}
	return fmt.Sprintf("there is no OTLP receiver at %s (%s): correct the path in %s, it is usually %s", t.place(), f.said, t.Endpoint, t.usualPath())
}

func (t Target) usualPath() string {
	if t.OwnURL {
		return t.signalPath()
	}
	return "none"
}
