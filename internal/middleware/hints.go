package middleware

import (
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/version"
)

// hints warns about wrong uses of a handler, once for each.
type hints struct {
	handler   http.Handler
	unrouted  atomic.Int64
	outerSaid atomic.Bool
	innerSaid atomic.Bool
}

// unroutedHint is the number of requests without a route after which a handler warns.
const unroutedHint = 100

// served counts the requests that were served without a route. It leaves out those that match no
// route: 404, 405, and the responses to CORS preflights, which middleware sends before the router.
func (h *hints) served(o outcome) {
	switch {
	case o.operation.route != "" || o.status == http.StatusNotFound || o.status == http.StatusMethodNotAllowed,
		o.operation.method == http.MethodOptions, h.unrouted.Load() >= unroutedHint:
		return
	}
	if h.unrouted.Add(1) == unroutedHint {
		say(lines.RequestsWithoutRoute(unroutedHint, packageOf(h.handler)))
	}
}

// outer warns if the local span around a request is another instrumentation's server span for the
// same request.
func (h *hints) outer(parent trace.Span) {
	if h.outerSaid.Load() {
		return
	}
	span, ok := parent.(sdktrace.ReadOnlySpan)
	if !ok || span.SpanKind() != trace.SpanKindServer {
		return
	}
	if scope := span.InstrumentationScope().Name; scope != version.Scope && h.outerSaid.CompareAndSwap(false, true) {
		say(lines.SecondServerSpan(scope))
	}
}

// inner warns that another server span has started directly below the request's own.
func (h *hints) inner() {
	if h.innerSaid.CompareAndSwap(false, true) {
		say(lines.ServerSpanWithin())
	}
}

// said holds the warnings that this process has given: a service may have a handler for each route.
var said sync.Map

// say reports a warning, once in this process.
func say(line lines.Line) {
	if _, before := said.LoadOrStore(line.Text(), nil); !before {
		otel.Handle(line)
	}
}

// packageOf returns the package that a handler comes from.
func packageOf(handler http.Handler) string {
	v := reflect.ValueOf(handler)
	if v.Kind() == reflect.Func {
		name := runtime.FuncForPC(v.Pointer()).Name()
		slash := strings.LastIndexByte(name, '/')
		if dot := strings.IndexByte(name[slash+1:], '.'); dot >= 0 {
			name = name[:slash+1+dot]
		}
		return name
	}
	t := v.Type()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}
