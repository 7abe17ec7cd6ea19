package telemetry_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// TestHandlerAcceptsIncompleteRequests serves requests as adapters of serverless platforms and
// tests make them.
func TestHandlerAcceptsIncompleteRequests(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"empty":      {},
		"no URL":     {Method: http.MethodGet, Header: http.Header{}, Body: http.NoBody, Proto: "HTTP/1.1"},
		"no header":  {Method: http.MethodGet, URL: &url.URL{Path: "/"}},
		"odd host":   {Method: http.MethodGet, URL: &url.URL{Path: "/"}, Host: "[::1"},
		"bad port":   {Method: http.MethodGet, URL: &url.URL{Path: "/"}, Host: "shop:99999"},
		"odd method": {Method: "\xff", URL: &url.URL{Path: "/"}, Proto: "HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			for _, opts := range [][]telemetry.HandlerOption{nil, {telemetry.WithPublicEndpoint()}} {
				recorder := httptest.NewRecorder()
				telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(http.StatusAccepted)
				}), opts...).ServeHTTP(recorder, r)
				require.Equal(t, http.StatusAccepted, recorder.Code)
			}
			require.Len(t, sdk.spans.Ended(), 2)
			sdk.metric(t, "http.server.request.duration")
		})
	}
}

func TestHandlerRouteIsKnownBeforeTheSpanStarts(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", ok)
	mux.HandleFunc("/files/", ok)
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(w, r) })
	ownRoute := telemetry.WithRoute(func(r *http.Request) string {
		_, pattern := mux.Handler(r)
		return pattern
	})
	for name, tc := range map[string]struct {
		handler              http.Handler
		method, path         string
		startName, startAttr string
		endName, endAttr     string
	}{
		"mux": {handler: telemetry.Handler(mux), method: "GET", path: "/items/17",
			startName: "GET /items/{id}", startAttr: "/items/{id}", endName: "GET /items/{id}", endAttr: "/items/{id}"},
		"subtree": {handler: telemetry.Handler(mux), method: "PUT", path: "/files/a/b",
			startName: "PUT /files/", startAttr: "/files/", endName: "PUT /files/", endAttr: "/files/"},
		"no route": {handler: telemetry.Handler(mux), method: "GET", path: "/wp-admin/17",
			startName: "GET", endName: "GET"},
		"method of no use": {handler: telemetry.Handler(mux), method: "POST", path: "/items/17",
			startName: "POST", endName: "POST"},
		"method made up": {handler: telemetry.Handler(mux), method: "BREW", path: "/files/pot",
			startName: "HTTP /files/", startAttr: "/files/", endName: "HTTP /files/", endAttr: "/files/"},
		"wrapped mux": {handler: telemetry.Handler(inner), method: "GET", path: "/items/17",
			startName: "GET", endName: "GET /items/{id}", endAttr: "/items/{id}"},
		"wrapped and named": {handler: telemetry.Handler(inner, ownRoute), method: "GET", path: "/items/17",
			startName: "GET /items/{id}", startAttr: "/items/{id}", endName: "GET /items/{id}", endAttr: "/items/{id}"},
		"no mux at all": {handler: telemetry.Handler(http.HandlerFunc(ok)), method: "GET", path: "/items/17",
			startName: "GET", endName: "GET"},
	} {
		t.Run(name, func(t *testing.T) {
			sampler := &startRecorder{}
			sdk := recordGlobals(t, sdktrace.WithSampler(sampler))
			request(t, serve(t, tc.handler), tc.method, tc.path, nil)

			span := sdk.span(t, tc.endName)
			require.Equal(t, tc.endAttr, attributeMap(span.Attributes())["http.route"])
			require.Equal(t, trace.SpanKindServer, span.SpanKind())
			require.Equal(t, tc.startName, sampler.shown[0].Name)
			require.Equal(t, tc.startAttr, attributeMap(sampler.shown[0].Attributes)["http.route"])
		})
	}
}

