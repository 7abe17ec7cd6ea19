package middleware

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// able is a writer with every optional interface. A part of it is one with some.
type able struct{ http.ResponseWriter }

func (able) Flush()                                       {}
func (able) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }
func (able) ReadFrom(io.Reader) (int64, error)            { return 0, nil }
func (able) Push(string, *http.PushOptions) error         { return nil }
func (able) CloseNotify() <-chan bool                     { return nil }

func TestWritersHaveTheAbilitiesOfTheServers(t *testing.T) {
	a := able{httptest.NewRecorder()}
	type notifier interface{ CloseNotify() <-chan bool }
	for abilities := range 1 << 5 {
		// reflect.StructOf cannot embed interfaces with methods, so a writer of each kind is
		// wrapped to be the server's.
		server := otherWriters[abilities](&core{ResponseWriter: a})
		require.Equal(t, abilities, abilitiesOf(server), "the table")
		x := &plainWriter{}
		x.ResponseWriter = server
		require.Equal(t, abilities, abilitiesOf(x.writer()), "%05b", abilities)
	}
	var (
		_ http.Flusher  = a
		_ http.Hijacker = a
		_ io.ReaderFrom = a
		_ http.Pusher   = a
		_ notifier      = a
	)
}

func TestWritersOfRealServers(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		var outer, inner int
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			outer = abilitiesOf(w)
			NewHandler(
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { inner = abilitiesOf(w) }),
				NewHandlerConfig(),
			).ServeHTTP(w, r)
		}))
		server.EnableHTTP2 = protocol == "HTTP/2"
		server.StartTLS()
		response, err := server.Client().Get(server.URL)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		server.Close()
		require.True(t, strings.HasPrefix(response.Proto, protocol))
		require.Equal(t, outer, inner, protocol)
		require.NotZero(t, outer)
	}
}

// copier keeps what the server was given to copy from: *os.File and a limited one make it use
// sendfile.
type copier struct {
	*httptest.ResponseRecorder
	from []string
}

func (c *copier) ReadFrom(src io.Reader) (int64, error) {
	name := fmt.Sprintf("%T", src)
	if limited, ok := src.(*io.LimitedReader); ok {
		name += fmt.Sprintf(" of %T", limited.R)
	}
	c.from = append(c.from, name)
	return io.Copy(c.ResponseRecorder, src)
}

func TestFilesReachTheServerAsFiles(t *testing.T) {
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "server_test.go") })
	plain, instrumented := &copier{
		ResponseRecorder: httptest.NewRecorder(),
	}, &copier{
		ResponseRecorder: httptest.NewRecorder(),
	}
	r := httptest.NewRequest(http.MethodGet, "/file", http.NoBody)
	serve.ServeHTTP(plain, r)
	NewHandler(serve, NewHandlerConfig()).ServeHTTP(instrumented, r)
	require.Equal(t, []string{"*io.LimitedReader of *os.File"}, plain.from)
	require.Equal(t, plain.from, instrumented.from)
}

// A handler that writes after it has returned reaches neither another request's answer nor what is
// recorded of it.
func TestWhatAHandlerHoldsIsNotUsedAgain(t *testing.T) {
	type held struct {
		w http.ResponseWriter
		r *http.Request
	}
	var all []held
	h := NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, earlier := range all {
			_, _ = earlier.w.Write([]byte("late"))
			earlier.w.WriteHeader(http.StatusTeapot)
			SetRoute(earlier.r.Context(), "/late")
			_, _ = earlier.r.Body.Read(make([]byte, 1))
		}
		all = append(all, held{w, r})
		_, _ = io.WriteString(w, "own")
	}), NewHandlerConfig())
	for i := range 200 {
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body")))
		require.Equal(t, "own", recorder.Body.String())
		require.Equal(t, http.StatusOK, recorder.Code)
		for j, earlier := range all[:i] {
			require.NotSame(t, earlier.r, all[i].r)
			require.NotSame(t, earlier.w, all[i].w, "%d and %d", j, i)
		}
	}
}

// guard is a source of providers.
type guard struct {
	tracing trace.TracerProvider
}

