package middleware

import (
	"net/http"
	"sync/atomic"
)

// otherMethod stands for unknown methods (semantic conventions, http.request.method and
// rpc.method).
const otherMethod = "_OTHER"

// Methods are the HTTP methods that spans and metrics name. A nil *Methods, and one without a list,
// has those of the semantic conventions. It is safe for concurrent use.
type Methods struct {
	listed atomic.Pointer[map[string]string]
}

// conventionalMethods are those of RFC 9110, PATCH and QUERY.
var conventionalMethods = byName([]string{
	http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodHead,
	http.MethodOptions, http.MethodConnect, http.MethodTrace, "QUERY",
})

func byName(methods []string) map[string]string {
	named := make(map[string]string, len(methods))
	for _, method := range methods {
		named[method] = method
	}
	return named
}

// Use replaces the list. A nil list stands for that of the semantic conventions.
func (m *Methods) Use(methods []string) {
	if methods == nil {
		m.listed.Store(nil)
		return
	}
	listed := byName(methods)
	m.listed.Store(&listed)
}

// UseThoseOf replaces the list by that of other.
func (m *Methods) UseThoseOf(other *Methods) { m.listed.Store(other.listed.Load()) }

// known returns a constant or a copy of the method, or otherMethod: methods that callers invent
// must not become names and time series. Methods are case-sensitive (semantic conventions,
// http.request.method; RFC 9110 §9.1).
func (m *Methods) known(method string) string {
	listed := conventionalMethods
	if m != nil {
		if own := m.listed.Load(); own != nil {
			listed = *own
		}
	}
	if known, ok := listed[method]; ok {
		return known
	}
	return otherMethod
}