// A ServeMux that is mounted below a prefix knows a part of the route.
func TestWithRouteAndAServeMuxWithin(t *testing.T) {
	for name, tc := range map[string]struct {
		given string
		late  string // by SetRoute
		want  string
	}{
		"the given one stays": {given: "GET /shop/{rest...}", want: "GET /shop/{rest...}"},
		"none is given":       {want: "GET /"},
		"SetRoute is nearer to the handler": {given: "GET /shop/{rest...}", late: "/shop/items/:id",
			want: "GET /shop/items/:id"},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			mux := http.NewServeMux()
			mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
				telemetry.SetRoute(r.Context(), tc.late)
			})
			within := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(w, r) })
			server := serve(t, telemetry.Handler(within,
				telemetry.WithRoute(func(*http.Request) string { return tc.given })))
			request(t, server, "GET", "/shop/items/7", nil)
			sdk.span(t, tc.want)
		})
	}
}

func TestHandlerPerRoute(t *testing.T) {
	sampler := &startRecorder{}
	sdk := recordGlobals(t, sdktrace.WithSampler(sampler))
	mux := http.NewServeMux()
	mux.Handle("GET /items/{id}", telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.PathValue("id"))
	})))
	request(t, serve(t, mux), "GET", "/items/17", nil)
	sdk.span(t, "GET /items/{id}")
	require.Equal(t, "GET /items/{id}", sampler.shown[0].Name)
}

func TestHandlerContinuesTheCallersTrace(t *testing.T) {
	sdk := recordGlobals(t)
	var bag string
	server := serve(t, telemetry.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		bag = baggage.FromContext(r.Context()).String()
	})))
	request(t, server, "GET", "/", http.Header{
		"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-01"}, "Baggage": {"team=cards"},
	})
	span := sdk.span(t, "GET")
	require.Equal(t, callerTrace, span.SpanContext().TraceID().String())
	require.Equal(t, callerSpan, span.Parent().SpanID().String())
	require.True(t, span.Parent().IsRemote())
	require.False(t, span.SpanContext().IsRandom())
	require.Equal(t, "team=cards", bag)
}

func TestHandlerRootIsRandom(t *testing.T) {
	sdk := recordGlobals(t)
	request(t, serve(t, telemetry.Handler(http.HandlerFunc(ok))), "GET", "/", nil)
	requireRandomRoot(t, sdk.span(t, "GET"))
}

func TestHandlerPublicEndpoint(t *testing.T) {
	for name, outer := range map[string]func(http.Handler) http.Handler{
		"headers": func(h http.Handler) http.Handler { return h },
		"headers already extracted": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r.WithContext(telemetry.ExtractHTTP(r.Context(), r.Header)))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			sampler := &startRecorder{}
			sdk := recordGlobals(t, sdktrace.WithSampler(sdktrace.ParentBased(sampler)))
			bag := "unset"
			server := serve(t, outer(telemetry.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				bag = baggage.FromContext(r.Context()).String()
				outgoing, _ := http.NewRequestWithContext(r.Context(), http.MethodPut, "http://gateway.example",
					http.NoBody)
				_, _ = telemetry.Transport(unreachable).RoundTrip(outgoing) // there is none
			}), telemetry.WithPublicEndpoint())))
			request(t, server, "GET", "/", http.Header{
				"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-00"},
				"Tracestate":  {"ot=th:c"}, "Baggage": {"role=admin"},
			})

			span := sdk.span(t, "GET")
			requireRandomRoot(t, span)
			require.NotEqual(t, callerTrace, span.SpanContext().TraceID().String())
			require.Empty(t, span.SpanContext().TraceState().String())
			require.Len(t, span.Links(), 1)
			require.Equal(t, callerTrace, span.Links()[0].SpanContext.TraceID().String())
			require.Equal(t, callerSpan, span.Links()[0].SpanContext.SpanID().String())
			require.Empty(t, bag)

			outgoing := sdk.span(t, "PUT")
			require.Equal(t, span.SpanContext().SpanID(), outgoing.Parent().SpanID())
			require.Empty(t, outgoing.Links(), "only the root links to the caller")
			require.Len(t, sampler.shown, 1, "a root is for the root sampler to decide, whatever the caller wants")
			require.Len(t, sampler.shown[0].Links, 1, "the sampler sees the link")

			bag = "unset"
			request(t, server, "GET", "/", http.Header{"Baggage": {"role=admin"}})
			require.Empty(t, bag, "baggage is dropped even without a traceparent")
		})
	}
	t.Run("the service's own baggage stays", func(t *testing.T) {
		recordGlobals(t)
		own, err := baggage.Parse("team=cards")
		require.NoError(t, err)
		bag := "unset"
		public := telemetry.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			bag = baggage.FromContext(r.Context()).String()
		}), telemetry.WithPublicEndpoint())
		request(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			public.ServeHTTP(w, r.WithContext(baggage.ContextWithBaggage(r.Context(), own)))
		})), "GET", "/", nil)
		require.Equal(t, "team=cards", bag)
	})
	t.Run("host", func(t *testing.T) {
		sdk := recordGlobals(t)
		var host string
		server := serve(t, telemetry.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			host = r.Host
		}), telemetry.WithPublicEndpoint()))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		require.NoError(t, err)
		r.Host = "made-up-1.example:8080"
		response, err := server.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, r.Host, host, "the service sees what was sent")
		require.Contains(t, sdk.span(t, "GET").Attributes(), semconv.ServerAddress("made-up-1.example"))
		require.Contains(t, sdk.span(t, "GET").Attributes(), semconv.ServerPort(8080))
		sdk.metric(t, "http.server.request.duration")
		require.NotContains(t, fmt.Sprint(sdk.collected(t)), "made-up", "an untrusted caller creates no time series")
	})
	t.Run("no caller", func(t *testing.T) {
		sdk := recordGlobals(t)
		server := serve(t, telemetry.Handler(http.HandlerFunc(ok), telemetry.WithPublicEndpoint()))
		request(t, server, "GET", "/", http.Header{"Traceparent": {"00-bad"}})
		requireRandomRoot(t, sdk.span(t, "GET"))
		require.Empty(t, sdk.span(t, "GET").Links())
	})
}

