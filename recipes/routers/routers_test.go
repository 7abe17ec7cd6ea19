package routers

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"github.com/fleetotel/telemetry/telemetrytest"
)

// call is a request to a router's service and the route it is to have, "" for none.
type call struct{ method, path, route string }

func get(path, route string) call { return call{http.MethodGet, path, route} }

// router is the service of one router.
type router struct {
	handler                              func(recovered bool) http.Handler
	found                                []call
	notFound, notAllowed, crash, updates call
	refusal                              int // the status of notAllowed, if it is not 405
}

// rest is a router that writes the parameter of /orders/{id} and of /api/items/{id} in this way.
func rest(handler func(bool) http.Handler, parameter string) router {
	return router{
		handler: handler,
		found: []call{
			get("/orders", "/orders"),
			get("/orders/7", "/orders/"+parameter),
			get("/orders/7%2F8", "/orders/"+parameter),
			get("/api/items/9", "/api/items/"+parameter),
		},
		notFound:   get("/no/such/page", ""),
		notAllowed: call{http.MethodDelete, "/orders", ""},
		crash:      get("/crash", "/crash"),
		updates:    get("/updates", "/updates"),
	}
}

func (r router) also(c call) router {
	r.found = append(r.found, c)
	return r
}

// naming405 is a router that has a route also for a request whose method it refuses.
func (r router) naming405() router {
	r.notAllowed.route = r.notAllowed.path
	return r
}

// refusing is a router that answers a request whose method it refuses with this status.
func (r router) refusing(status int) router {
	r.refusal = status
	return r
}

// unescaped is a router that takes an escaped slash for a slash.
func (r router) unescaped() router {
	r.found = append(r.found[:2:2], r.found[3:]...)
	return r
}

var routers = map[string]router{
	"nested ServeMux":            rest(nestedServeMux, "{id}").also(get("/whole/items/1", "/whole/items/{id}")),
	"ServeMux behind middleware": rest(serveMuxBehindMiddleware, "{id}"),
	"chi":                        rest(chiRouter, "{id}"),
	"gorilla/mux":                rest(gorillaRouter, "{id}").unescaped(),
	"gin":                        rest(ginRouter, ":id").unescaped(),
	"echo v4":                    rest(echo4Router, ":id").naming405(),
	"echo v5":                    rest(echo5Router, ":id").naming405(),
	"httprouter":                 rest(httpRouter, ":id").unescaped(),
	"grpc-gateway":               rest(grpcGateway, "{id=*}").unescaped().refusing(http.StatusNotImplemented),
	"connect-go": {
		handler:    connectGo,
		found:      []call{{http.MethodPost, ordersGetProcedure, ordersGetProcedure}},
		notFound:   call{http.MethodPost, "/shop.v1.Orders/Nothing", "/shop.v1.Orders/"},
		notAllowed: call{http.MethodGet, ordersGetProcedure, ordersGetProcedure},
		crash:      call{http.MethodPost, ordersCrashProcedure, ordersCrashProcedure},
		updates:    call{http.MethodPost, ordersUpdatesProcedure, ordersUpdatesProcedure},
	},
}

func each(t *testing.T, test func(*testing.T, router)) {
	for name, r := range routers {
		t.Run(name, func(t *testing.T) { test(t, r) })
	}
}

func serve(t *testing.T, handler http.Handler) *httptest.Server {
	server := unstarted(t, handler)
	server.Start()
	return server
}

func unstarted(t *testing.T, handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(server.Close)
	return server
}

