package lines

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/signal"
)

// The sentences of a diagnosis say what is wrong with an endpoint and, after the first ": ", what
// to change. address is the host and port. place is where the request went: the URL, or over gRPC
// the address. said is the answer of the server, or the error of the system.

// Setting is the name of an option or of a variable, or [Argument].
type Setting string

// to returns the advice to set the setting to a value.
func (s Setting) to(value string) string {
	switch {
	case s == Argument:
		return "use " + value
	case strings.HasSuffix(string(s), ")"): // ForLogs(WithEndpoint)
		return fmt.Sprintf("use %s(%q))", strings.TrimSuffix(string(s), ")"), value)
	case IsOption(string(s)):
		return fmt.Sprintf("use %s(%q)", s, value)
	}
	return fmt.Sprintf("set %s=%s", s, value)
}

// toFile returns the advice to set the setting to a file, which has a description instead of a
// name.
func (s Setting) toFile(description string) string {
	if s == Argument || IsOption(string(s)) {
		return fmt.Sprintf("use %s with %s", s, description)
	}
	return fmt.Sprintf("set %s to %s", s, description)
}

// joined joins two pieces of advice, without a second "set".
func joined(advice, separator, another string) string {
	if strings.HasPrefix(advice, "set ") {
		another = strings.TrimPrefix(another, "set ")
	}
	return advice + separator + another
}