func TestHandlerExcludedPaths(t *testing.T) {
	defaults := []string{
		"/health", "/health/live", "/health/ready", "/healthz", "/live", "/livez", "/ready", "/readyz", "/ping",
		"/metrics", "/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	}
	for name, tc := range map[string]struct {
		options            []telemetry.HandlerOption
		excluded, included []string
	}{
		"default": {nil, defaults, []string{"/", "/healthy", "/health/", "/Health", "/metrics/x", "/api/health"}},
		"more": {[]telemetry.HandlerOption{telemetry.WithExcludedPaths("/debug/", "/status")},
			append([]string{"/debug/", "/debug/pprof/heap", "/status"}, defaults...), []string{"/debug", "/status/x"}},
		"none": {[]telemetry.HandlerOption{telemetry.WithoutExcludedPaths()}, nil, defaults},
		"only its own": {[]telemetry.HandlerOption{telemetry.WithoutExcludedPaths(),
			telemetry.WithExcludedPaths("/status"), nil}, []string{"/status"}, defaults},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			var served int
			server := serve(t, telemetry.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				served++
			}), tc.options...))
			for _, path := range tc.excluded {
				response := request(t, server, "GET", path, nil)
				require.Empty(t, response.Header.Get("Server-Timing"), path)
			}
			require.Equal(t, len(tc.excluded), served, "excluded requests are served")
			require.Empty(t, sdk.spans.Started())
			require.Empty(t, sdk.collected(t))

			for _, path := range tc.included {
				require.NotEmpty(t, request(t, server, "GET", path, nil).Header.Get("Server-Timing"), path)
			}
			require.Len(t, sdk.spans.Started(), len(tc.included))
		})
	}
}

func TestHandlerActiveRequests(t *testing.T) {
	sdk := recordGlobals(t)
	arrived, leave := make(chan struct{}), make(chan struct{})
	server := serve(t, telemetry.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-leave
	})))
	var clients sync.WaitGroup
	for _, method := range []string{"GET", "GET", "BREW"} {
		clients.Go(func() { request(t, server, method, "/", nil) })
		<-arrived
	}
	active := func() map[string]int64 {
		m := sdk.collected(t)["http.server.active_requests"]
		require.Equal(t, "{request}", m.Unit)
		sum, isSum := m.Data.(metricdata.Sum[int64])
		require.True(t, isSum)
		require.False(t, sum.IsMonotonic)
		count := map[string]int64{}
		for _, p := range sum.DataPoints {
			a := attributeMap(p.Attributes.ToSlice())
			require.Len(t, a, 2)
			count[a["http.request.method"]+" "+a["url.scheme"]] = p.Value
		}
		return count
	}
	require.Equal(t, map[string]int64{"GET http": 2, "_OTHER http": 1}, active())
	close(leave)
	clients.Wait()
	require.Eventually(t, func() bool {
		now := active()
		return now["GET http"] == 0 && now["_OTHER http"] == 0
	}, waitFor, tick)
	sdk.metric(t, "http.server.request.duration")
}

