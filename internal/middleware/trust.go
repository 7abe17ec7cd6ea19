package middleware

import (
	"net/netip"
	"slices"
	"strings"

	"go.opentelemetry.io/otel"

	"github.com/fleetotel/telemetry/internal/lines"
)

// NewTrustedHosts returns a set of hosts for Trust. Entries that are not hosts are reported to
// OpenTelemetry's error handler and ignored.
func NewTrustedHosts(hosts []string) *trustedHosts {
	t := &trustedHosts{}
	for _, host := range hosts {
		if err := t.add(host); err != nil {
			otel.Handle(err)
		}
	}
	return t
}

// trustedHosts is an immutable set of hosts. A nil set holds all hosts.
type trustedHosts struct {
	names    []string
	domains  []string // with their leading dot
	prefixes []netip.Prefix
}

// Trust adds hosts to those of earlier options.
func (e *Edge) Trust(t *trustedHosts) {
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
		return lines.NotTrusted(host)
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

// canonicalHost is a host in the form that is compared: in lower case, and without the dot at the
// end of a fully qualified name.
func canonicalHost(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
