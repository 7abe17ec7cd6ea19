package telemetry_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestHandlerResponseSize(t *testing.T) {
	const size = 100_000
	text := strings.Repeat("x", size)
	content := []byte(text)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), content, 0o600))
	for name, handler := range map[string]http.Handler{
		"ServeFile": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, filepath.Join(dir, "file"))
		}),
		"FileServer": http.FileServer(http.Dir(dir)),
		"io.Copy": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, struct{ io.Reader }{bytes.NewReader(content)})
		}),
		"io.Copy of what writes itself": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, bytes.NewReader(content))
		}),
		"Write, then io.Copy": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(content[:10])
			_, _ = io.Copy(w, bytes.NewReader(content[10:]))
		}),
		"io.WriteString": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_,
				_ = io.WriteString(w, text)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			overBothProtocols(t, func(t *testing.T, start func(http.Handler) *httptest.Server) {
				sdk := recordGlobals(t)
				server := start(telemetry.Handler(handler))
				response, err := server.Client().Get(server.URL + "/file")
				require.NoError(t, err)
				body, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				require.NoError(t, response.Body.Close())
				require.Len(t, body, size)
				require.EqualValues(t, size, sdk.onePoint(t, "http.server.response.body.size").sum)
				require.Equal(t, "100000", attributeMap(sdk.span(t, "GET").Attributes())["http.response.body.size"])
			})
		})
	}
}

func TestHandlerOutcome(t *testing.T) {
	lateMux := func(serve http.HandlerFunc) http.HandlerFunc {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /items/{id}", serve)
		return mux.ServeHTTP
	}
	recovering := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if recover() != nil {
					w.WriteHeader(http.StatusInternalServerError)
				}
			}()
			next(w, r)
		}
	}
	crash := func(http.ResponseWriter, *http.Request) { panic("no stock") }
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    outcome
	}{
		"nothing written": {ok, outcome{name: "GET", status: "200"}},
		"not found":       {http.NotFound, outcome{name: "GET", status: "404"}},
		"unavailable": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
			outcome{name: "GET", status: "503", errorType: "503", spanStatus: codes.Error}},
		"the first status counts": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			w.WriteHeader(http.StatusInternalServerError)
		}, outcome{name: "GET", status: "201"}},
		"a flush sends 200": {func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			w.WriteHeader(http.StatusInternalServerError)
		}, outcome{name: "GET", status: "200"}},
		"early hints, then a status": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusAccepted)
		}, outcome{name: "GET", status: "202"}},
		"early hints alone": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) },
			outcome{name: "GET", status: "200"}},
		"panic": {crash, outcome{name: "GET", errorType: "string", spanStatus: codes.Error}},
		"panic with an error": {func(http.ResponseWriter, *http.Request) {
			panic(labelledError{errors.New("declined")})
		},
			outcome{name: "GET", errorType: "card_declined", spanStatus: codes.Error}},
		"panic behind a header": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			panic("no stock")
		}, outcome{name: "GET", status: "200", errorType: "string", spanStatus: codes.Error}},
		"an invalid status panics": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(7) },
			outcome{name: "GET", errorType: "string", spanStatus: codes.Error}},
		"panic on a late route": {lateMux(crash),
			outcome{name: "GET /items/{id}", errorType: "string", spanStatus: codes.Error}},
		"recovered panic": {recovering(crash),
			outcome{name: "GET", status: "500", errorType: "500", spanStatus: codes.Error}},
		"recovered panic, on late route": {recovering(lateMux(crash)),
			outcome{name: "GET /items/{id}", status: "500", errorType: "500", spanStatus: codes.Error}},
		"abort": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			outcome{name: "GET"}},
		"abort behind a header": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			panic(http.ErrAbortHandler)
		}, outcome{name: "GET", status: "200"}},
		"a source without a byte leaves the answer to the handler": {func(w http.ResponseWriter, _ *http.Request) {
			if _, err := io.Copy(w, iotest.ErrReader(errors.New("upstream"))); err != nil {
				http.Error(w, "bad gateway", http.StatusBadGateway)
			}
		}, outcome{name: "GET", status: "502", errorType: "502", spanStatus: codes.Error}},
		"a source that fails behind its first byte": {func(w http.ResponseWriter, _ *http.Request) {
			_, err := io.Copy(w, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(errors.New("upstream"))))
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
			}
		}, outcome{name: "GET", status: "200"}},
		"Goexit": {func(http.ResponseWriter, *http.Request) { runtime.Goexit() }, outcome{name: "GET"}},
	} {
		t.Run(name, func(t *testing.T) {
			overBothProtocols(t, func(t *testing.T, start func(http.Handler) *httptest.Server) {
				if name == "Goexit" && strings.HasSuffix(t.Name(), "HTTP/2") {
					t.Skip("net/http leaves the stream open")
				}
				sdk := recordGlobals(t)
				server := start(telemetry.Handler(tc.handler))
				if response, err := server.Client().Get(server.URL + "/items/7"); err == nil {
					_, _ = io.Copy(io.Discard, response.Body) // is cut off where the handler panics
					_ = response.Body.Close()
				}
				require.Equal(t, tc.want, outcomeOf(t, sdk, tc.want.name))
			})
		})
	}
}