// A request that is being served while one guard ends and the next one begins is active under both,
// and no longer after it has ended.
func TestActiveRequestsOutliveAGuard(t *testing.T) {
	var active []int64
	collect := func() {
		reader := sdkmetric.NewManualReader()
		guard, err := telemetry.Init(testenv.With(t.Context(), nil), telemetry.WithServiceName("test"),
			telemetry.WithMetricReader(reader), telemetry.WithoutTraces(), telemetry.WithoutLogs(),
			telemetry.WithLogOutput(io.Discard))
		require.NoError(t, err)
		defer func() { require.NoError(t, guard.Shutdown(context.Background())) }()
		var collected metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &collected))
		for _, scope := range collected.ScopeMetrics {
			for _, m := range scope.Metrics {
				if m.Name == "http.server.active_requests" {
					now := int64(0)
					for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
						now += point.Value // of other tests' handlers, too: theirs have ended
					}
					active = append(active, now)
				}
			}
		}
	}
	telemetry.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		collect()
		collect()
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	collect()
	require.Equal(t, []int64{1, 1, 0}, active)
}

func TestHandlerServerTiming(t *testing.T) {
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		timing  []string
		exposed []string
	}{
		"silent handler": {ok, nil, nil},
		"handler that writes": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello")
		}, nil, nil},
		"handler that adds": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Add("Server-Timing", "db;dur=5")
			w.WriteHeader(http.StatusTeapot)
		}, []string{"db;dur=5"}, nil},
		"handler that sets, then status": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server-Timing", "db;dur=5")
			w.WriteHeader(http.StatusTeapot)
		}, []string{"db;dur=5"}, nil},
		"handler that sets, then body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Access-Control-Expose-Headers", "X-Own")
			_, _ = io.WriteString(w, "hello")
		}, nil, []string{"X-Own"}},
		"handler that sets, then copies": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server-Timing", "db;dur=5")
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("hello"))
		}, []string{"db;dur=5"}, nil},
		"handler that sets, then flushes": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server-Timing", "db;dur=5")
			w.(http.Flusher).Flush()
		}, []string{"db;dur=5"}, nil},
		"handler that only sets": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server-Timing", "db;dur=5")
		}, []string{"db;dur=5"}, nil},
		"early hints": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Server-Timing", "db;dur=5")
			w.WriteHeader(http.StatusOK)
		}, []string{"db;dur=5"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			response := request(t, serve(t, telemetry.Handler(tc.handler)), "GET", "/", nil)
			sc := sdk.span(t, "GET").SpanContext()
			ours := `traceparent;desc="00-` + sc.TraceID().String() + "-" + sc.SpanID().String() + `-01"`
			require.ElementsMatch(t, append(tc.timing, ours), response.Header.Values("Server-Timing"))
			require.ElementsMatch(t, append(tc.exposed, "Server-Timing"),
				response.Header.Values("Access-Control-Expose-Headers"))
		})
	}
	t.Run("unsampled", func(t *testing.T) {
		recordGlobals(t, sdktrace.WithSampler(sdktrace.NeverSample()))
		response := request(t, serve(t, telemetry.Handler(http.HandlerFunc(ok))), "GET", "/", nil)
		require.Regexp(t, `^traceparent;desc="00-[0-9a-f]{32}-[0-9a-f]{16}-00"$`, response.Header.Get("Server-Timing"))
	})
	t.Run("without an SDK the caller's own ids are not sent back", func(t *testing.T) {
		recordGlobals(t)
		otel.SetTracerProvider(noTraces())
		response := request(t, serve(t, telemetry.Handler(http.HandlerFunc(ok))), "GET", "/", http.Header{
			"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-01"},
		})
		require.Empty(t, response.Header.Values("Server-Timing"))
	})
}

