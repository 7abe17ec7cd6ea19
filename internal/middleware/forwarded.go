package middleware

import (
	"net/http"
	"net/netip"
	"strings"
)

// forwarded is what the proxy nearest to the client says about the client's request. Anyone can
// send such headers, so samplers use the address of the connection instead.
type forwarded struct{ client, host, proto string }

// forwardedOf reads Forwarded (RFC 7239), and what it does not say from the X-Forwarded headers.
func forwardedOf(header http.Header) (f forwarded) {
	if values := header["Forwarded"]; len(values) > 0 {
		f = parseForwarded(values[0])
	}
	if f.client == "" {
		f.client = clientAddress(firstInList(header["X-Forwarded-For"]))
	}
	if f.host == "" {
		f.host = firstInList(header["X-Forwarded-Host"])
	}
	if f.proto == "" {
		f.proto = knownScheme(firstInList(header["X-Forwarded-Proto"]))
	}
	return f
}

func firstInList(values []string) string {
	if len(values) == 0 {
		return ""
	}
	first, _, _ := strings.Cut(values[0], ",")
	return strings.TrimSpace(first)
}

// parseForwarded reads the first element of the list.
func parseForwarded(value string) (f forwarded) {
	for more := true; more; {
		var pair string
		pair, value, more = cutPair(value)
		name, text, _ := strings.Cut(pair, "=")
		text = unquoted(strings.TrimSpace(text))
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "for":
			f.client = clientAddress(text)
		case "host":
			f.host = text
		case "proto":
			f.proto = knownScheme(text)
		}
	}
	return f
}

// cutPair cuts the first pair off an element. Separators within quotes do not count.
func cutPair(element string) (pair, rest string, more bool) {
	quoted := false
	for i := 0; i < len(element); i++ {
		switch c := element[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return element[:i], element[i+1:], true
		case c == ',' && !quoted:
			return element[:i], "", false
		}
	}
	return element, "", false
}

func unquoted(text string) string {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return text
	}
	return strings.ReplaceAll(text[1:len(text)-1], `\`, "")
}

// clientAddress is the address without the port that some proxies add, or "" if the proxy does not
// know it.
func clientAddress(node string) string {
	if strings.EqualFold(node, "unknown") {
		return ""
	}
	if strings.IndexByte(node, ':') < 0 {
		return strings.Trim(node, "[]")
	}
	if _, err := netip.ParseAddr(node); err == nil {
		return node // IPv6 without brackets
	}
	host, _ := splitHost(node)
	return host
}

// knownScheme returns a constant, because the scheme becomes an attribute of metrics.
func knownScheme(scheme string) string {
	switch {
	case strings.EqualFold(scheme, "https"):
		return "https"
	case strings.EqualFold(scheme, "http"):
		return "http"
	}
	return ""
}
