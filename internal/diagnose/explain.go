// Package diagnose finds out why an endpoint does not accept OTLP, and what to change. [Explain]
// classifies the error of an export, [Probe] sends an empty request first and investigates what
// goes wrong. The sentences are in internal/lines.
package diagnose

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/mask"
)

// Finding says what is wrong with a target and what to change, in one line. It contains no header
// value.
type Finding struct {
	Kind Kind
	Text string

	symptom Kind // what the error alone indicates; Kind may be the cause that the probe found behind it
	known   facts
}

// facts is what is known besides the kind of an error. Any field may be unset.
type facts struct {
	said         string      // the server's or the system's own words
	location     string      // of a redirect
	connects     *bool       // whether a connection can be made at all
	tried        string      // such as "2 of 2 addresses tried", if the name has more than one
	peer         certificate // of the server
	untrusted    bool        // the peer's authority is unknown; only for a port that was not known to speak TLS
	grpcOverTLS  *bool       // whether that port answers gRPC
	searched     bool        // the usual paths have no OTLP receiver
	found        *url.URL    // the usual path that has one
	otherSignals bool        // the server accepts other signals
}

// Explain says what an error of a delivery means. ok is false if it has nothing to add to the
// error's own text.
func Explain(err error, t Target) (f Finding, ok bool) {
	kind := kindOf(err, t)
	switch kind {
	case Unknown, Busy, Broken:
		return Finding{Kind: kind, symptom: kind}, false
	}
	f = Finding{Kind: kind, symptom: kind, known: factsOf(err)}
	f.Text = t.sentence(kind, f.known)
	return f, true
}

// Brief returns the text without the advice, for a line that follows one with the advice.
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

// about returns the same finding for another signal on the same connection.
func (f Finding) about(t Target) *Finding {
	f.Text = t.sentence(f.Kind, f.known)
	return &f
}

// concernsConnection reports whether the finding holds for every signal on the same connection.
func (f Finding) concernsConnection() bool {
	switch f.Kind {
	case Unknown, Unauthorized, NotFound, NoService, NoGzip, Redirected, Busy:
		return false
	}
	return true
}

// Is reports whether an error of kind k led to the finding.
func (f Finding) Is(k Kind) bool { return f.symptom == k }

func factsOf(err error) facts {
	var f facts
	if answer := (*delivery.Answer)(nil); errors.As(err, &answer) {
		f.said, f.location = answer.Error(), answer.Location
	} else {
		f.said = innermost(err.Error())
	}
	if m := addressesTried.FindString(err.Error()); m != "" {
		f.tried = m + " tried"
	}
	if unconnected.MatchString(err.Error()) {
		f.connects = new(bool)
	}
	return f
}

// The texts of internal/delivery about a dial. Over gRPC, only the text of an error is left.
var (
	addressesTried = regexp.MustCompile(`\d+ of \d+ addresses\b`)
	unconnected    = regexp.MustCompile(`no connection yet|dial tcp [^ ]+: i/o timeout`)
)

// innermost removes the text of an error's wrappers. They say where the error happened, which the
// sentence says better.
func innermost(text string) string {
	for _, marker := range []string{"x509: ", "lookup ", "remote error: "} {
		if i := strings.LastIndex(text, marker); i >= 0 {
			return bounded(strings.TrimRight(text[i:], `"`))
		}
	}
	return bounded(text)
}

// sentence returns the sentence for a kind of error, with the facts.
func (t Target) sentence(k Kind, f facts) string {
	switch k {
	case NoHost, Refused, Silent, Broken:
		return t.connectionSentence(k, f)
	case Authority, HostName, Expired, ClientCertificate:
		return t.certificateSentence(k, f)
	case PlainPort, TLSPort, GRPCPort, HTTPPort:
		return t.portSentence(k, f)
	case ProxyDown, ProxyAuth, ProxyRefuses, ProxyWrong:
		return t.proxySentence(k)
	}
	return t.answerSentence(k, f)
}

func (t Target) connectionSentence(k Kind, f facts) string {
	var loopback string
	if t.onThisMachine() {
		loopback = t.URL.Hostname()
	}
	switch k {
	case NoHost:
		return lines.HostUnresolved(t.URL.Hostname(), t.Endpoint)
	case Refused:
		switch {
		case t.DefaultEndpoint:
			return lines.NothingListensByDefault(t.Address, loopback, t.Endpoint)
		case loopback != "":
			return lines.NothingListens(t.Address, "", loopback, t.Endpoint)
		}
		return lines.NothingListens(t.Address, f.tried, "", t.Endpoint)
	case Silent:
		if f.connects != nil && !*f.connects {
			return lines.CannotConnect(t.Address, t.Timeout, f.tried, t.Endpoint)
		}
		return lines.NoAnswer(t.Address, t.Timeout, t.Endpoint)
	}
	return lines.ClosesConnections(t.Address, t.Endpoint)
}