// A handler may answer every request with one slice, as CORS middleware does.
func TestHandlersHeaderSlicesAreNotWritten(t *testing.T) {
	recordGlobals(t)
	shared := append(make([]string, 0, 4), "X-Own")
	handler := telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Server-Timing"], w.Header()["Access-Control-Expose-Headers"] = shared, shared
		w.WriteHeader(http.StatusOK)
	}))
	var answered sync.WaitGroup
	for range 4 {
		answered.Go(func() {
			for range 20 {
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
				assert.Len(t, recorder.Result().Header["Server-Timing"], 2)
			}
		})
	}
	answered.Wait()
	require.Equal(t, []string{"X-Own", "", "", ""}, shared[:cap(shared)])
}

func TestHandlerKeepsTheWritersInterfaces(t *testing.T) {
	t.Run("HTTP/1.1 hijacks and copies", func(t *testing.T) {
		recordGlobals(t)
		server := serve(t, telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, isPusher := w.(http.Pusher)
			_, isReaderFrom := w.(io.ReaderFrom)
			conn, buffer, err := w.(http.Hijacker).Hijack()
			if err != nil || isPusher || !isReaderFrom {
				panic("not the server's own abilities")
			}
			defer conn.Close() // the test is over
			_, _ = buffer.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nraw")
			_ = buffer.Flush()
		})))
		response, err := server.Client().Get(server.URL)
		require.NoError(t, err)
		defer response.Body.Close() // the test is over
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, "raw", string(body))
	})
	t.Run("HTTP/2 pushes and streams", func(t *testing.T) {
		recordGlobals(t)
		first := make(chan struct{})
		server := httptest.NewUnstartedServer(telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter,
			_ *http.Request) {
			_, isHijacker := w.(http.Hijacker)
			_, isPusher := w.(http.Pusher)
			if isHijacker || !isPusher {
				panic("not the server's own abilities")
			}
			_, _ = io.WriteString(w, "one\n")
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
			<-first
			_, _ = io.WriteString(w, "two\n")
		})))
		server.EnableHTTP2 = true
		server.StartTLS()
		t.Cleanup(server.Close)
		response, err := server.Client().Get(server.URL)
		require.NoError(t, err)
		defer response.Body.Close() // the test is over
		require.Equal(t, 2, response.ProtoMajor)
		lines := bufio.NewReader(response.Body)
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "one\n", line, "a flush reaches the client before the handler ends")
		close(first)
		line, err = lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "two\n", line)
		require.NotEmpty(t, response.Header.Get("Server-Timing"))
	})
	t.Run("a writer without either", func(t *testing.T) {
		recordGlobals(t)
		recorder := httptest.NewRecorder()
		telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, isHijacker := w.(http.Hijacker)
			_, isPusher := w.(http.Pusher)
			require.False(t, isHijacker || isPusher)
			_, err := io.Copy(w, strings.NewReader("hello"))
			require.NoError(t, err)
		})).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		require.Equal(t, "hello", recorder.Body.String())
		require.NotEmpty(t, recorder.Result().Header.Get("Server-Timing")) // in memory
	})
	t.Run("deadlines", func(t *testing.T) {
		recordGlobals(t)
		var err error
		server := serve(t, telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			err = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
		})))
		request(t, server, "GET", "/", nil)
		require.NoError(t, err)
	})
}

