package middleware

import "net/http"

// headers is a request's header as a carrier. It knows the canonical form of the usual keys, so
// that they need not be converted for each request.
type headers http.Header

func (h headers) Values(key string) []string { return h[canonicalKey(key)] }
func (h headers) Set(key, value string)      { h[canonicalKey(key)] = []string{value} }
func (h headers) Delete(key string)          { delete(h, canonicalKey(key)) }

func (h headers) Get(key string) string {
	if values := h[canonicalKey(key)]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func (h headers) Keys() []string {
	keys := make([]string, 0, len(h))
	for key := range h {
		keys = append(keys, key)
	}
	return keys
}

func canonicalKey(key string) string {
	switch key {
	case "traceparent":
		return "Traceparent"
	case "tracestate":
		return "Tracestate"
	case "baggage":
		return "Baggage"
	}
	return http.CanonicalHeaderKey(key)
}
