package telemetry_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestSetRoute(t *testing.T) {
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    outcome
	}{
		"before the answer": {func(w http.ResponseWriter, r *http.Request) {
			telemetry.SetRoute(r.Context(), "/orders/:id")
			w.WriteHeader(http.StatusAccepted)
		}, outcome{name: "GET /orders/:id", status: "202"}},
		"after the answer": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			telemetry.SetRoute(r.Context(), "/orders/:id")
		}, outcome{name: "GET /orders/:id", status: "202"}},
		"the last call wins": {func(_ http.ResponseWriter, r *http.Request) {
			telemetry.SetRoute(r.Context(), "/mounted/*")
			telemetry.SetRoute(r.Context(), "/mounted/orders/:id")
			telemetry.SetRoute(r.Context(), "")
			telemetry.SetRoute(r.Context(), "*")
		}, outcome{name: "GET /mounted/orders/:id", status: "200"}},
		"before a panic": {func(_ http.ResponseWriter, r *http.Request) {
			telemetry.SetRoute(r.Context(), "/orders/:id")
			panic("no stock")
		}, outcome{name: "GET /orders/:id", errorType: "string", spanStatus: codes.Error}},
		"in a context of its own": {func(_ http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
			defer cancel()
			telemetry.SetRoute(ctx, "/orders/:id")
		}, outcome{name: "GET /orders/:id", status: "200"}},
		"against that of a ServeMux": {func(w http.ResponseWriter, r *http.Request) {
			mux := http.NewServeMux()
			mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
				telemetry.SetRoute(r.Context(), "/orders/:id")
			})
			mux.ServeHTTP(w, r)
		}, outcome{name: "GET /orders/:id", status: "200"}},
		"without the context": {func(http.ResponseWriter, *http.Request) {
			telemetry.SetRoute(context.Background(), "/orders/:id")
		}, outcome{name: "GET", status: "200"}},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			server := serve(t, telemetry.Middleware()(tc.handler))
			if response, err := server.Client().Get(server.URL + "/orders/7"); err == nil {
				require.NoError(t, response.Body.Close())
			}
			require.Equal(t, tc.want, outcomeOf(t, sdk, tc.want.name))
		})
	}
	t.Run("after Handler has returned", func(t *testing.T) {
		sdk := recordGlobals(t)
		var ctx context.Context
		telemetry.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/orders/7", http.NoBody))
		telemetry.SetRoute(ctx, "/orders/:id")
		require.Equal(t, outcome{name: "GET", status: "200"}, outcomeOf(t, sdk, "GET"))
	})
	t.Run("of the handler within", func(t *testing.T) {
		sdk := recordGlobals(t)
		inner := telemetry.Handler(
			http.HandlerFunc(
				func(_ http.ResponseWriter, r *http.Request) { telemetry.SetRoute(r.Context(), "/inner") },
			),
		)
		telemetry.Handler(inner).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		require.Equal(t, []string{"GET /inner"}, sdk.names(), "which joins the one around")
	})
	t.Run("ConcurrentSafe", func(t *testing.T) {
		sdk := recordGlobals(t)
		var stray sync.WaitGroup
		telemetry.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			for range 8 {
				stray.Go(func() {
					for range 100 {
						telemetry.SetRoute(r.Context(), "/orders/:id")
					}
				})
			}
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/orders/7", http.NoBody))
		stray.Wait()
		require.Len(t, sdk.spans.Ended(), 1)
	})
}

func TestLateRouteCountsForSampling(t *testing.T) {
	recordGlobals(t) // puts them back
	sampler, err := telemetry.NewAdaptiveSampler(telemetry.Sampling{Rules: []telemetry.Rule{
		{Route: "/keep", Keep: true}, {Route: "/drop", Drop: true}, {Ratio: 1e-9},
	}})
	require.NoError(t, err)
	defer sampler.Close() // idempotent, without an error
	kept := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler),
		sdktrace.WithSpanProcessor(sampler.SpanProcessor(kept)))
	otel.SetTracerProvider(provider)
	within := http.NewServeMux() // its pattern is seen when it has returned
	within.HandleFunc("/keep", func(http.ResponseWriter, *http.Request) {})
	handler := telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/mux":
			r.URL.Path = "/keep"
			within.ServeHTTP(w, r)
		default:
			telemetry.SetRoute(r.Context(), r.URL.Path)
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	for _, path := range []string{"/keep", "/drop", "/other", "/mux"} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, http.NoBody))
	}
	require.NoError(t, provider.Shutdown(t.Context()))
	var names []string
	for _, span := range kept.Ended() {
		names = append(names, span.Name())
		count, ok := telemetry.AdjustedCount(span.SpanContext())
		require.True(t, ok)
		require.InDelta(t, 1, count, 0)
	}
	require.Equal(t, []string{"GET /keep", "GET /other", "GET /keep"}, names, "the failure of /drop is dropped")
}