// The author of a program sees the stack of a panic in the server's log.
func TestHandlerPanicKeepsTheStackInTheServersLog(t *testing.T) {
	recordGlobals(t)
	var logged syncBuffer
	server := httptest.NewUnstartedServer(telemetry.Handler(http.HandlerFunc(raiseDeepInside)))
	server.Config.ErrorLog = log.New(&logged, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	_, err := server.Client().Get(server.URL)
	require.Error(t, err)
	require.Eventually(t, func() bool { return strings.Contains(logged.String(), "raiseDeepInside") }, waitFor, tick)
}

func TestHandlerMetricAttributes(t *testing.T) {
	sdk := recordGlobals(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		labels, _ := otelhttp.LabelerFromContext(r.Context())
		labels.Add(attribute.String("tenant", "cards"))
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, serve(t, telemetry.Handler(mux)).URL+"/items/7",
		strings.NewReader("order"))
	require.NoError(t, err)
	r.Host = "shop.example:8080"
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	want := map[string]string{
		"http.request.method": "POST", "http.route": "/items/{id}", "http.response.status_code": "200",
		"url.scheme":            "http",
		"network.protocol.name": "http", "network.protocol.version": "1.1", "server.address": "shop.example",
		"server.port": "8080",
		"tenant":      "cards",
	}
	for metric, sum := range map[string]float64{"http.server.request.body.size": 5,
		"http.server.response.body.size": 5} {
		p := sdk.onePoint(t, metric)
		require.Equal(t, want, p.attributes, metric)
		require.InDelta(t, sum, p.sum, 0, metric)
	}
	duration := sdk.onePoint(t, "http.server.request.duration")
	require.Equal(t, want, duration.attributes)
	require.Positive(t, duration.sum)
	histogram := sdk.metric(t, "http.server.request.duration").Data.(metricdata.Histogram[float64])
	require.Equal(t, []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10},
		histogram.DataPoints[0].Bounds)
	require.Equal(t, "5", attributeMap(sdk.span(t, "POST /items/{id}").Attributes())["http.request.body.size"])
}

