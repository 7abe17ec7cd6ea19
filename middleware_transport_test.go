package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// transportDifferences are those between otelhttp's Transport and ours, with the reason for each.
var transportDifferences = []difference{
	{"span scope", "*", "*", "the instrumentation's own name"},
	{"span name", "*", "*", "the conventions: the method, where no template of the URL is known"},

	// Methods.
	{"span http.request.method", "GET", "_OTHER",
		"methods are case-sensitive: the conventions (http.request.method) and net/http itself tell get from GET"},
	{"metrics http.request.method", "GET", "_OTHER", "the same"},
	{"span http.request.method", "_OTHER", "GET", "net/http sends a request without a method as GET"},
	{"metrics http.request.method", "_OTHER", "GET", "the same"},
	{"span http.request.method", "_OTHER", "QUERY", "QUERY is one of the conventions' methods"},
	{"span http.request.method_original", "QUERY", "", "the same"},
	{"metrics http.request.method", "_OTHER", "QUERY", "the same"},

	// Where the request goes.
	{"span server.port", "", "80", "required for clients, also if it is the default one"},
	{"metrics server.port", "", "80", "the same"},
	{"span server.port", "", "443", "the same"},
	{"metrics server.port", "", "443", "the same"},
	{"span server.address", "", "", "not set when it is not known"},
	{"metrics server.address", "", "", "the same"},
	{"metrics server.port", "8080", "", "only beside server.address"},
	{"span server.port", "8080", "", "the same"},
	{"span url.full", "*", "http://shop/file?sig=REDACTED&v=1",
		"signatures are credentials: the conventions (url.full)"},

	// The protocol.
	{"span network.protocol.version", "1.1", "",
		"known by an answer only: the request says what its maker wrote into it, and net/http ignores that"},
	{"metrics network.protocol.version", "1.1", "", "the same"},
	{"metrics network.protocol.name", "http", "", "the same"},
	{"span network.protocol.version", "2.0", "2", "the version's own name: RFC 9113, and the conventions' examples"},
	{"metrics network.protocol.version", "2.0", "2", "the same"},

	// Failures.
	{"metrics error.type", "", "*", "conditionally required: if the request has failed, as on the span"},
	{"metrics error.type", "errors.errorString", "*errors.errorString", "as on the span"},
	{"metrics error.type", "fmt.wrapError", "context.Canceled",
		"a wrapper says nothing, and the span has what it wraps"},
	{"span error.type", "*errors.errorString", "context.Canceled", "the error has no type of its own, but a name"},
	{"metrics error.type", "context.deadlineExceededError", "context.DeadlineExceeded", "the same"},
	{"span error.type", "context.deadlineExceededError", "context.DeadlineExceeded", "the same"},
	{"span status", "*", "Error ", "the status code says it"},
}

// clientExchange is one request through a transport, and its answer.
type clientExchange struct {
	name   string
	change func(*http.Request)
	answer func(*http.Request) (*http.Response, error) // nil: 200 with a body
	after  func(*testing.T, *http.Response)            // nil: reads and closes the body
}

func answerOf(status int, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: body}
}

