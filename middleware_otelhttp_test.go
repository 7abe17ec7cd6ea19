package telemetry_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry"
)

// difference is one between otelhttp and Handler. "" stands for nothing, * for anything.
type difference struct {
	what           string // "span" or "metrics", and what is different about it
	otelhttp, ours string
	reason         string
}

// differences has all of them, with the reason for each. "The conventions" are the semantic
// conventions 1.43 for HTTP.
var differences = []difference{
	// Names and methods.
	{
		"span name",
		"GET",
		"HTTP",
		"methods are case-sensitive: the conventions (http.request.method) and net/http itself tell get from GET",
	},
	{"span http.request.method", "GET", "_OTHER", "the same"},
	{"metrics http.request.method", "GET", "_OTHER", "the same"},
	{"span name", "HTTP", "QUERY", "QUERY is one of the conventions' methods"},
	{"span http.request.method", "_OTHER", "QUERY", "the same"},
	{"span http.request.method_original", "QUERY", "", "the same"},
	{"metrics http.request.method", "_OTHER", "QUERY", "the same"},
	{"span http.route", "", "*", "the span has the route that its name and the metrics have"},

	// The URL.
	{"span url.query", "", "*", "conditionally required: if there is one"},
	{"span url.path", "", "", "required: also when it is empty"},
	{"span url.scheme", "http", "https", "of the original request, as Forwarded and X-Forwarded-Proto have it"},
	{"metrics url.scheme", "http", "https", "the same"},

	// Addresses.
	{"span server.address", "", "", "not set when it is not known"},
	{"metrics server.address", "", "", "the same"},
	{"span server.address", "*", "shop.example", "of the original request, as Forwarded and X-Forwarded-Host have it"},
	{"metrics server.address", "*", "shop.example", "the same"},
	{"span server.port", "", "8443", "the same"},
	{"metrics server.port", "", "8443", "the same"},
	{"span server.port", "", "80", "conditionally required: if it is available, also when it is the default one"},
	{"metrics server.port", "", "80", "the same"},
	{"span server.port", "8080", "", "only beside server.address"},
	{"metrics server.port", "8080", "", "the same"},
	{
		"span client.address",
		"*",
		"203.0.113.7",
		"an address has no port and no white space, and Forwarded is the standard's header",
	},
	{"span client.address", "unknown", "192.0.2.1", "a proxy that does not know the client has said nothing"},
	{"span client.address", "@", "", "a Unix socket without a name has no address"},
	{"span network.peer.address", "@", "", "the same"},

	// Protocols.
	{"span network.protocol.version", "2.0", "2", "the version's own name: RFC 9113, and the conventions' examples"},
	{"metrics network.protocol.version", "2.0", "2", "the same"},
	{"span network.protocol.version", "3.0", "3", "RFC 9114"},
	{"metrics network.protocol.version", "3.0", "3", "the same"},

	// Failures.
	{"span error.type", "", "*", "conditionally required: if the request has failed"},
	{"metrics error.type", "", "*", "the same"},
	{"span status", "Error Invalid HTTP status code 600", "Error ", "the status code says it"},
	{"span status", "Error ", "Unset ", "a 5xx for a client that had gone away is not an error: see Handler"},
	{"span status", "Unset ", "Error panic: no stock", "a panic is an error"},
	{"span event exception exception.type", ".string", "string", "as Go writes the type"},
	{
		"span event exception exception.type",
		"*errors.errorString",
		"",
		"net/http.ErrAbortHandler is a way to end an answer",
	},
	{"span event exception exception.message", "net/http: abort Handler", "", "the same"},
	{"metrics", "", "*", "a panic is a request, too"},
	{"span http.response.status_code", "", "200", "the header was sent before the panic"},

	// Answers that otelhttp does not see.
	{"span http.response.body.size", "", "5", "what the server copies by ReadFrom"},
	{"span http.response.body.size", "5", "", "a server sends no body for HEAD"},
	{"metrics http.server.response.body.size", "5 By", "0 By", "the same"},
	{"metrics http.server.response.body.size", "0 By", "5 By", "the same"},
	{"span http.response.status_code", "200", "101", "a connection taken over for an upgrade"},
	{"metrics http.response.status_code", "200", "101", "the same"},
	{"span http.response.status_code", "200", "", "a connection taken over without one: what was sent is not known"},
	{"metrics http.response.status_code", "200", "", "the same"},
	{
		"metrics http.server.request.duration",
		"*",
		"",
		"how long a stream lasts is the client's choice: see WithStreamingRoutes",
	},
	{
		"metrics http.server.active_requests",
		"",
		"0 {request}",
		"required by no convention, but its only measure of load",
	},
	{"span scope", "*", "*", "the instrumentation's own name"},
}

