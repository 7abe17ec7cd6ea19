package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
)

// WithTrustedHosts makes [Transport] hand the trace context and the baggage to these hosts only; to any other it sends
// the request without them, also when the request was given such headers, as a reverse proxy's is. Baggage is the
// service's own talk (customers, tenants, experiments), and a payment provider or a web hook has no business with it.
//
// A host is written as in a URL, without a port and in any case: "checkout", "api.example.com". A leading dot stands for
// the domain and everything below it (".svc.cluster.local"), and addresses may be given as a prefix ("10.0.0.0/8").
// Several options add up; no host at all means none is trusted. Without the option every host is. Each hop of a
// redirect is judged anew. What is not a host is reported to OpenTelemetry's error handler and is not trusted.
//
// [ClientHandler] is not told where its connection leads. With this option it hands nothing on, whatever the hosts: give
// it to the connections that leave the fleet.
func WithTrustedHosts(hosts ...string) TransportOption {
	t := &trustedHosts{}
	for _, host := range hosts {
		if err := t.add(host); err != nil {
			otel.Handle(err)
		}
	}
	return t
}

// trustedHosts is a set of hosts; a nil one holds them all.
type trustedHosts struct {
	names    []string
	domains  []string // with their leading dot
	prefixes []netip.Prefix
}

func (t *trustedHosts) applyTransport(e *edge) {
	merged := trustedHosts{}
	for _, set := range []*trustedHosts{e.trusted, t} {
		if set != nil {
			merged.names = append(merged.names, set.names...)
			merged.domains = append(merged.domains, set.domains...)
			merged.prefixes = append(merged.prefixes, set.prefixes...)
		}
	}
	e.trusted = &merged
}

func (t *trustedHosts) add(host string) error {
	name := canonicalHost(host)
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") { // an IPv6 address as in a URL
		name = name[1 : len(name)-1]
	}
	if prefix, err := netip.ParsePrefix(host); err == nil {
		t.prefixes = append(t.prefixes, prefix.Masked())
		return nil
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		addr = addr.Unmap()
		t.prefixes = append(t.prefixes, netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	switch {
	case strings.Trim(name, ".") == "" || strings.ContainsAny(name, ":/@*?[] \t"):
		return fmt.Errorf("telemetry: trusted host %q: expected a host name without scheme, port or path, "+
			`a domain with a leading dot (".example.com") or an address prefix ("10.0.0.0/8"); it is not trusted`, host)
	case strings.HasPrefix(name, "."):
		t.domains = append(t.domains, name)
	default:
		t.names = append(t.names, name)
	}
	return nil
}

func (t *trustedHosts) holds(host string) bool {
	if t == nil {
		return true
	}
	host = canonicalHost(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap().WithZone("")
		return slices.ContainsFunc(t.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	return slices.Contains(t.names, host) ||
		slices.ContainsFunc(t.domains, func(domain string) bool { return strings.HasSuffix("."+host, domain) })
}

// canonicalHost is a host as it is compared: names are of one case, and a dot at the end only says that they are whole.
func canonicalHost(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// untrustedKey is the context key of a request to a host that gets nothing.
type untrustedKey struct{}

// screened returns r as an untrusted host may see it: marked, so that nothing is injected, and without what was there.
func (t transport) screened(r *http.Request) *http.Request {
	if t.trusted.holds(r.URL.Hostname()) {
		return r
	}
	r = r.Clone(context.WithValue(r.Context(), untrustedKey{}, true))
	for _, field := range t.propagator.Fields() {
		r.Header.Del(field)
	}
	return r
}

// trustingPropagator injects nothing into what is marked, or, where hosts are not known, into anything.
type trustingPropagator struct {
	propagation.TextMapPropagator
	nobody bool
}

func (p trustingPropagator) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	if untrusted, _ := ctx.Value(untrustedKey{}).(bool); !untrusted && !p.nobody {
		p.TextMapPropagator.Inject(ctx, carrier)
	}
}
