package middleware

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/spans"
)

// outerOf returns the exchange of an outer handler that serves the same request, or nil. The
// request is the same if it is answered through the outer handler's ResponseWriter or is a copy of
// its request.
func (h *handler) outerOf(w http.ResponseWriter, r *http.Request) *exchange {
	outer, ok := r.Context().Value(exchangeKey{}).(*exchange)
	switch {
	case !ok, outer.route.Load() == &routeClosed:
		return nil
	case h.Edge.Source != outer.handler.Edge.Source, h.Public && !outer.handler.Public:
		return nil // they are configured differently
	case writesTo(w, &outer.response.core), isCopy(r, outer.request):
		return outer
	}
	return nil
}

// writesTo reports whether w is a writer of c, or one that wraps it.
func writesTo(w http.ResponseWriter, c *core) bool {
	for {
		if own, ok := w.(interface{ self() *core }); ok && own.self() == c {
			return true
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = wrapper.Unwrap()
	}
}

// isCopy reports whether middleware has copied the request, perhaps without a prefix of the path,
// as http.StripPrefix does. A request made by a client or a test has another RequestURI, or none.
func isCopy(r, original *http.Request) bool {
	return r.RequestURI == original.RequestURI && r.URL != nil && original.URL != nil &&
		strings.HasSuffix(original.URL.Path, r.URL.Path)
}

// routeWithin is the whole route of a request that reaches this inner handler, or "" if it knows no
// more than the outer one.
func (h *handler) routeWithin(outer *exchange, known string, r *http.Request) string {
	matched := routeOf(r.Pattern) // by a ServeMux between the two that has served a copy
	if h.Route == nil {
		if known == "" {
			return matched
		}
		return ""
	}
	known = cmp.Or(known, matched)
	route := routeOf(h.Route(r))
	if route == "" || r.URL == nil || outer.request.URL == nil {
		return route
	}
	prefix, isSuffix := strings.CutSuffix(outer.request.URL.Path, r.URL.Path)
	if !isSuffix || prefix == "" {
		return route
	}
	return joinRoutes(known, strings.Count(prefix, "/"), route)
}

// joinRoutes puts the first segments of the outer route, which were removed from the path, in front
// of the inner one. Segments of the path itself would be unlimited.
func joinRoutes(outer string, removed int, inner string) string {
	segments := strings.Split(outer, "/") // the first is empty
	if len(segments) <= removed {
		return inner
	}
	for _, segment := range segments[1 : removed+1] {
		if segment == "" || segment[0] == '*' || strings.HasSuffix(segment, "...}") {
			return inner // it stands for any number of segments
		}
	}
	prefix := strings.Join(segments[:removed+1], "/")
	if strings.HasPrefix(inner, prefix+"/") {
		return inner // it has the prefix already
	}
	return prefix + inner
}

// patternSoFar is the pattern of the request if no other route is found.
func (x *exchange) patternSoFar() string {
	if route := x.route.Load(); route != nil {
		return *route
	}
	if x.request.Pattern != "" && (!x.handler.routeGiven || x.pattern == "") {
		return x.request.Pattern
	}
	return x.pattern
}

// RecordPanic records a panic that was recovered further in: on the handler around the request, or
// else on the span in ctx.
func RecordPanic(ctx context.Context, value any) {
	if value == nil || value == any(http.ErrAbortHandler) {
		return
	}
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		x.recordPanic(value)
		return
	}
	spans.RecordPanic(trace.SpanFromContext(ctx), value)
}

// recordPanic records the first panic of a request and returns its error.type. Later ones are the
// same panic on its way out.
func (x *exchange) recordPanic(value any) (kind string) {
	if value == any(http.ErrAbortHandler) {
		return ""
	}
	if first := x.panicked.Load(); first != nil {
		return *first
	}
	kind, _ = spans.DescribePanic(value)
	if !x.panicked.CompareAndSwap(nil, &kind) {
		return *x.panicked.Load()
	}
	return spans.RecordPanic(x.span, value)
}