// comparison is one request and its handler.
type comparison struct {
	name    string
	change  func(*http.Request)
	handler http.HandlerFunc // nil: answers hello
	writer  func(*httptest.ResponseRecorder) http.ResponseWriter
	route   string // of a ServeMux around handler
	options []telemetry.HandlerOption
}

func comparisons() []comparison {
	header := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				r.Header.Add(pairs[i], pairs[i+1])
			}
		}
	}
	method := func(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	proto := func(p string) func(*http.Request) { return func(r *http.Request) { r.Proto = p } }
	peer := func(a string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = a } }
	target := func(u *url.URL) func(*http.Request) { return func(r *http.Request) { r.URL = u } }
	body := func(text string) func(*http.Request) {
		return func(r *http.Request) { r.Method, r.Body = http.MethodPost, io.NopCloser(strings.NewReader(text)) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	hijack := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_ = conn.Close()
	}
	hijackable := func(w *httptest.ResponseRecorder) http.ResponseWriter { return hijackableRecorder{w} }
	gone := func(r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		*r = *r.WithContext(ctx)
	}
	return []comparison{
		{name: "plain"},
		{name: "HEAD", change: method(http.MethodHead)},
		{name: "PATCH", change: method(http.MethodPatch)},
		{
			name:   "CONNECT",
			change: func(r *http.Request) { r.Method, r.URL = http.MethodConnect, &url.URL{Host: "shop:443"} },
		},
		{
			name:   "OPTIONS *",
			change: func(r *http.Request) { r.Method, r.URL = http.MethodOptions, &url.URL{Path: "*"} },
		},
		{name: "QUERY", change: method("QUERY")},
		{name: "method in lower case", change: method("get")},
		{name: "method made up", change: method("BREW")},
		{name: "no method", change: method("")},
		{name: "query", change: target(&url.URL{Path: "/search", RawQuery: "q=shoes&page=2"})},
		{name: "signed URL", change: target(&url.URL{Path: "/file", RawQuery: "sig=secret&v=1"})},
		{name: "no path", change: target(&url.URL{})},
		{name: "escaped path", change: target(&url.URL{Path: "/a b", RawPath: "/a%20b"})},
		{name: "no URL", change: target(nil)},
		{name: "host and port", change: host("shop.example:8080")},
		{name: "host and default port", change: host("shop.example:80")},
		{name: "no host", change: host("")},
		{name: "port alone", change: host(":8080")},
		{name: "IPv6 host", change: host("[::1]:8080")},
		{name: "IPv6 host without a port", change: host("[::1]")},
		{name: "half an IPv6 host", change: host("[::1")},
		{name: "port that is none", change: host("shop.example:99999")},
		{name: "host with two colons", change: host("a:b:c")},
		{name: "TLS", change: func(r *http.Request) { r.TLS = &tls.ConnectionState{} }},
		{
			name:   "TLS and another port",
			change: func(r *http.Request) { r.TLS, r.Host = &tls.ConnectionState{}, "shop.example:8443" },
		},
		{name: "HTTP/1.0", change: proto("HTTP/1.0")},
		{name: "HTTP/2", change: proto("HTTP/2.0")},
		{name: "HTTP/3", change: proto("HTTP/3.0")},
		{name: "another protocol", change: proto("QUIC/1")},
		{name: "protocol without a version", change: proto("HTTP")},
		{name: "no protocol", change: proto("")},
		{name: "no peer", change: peer("")},
		{name: "Unix socket", change: peer("/run/shop.sock")},
		{name: "Unix socket without a name", change: peer("@")},
		{name: "IPv6 peer with a zone", change: peer("[fe80::1%eth0]:4711")},
		{name: "user agent", change: header("User-Agent", "curl/8")},
		{name: "two user agents", change: header("User-Agent", "curl/8", "User-Agent", "wget")},
		{name: "X-Forwarded-For", change: header("X-Forwarded-For", "203.0.113.7, 10.0.0.1")},
		{name: "X-Forwarded-For with a port", change: header("X-Forwarded-For", "203.0.113.7:4711")},
		{name: "X-Forwarded-For, IPv6", change: header("X-Forwarded-For", "2001:db8::7")},
		{name: "X-Forwarded-For that is unknown", change: header("X-Forwarded-For", "unknown")},
		{
			name:   "X-Forwarded-Proto and -Host",
			change: header("X-Forwarded-Proto", "https", "X-Forwarded-Host", "shop.example:8443"),
		},
		{
			name:   "Forwarded",
			change: header("Forwarded", `for="203.0.113.7:4711";host="shop.example:8443";proto=https, for=10.0.0.1`),
		},
		{
			name:   "trace context",
			change: header("Traceparent", "00-"+callerTrace+"-"+callerSpan+"-01", "Tracestate", "vendor=1"),
		},
		{name: "bad trace context", change: header("Traceparent", "00-bad")},
		{
			name:    "body",
			change:  body("order"),
			handler: func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
		},
		{name: "body that is not read", change: body("order")},
		{name: "route", route: "GET /items/{id}"},
		{name: "route with a host", route: "shop/items/"},
		{name: "no such route", route: "GET /other"},
		{name: "route of another method", route: "POST /items/7"},
		{name: "no answer", handler: ok},
		{name: "201", handler: status(201)},
		{name: "404", handler: status(404)},
		{name: "500", handler: status(500)},
		{name: "503 on a route", handler: status(503), route: "/items/{id}"},
		{name: "600", handler: status(600)},
		{name: "500 for a client that is gone", handler: status(500), change: gone},
		{
			name:    "early hints",
			handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(202) },
		},
		{
			name:    "two headers",
			handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); w.WriteHeader(500) },
		},
		{name: "flush", handler: func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }},
		{name: "copy", handler: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("hello")})
		},
			writer: func(w *httptest.ResponseRecorder) http.ResponseWriter { return readFromRecorder{w} }},
		{name: "panic", handler: func(http.ResponseWriter, *http.Request) { panic("no stock") }},
		{
			name:    "panic behind the header",
			handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic("no stock") },
		},
		{name: "abort", handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{name: "upgrade", change: header("Upgrade", "websocket"), handler: hijack, writer: hijackable},
		{name: "connection taken over", handler: hijack, writer: hijackable},
		{name: "events", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			_, _ = io.WriteString(w, "data: 1")
		}},
		{
			name:    "streaming route",
			route:   "/items/{id}",
			options: []telemetry.HandlerOption{telemetry.WithStreamingRoutes("/items/{id}")},
		},
		{name: "labels", handler: func(_ http.ResponseWriter, r *http.Request) {
			labels, _ := otelhttp.LabelerFromContext(r.Context())
			labels.Add(attribute.String("tenant", "cards"))
		}},
	}
}