func TestHandlerRecordsAPanicAndRaisesItAgain(t *testing.T) {
	t.Run("is recorded once and goes on", func(t *testing.T) {
		sdk := recordGlobals(t)
		raised := make(chan any, 1)
		traced := telemetry.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no stock") }))
		server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { raised <- recover() }()
			traced.ServeHTTP(w, r)
		}))
		request(t, server, "GET", "/", nil)
		require.Equal(t, "no stock", <-raised)

		span := sdk.span(t, "GET")
		require.Equal(t, sdktrace.Status{Code: codes.Error, Description: "panic: no stock"}, span.Status())
		require.Equal(t, "string", attributeMap(span.Attributes())["error.type"])
		require.Len(t, span.Events(), 1)
		require.Equal(t, "no stock", attributeMap(span.Events()[0].Attributes)["exception.message"])
		require.Contains(t, attributeMap(span.Events()[0].Attributes)["exception.stacktrace"],
			"TestHandlerRecordsAPanicAndRaisesItAgain")

		sum := sdk.collected(t)["http.server.active_requests"].Data.(metricdata.Sum[int64])
		require.Zero(t, sum.DataPoints[0].Value, "a request that panicked is not active")
	})
	t.Run("an abort is no error", func(t *testing.T) {
		sdk := recordGlobals(t)
		server := serve(t, telemetry.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		})))
		response, err := server.Client().Get(server.URL)
		if err == nil {
			_ = response.Body.Close()
		}
		require.Error(t, err, "the connection is cut")
		span := sdk.span(t, "GET")
		require.Equal(t, codes.Unset, span.Status().Code)
		require.Empty(t, span.Events())
	})
}

func TestHandlerOfNilIsTheDefaultServeMux(t *testing.T) {
	sdk := recordGlobals(t)
	require.Equal(t, http.StatusNotFound,
		request(t, serve(t, telemetry.Handler(nil)), "GET", "/nothing", nil).StatusCode)
	sdk.span(t, "GET")
}

func TestHandlerStatus(t *testing.T) {
	for status, code := range map[int]codes.Code{200: codes.Unset, 404: codes.Unset, 503: codes.Error} {
		sdk := recordGlobals(t)
		server := serve(t, telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
		})))
		require.Equal(t, status, request(t, server, "GET", "/", nil).StatusCode)
		require.Equal(t, code, sdk.span(t, "GET").Status().Code)
	}
}

// A public endpoint serves a copy of the request. Everything must work that works with the server's
// own request.
func TestPublicEndpointPassesTheWholeRequest(t *testing.T) {
	sdk := recordGlobals(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		w.Header().Set("Trailer", "X-Sum")
		_, _ = fmt.Fprintf(w, "%s %s %s %s %s", r.PathValue("id"), r.Pattern, body, r.Trailer.Get("X-Check"), r.Host)
		w.Header().Set("X-Sum", "42")
	})
	mux.HandleFunc("GET /raw", func(w http.ResponseWriter, _ *http.Request) {
		conn, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close() // the test is over
		_, _ = buffer.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nraw")
		_ = buffer.Flush()
	})
	server := serve(t, telemetry.Handler(mux, telemetry.WithPublicEndpoint()))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/items/7",
		struct{ io.Reader }{strings.NewReader("body")})
	require.NoError(t, err)
	r.Host, r.Trailer = "shop.example", http.Header{"X-Check": {"seen"}}
	response, err := server.Client().Do(r)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "7 POST /items/{id} body seen shop.example", string(body))
	require.Equal(t, "42", response.Trailer.Get("X-Sum"))
	require.Contains(t, sdk.span(t, "POST /items/{id}").Attributes(), semconv.HTTPRoute("/items/{id}"))

	response, err = server.Client().Get(server.URL + "/raw")
	require.NoError(t, err)
	body, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "raw", string(body))
}

// What an untrusted caller sends creates neither span names nor series, and does not affect
// sampling.
func TestUntrustedCallersControlNeitherNamesNorSampling(t *testing.T) {
	const requests = 600
	for protocol, header := range map[string]http.Header{
		"plain": {}, "demanding": {
			"Traceparent": {"00-" + strings.Repeat("f", 32) + "-" + callerSpan + "-01"},
			"Tracestate":  {"ot=th:0;rv:ffffffffffffff"},
			"Baggage":     {"debug=true,sampling.keep=true,jaeger-debug-id=1"}, "Jaeger-Debug-Id": {"1"},
		},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_SAMPLER", "adaptive")
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithAdaptiveSampling(telemetry.Sampling{TracesPerSecond: 1,
				HeadOnly: true}))
			server := serve(t, telemetry.Handler(http.NewServeMux(), telemetry.WithGuard(guard),
				telemetry.WithPublicEndpoint()))
			for i := range requests {
				request(t, server, fmt.Sprintf("M%d", i), fmt.Sprintf("/made/up/%d", i), header)
			}
			flushed(t, guard)
			require.Less(t, len(c.Spans()), requests/4, "the sampler's rate decides")
			for _, span := range c.Spans() {
				require.Equal(t, "HTTP", span.Name)
				require.NotEqual(t, strings.Repeat("f", 32), span.TraceID)
			}
			for _, m := range c.Metrics() {
				if strings.HasPrefix(m.Name, "http.server.") {
					require.Len(t, m.Points, 1, m.Name)
					require.Equal(t, "_OTHER", m.Points[0].Attributes["http.request.method"])
				}
			}
			require.Contains(t, metricNames(c), "http.server.request.duration")
		})
	}
}

