package lines

import "strings"

// routers are those that docs/recipes.md has a section for, by the beginning of their package's
// path.
var routers = []struct{ pkg, name, section string }{
	{"github.com/gin-gonic/gin", "gin", "gin"},
	{"github.com/go-chi/chi", "chi", "chi"},
	{"github.com/labstack/echo", "echo", "echo"},
	{"github.com/gorilla/mux", "gorilla/mux", "gorillamux"},
	{"github.com/julienschmidt/httprouter", "httprouter", "httprouter"},
	{"connectrpc.com/connect", "connect-go", "connect-go"},
	{"github.com/grpc-ecosystem/grpc-gateway", "grpc-gateway", "grpc-gateway"},
	{"github.com/gofiber/fiber", "fiber", "fiber"},
}

// RequestsWithoutRoute is about a handler whose router does not say which route it has chosen. pkg
// is the package of the handler, which identifies the router.
func RequestsWithoutRoute(requests int, pkg string) Line {
	of, section := "", "routers"
	for _, r := range routers {
		if strings.HasPrefix(pkg, r.pkg) {
			of, section = " ("+r.name+")", r.section
		}
	}
	return warn("%d requests to a handler%s had no route, so their spans are named by the method alone and their "+
		"metrics have no http.route: see docs/recipes.md#%s (logged once)", requests, of, section)
}

// SecondServerSpan is about another instrumentation of the same requests, around Handler. scope is
// the instrumentation scope of its spans.
func SecondServerSpan(scope string) Line {
	return warn("each request has two server spans, one by %q around telemetry.Handler: remove one of the two "+
		"(logged once)", scope)
}

// ServerSpanWithin is the same for an instrumentation within Handler. Its scope is not known.
func ServerSpanWithin() Line {
	return warn("each request has two server spans, one by telemetry.Handler and one by an instrumentation within it, such " +
		"as otelhttp, otelgin, otelchi, otelmux or otelecho: remove one of the two (logged once)")
}