func (t Target) certificateSentence(k Kind, f facts) string {
	switch k {
	case Authority:
		if t.OwnCertificate {
			return lines.AuthorityNotInFile(t.Address, f.peer.issuer(), t.Certificate)
		}
		return lines.UntrustedAuthority(t.Address, f.peer.issuer(), t.Certificate)
	case HostName:
		if names := f.peer.names(); names != "" {
			return lines.WrongHostName(t.Address, names, t.serverName(), t.Endpoint)
		}
		return lines.WrongHostNameAmongUnknown(t.Address, f.said, t.Endpoint)
	case Expired:
		return lines.CertificateNotValidNow(t.Address, f.peer.period())
	}
	if t.hasClientCertificate() {
		return lines.ClientCertificateRefused(t.Address, f.said, t.ClientCertificate, t.ClientKey)
	}
	return lines.ClientCertificateMissing(t.Address, t.ClientCertificate, t.ClientKey)
}

// portSentence is about a port that speaks another protocol.
func (t Target) portSentence(k Kind, f facts) string {
	switch k {
	case PlainPort:
		return lines.NoTLS(t.Address, t.Endpoint, t.endpointFor(t.withScheme("http")))
	case TLSPort:
		port := lines.TLSPort{
			Address: t.Address, Endpoint: t.Endpoint, URL: t.endpointFor(t.withScheme("https")), Protocol: t.Protocol,
			Untrusted: f.untrusted && !t.OwnCertificate, Certificate: t.Certificate, Issuer: f.peer.issuer(),
		}
		if f.grpcOverTLS != nil && *f.grpcOverTLS != t.GRPC {
			port.Wanted, port.Spoken = protocolName(t.GRPC), protocolName(!t.GRPC)
		}
		return lines.NeedsTLS(port)
	case GRPCPort:
		return lines.AnswersGRPC(t.Address, t.otherPort(), t.Protocol)
	}
	var withPath string
	if t.lacksPath() {
		withPath = t.withSignalPath().String()
	}
	return lines.AnswersHTTP(t.Address, t.otherPort(), t.Protocol, t.Endpoint, withPath)
}

// otherPort names the port on which the target's protocol usually is.
func (t Target) otherPort() string {
	used, other := ":4317", "4318"
	if t.GRPC {
		used, other = ":4318", "4317"
	}
	if strings.HasSuffix(t.Address, used) {
		return "port " + other
	}
	return "the port for " + protocolName(t.GRPC) + ", usually " + other
}

func (t Target) proxySentence(k Kind) string {
	proxy, variable := t.proxy()
	host := t.URL.Hostname()
	switch k {
	case ProxyWrong:
		_, variable = t.proxyURL()
		return lines.ProxyInvalid(variable, delivery.WantedProxy, host)
	case ProxyDown:
		return lines.ProxyUnreachable(proxy, variable, host)
	case ProxyAuth:
		scheme, status := t.proxyScheme(), "407"
		if strings.HasPrefix(scheme, "socks") {
			status = ""
		}
		return lines.ProxyCredentials(proxy, scheme, status, variable, host)
	}
	return lines.ProxyCannotReach(proxy, variable, t.Address, host)
}

// answerSentence is about an endpoint that speaks the protocol and does not accept the request.
func (t Target) answerSentence(k Kind, f facts) string {
	switch k {
	case Unauthorized:
		var mayHaveAnswered string
		if proxy, variable := t.proxy(); proxy != "" && !t.GRPC && !t.secure() {
			mayHaveAnswered = proxy + " (" + variable + ")"
		}
		if t.HasHeaders {
			return lines.CredentialsRefused(t.place(), f.said, mayHaveAnswered, t.Headers)
		}
		return lines.CredentialsMissing(t.place(), f.said, mayHaveAnswered, t.Headers)
	case NoService:
		return lines.SignalNotAccepted(t.Address, t.Signal, f.said, true)
	case NoGzip:
		return lines.CannotDecompress(t.Address, f.said, t.Compression)
	case Redirected:
		if u, err := url.Parse(f.location); err == nil && u.Host != "" {
			text := lines.RedirectsTo(t.place(), t.placeOf(u), t.Endpoint, t.endpointFor(u))
			return strings.ReplaceAll(text, url.PathEscape(mask.Hidden), mask.Hidden)
		}
		return lines.Redirects(t.place(), f.said, t.Endpoint)
	case NotFound:
		return t.notFoundSentence(f)
	case Busy:
		return lines.Answers(t.place(), f.said)
	}
	return lines.RequestsFail(t.place(), f.said)
}

func (t Target) notFoundSentence(f facts) string {
	status, _, _ := strings.Cut(f.said, ":") // pages of "not found" add nothing
	switch {
	case f.found != nil:
		return lines.ReceiverElsewhere(t.place(), status, t.placeOf(f.found), t.Endpoint, t.endpointFor(f.found))
	case f.otherSignals:
		return lines.SignalNotAccepted(t.Address, t.Signal, status, false)
	case t.lacksPath():
		return lines.PathMissing(t.place(), status, t.Endpoint, t.withSignalPath().String())
	case f.searched:
		return lines.NoReceiverOnServer(t.place(), status, t.Address, t.Endpoint)
	case t.OwnURL:
		return lines.NoReceiverAtPath(t.place(), status, t.Endpoint, t.signalPath())
	}
	return lines.NoReceiverAtPath(t.place(), status, t.Endpoint, "")
}