func text(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

// pipe is the body of an answer that switches protocols.
type pipe struct {
	io.Reader
	refuses error
}

func (p pipe) Write(b []byte) (int, error) { return len(b), p.refuses }
func (pipe) Close() error                  { return nil }

func clientExchanges() []clientExchange {
	method := func(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }
	to := func(target string) func(*http.Request) {
		return func(r *http.Request) {
			u, err := url.Parse(target)
			if err != nil {
				panic(err)
			}
			r.URL = u
		}
	}
	status := func(code int) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return answerOf(code, text("hello")), nil }
	}
	fails := func(err error) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	proto := func(p string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			response := answerOf(200, text("hello"))
			response.Proto = p
			return response, nil
		}
	}
	order := func(r *http.Request) {
		r.Method, r.Body, r.ContentLength = http.MethodPost, text("order"), 5
		r.GetBody = func() (io.ReadCloser, error) { return text("order again"), nil }
	}
	sends := func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return answerOf(201, http.NoBody), r.Body.Close()
	}
	switching := func(p pipe) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return answerOf(101, p), nil }
	}
	writes := func(t *testing.T, response *http.Response) {
		_, _ = response.Body.(io.Writer).Write([]byte("ping"))
		require.NoError(t, response.Body.Close())
	}
	label := attribute.String("tenant", "cards")
	return []clientExchange{
		{name: "plain"},
		{name: "HEAD", change: method(http.MethodHead)},
		{name: "PATCH", change: method(http.MethodPatch)},
		{name: "QUERY", change: method("QUERY")},
		{name: "method in lower case", change: method("get")},
		{name: "method made up", change: method("BREW")},
		{name: "no method", change: method("")},
		{name: "query and fragment", change: to("http://shop/search?q=shoes&page=2#top")},
		{name: "signed URL", change: to("http://shop/file?sig=secret&v=1")},
		{name: "user and password", change: to("http://user:secret@shop/")},
		{name: "user", change: to("http://user@shop/")},
		{name: "no path", change: to("http://shop")},
		{name: "escaped path", change: to("http://shop/a%20b")},
		{name: "port", change: to("http://shop:8080/")},
		{name: "default port", change: to("http://shop:80/")},
		{name: "https", change: to("https://shop/")},
		{name: "https and port", change: to("https://shop:8443/")},
		{name: "https and default port", change: to("https://shop:443/")},
		{name: "http at 443", change: to("http://shop:443/")},
		{name: "IPv6", change: to("http://[::1]:8080/")},
		{name: "IPv6 without a port", change: to("http://[::1]/")},
		{name: "another scheme", change: to("unix:///var/run/shop")},
		{name: "no host", change: func(r *http.Request) { r.URL = &url.URL{Scheme: "http", Path: "/"} }},
		{name: "port alone", change: func(r *http.Request) { r.URL.Host = ":8080" }},
		{name: "port that is none", change: func(r *http.Request) { r.URL.Host = "shop:99999" }},
		{name: "half an IPv6 host", change: func(r *http.Request) { r.URL.Host = "[::1" }},
		{name: "host in the header", change: func(r *http.Request) {
			r.URL.Host = ""
			r.Header.Set("Host",
				"shop:8080")
		}},
		{name: "another Host", change: func(r *http.Request) { r.Host = "front" }},
		{name: "no scheme", change: func(r *http.Request) { r.URL.Scheme = "" }},
		{name: "remote parent", change: func(r *http.Request) {
			parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
				TraceFlags: trace.FlagsSampled})
			*r = *r.WithContext(trace.ContextWithRemoteSpanContext(r.Context(), parent))
		}},
		{name: "body", change: order, answer: sends},
		{name: "body that is not read", change: order, answer: func(r *http.Request) (*http.Response, error) {
			return answerOf(201, http.NoBody), r.Body.Close()
		}},
		{name: "body that is never closed", change: order},
		{name: "body that is closed after the answer", change: order,
			answer: func(r *http.Request) (*http.Response, error) {
				response := answerOf(200, text(""))
				response.Request = r
				return response, nil
			}, after: func(t *testing.T, response *http.Response) {
				_, _ = io.CopyN(io.Discard, response.Request.Body, 3)
				require.NoError(t, response.Request.Body.Close())
				require.NoError(t, response.Body.Close())
			}},
		{name: "body that is sent again", change: order, answer: func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			again, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			_, _ = io.Copy(io.Discard, again)
			return answerOf(200, text("")), again.Close()
		}},
		{name: "body that cannot be sent again", change: func(r *http.Request) {
			order(r)
			r.GetBody = func() (io.ReadCloser, error) { return nil, io.ErrNoProgress }
		}, answer: func(r *http.Request) (*http.Response, error) {
			_, err := r.GetBody()
			return nil, err
		}},
		{name: "body, and an error", change: order, answer: func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close()
			return nil, io.ErrUnexpectedEOF
		}},
		{name: "404", answer: status(404)},
		{name: "500", answer: status(500)},
		{name: "302", answer: status(302)},
		{name: "99", answer: status(99)},
		{name: "600", answer: status(600)},
		{name: "0", answer: status(0)},
		{name: "no body", answer: func(*http.Request) (*http.Response, error) {
			return answerOf(204, http.NoBody),
				nil
		}},
		{name: "nil body", answer: func(*http.Request) (*http.Response, error) { return answerOf(204, nil), nil }},
		{name: "nil body with a length", answer: func(*http.Request) (*http.Response, error) {
			response := answerOf(200, nil)
			response.ContentLength = 5
			return response, nil
		}},
		{name: "nil response", answer: func(*http.Request) (*http.Response, error) { return nil, nil }},
		{name: "HTTP/1.0", answer: proto("HTTP/1.0")},
		{name: "HTTP/2", answer: proto("HTTP/2.0")},
		{name: "another protocol", answer: proto("SPDY/3")},
		{name: "no protocol", answer: proto("")},
		{name: "body closed without being read",
			after: func(t *testing.T, response *http.Response) { require.NoError(t, response.Body.Close()) }},
		{name: "body read to its end and not closed", after: func(t *testing.T, response *http.Response) {
			all, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.Equal(t, "hello", string(all))
		}},
		{name: "body that breaks off", answer: func(*http.Request) (*http.Response, error) {
			return answerOf(200, io.NopCloser(io.MultiReader(strings.NewReader("hel"), brokenReader{}))), nil
		}},
		{name: "switch of protocols", answer: switching(pipe{Reader: strings.NewReader("pong")}), after: writes},
		{name: "switch of protocols, and a failure",
			answer: switching(pipe{Reader: strings.NewReader("pong"), refuses: io.ErrClosedPipe}), after: writes},
		{name: "error", answer: fails(io.ErrUnexpectedEOF)},
		{name: "wrapped error", answer: fails(fmt.Errorf("dial: %w", context.Canceled))},
		{name: "deadline", answer: fails(context.DeadlineExceeded)},
		{name: "labels of the service", change: func(r *http.Request) {
			labels := &otelhttp.Labeler{}
			labels.Add(label)
			*r = *r.WithContext(otelhttp.ContextWithClientLabeler(r.Context(), labels))
		}},
		{name: "labels of a round tripper", answer: func(r *http.Request) (*http.Response, error) {
			labels, _ := otelhttp.ClientLabelerFromContext(r.Context())
			labels.Add(label)
			return answerOf(200, text("")), nil
		}},
	}
}