func (g guard) TracerProvider() trace.TracerProvider    { return g.tracing }
func (guard) MeterProvider() metric.MeterProvider       { return metricnoop.NewMeterProvider() }
func (guard) Propagator() propagation.TextMapPropagator { return propagation.TraceContext{} }
func configOf(tracing trace.TracerProvider) (c HandlerConfig) {
	c.Edge.Source = guard{tracing}
	return c
}

// lookups counts the tracers that are asked for.
type lookups struct {
	embedded.TracerProvider
	real  *sdktrace.TracerProvider
	count int
}

func (l *lookups) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	l.count++
	return l.real.Tracer(name, opts...)
}

func TestTracerIsLookedUpOnceForEachProvider(t *testing.T) {
	first, second := &lookups{real: sdktrace.NewTracerProvider()}, &lookups{real: sdktrace.NewTracerProvider()}
	h := NewHandler(http.NotFoundHandler(), configOf(first)).(*handler)
	for range 10 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	}
	require.Equal(t, 1, first.count)
	h.Edge.Source = guard{second}
	for range 10 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	}
	require.Equal(t, []int{1, 1}, []int{first.count, second.count})
}

// keeper is a sampler that keeps the very attributes that it was shown.
type keeper struct {
	mu    sync.Mutex
	shown map[string][]attribute.KeyValue // by path
}

func (k *keeper) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, kv := range p.Attributes {
		if kv.Key == "url.path" {
			k.shown[kv.Value.AsString()] = p.Attributes
		}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
}

func (*keeper) Description() string { return "keeper" }

func TestPooledOptionsAreSeenByNoOne(t *testing.T) {
	recorder, sampler := tracetest.NewSpanRecorder(), &keeper{shown: map[string][]attribute.KeyValue{}}
	h := NewHandler(
		http.NotFoundHandler(),
		configOf(sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(recorder))),
	)
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for j := range 100 {
				h.ServeHTTP(
					httptest.NewRecorder(),
					httptest.NewRequest(http.MethodGet, fmt.Sprintf("/%d/%d", i, j), http.NoBody),
				)
			}
		})
	}
	clients.Wait()
	require.Len(t, sampler.shown, 400)
	for path, attrs := range sampler.shown {
		require.Contains(t, attrs, attribute.String("url.path", path))
	}
	paths := map[string]bool{}
	for _, span := range recorder.Ended() {
		for _, kv := range span.Attributes() {
			if kv.Key == "url.path" {
				paths[kv.Value.AsString()] = true
			}
		}
	}
	require.Len(t, paths, 400)
}

// retainer is a provider of someone else's, which may do with the options what it likes.
type retainer struct {
	embedded.TracerProvider
	options [][]trace.SpanStartOption
}

func (p *retainer) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return tracerOfRetainer{retainer: p}
}

type tracerOfRetainer struct {
	embedded.Tracer
	retainer *retainer
}

func (t tracerOfRetainer) Start(
	ctx context.Context,
	_ string,
	opts ...trace.SpanStartOption,
) (context.Context, trace.Span) {
	t.retainer.options = append(t.retainer.options, opts)
	return ctx, trace.SpanFromContext(ctx)
}

func TestAnotherProviderMayKeepTheOptions(t *testing.T) {
	p := &retainer{}
	h := NewHandler(http.NotFoundHandler(), configOf(p))
	for i := range 10 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, fmt.Sprintf("/%d", i), http.NoBody))
	}
	for i, opts := range p.options {
		config := trace.NewSpanStartConfig(opts...)
		require.Equal(t, trace.SpanKindServer, config.SpanKind())
		require.Contains(t, config.Attributes(), attribute.String("url.path", fmt.Sprintf("/%d", i)))
	}
}

func TestCachesAreBounded(t *testing.T) {
	h := NewHandler(http.NotFoundHandler(), configOf(sdktrace.NewTracerProvider())).(*handler)
	h.Route = func(r *http.Request) string { return r.URL.Path }
	for i := range maxCached + 10 {
		r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/%d", i), http.NoBody)
		r.Host = fmt.Sprintf("host%d", i)
		h.ServeHTTP(httptest.NewRecorder(), r)
		want := min(i+1, maxCached)
		require.Len(t, *h.operations.known.entries.Load(), want)
		require.Len(t, *h.metrics.sets.entries.Load(), want)
	}
	require.Len(t, *h.active.counts.entries.Load(), 1)
	beyond := h.operations.of(http.MethodGet, "/beyond")
	require.Equal(t, "GET /beyond", beyond.name, "what has no room is made each time")
	require.False(t, beyond.cached)
}