// TestHandlerAgainstOtelhttp sends the same requests through both. What is not in differences is
// the same.
func TestHandlerAgainstOtelhttp(t *testing.T) {
	used := map[difference]bool{}
	for _, tc := range comparisons() {
		t.Run(tc.name, func(t *testing.T) {
			otherSDK := recordSDK(t)
			other := recordRequest(t, otherSDK, tc, func(h http.Handler) http.Handler {
				return otelhttp.NewHandler(
					h,
					"",
					otelhttp.WithTracerProvider(otherSDK.tracing),
					otelhttp.WithMeterProvider(otherSDK.meters),
					otelhttp.WithPropagators(
						propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
					),
				)
			})
			ownSDK := recordGlobals(t)
			own := recordRequest(
				t,
				ownSDK,
				tc,
				func(h http.Handler) http.Handler { return telemetry.Handler(h, tc.options...) },
			)

			requireDifferences(t, differences, used, other, own)
		})
	}
	for _, d := range differences {
		require.True(t, used[d], "%s: no request shows the difference between %q and %q", d.what, d.otelhttp, d.ours)
	}
}

// requireDifferences asserts that the two records differ in nothing but what a list has, and notes
// what they differ in.
func requireDifferences(t *testing.T, differences []difference, used map[difference]bool, other,
	own map[string]string) {
	t.Helper()
	keys := maps.Clone(other)
	maps.Copy(keys, own)
	for _, what := range slices.Sorted(maps.Keys(keys)) {
		theirs, hadIt := other[what]
		ours, haveIt := own[what]
		if theirs == ours && hadIt == haveIt {
			continue
		}
		if strings.HasPrefix(what, "metrics ") && other["metrics count"] == "" &&
			what != "metrics http.server.active_requests" {
			what = "metrics"
		}
		i := slices.IndexFunc(differences, func(d difference) bool {
			return d.what == what && (d.otelhttp == theirs || d.otelhttp == "*") && (d.ours == ours || d.ours == "*")
		})
		if i < 0 {
			t.Errorf("%s: otelhttp has %q (%t), ours %q (%t)", what, theirs, hadIt, ours, haveIt)
			continue
		}
		used[differences[i]] = true
	}
}