// brokenReader is a body whose connection is reset.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestTransportAgainstOtelhttp sends the same requests through both. What is not in
// transportDifferences is the same.
func TestTransportAgainstOtelhttp(t *testing.T) {
	used := map[difference]bool{}
	for _, tc := range clientExchanges() {
		t.Run(tc.name, func(t *testing.T) {
			otherSDK := recordSDK(t)
			other := recordExchange(t, otherSDK, tc, func(base http.RoundTripper) http.RoundTripper {
				return otelhttp.NewTransport(base, otelhttp.WithTracerProvider(otherSDK.tracing),
					otelhttp.WithMeterProvider(otherSDK.meters),
					otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{},
						propagation.Baggage{})))
			})
			ownSDK := recordGlobals(t)
			own := recordExchange(t, ownSDK, tc,
				func(base http.RoundTripper) http.RoundTripper { return telemetry.Transport(base) })
			require.Equal(t, other["sent"], own["sent"])
			require.Equal(t, other["error"], own["error"])
			requireDifferences(t, transportDifferences, used, other, own)
		})
	}
	for _, d := range transportDifferences {
		require.True(t, used[d], "%s: no request shows the difference between %q and %q", d.what, d.otelhttp, d.ours)
	}
}

// recordExchange makes one request and returns what it has recorded, and what was sent of it.
func recordExchange(t *testing.T, sdk *sdkRecord, tc clientExchange,
	instrument func(http.RoundTripper) http.RoundTripper) map[string]string {
	t.Helper()
	r, err := http.NewRequestWithContext(withBaggage(t, "team=cards"), http.MethodGet, "http://shop/items/7",
		http.NoBody)
	require.NoError(t, err)
	r.Header.Set("X-Order", "7")
	if tc.change != nil {
		tc.change(r)
	}
	header, body, target := r.Header.Clone(), r.Body, *r.URL
	sent := ""
	response, failed := instrument(roundTripFunc(func(r *http.Request) (*http.Response, error) {
		parent := trace.SpanContextFromContext(r.Context())
		require.Contains(t, r.Header.Get("traceparent"), parent.SpanID().String(),
			"the span of the context is what is handed on")
		sent = fmt.Sprint(r.Method, r.URL, r.Host, r.ContentLength, r.Header.Get("baggage"), r.Header.Get("X-Order"),
			r.Body == http.NoBody)
		if tc.answer != nil {
			return tc.answer(r)
		}
		return answerOf(200, text("hello")), nil
	})).RoundTrip(r)
	require.Equal(t, header, r.Header, "a round tripper leaves the request as it is")
	require.Equal(t, target, *r.URL)
	require.True(t, body == r.Body)
	switch {
	case failed != nil:
	case tc.after != nil:
		tc.after(t, response)
	default:
		require.Empty(t, sdk.spans.Ended())
		_, readable := io.Copy(io.Discard, response.Body)
		require.NoError(t, response.Body.Close())
		if readable != nil {
			require.ErrorIs(t, readable, io.ErrUnexpectedEOF)
		}
	}
	all := flattened(t, sdk)
	all["sent"], all["error"] = sent, fmt.Sprint(failed)
	return all
}