func TestMiddlewareForSeveralHandlers(t *testing.T) {
	sdk := recordGlobals(t)
	use := telemetry.Middleware(telemetry.WithExcludedPaths("/status"), nil)
	mux := http.NewServeMux()
	mux.Handle("/a", use(http.HandlerFunc(ok)))
	mux.Handle("/status", use(http.HandlerFunc(ok)))
	server := serve(t, mux)
	request(t, server, "GET", "/a", nil)
	request(t, server, "GET", "/status", nil)
	require.Equal(t, []string{"GET /a"}, sdk.names())
	require.Equal(
		t,
		http.StatusNotFound,
		request(t, serve(t, use(nil)), "GET", "/nothing", nil).StatusCode,
		"nil is the default ServeMux",
	)
}

// onEnd is a span processor.
type onEnd func(sdktrace.ReadOnlySpan)

func (onEnd) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (f onEnd) OnEnd(s sdktrace.ReadOnlySpan)                 { f(s) }
func (onEnd) Shutdown(context.Context) error                  { return nil }
func (onEnd) ForceFlush(context.Context) error                { return nil }

func TestTheSpanEndsBeforeTheMeasurements(t *testing.T) {
	var sdk *sdkRecord
	before := -1
	sdk = recordGlobals(
		t,
		sdktrace.WithSpanProcessor(onEnd(func(sdktrace.ReadOnlySpan) { before = len(sdk.collected(t)) })),
	)
	telemetry.Handler(http.HandlerFunc(ok)).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	require.Equal(t, 1, before, "active requests alone")
	require.Len(t, sdk.collected(t), 4)
}

// Exemplars name the traces that a reader can find: those that are kept, also those kept for their
// outcome.
func TestExemplarsNameTheTracesThatTheTailKeeps(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "adaptive")
	c := otlptest.New(t)
	rare := telemetry.Sampling{SlowThreshold: -1, Rules: []telemetry.Rule{{Ratio: 0x1p-56}}}
	reader := sdkmetric.NewManualReader()
	guard, _ := start(t, c, telemetry.WithAdaptiveSampling(rare), telemetry.WithMetricReader(reader))
	h := telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fails" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}), telemetry.WithGuard(guard))
	for _, path := range []string{"/", "/fails", "/"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, http.NoBody))
	}
	flushed(t, guard)
	require.Len(t, c.Spans(), 1)
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	named := map[string]int{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == "http.server.request.duration" {
				for _, p := range data.DataPoints {
					for _, e := range p.Exemplars {
						named[trace.TraceID(e.TraceID).String()]++
					}
				}
			}
		}
	}
	require.Equal(t, map[string]int{c.Spans()[0].TraceID: 1}, named)
}