func TestHandlerTemporaryFilesAreRemoved(t *testing.T) {
	t.Run("of a trusted caller", func(t *testing.T) { requireTemporaryFilesRemoved(t) })
	t.Run("of a public endpoint", func(t *testing.T) {
		requireTemporaryFilesRemoved(t,
			telemetry.WithPublicEndpoint())
	})
}

// A process has only one first provider, so this test runs in a process of its own.
func TestMiddlewareMadeBeforeInit(t *testing.T) {
	if !isChild() {
		require.Contains(t, runChild(t), "--- PASS")
		return
	}
	carrier := map[string]string{}
	telemetry.Inject(trace.ContextWithRemoteSpanContext(context.Background(), remoteContext(t, 0)),
		telemetry.MessageCarrier(carrier))
	require.NotEmpty(t, carrier["traceparent"], "before any propagator is set, W3C is the default")

	server := serve(t, telemetry.Handler(http.HandlerFunc(ok)))
	client := &http.Client{Transport: telemetry.Transport(nil)}
	t.Cleanup(client.CloseIdleConnections)
	call := grpcService(t, telemetry.ServerHandler(), telemetry.ClientHandler())

	sdk := recordGlobals(t)
	response, err := client.Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.NoError(t, call(context.Background()))
	require.Eventually(t, func() bool { return len(sdk.names()) == 4 }, waitFor, tick)
	for _, name := range []string{
		"http.server.active_requests", "http.server.request.duration", "http.client.request.duration",
		"rpc.server.call.duration", "rpc.client.call.duration",
	} {
		sdk.metric(t, name)
	}
	traces := map[trace.TraceID]int{}
	for _, s := range sdk.spans.Ended() {
		traces[s.SpanContext().TraceID()]++
	}
	require.Len(t, traces, 2, "one trace per call, on both protocols")
}

func TestHandlerConcurrentSafe(t *testing.T) {
	sdk := recordGlobals(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/items/{id}", ok)
	server := serve(t, telemetry.Handler(mux))
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 10 {
				request(t, server, "GET", "/items/1", nil)
			}
		})
	}
	clients.Wait()
	require.Eventually(t, func() bool { return len(sdk.names()) == 80 }, waitFor, tick)
}

// startRecorder is a sampler that records its parameters.
type startRecorder struct {
	mu    sync.Mutex
	shown []sdktrace.SamplingParameters
}

func (s *startRecorder) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Attributes, p.Links = append([]attribute.KeyValue(nil), p.Attributes...), append([]trace.Link(nil), p.Links...)
	s.shown = append(s.shown, p)
	return sdktrace.AlwaysSample().ShouldSample(p)
}

func (s *startRecorder) Description() string { return "startRecorder" }

func requireTemporaryFilesRemoved(t *testing.T, opts ...telemetry.HandlerOption) {
	t.Helper()
	recordGlobals(t)
	t.Setenv("TMPDIR", t.TempDir())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /upload", func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil {
			panic(err)
		}
	})
	server := serve(t, telemetry.Handler(mux, opts...))
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("f", "f.bin")
	require.NoError(t, err)
	_, err = file.Write(make([]byte, 11<<20)) // beyond the 10 MiB that a form may keep in memory
	require.NoError(t, err)
	require.NoError(t, form.Close())
	response, err := server.Client().Post(server.URL+"/upload", form.FormDataContentType(), &body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Eventually(t, func() bool {
		left, err := os.ReadDir(os.Getenv("TMPDIR"))
		return err == nil && len(left) == 0
	}, waitFor, tick)
}
