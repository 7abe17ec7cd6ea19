package telemetry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fleetotel/telemetry"
)

// copying stands for middleware that serves a copy of the request.
func copying(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.Clone(r.Context())) })
}

// recovering stands for a framework's recovery.
func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// muxOf has a handler for each pattern, in pairs.
func muxOf(pairs ...any) *http.ServeMux {
	mux := http.NewServeMux()
	for i := 0; i < len(pairs); i += 2 {
		mux.Handle(pairs[i].(string), pairs[i+1].(http.Handler))
	}
	return mux
}

var errNoStock = errors.New("no stock")

func TestAHandlerWithinAHandlerJoinsIt(t *testing.T) {
	handler := func(h http.Handler, opts ...telemetry.HandlerOption) http.Handler {
		return telemetry.Handler(h, opts...)
	}
	route := func(route string) telemetry.HandlerOption {
		return telemetry.WithRoute(func(*http.Request) string { return route })
	}
	items := muxOf("GET /items/{id}", http.HandlerFunc(ok))
	panics := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errNoStock) })
	strip := func(prefix string, h http.Handler) http.Handler { return http.StripPrefix(prefix, h) }
	stripTenant := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			strip("/tenants/"+r.PathValue("tenant"), h).ServeHTTP(w, r)
		})
	}
	failed := func(name, status string) outcome {
		return outcome{name: name, status: status, errorType: "*errors.errorString", spanStatus: codes.Error}
	}
	type nested struct {
		handler http.Handler
		path    string
		want    outcome
	}
	cases := func() map[string]nested {
		return map[string]nested{
			"the inner one knows the route": {handler(handler(http.HandlerFunc(ok), route("/orders/{id}"))), "/orders/7",
				outcome{name: "GET /orders/{id}", status: "200"}},
			"the outer one knows the route": {handler(handler(http.HandlerFunc(ok)), route("/orders/{id}")), "/orders/7",
				outcome{name: "GET /orders/{id}", status: "200"}},
			"a handler for each route": {handler(copying(muxOf("/orders/{id}", handler(http.HandlerFunc(ok))))), "/orders/7",
				outcome{name: "GET /orders/{id}", status: "200"}},
			"a ServeMux under a prefix": {handler(muxOf("/api/", strip("/api", handler(items)))), "/api/items/7",
				outcome{name: "GET /api/items/{id}", status: "200"}},
			"behind middleware": {handler(copying(muxOf("/api/", copying(strip("/api", handler(items)))))), "/api/items/7",
				outcome{name: "GET /api/items/{id}", status: "200"}},
			"behind a timeout": {handler(http.TimeoutHandler(handler(items), time.Minute, "")), "/items/7",
				outcome{name: "GET /items/{id}", status: "200"}},
			"behind middleware that rewrites the path": {handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rewritten := httptest.NewRequestWithContext(r.Context(), http.MethodGet, "/items/7", http.NoBody)
				handler(items).ServeHTTP(unwrapper{w}, rewritten)
			})), "/old?item=7", outcome{name: "GET /items/{id}", status: "200"}},
			"under a prefix with a parameter": {handler(muxOf("/tenants/{tenant}/", stripTenant(handler(items)))),
				"/tenants/acme/items/7", outcome{name: "GET /tenants/{tenant}/items/{id}", status: "200"}},
			"three of them": {handler(muxOf("/api/", strip("/api", handler(muxOf("/v1/", strip("/v1", handler(items))))))),
				"/api/v1/items/7", outcome{name: "GET /api/v1/items/{id}", status: "200"}},
			"three of them, the last for each route": {handler(muxOf("/api/", strip("/api", handler(muxOf("GET /items/{id}",
				handler(http.HandlerFunc(ok))))))), "/api/items/7", outcome{name: "GET /api/items/{id}", status: "200"}},
			"under a prefix, the route is whole": {handler(muxOf("/api/", strip("/api", handler(http.HandlerFunc(ok),
				route("/api/items/{id}"))))), "/api/items/7", outcome{name: "GET /api/items/{id}", status: "200"}},
			"under a prefix of any length": {handler(muxOf("/{rest...}", strip("/a/b", handler(items)))), "/a/b/items/7",
				outcome{name: "GET /items/{id}", status: "200"}},
			"under a prefix without a route": {handler(strip("/a/b", handler(items))), "/a/b/items/7",
				outcome{name: "GET /items/{id}", status: "200"}},
			"not found under a prefix": {handler(muxOf("/api/", strip("/api", handler(items)))), "/api/else",
				outcome{name: "GET /api/", status: "404"}},
			"a panic": {handler(handler(panics, route("/orders"))), "/orders", failed("GET /orders", "")},
			"a panic that is recovered around it": {recovering(handler(handler(panics, route("/orders")))), "/orders",
				failed("GET /orders", "")},
			"a panic that is recovered between": {handler(recovering(handler(panics, route("/orders")))), "/orders",
				failed("GET /orders", "500")},
			"an aborted request": {handler(handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				panic(http.ErrAbortHandler)
			}))), "/", outcome{name: "GET"}},
			"a panic that is recovered and recorded": {handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() {
					telemetry.RecordPanic(r.Context(), recover())
					telemetry.RecordPanic(r.Context(), "what follows from it")
					w.WriteHeader(http.StatusBadGateway)
				}()
				panics.ServeHTTP(w, r)
			})), "/", failed("GET", "502")},
			"no panic to record": {handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				telemetry.RecordPanic(r.Context(), nil)
				telemetry.RecordPanic(r.Context(), http.ErrAbortHandler)
				telemetry.RecordPanic(context.Background(), errNoStock)
				var missing context.Context
				telemetry.RecordPanic(missing, errNoStock)
			})), "/", outcome{name: "GET", status: "200"}},
		}
	}
	for name := range cases() {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			tc := cases()[name]
			server := serve(t, tc.handler)
			if response, err := server.Client().Get(server.URL + tc.path); err == nil {
				require.NoError(t, response.Body.Close())
			}
			require.Equal(t, tc.want, outcomeOf(t, sdk, tc.want.name))
			require.Len(t, sdk.spans.Ended(), 1)
			require.EqualValues(t, 1, sdk.onePoint(t, "http.server.request.duration").count)
			active := sdk.metric(t, "http.server.active_requests").Data.(metricdata.Sum[int64]).DataPoints
			require.Len(t, active, 1)
			require.Zero(t, active[0].Value)
			exceptions := 0
			if tc.want.spanStatus == codes.Error {
				exceptions = 1
				recorded := attributeMap(sdk.spans.Ended()[0].Events()[0].Attributes)
				require.Equal(t, errNoStock.Error(), recorded["exception.message"])
				require.Contains(t, recorded["exception.stacktrace"], "TestAHandlerWithinAHandlerJoinsIt")
			}
			require.Len(t, sdk.spans.Ended()[0].Events(), exceptions)
		})
	}
	t.Run("streaming routes of the inner one", func(t *testing.T) {
		sdk := recordGlobals(t)
		inner := handler(http.HandlerFunc(ok), telemetry.WithStreamingRoutes("/api/items/{id}"))
		server := serve(t, handler(muxOf("/api/", strip("/api", handler(muxOf("/items/{id}", inner))))))
		request(t, server, http.MethodGet, "/api/items/7", nil)
		require.Equal(t, "GET /api/items/{id}", sdk.span(t, "GET /api/items/{id}").Name())
		require.NotContains(t, sdk.collected(t), "http.server.request.duration")
	})
}

