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

// Use replaces the list. A nil list stands for that of the semantic conventions.
func (m *Methods) Use(methods []string) {
	if methods == nil {
		m.listed.Store(nil)
		return
	}
	listed := make(map[string]string, len(methods))
	for _, method := range methods {
		listed[method] = method
	}
	m.listed.Store(&listed)
}

// UseThoseOf replaces the list by that of other.
func (m *Methods) UseThoseOf(other *Methods) { m.listed.Store(other.listed.Load()) }

// known returns a constant or a copy of the method, or otherMethod: methods that callers invent
// must not become names and time series. Methods are case-sensitive (semantic conventions,
// http.request.method; RFC 9110 §9.1).
func (m *Methods) known(method string) string {
	if m == nil {
		return conventionalMethod(method)
	}
	listed := m.listed.Load()
	if listed == nil {
		return conventionalMethod(method)
	}
	if known, ok := (*listed)[method]; ok {
		return known
	}
	return otherMethod
}

// conventionalMethod knows the methods of RFC 9110, PATCH and QUERY.
func conventionalMethod(method string) string {
	switch method {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodPost:
		return http.MethodPost
	case http.MethodPut:
		return http.MethodPut
	case http.MethodDelete:
		return http.MethodDelete
	case http.MethodPatch:
		return http.MethodPatch
	case http.MethodHead:
		return http.MethodHead
	case http.MethodOptions:
		return http.MethodOptions
	case http.MethodConnect:
		return http.MethodConnect
	case http.MethodTrace:
		return http.MethodTrace
	case "QUERY":
		return "QUERY"
	}
	return otherMethod
}