func do(t *testing.T, server *httptest.Server, c call) (*http.Response, error) {
	body := io.Reader(http.NoBody)
	contentType := "application/json"
	if c.method == http.MethodPost {
		body = strings.NewReader("{}")
	}
	if c.path == ordersUpdatesProcedure {
		body, contentType = strings.NewReader("\x00\x00\x00\x00\x02{}"), "application/connect+json"
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, c.method, server.URL+c.path, body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", contentType)
	return server.Client().Do(r)
}

func answer(t *testing.T, server *httptest.Server, c call) int {
	response, err := do(t, server, c)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// requireRequest is a span and a point of the duration, both with route, status and error.type; 0
// and "" for none.
func requireRequest(
	t *testing.T, rec *telemetrytest.Recorder, c call, status int, errorType string,
) *telemetrytest.Span {
	t.Helper()
	name := c.method
	var attributes []attribute.KeyValue
	if c.route != "" {
		name += " " + c.route
		attributes = append(attributes, attribute.String("http.route", c.route))
	}
	if status != 0 {
		attributes = append(attributes, attribute.Int("http.response.status_code", status))
	}
	if errorType != "" {
		attributes = append(attributes, attribute.String("error.type", errorType))
	}
	span := rec.RequireSpan(t, name, attributes...)
	rec.RequireMetric(t, "http.server.request.duration", attributes...)
	if c.route == "" {
		require.NotContains(t, span.Attributes, "http.route")
	}
	if status == 0 {
		require.NotContains(t, span.Attributes, "http.response.status_code")
	}
	if errorType == "" {
		require.NotContains(t, span.Attributes, "error.type")
		span.RequireStatus(t, codes.Unset, "")
	} else {
		require.Equal(t, codes.Error, span.Status.Code)
	}
	return span
}

func TestRoutes(t *testing.T) {
	each(t, func(t *testing.T, r router) {
		rec := telemetrytest.Start(t)
		server := serve(t, r.handler(false))
		for _, c := range r.found {
			require.Equal(t, http.StatusOK, answer(t, server, c))
			requireRequest(t, rec, c, http.StatusOK, "")
			rec.Reset()
		}
	})
}

func TestRequestsThatMatchNoRoute(t *testing.T) {
	each(t, func(t *testing.T, r router) {
		rec := telemetrytest.Start(t)
		server := serve(t, r.handler(false))
		require.Equal(t, http.StatusNotFound, answer(t, server, r.notFound))
		requireRequest(t, rec, r.notFound, http.StatusNotFound, "")
		status, errorType := http.StatusMethodNotAllowed, ""
		if r.refusal != 0 {
			status, errorType = r.refusal, strconv.Itoa(r.refusal)
		}
		require.Equal(t, status, answer(t, server, r.notAllowed))
		requireRequest(t, rec, r.notAllowed, status, errorType)
	})
}

func TestPanicsWithoutRecovery(t *testing.T) {
	each(t, func(t *testing.T, r router) {
		rec := telemetrytest.Start(t)
		_, err := do(t, serve(t, r.handler(false)), r.crash)
		require.Error(t, err)
		requirePanic(t, rec, r.crash, 0)
	})
}

func TestPanicsWithRecovery(t *testing.T) {
	each(t, func(t *testing.T, r router) {
		rec := telemetrytest.Start(t)
		require.Equal(t, http.StatusInternalServerError, answer(t, serve(t, r.handler(true)), r.crash))
		requirePanic(t, rec, r.crash, http.StatusInternalServerError)
	})
}

// requirePanic is a request whose panic is the one exception.
func requirePanic(t *testing.T, rec *telemetrytest.Recorder, c call, status int) {
	t.Helper()
	span := requireRequest(t, rec, c, status, "*errors.errorString")
	span.RequireEvent(t, "exception", attribute.String("exception.message", errCrash.Error()))
	require.Len(t, span.Events, 1)
	require.Contains(t, span.Events[0].Attributes["exception.stacktrace"], "recipes/routers.")
	require.Len(t, rec.Spans(), 1)
}

// TestPanicsWithRecoveryOutside has a recovery around all of a service, whose status comes after the
// span.
func TestPanicsWithRecoveryOutside(t *testing.T) {
	each(t, func(t *testing.T, r router) {
		rec := telemetrytest.Start(t)
		require.Equal(t, http.StatusInternalServerError, answer(t, serve(t, recovery(r.handler(false))), r.crash))
		requirePanic(t, rec, r.crash, 0)
	})
}

func TestStreams(t *testing.T) {
	each(t, func(t *testing.T, r router) {
		rec := telemetrytest.Start(t)
		overHTTP2 := unstarted(t, r.handler(false))
		overHTTP2.EnableHTTP2 = true
		overHTTP2.StartTLS()
		for version, server := range map[int]*httptest.Server{1: serve(t, r.handler(false)), 2: overHTTP2} {
			response, err := do(t, server, r.updates)
			require.NoError(t, err)
			require.Equal(t, version, response.ProtoMajor)
			_, err = response.Body.Read(make([]byte, 1)) // while the handler waits
			require.NoError(t, err)
			require.Empty(t, rec.Spans())
			require.NoError(t, response.Body.Close())
			rec.RequireSpan(t, r.updates.method+" "+r.updates.route, attribute.String("http.route", r.updates.route),
				attribute.Int("http.response.status_code", http.StatusOK))
			rec.RequireMetric(t, "http.server.response.body.size", attribute.String("http.route", r.updates.route))
			for _, metric := range rec.Metrics() {
				require.NotEqual(t, "http.server.request.duration", metric.Name, "a stream is as long as its client listens")
			}
			rec.Reset()
		}
	})
}

// TestScan has a thousand paths of which half reach into what the router knows.
func TestScan(t *testing.T) {
	each(t, func(t *testing.T, r router) {
		rec := telemetrytest.Start(t)
		handler := r.handler(true)
		methods := []string{http.MethodGet, http.MethodPost, http.MethodDelete, "SCAN", "PROPFIND"}
		prefixes := []string{"", "/orders", "/api", "/api/items", "/orders/7", "/shop.v1.Orders"}
		for i := range 1000 {
			path := fmt.Sprintf("%s/%x", prefixes[i%len(prefixes)], rand.Uint64())
			request := httptest.NewRequest(methods[i/len(prefixes)%len(methods)], path, http.NoBody)
			handler.ServeHTTP(httptest.NewRecorder(), request)
		}
		names, routes := map[string]bool{}, map[any]bool{}
		for _, span := range rec.Spans() {
			names[span.Name] = true
			routes[span.Attributes["http.route"]] = true
		}
		require.NotEmpty(t, names)
		for _, metric := range rec.Metrics() {
			if metric.Name == "http.server.request.duration" {
				for _, point := range metric.Points {
					routes[point.Attributes["http.route"]] = true
				}
			}
		}
		require.LessOrEqual(t, len(names), 15, names)
		require.LessOrEqual(t, len(routes), 6, routes)
	})
}