// recordRequest serves the request with a fresh instrumentation and returns what it has recorded.
func recordRequest(
	t *testing.T,
	sdk *sdkRecord,
	tc comparison,
	instrument func(http.Handler) http.Handler,
) map[string]string {
	t.Helper()
	var handler http.Handler = tc.handler
	if tc.handler == nil {
		handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	}
	if tc.route != "" {
		mux := http.NewServeMux()
		mux.Handle(tc.route, handler)
		handler = mux
	}
	r := &http.Request{
		Method:     http.MethodGet,
		URL:        &url.URL{Path: "/items/7"},
		Host:       "shop",
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{},
		Body:       http.NoBody,
		RemoteAddr: "192.0.2.1:4711",
	}
	if tc.change != nil {
		tc.change(r)
	}
	recorder := httptest.NewRecorder()
	var w http.ResponseWriter = recorder
	if tc.writer != nil {
		w = tc.writer(recorder)
	}
	func() {
		defer func() { _ = recover() }()
		instrument(handler).ServeHTTP(w, r)
	}()
	return flattened(t, sdk)
}

// flattened is all that a request has left behind.
func flattened(t *testing.T, sdk *sdkRecord) map[string]string {
	t.Helper()
	require.Len(t, sdk.spans.Ended(), 1)
	span := sdk.spans.Ended()[0]
	all := map[string]string{
		"span name": span.Name(), "span kind": span.SpanKind().String(), "span scope": span.InstrumentationScope().Name,
		"span status": span.Status().Code.String() + " " + span.Status().Description,
		"span parent": span.Parent().SpanID().String(), "span links": fmt.Sprint(len(span.Links())),
	}
	if span.Status().Code == codes.Unset {
		all["span status"] = "Unset "
	}
	for _, e := range span.Events() {
		for key, value := range attributeMap(e.Attributes) {
			if key != "exception.stacktrace" {
				all["span event "+e.Name+" "+key] = value
			}
		}
	}
	for key, value := range attributeMap(span.Attributes()) {
		all["span "+key] = value
	}
	collected := sdk.collected(t)
	for name, m := range collected {
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]: // the duration
			require.Len(t, data.DataPoints, 1)
			all["metrics "+name] = fmt.Sprint(data.DataPoints[0].Count, " ", m.Unit, data.DataPoints[0].Bounds)
		case metricdata.Histogram[int64]: // a size
			require.Len(t, data.DataPoints, 1)
			all["metrics "+name] = fmt.Sprint(data.DataPoints[0].Sum, " ", m.Unit)
			all["metrics count"] = fmt.Sprint(data.DataPoints[0].Count)
			attributes := attributeMap(data.DataPoints[0].Attributes.ToSlice())
			for key, value := range attributes {
				all["metrics "+key] = value
			}
			for _, name := range []string{"http.server.request.duration", "http.client.request.duration"} {
				if duration, ok := collected[name].Data.(metricdata.Histogram[float64]); ok {
					require.Equal(t, attributes, attributeMap(duration.DataPoints[0].Attributes.ToSlice()))
				}
			}
		case metricdata.Sum[int64]: // of active requests
			require.Len(t, data.DataPoints, 1)
			all["metrics "+name] = fmt.Sprint(data.DataPoints[0].Value, " ", m.Unit)
		}
	}
	return all
}

type readFromRecorder struct{ *httptest.ResponseRecorder }

func (w readFromRecorder) ReadFrom(src io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w.ResponseRecorder}, src)
}

type hijackableRecorder struct{ *httptest.ResponseRecorder }

func (hijackableRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	ours, theirs := net.Pipe()
	return ours, bufio.NewReadWriter(bufio.NewReader(ours), bufio.NewWriter(ours)), errors.Join(theirs.Close())
}