// A time series lives as long as the process, and the first line of a request may be a megabyte.
func TestHandlerMetricsDoNotRetainTheRequestLine(t *testing.T) {
	const requests, size = 60, 512 << 10
	sdk := recordGlobals(t)
	otel.SetTracerProvider(noTraces())
	server := serve(t, telemetry.Handler(http.HandlerFunc(ok)))
	path := strings.Repeat("p", size)
	send := func(line, host string) {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close() // the answer is read
		_, err = io.WriteString(conn, line+"\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Contains(t, string(answer), "200 OK")
	}
	send("GET / HTTP/1.1", "warm")
	before := heapNow()
	for i := range requests / 3 {
		host := fmt.Sprintf("host%d.example", i)
		send("GET http://"+host+"/"+path+" HTTP/1.1", host)
		send("GET /"+path+" HTTP/1.1", "line-"+host)
		send("GET / HTTP/1.1", host+"."+path)
	}
	grown := heapNow() - before
	require.Len(t, sdk.points(t, "http.server.request.duration"), requests+1, "each has a series")
	require.Less(t, grown, requests*size/5)
	for _, p := range sdk.points(t, "http.server.request.duration") {
		require.LessOrEqual(t, len(p.attributes["server.address"]), 253)
	}
}

func TestHandlerUpgradedConnection(t *testing.T) {
	const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"
	echo := func(conn net.Conn, buffer *bufio.ReadWriter) {
		defer conn.Close() // the test is over
		line, _ := buffer.ReadString('\n')
		_, _ = buffer.WriteString(line)
		_ = buffer.Flush()
	}
	for name, handler := range map[string]http.HandlerFunc{
		"answered on the connection": func(w http.ResponseWriter, _ *http.Request) {
			conn, buffer, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = buffer.WriteString(answer)
			_ = buffer.Flush()
			_, _ = w.Write([]byte("goes nowhere"))
			echo(conn, buffer)
			w.WriteHeader(http.StatusInternalServerError) // goes nowhere either
		},
		"answered by the server": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Upgrade", "echo")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, buffer, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			echo(conn, buffer)
		},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			server := serve(t, telemetry.Handler(handler))
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			require.NoError(t, err)
			defer conn.Close() // the test is over
			_, err = io.WriteString(conn, "GET /chat HTTP/1.1\r\nHost: shop\r\nUpgrade: echo\r\nConnection: "+
				"Upgrade\r\n\r\nhello\n")
			require.NoError(t, err)
			all, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Contains(t, string(all), "101 Switching Protocols")
			require.Contains(t, string(all), "hello\n")

			span := sdk.span(t, "GET")
			require.Equal(t, "101", attributeMap(span.Attributes())["http.response.status_code"])
			require.Equal(t, codes.Unset, span.Status().Code)
			for _, p := range sdk.points(t, "http.server.response.body.size") {
				require.Equal(t, "101", p.attributes["http.response.status_code"])
			}
		})
	}
	t.Run("without an upgrade the status is unknown", func(t *testing.T) {
		sdk := recordGlobals(t)
		server := serve(t, telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n")
			_ = conn.Close()
		})))
		response, err := server.Client().Get(server.URL)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusTeapot, response.StatusCode)
		require.NotContains(t, attributeMap(sdk.span(t, "GET").Attributes()), "http.response.status_code")
	})
}

// A client that disconnects before the header is written gets no answer, so a 5xx that the handler
// derives from its own cancelled work is not an error of the server. Every other 5xx is.
func TestHandlerOutcomeWhenTheClientDisconnects(t *testing.T) {
	unavailable := func(w http.ResponseWriter) { http.Error(w, "no answer from the gateway", http.StatusBadGateway) }
	arrived := make(chan struct{}, 1)
	wait := func(r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
			panic("the client does not go away")
		}
	}
	for name, tc := range map[string]struct {
		around    func(*http.Request) *http.Request // outside of Handler
		handler   func(w http.ResponseWriter, r *http.Request)
		errorType string
		status    string
	}{
		"before the header": {
			handler: func(w http.ResponseWriter, r *http.Request) { wait(r); unavailable(w) }, status: "502",
		},
		"before the header, which a write sends": {
			handler: func(w http.ResponseWriter, r *http.Request) { wait(r); _, _ = io.WriteString(w, "late") },
			status:  "200",
		},
		"after the header": {
			handler: func(w http.ResponseWriter, r *http.Request) { unavailable(w); wait(r) }, status: "502",
			errorType: "502",
		},
		"and the handler panics": {
			handler: func(_ http.ResponseWriter, r *http.Request) { wait(r); panic("no stock") }, errorType: "string",
		},
		"after the service's own deadline": {
			around: func(r *http.Request) *http.Request {
				ctx, cancel := context.WithTimeout(r.Context(), time.Millisecond)
				context.AfterFunc(ctx, cancel)
				return r.WithContext(ctx)
			},
			handler: func(w http.ResponseWriter, r *http.Request) { wait(r); unavailable(w) }, status: "502",
			errorType: "502",
		},
		"after the service cancelled for a reason of its own": {
			around: func(r *http.Request) *http.Request {
				ctx, cancel := context.WithCancelCause(r.Context())
				cancel(errors.New("shutting down"))
				return r.WithContext(ctx)
			},
			handler: func(w http.ResponseWriter, r *http.Request) { wait(r); unavailable(w) }, status: "502",
			errorType: "502",
		},
	} {
		t.Run(name, func(t *testing.T) {
			overBothProtocols(t, func(t *testing.T, start func(http.Handler) *httptest.Server) {
				sdk := recordGlobals(t)
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				traced := telemetry.Handler(http.HandlerFunc(tc.handler))
				server := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if tc.around != nil {
						r = tc.around(r)
					}
					traced.ServeHTTP(w, r)
				}))
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
				require.NoError(t, err)
				go func() {
					<-arrived
					if tc.around == nil {
						leave()
					}
				}()
				if response, err := server.Client().Do(r); err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
				want := outcome{name: "GET", status: tc.status, errorType: tc.errorType}
				if tc.errorType != "" {
					want.spanStatus = codes.Error
				}
				require.Equal(t, want, outcomeOf(t, sdk, "GET"))
			})
		})
	}
}