func TestStartAttributesHaveRoom(t *testing.T) {
	r := httptest.NewRequest("BREW", "/items/7?q=1", http.NoBody)
	r.Host, r.Proto = "shop:8080", "QUIC/1"
	r.Header.Set("User-Agent", "curl")
	x := &exchange{operation: &operation{method: otherMethod, route: "/items/{id}"}, target: targetOf(r)}
	require.Len(t, x.startAttributes(nil, r), maxStartAttributes, "with all of them")
}

func TestForwarded(t *testing.T) {
	for name, tc := range map[string]struct {
		header http.Header
		want   forwarded
	}{
		"none": {http.Header{}, forwarded{}},
		"standard": {http.Header{"Forwarded": {"for=192.0.2.60;proto=http;by=203.0.113.43"}},
			forwarded{"192.0.2.60", "", "http"}},
		"IPv6, quoted": {http.Header{"Forwarded": {`For="[2001:db8::17]:4711"`}},
			forwarded{"2001:db8::17", "", ""}},
		"first of several": {http.Header{"Forwarded": {"for=192.0.2.43, for=198.51.100.17;host=other"}},
			forwarded{"192.0.2.43", "", ""}},
		"unknown":    {http.Header{"Forwarded": {"for=unknown"}}, forwarded{}},
		"obfuscated": {http.Header{"Forwarded": {"for=_gazonk"}}, forwarded{"_gazonk", "", ""}},
		"separators in quotes": {http.Header{"Forwarded": {`host="a,b;c";proto=https`}},
			forwarded{"", "a,b;c", "https"}},
		"quote that is not over": {http.Header{"Forwarded": {`host="a;proto=https`}},
			forwarded{"", `"a;proto=https`, ""}},
		"escape at the end": {http.Header{"Forwarded": {`host="a\`}}, forwarded{"", `"a\`, ""}},
		"empty":             {http.Header{"Forwarded": {""}}, forwarded{}},
		"scheme made up":    {http.Header{"Forwarded": {"proto=gopher"}}, forwarded{}},
		"the standard is first": {http.Header{"Forwarded": {"for=192.0.2.60"}, "X-Forwarded-For": {"10.0.0.1"},
			"X-Forwarded-Host": {"shop, inner"}}, forwarded{"192.0.2.60", "shop", ""}},
		"upper case": {http.Header{"X-Forwarded-Proto": {"HTTPS"}}, forwarded{"", "", "https"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, forwardedOf(tc.header)) })
	}
}

func TestScrubbedQuery(t *testing.T) {
	for query, want := range map[string]string{
		"q=signature":                          "q=signature",
		"&sig=a&&design":                       "&sig=REDACTED&&design",
		"sig=a&sig=b":                          "sig=REDACTED&sig=REDACTED",
		"a=1&Signature=x&AWSAccessKeyId=y&b":   "a=1&Signature=REDACTED&AWSAccessKeyId=REDACTED&b",
		"SIG=a":                                "SIG=a",
		"X-Amz-Security-Token=t&design=modern": "X-Amz-Security-Token=REDACTED&design=modern",
	} {
		require.Equal(t, want, scrubbedQuery(query))
	}
}

func TestPackageOfAHandler(t *testing.T) {
	require.Equal(t, "net/http", packageOf(http.NewServeMux()))
	require.Equal(t, "net/http", packageOf(http.NotFoundHandler()))
	require.Equal(
		t,
		"github.com/fleetotel/telemetry/internal/middleware",
		packageOf(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})),
	)
}

func TestLabelerKeyIsOtelhttps(t *testing.T) {
	require.NotNil(t, labelerKey)
	require.Nil(t, (&exchange{Context: context.Background()}).Value("another"))
	require.NotNil(t, (&exchange{Context: context.Background()}).Value(labelerKey))
}