func TestStreams(t *testing.T) {
	events := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "Text/Event-Stream;charset=utf-8")
		_, _ = io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
	}
	hijacked := func(w http.ResponseWriter, _ *http.Request) {
		conn, buffer, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close() // the test is over
		_, _ = buffer.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		_ = buffer.Flush()
	}
	named := telemetry.WithStreamingRoutes("/poll/{id}")
	for name, tc := range map[string]struct {
		pattern string
		serve   http.HandlerFunc
		options []telemetry.HandlerOption
		late    bool // the route is known late
		stream  bool
	}{
		"answer":               {"/poll/{id}", ok, nil, false, false},
		"events":               {"/poll/{id}", events, nil, false, true},
		"hijacked":             {"/poll/{id}", hijacked, nil, false, true},
		"named route":          {"/poll/{id}", ok, []telemetry.HandlerOption{named}, false, true},
		"named route, late":    {"/poll/{id}", ok, []telemetry.HandlerOption{named}, true, true},
		"another, named route": {"/other/{id}", ok, []telemetry.HandlerOption{named}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_SAMPLER", "adaptive")
			c := otlptest.New(t)
			rare := telemetry.Sampling{SlowThreshold: 20 * time.Millisecond, Rules: []telemetry.Rule{{Ratio: 0x1p-56}}}
			guard, _ := start(t, c, telemetry.WithAdaptiveSampling(rare))
			mux := http.NewServeMux()
			mux.HandleFunc(tc.pattern, func(w http.ResponseWriter, r *http.Request) {
				tc.serve(w, r)
				time.Sleep(30 * time.Millisecond) // longer than what is slow
			})
			var handler http.Handler = mux
			if tc.late {
				handler = http.HandlerFunc(mux.ServeHTTP)
			}
			server := serve(t, telemetry.Handler(handler, append(tc.options, telemetry.WithGuard(guard))...))
			path := strings.Replace(tc.pattern, "{id}", "7", 1)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, http.NoBody)
			require.NoError(t, err)
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "echo")
			response, err := server.Client().Do(r)
			require.NoError(t, err)
			_, _ = bufio.NewReader(response.Body).ReadString(0)
			require.NoError(t, response.Body.Close())
			server.Close()
			time.Sleep(50 * time.Millisecond) // net/http does not wait for a handler that has taken its connection over
			flushed(t, guard)
			require.Contains(t, metricNames(c), "http.server.response.body.size")
			if tc.stream {
				require.NotContains(t, metricNames(c), "http.server.request.duration")
				require.Empty(t, c.Spans(), "a stream is not slow")
			} else {
				require.Contains(t, metricNames(c), "http.server.request.duration")
				require.Len(t, c.Spans(), 1, "what is slow is kept")
			}
		})
	}
}

// errorsOf has the errors that OpenTelemetry's handler gets during the test.
func errorsOf(t *testing.T) func() []string {
	t.Helper()
	var mu sync.Mutex
	var all []string
	before := otel.GetErrorHandler()
	t.Cleanup(func() { otel.SetErrorHandler(before) })
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, err.Error())
	}))
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), all...)
	}
}

// What is said once in a process is tested in a process of its own.
func TestHandlerSaysWhatIsWrongOnce(t *testing.T) {
	if !isChild() {
		require.Contains(t, runChild(t), "--- PASS")
		return
	}
	recordGlobals(t)
	said := errorsOf(t)
	send := func(h http.Handler, times int, method string) {
		for range times {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/x", http.NoBody))
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /x", ok)
	send(telemetry.Handler(mux), 300, http.MethodGet)
	send(telemetry.Handler(mux), 300, http.MethodPost) // 405
	send(telemetry.Handler(http.NotFoundHandler()), 300, http.MethodGet)
	send(telemetry.Handler(http.HandlerFunc(ok)), 300, http.MethodOptions)
	unrouted := telemetry.Handler(http.HandlerFunc(ok))
	send(unrouted, 99, http.MethodGet)
	require.Empty(t, said())
	send(unrouted, 1, http.MethodGet)
	require.Len(t, said(), 1)
	require.Contains(t, said()[0], "100 requests to a handler had no route")
	send(unrouted, 300, http.MethodGet)
	send(telemetry.Handler(http.HandlerFunc(ok)), 300, http.MethodGet)
	require.Len(t, said(), 1, "the same of another handler, too")

	around := otelhttp.NewHandler(telemetry.Handler(mux), "", otelhttp.WithTracerProvider(otel.GetTracerProvider()))
	send(around, 10, http.MethodGet)
	require.Len(t, said(), 2)
	require.Contains(
		t,
		said()[1],
		`each request has two server spans, one by "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"`,
	)

	sampler, err := telemetry.NewAdaptiveSampler(telemetry.Sampling{HeadOnly: true})
	require.NoError(t, err)
	defer sampler.Close() // idempotent, without an error
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))
	otel.SetTracerProvider(provider)
	apart := http.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) { // an in-process call has a client's span between
			ctx, span := provider.Tracer("client").Start(r.Context(), "call", trace.WithSpanKind(trace.SpanKindClient))
			defer span.End()
			_, served := provider.Tracer("server").Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindServer))
			served.End()
		},
	)
	send(telemetry.Handler(apart), 10, http.MethodGet)
	require.Len(t, said(), 2)
	send(telemetry.Handler(otelhttp.NewHandler(mux, "")), 10, http.MethodGet)
	require.Len(t, said(), 3)
	require.Contains(t, said()[2], "one by an instrumentation within it")
}