// The sampler keeps failed traces, and a client that disconnects is not a failure.
func TestAClientThatDisconnectsDoesNotKeepTheTrace(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "adaptive")
	c := otlptest.New(t)
	rare := telemetry.Sampling{SlowThreshold: -1, Rules: []telemetry.Rule{{Ratio: 0x1p-56}}}
	guard, _ := start(t, c, telemetry.WithAdaptiveSampling(rare))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	server := serve(t, telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			leave()
			<-r.Context().Done()
		}
		w.WriteHeader(http.StatusBadGateway)
	}), telemetry.WithGuard(guard)))
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, server.URL, http.NoBody)
	require.NoError(t, err)
	_, err = server.Client().Do(r)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, http.StatusBadGateway, request(t, server, http.MethodGet, "/", nil).StatusCode)
	server.Close() // waits for both handlers
	flushed(t, guard)
	require.Len(t, c.Spans(), 1)
	require.Equal(t, "GET", c.Spans()[0].Name)
}

// gin's Context.Stream uses CloseNotify without checking for it.
func TestHandlerSupportsCloseNotify(t *testing.T) {
	overBothProtocols(t, func(t *testing.T, start func(http.Handler) *httptest.Server) {
		recordGlobals(t)
		begun, told := make(chan struct{}), make(chan bool, 1)
		server := start(telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			gone := w.(interface{ CloseNotify() <-chan bool }).CloseNotify()
			close(begun)
			select {
			case told <- <-gone:
			case <-time.After(waitFor):
			}
		})))
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
		require.NoError(t, err)
		go func() { <-begun; cancel() }()
		_, err = server.Client().Do(r)
		require.ErrorIs(t, err, context.Canceled)
		require.True(t, <-told)
	})
}

// overBothProtocols runs the test with a real server of HTTP/1.1 and with one of HTTP/2.
func overBothProtocols(t *testing.T, test func(t *testing.T, start func(http.Handler) *httptest.Server)) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(protocol, func(t *testing.T) {
			test(t, func(h http.Handler) *httptest.Server {
				if protocol == "HTTP/1.1" {
					return serve(t, h)
				}
				server := httptest.NewUnstartedServer(h)
				server.Config.ErrorLog = log.New(io.Discard, "", 0)
				server.EnableHTTP2 = true
				server.StartTLS()
				t.Cleanup(server.Close)
				return server
			})
		})
	}
}

// outcome is what the span and the metrics of a request say about its end; an empty status stands
// for none.
type outcome struct {
	name, status, errorType string
	spanStatus              codes.Code
}

// outcomeOf asks span and metrics, which have to agree.
func outcomeOf(t *testing.T, sdk *sdkRecord, name string) outcome {
	t.Helper()
	span := sdk.span(t, name)
	attributes := attributeMap(span.Attributes())
	got := outcome{name: span.Name(), status: attributes["http.response.status_code"],
		errorType: attributes["error.type"], spanStatus: span.Status().Code}
	_, route, _ := strings.Cut(name, " ")
	require.Equal(t, route, attributes["http.route"])
	for _, metric := range []string{"http.server.request.duration", "http.server.request.body.size",
		"http.server.response.body.size"} {
		recorded := sdk.onePoint(t, metric).attributes
		require.Equal(t, got.status, recorded["http.response.status_code"], metric)
		require.Equal(t, got.errorType, recorded["error.type"], metric)
		require.Equal(t, route, recorded["http.route"], metric)
	}
	return got
}

func raiseDeepInside(http.ResponseWriter, *http.Request) { panic("no stock") }