// TestAnotherRequestWithinAHandlerHasItsOwnSpan serves each of the handlers a request on its own in
// which it makes another one.
func TestAnotherRequestWithinAHandlerHasItsOwnSpan(t *testing.T) {
	other := telemetry.Handler(muxOf("/items/{id}", http.HandlerFunc(ok)))
	elsewhere := recordSDK(t)
	for name, tc := range map[string]struct {
		within func(w http.ResponseWriter, r *http.Request)
		child  bool // of the outer span
	}{
		"made anew": {func(_ http.ResponseWriter, _ *http.Request) {
			other.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/items/7", http.NoBody))
		}, false},
		"made anew with the context": {func(_ http.ResponseWriter, r *http.Request) {
			inner, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "/items/7", http.NoBody)
			require.NoError(t, err)
			other.ServeHTTP(httptest.NewRecorder(), inner)
		}, true},
		"one of a batch": {func(_ http.ResponseWriter, r *http.Request) {
			inner := r.Clone(r.Context())
			inner.URL.Path = "/items/7"
			other.ServeHTTP(httptest.NewRecorder(), inner)
		}, true},
		"to a public endpoint": {func(w http.ResponseWriter, r *http.Request) {
			telemetry.Handler(muxOf("/", http.HandlerFunc(ok)), telemetry.WithPublicEndpoint()).ServeHTTP(w, r)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			outer := telemetry.Handler(muxOf("/batch", http.HandlerFunc(tc.within)))
			outer.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/batch", http.NoBody))
			require.Len(t, sdk.spans.Ended(), 2)
			inner, around := sdk.spans.Ended()[0], sdk.spans.Ended()[1]
			require.Equal(t, "GET /batch", around.Name())
			require.True(t, strings.HasPrefix(inner.Name(), "GET /"))
			require.Equal(t, tc.child, inner.Parent().SpanID() == around.SpanContext().SpanID())
		})
	}
	t.Run("of another guard", func(t *testing.T) {
		sdk := recordGlobals(t)
		guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithoutMetrics(),
			telemetry.WithoutLogs(), telemetry.WithLogOutput(io.Discard), telemetry.WithSpanProcessors(elsewhere.spans),
			telemetry.WithSpanExporter(tracetest.NewInMemoryExporter()))
		require.NoError(t, err)
		defer func() { require.NoError(t, guard.Shutdown(t.Context())) }()
		telemetry.Handler(telemetry.Handler(http.HandlerFunc(ok), telemetry.WithGuard(guard))).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		require.Len(t, sdk.spans.Ended(), 1)
		require.Len(t, elsewhere.spans.Ended(), 1)
	})
	t.Run("after the outer one has ended", func(t *testing.T) {
		sdk := recordGlobals(t)
		var w http.ResponseWriter
		var r *http.Request
		telemetry.Handler(http.HandlerFunc(func(given http.ResponseWriter, request *http.Request) { w, r = given, request })).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		telemetry.Handler(http.HandlerFunc(ok)).ServeHTTP(w, r)
		require.Len(t, sdk.spans.Ended(), 2)
	})
}

// Without a Handler, what has the span gets the panic.
func TestRecordPanicOnASpan(t *testing.T) {
	sdk := recordGlobals(t)
	ctx, span := sdk.tracing.Tracer("test").Start(t.Context(), "job")
	telemetry.RecordPanic(ctx, errNoStock)
	span.End()
	require.Equal(t, codes.Error, sdk.span(t, "job").Status().Code)
	require.Len(t, sdk.span(t, "job").Events(), 1)
}