// bracketed returns " (text)", or "" if there is no text.
func bracketed(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// HostUnresolved is about a host name that DNS does not know.
func HostUnresolved(host string, endpoint Setting) string {
	return fmt.Sprintf("the host name %s does not resolve: correct it in %s", host, endpoint)
}

// NothingListens is about an address that refuses connections. tried is such as "2 of 2 addresses
// tried"; loopback is the host name if it means this machine. Both may be "".
func NothingListens(address, tried, loopback string, endpoint Setting) string {
	return fmt.Sprintf("nothing listens at %s%s: start the collector, or correct the host and port in %s%s",
		address, bracketed(tried), endpoint, inContainer(loopback))
}

// NothingListensByDefault is the same about the default endpoint.
func NothingListensByDefault(address, loopback string, endpoint Setting) string {
	return fmt.Sprintf("nothing listens at %s and no endpoint is set: start a collector there%s, set %s, "+
		"or set TELEMETRY_PROFILE=development to see everything on this console", address, inContainer(loopback),
		endpoint)
}

func inContainer(loopback string) string {
	if loopback == "" {
		return ""
	}
	return fmt.Sprintf(" (in a container, %s is the container itself)", loopback)
}

// CannotConnect is about connections that are neither accepted nor refused. tried is as for
// [NothingListens].
func CannotConnect(address string, timeout time.Duration, tried string, endpoint Setting) string {
	return fmt.Sprintf("cannot connect to %s within %s%s: a firewall or network policy drops the packets, or the "+
		"address in %s is wrong", address, timeout, bracketed(tried), endpoint)
}

// NoAnswer is about a connection on which no answer comes.
func NoAnswer(address string, timeout time.Duration, endpoint Setting) string {
	return fmt.Sprintf("%s does not answer within %s: something else listens there, or the collector is stuck; "+
		"check %s, or raise OTEL_EXPORTER_OTLP_TIMEOUT", address, timeout, endpoint)
}

// ClosesConnections is about a server that accepts connections and closes them.
func ClosesConnections(address string, endpoint Setting) string {
	return fmt.Sprintf("%s closes every connection without answering: no OTLP receiver listens there, or the load "+
		"balancer has none behind it; check the host, port and scheme in %s", address, endpoint)
}

// UntrustedAuthority is about a certificate of an authority that the system does not trust; issuer
// may be "".
func UntrustedAuthority(address, issuer string, certificate Setting) string {
	return fmt.Sprintf("the certificate of %s is signed by an authority that is not trusted here%s: %s",
		address, bracketed(issuer), certificate.toFile("a PEM file that contains the authority's certificate"))
}

// AuthorityNotInFile is the same if the trusted authorities are in a file.
func AuthorityNotInFile(address, issuer string, certificate Setting) string {
	return fmt.Sprintf("the certificate of %s is signed by an authority that is not in %s%s: add the authority's "+
		"certificate to it", address, certificate, bracketed(issuer))
}

// WrongHostName is about a certificate for other names than name. validFor has them, separated by
// commas.
func WrongHostName(address, validFor, name string, endpoint Setting) string {
	use := "use that name"
	if strings.Contains(validFor, ", ") {
		use = "use one of these names"
	}
	return fmt.Sprintf("the certificate of %s is valid for %s, not for %s: %s in %s, or add the name to the certificate",
		address, validFor, name, use, endpoint)
}

// WrongHostNameAmongUnknown is the same if the names of the certificate are not known.
func WrongHostNameAmongUnknown(address, said string, endpoint Setting) string {
	return fmt.Sprintf("the certificate of %s is not valid for that name (%s): use a name it is valid for in %s, or "+
		"add the name to the certificate", address, said, endpoint)
}

// CertificateNotValidNow is about a certificate that has expired or is not valid yet; period says
// when, such as [ExpiredOn] does, or is "".
func CertificateNotValidNow(address, period string) string {
	return fmt.Sprintf("the certificate of %s is not valid now%s: renew it on the collector, or correct this "+
		"machine's clock", address, bracketed(period))
}

// ExpiredOn is the period of a certificate that has expired.
func ExpiredOn(end time.Time) string {
	return "it expired on " + end.UTC().Format(time.DateTime) + " UTC"
}

// ValidFrom is the period of a certificate that is not valid yet.
func ValidFrom(start time.Time) string {
	return "it is valid from " + start.UTC().Format(time.DateTime) + " UTC"
}

// ClientCertificateMissing is about a server that wants a client certificate and got none.
func ClientCertificateMissing(address string, certificate, key Setting) string {
	return fmt.Sprintf("%s requires a client certificate: %s", address,
		joined(certificate.toFile("a PEM file"), " and ", key.toFile("the file of its key")))
}

// ClientCertificateRefused is about a server that got one it does not trust.
func ClientCertificateRefused(address, said string, certificate, key Setting) string {
	return fmt.Sprintf("%s does not accept the client certificate (%s): correct %s and %s", address, said, certificate,
		key)
}

// NoTLS is about a port that got TLS and speaks plain text; plainURL is the value for endpoint
// without TLS.
func NoTLS(address string, endpoint Setting, plainURL string) string {
	return fmt.Sprintf("%s does not speak TLS, but the endpoint is https://: use the TLS port, or %s if the data may "+
		"go unencrypted", address, endpoint.to(plainURL))
}

// TLSPort describes a port that speaks TLS and got plain text.
type TLSPort struct {
	Address  string
	Endpoint Setting
	URL      string // the value for Endpoint with TLS

	Protocol       Setting
	Wanted, Spoken string // protocols, if the port speaks another than the one that is set; else ""

	Untrusted   bool // the system does not trust the certificate's authority, and none is set
	Certificate Setting
	Issuer      string // may be ""
}

// NeedsTLS says what to change for a port that speaks TLS.
func NeedsTLS(p TLSPort) string {
	speaks, configured, advice := "TLS", "the endpoint is http://", p.Endpoint.to(p.URL)
	if p.Spoken != "" {
		speaks += " and " + p.Spoken
		configured += " and the protocol is " + p.Wanted
		advice = joined(advice, " and ", p.Protocol.to(p.Spoken))
	}
	if p.Untrusted {
		file := p.Certificate.toFile("a PEM file that contains its authority's certificate")
		advice = joined(advice, ", and ", file) + bracketed(p.Issuer)
	}
	return fmt.Sprintf("%s speaks %s, but %s: %s", p.Address, speaks, configured, advice)
}

// AnswersGRPC is about a gRPC port that got http/protobuf. otherPort is where that would be
// answered.
func AnswersGRPC(address, otherPort string, protocol Setting) string {
	return fmt.Sprintf("%s answers gRPC, but the protocol is http/protobuf: %s or use %s", address, protocol.to("grpc"),
		otherPort)
}

// AnswersHTTP is about an HTTP port that got gRPC. url is the value for endpoint if it needs a path
// over HTTP, else "".
func AnswersHTTP(address, otherPort string, protocol, endpoint Setting, url string) string {
	advice := protocol.to("http/protobuf") + " or use "
	if url != "" {
		advice = joined(protocol.to("http/protobuf"), " and ", endpoint.to(url)) + ", or use "
	}
	return fmt.Sprintf("%s answers HTTP, but the protocol is grpc: %s%s", address, advice, otherPort)
}

// ProxyInvalid is about a variable that names no proxy; wanted is what it must be.
func ProxyInvalid(variable, wanted, host string) string {
	return fmt.Sprintf("%s cannot be used: it %s, or %s", variable, wanted, bypass(host))
}

// ProxyUnreachable is about a proxy that does not answer.
func ProxyUnreachable(proxy, variable, host string) string {
	return fmt.Sprintf("the proxy %s cannot be reached: correct %s, or %s", proxy, variable, bypass(host))
}

// ProxyCredentials is about a proxy that requires credentials. status is that of its answer, or "".
func ProxyCredentials(proxy, scheme, status, variable, host string) string {
	return fmt.Sprintf("the proxy %s requires credentials%s: put them in %s as %s://<user>:<password>@%s, or %s",
		proxy, bracketed(status), variable, scheme, proxy, bypass(host))
}

// ProxyCannotReach is about a proxy that does not connect to the endpoint.
func ProxyCannotReach(proxy, variable, address, host string) string {
	return fmt.Sprintf("the proxy %s (%s) cannot reach %s: %s, or allow it in the proxy", proxy, variable, address,
		bypass(host))
}

func bypass(host string) string { return fmt.Sprintf("add %s to NO_PROXY to bypass the proxy", host) }

// CredentialsMissing is about a server, or a proxy in front of it, that refuses requests without
// credentials. proxy is such as "10.0.0.1:3128 (HTTP_PROXY)", or "".
func CredentialsMissing(place, said, proxy string, headers Setting) string {
	return fmt.Sprintf("%s requires credentials (%s): set %s=name=value as its operator specifies%s", place, said,
		headers, orAllowIn(proxy))
}

// CredentialsRefused is the same for credentials that are wrong.
func CredentialsRefused(place, said, proxy string, headers Setting) string {
	return fmt.Sprintf("%s refuses the credentials (%s): correct them in %s%s", place, said, headers, orAllowIn(proxy))
}

func orAllowIn(proxy string) string {
	if proxy == "" {
		return ""
	}
	return ", or allow it in the proxy " + proxy
}

// SignalNotAccepted is about a collector that takes other signals. answersGRPC says that it did,
// over gRPC.
func SignalNotAccepted(address string, s signal.Signal, said string, answersGRPC bool) string {
	if answersGRPC {
		address += " answers gRPC, but"
	}
	return fmt.Sprintf("%s does not accept %s (%s): add its OTLP receiver to a pipeline for %s, or set "+
		"OTEL_%s_EXPORTER=none", address, s, said, s, strings.ToUpper(s.String()))
}

// CannotDecompress is about a gRPC server without gzip.
func CannotDecompress(address, said string, compression Setting) string {
	return fmt.Sprintf("%s cannot decompress (%s): %s", address, said, compression.to("none"))
}

// RedirectsTo is about a redirect to target; url is the value for endpoint to go there.
func RedirectsTo(place, target string, endpoint Setting, url string) string {
	return fmt.Sprintf("%s redirects to %s, and redirects are not followed: %s", place, target, endpoint.to(url))
}

// Redirects is about a redirect without a target.
func Redirects(place, said string, endpoint Setting) string {
	return fmt.Sprintf("%s answers %s, and redirects are not followed: correct %s", place, said, endpoint)
}

// ReceiverElsewhere is about a path without OTLP on a server that has OTLP at another path. url is
// the value for endpoint to go there.
func ReceiverElsewhere(place, said, found string, endpoint Setting, url string) string {
	return fmt.Sprintf("%s, but there is one at %s: %s", noReceiver(place, said), found, endpoint.to(url))
}

// PathMissing is about a signal's own URL without a path; url is the value for endpoint with the
// usual one.
func PathMissing(place, said string, endpoint Setting, url string) string {
	return fmt.Sprintf("%s: %s must include the path: %s", noReceiver(place, said), endpoint, endpoint.to(url))
}

// NoReceiverOnServer is about a server that has OTLP at none of the usual paths.
func NoReceiverOnServer(place, said, address string, endpoint Setting) string {
	return fmt.Sprintf("%s, nor at the usual paths of %s: correct the host and port in %s", noReceiver(place, said),
		address, endpoint)
}

// NoReceiverAtPath is the same before the usual paths were tried. usual is the usual path, or "".
func NoReceiverAtPath(place, said string, endpoint Setting, usual string) string {
	return fmt.Sprintf("%s: correct the path in %s, which is usually %s", noReceiver(place, said), endpoint,
		cmp.Or(usual, "empty"))
}

func noReceiver(place, said string) string {
	return fmt.Sprintf("there is no OTLP receiver at %s (%s)", place, said)
}

// Answers is about a temporary answer, such as 503.
func Answers(place, said string) string { return fmt.Sprintf("%s answers %s", place, said) }

// RequestsFail is about an unknown kind of failure.
func RequestsFail(place, said string) string {
	return fmt.Sprintf("requests to %s fail: %s", place, said)
}
