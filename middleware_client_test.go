package telemetry_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/fleetotel/telemetry"
)

// TestTransportAcceptsIncompleteRequests sends requests through the transport itself that
// http.Client would have completed.
func TestTransportAcceptsIncompleteRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		request http.Request // its URL is the server's unless the row says otherwise
		noURL   bool
		trusted []telemetry.TransportOption
		refused string // by net/http's own transport
		injects bool
	}{
		"no header":                       {request: http.Request{Method: http.MethodGet}, injects: true},
		"no header, no method":            {injects: true},
		"no header, to an untrusted host": {trusted: []telemetry.TransportOption{telemetry.WithTrustedHosts("partner.example")}},
		"a body, no header": {request: http.Request{Method: http.MethodPost,
			Body: io.NopCloser(strings.NewReader("order")), ContentLength: 5}, injects: true},
		"no URL": {request: http.Request{Method: http.MethodGet, Header: http.Header{}},
			noURL: true, refused: "nil Request.URL"},
		"neither URL nor header": {noURL: true, refused: "nil Request.URL"},
		"no URL, trusted hosts": {noURL: true,
			trusted: []telemetry.TransportOption{telemetry.WithTrustedHosts("a")}, refused: "nil Request.URL"},
		"an empty URL": {request: http.Request{URL: &url.URL{}},
			refused: "unsupported protocol scheme"},
		"an invalid method": {request: http.Request{Method: "G T"}, refused: "invalid method"},
		"an invalid header value": {request: http.Request{Header: http.Header{"X": {"a\x00b"}}},
			refused: "invalid header field value"},
		"no header, and a scheme unknown": {request: http.Request{URL: &url.URL{Scheme: "gopher", Host: "x"}},
			refused: "unsupported protocol scheme"},
	} {
		t.Run(name, func(t *testing.T) {
			sdk := recordGlobals(t)
			sent := make(chan http.Header, 1)
			server := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sent <- r.Header }))
			r := tc.request
			if r.URL == nil && !tc.noURL {
				parsed, err := url.Parse(server.URL)
				require.NoError(t, err)
				r.URL = parsed
			}
			header := r.Header.Clone()
			response, err := telemetry.Transport(server.Client().Transport, tc.trusted...).RoundTrip(&r)
			require.Equal(t, header, r.Header, "a round tripper leaves the request as it is")
			if tc.refused != "" {
				require.ErrorContains(t, err, tc.refused)
				return
			}
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, tc.injects, (<-sent).Get("traceparent") != "")
			require.Len(t, sdk.spans.Ended(), 1)
		})
	}
}

func TestTransportTracesARequestUntilItsBodyIsRead(t *testing.T) {
	sdk := recordGlobals(t)
	server := serve(t, telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, baggage.FromContext(r.Context()).String())
	})))
	client := &http.Client{Transport: telemetry.Transport(nil)}
	t.Cleanup(client.CloseIdleConnections)

	ctx := withBaggage(t, "team=cards")
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, server.URL+"/health?q=1", http.NoBody)
	require.NoError(t, err)
	response, err := client.Do(r)
	require.NoError(t, err)
	require.Empty(t, sdk.names(), "the client span lasts until the body is read")
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	span := sdk.span(t, "PUT")
	require.Equal(t, trace.SpanKindClient, span.SpanKind(), "to the client, a health path is a request like any other")
	requireRandomRoot(t, span)
	sdk.metric(t, "http.client.request.duration")

	response, err = client.Post(server.URL+"/items", "text/plain", strings.NewReader("x"))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	var kinds []trace.SpanKind
	require.Eventually(t, func() bool { return len(sdk.names()) == 3 }, waitFor, tick)
	for _, s := range sdk.spans.Ended()[1:] {
		kinds = append(kinds, s.SpanKind())
	}
	require.ElementsMatch(t, []trace.SpanKind{trace.SpanKindClient, trace.SpanKindServer}, kinds)
	a, b := sdk.spans.Ended()[1].SpanContext(), sdk.spans.Ended()[2].SpanContext()
	require.Equal(t, a.TraceID(), b.TraceID(), "client and server are one trace")
	require.True(t, a.IsRandom() && b.IsRandom(), "the flag travels")
}

func TestTransportUnderARemoteParent(t *testing.T) {
	sdk := recordGlobals(t)
	server := serve(t, http.HandlerFunc(ok))
	client := &http.Client{Transport: telemetry.Transport(server.Client().Transport)}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), remoteContext(t, trace.FlagsSampled))
	r, err := http.NewRequestWithContext(ctx, "BREW", server.URL, http.NoBody)
	require.NoError(t, err)
	response, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	span := sdk.span(t, "HTTP")
	require.Equal(t, callerTrace, span.SpanContext().TraceID().String())
	require.False(t, span.SpanContext().IsRandom())
}

func TestTransportClosesIdleConnections(t *testing.T) {
	recordGlobals(t)
	closed := make(chan struct{}, 1)
	client := &http.Client{Transport: telemetry.Transport(closeSignal{http.DefaultTransport, closed})}
	client.CloseIdleConnections()
	require.Len(t, closed, 1)
	(&http.Client{Transport: telemetry.Transport(roundTripFunc(nil))}).CloseIdleConnections()
}

func TestTransportRecordsAnError(t *testing.T) {
	sdk := recordGlobals(t)
	_, err := (&http.Client{Transport: telemetry.Transport(unreachable)}).Get("http://gateway.example") // there is none
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, codes.Error, sdk.span(t, "GET").Status().Code)
}

func TestOnlyTrustedHostsGetTraceContext(t *testing.T) {
	sdk := recordGlobals(t)
	hosts := telemetry.WithTrustedHosts("checkout", "API.Example.com.", ".svc.cluster.local", "10.0.0.0/8", "192.0.2.7",
		"::1")
	for target, trusted := range map[string]bool{
		"http://checkout:8080/orders":       true,
		"http://CHECKOUT/":                  true,
		"https://api.example.com/":          true,
		"https://api.example.com.:443/":     true,
		"http://shop.svc.cluster.local/":    true,
		"http://a.b.svc.cluster.local/":     true,
		"http://svc.cluster.local/":         true,
		"http://10.255.255.255/":            true,
		"http://192.0.2.7:80/":              true,
		"http://[::1]:80/":                  true,
		"http://[::ffff:10.0.0.1]/":         true,
		"http://checkout.evil.example/":     false,
		"http://evil-api.example.com/":      false,
		"http://x.api.example.com/":         false,
		"http://evilsvc.cluster.local/":     false,
		"http://svc.cluster.local.evil.ex/": false,
		"http://11.0.0.0/":                  false,
		"http://192.0.2.8/":                 false,
		"http://checkout@evil.example/":     false,
		"http://10.0.0.1.evil.example/":     false,
	} {
		t.Run(target, func(t *testing.T) {
			sent := sentTo(t, target, nil, hosts)
			require.Equal(t, trusted, sent.Get("traceparent") != "")
			require.Equal(t, trusted, sent.Get("baggage") != "")
		})
	}
	require.Len(t, sdk.spans.Ended(), 20, "a request to an untrusted host has its span, too")
}

func TestTrustedHostsOverrideTheRequestsOwnHeaders(t *testing.T) {
	recordGlobals(t)
	given := http.Header{"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-01"}, "Tracestate": {"a=b"},
		"Baggage": {"role=admin"}, "X-Order": {"7"}}
	sent := sentTo(t, "http://partner.example/", given, telemetry.WithTrustedHosts("checkout"))
	require.Equal(t, http.Header{"X-Order": {"7"}}, sent)
}

func TestTrustedHostsAddUpAndAnEmptyListTrustsNone(t *testing.T) {
	recordGlobals(t)
	two := []telemetry.TransportOption{telemetry.WithTrustedHosts("a"), telemetry.WithTrustedHosts("b")}
	require.NotEmpty(t, sentTo(t, "http://a/", nil, two...).Get("traceparent"))
	require.NotEmpty(t, sentTo(t, "http://b/", nil, two...).Get("traceparent"))
	require.Empty(t, sentTo(t, "http://c/", nil, two...).Get("traceparent"))
	require.Empty(t, sentTo(t, "http://a/", nil, telemetry.WithTrustedHosts()).Get("traceparent"))
	require.NotEmpty(t, sentTo(t, "http://anywhere.example/", nil).Get("traceparent"))
}

// A redirect leads from a trusted host to an untrusted one and back.
func TestTrustedHostsApplyToEachRedirect(t *testing.T) {
	recordGlobals(t)
	seen := map[string]bool{}
	keep := func(r *http.Request) { seen[r.URL.Path] = r.Header.Get("traceparent") != "" }
	trusted := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { keep(r) }))
	untrusted := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keep(r)
		http.Redirect(w, r, trusted.URL+"/back", http.StatusFound)
	}))
	untrustedURL := strings.Replace(untrusted.URL, "127.0.0.1", "localhost", 1)
	first := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keep(r)
		http.Redirect(w, r, untrustedURL+"/away", http.StatusFound)
	}))
	client := &http.Client{Transport: telemetry.Transport(nil, telemetry.WithTrustedHosts("127.0.0.1"))}
	t.Cleanup(client.CloseIdleConnections)
	response, err := client.Get(first.URL + "/first")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, map[string]bool{"/first": true, "/away": false, "/back": true}, seen)
}

func TestTrustedHostsApplyToGRPC(t *testing.T) {
	recordGlobals(t)
	service := &paymentServer{}
	client := testpb.NewTestServiceClient(grpcConn(t, service, telemetry.ServerHandler(),
		telemetry.ClientHandler(telemetry.WithTrustedHosts("127.0.0.1"))))
	_, err := client.EmptyCall(withBaggage(t, "customer=4711"), &testpb.Empty{})
	require.NoError(t, err)
	require.Empty(t, service.bag, "it does not know the host, so it trusts none")

	given := metadata.AppendToOutgoingContext(t.Context(), "baggage", "customer=4711")
	_, err = client.EmptyCall(given, &testpb.Empty{})
	require.NoError(t, err)
	require.Empty(t, service.bag, "not what the call was given, either")
}

func TestAnInvalidTrustedHostIsReported(t *testing.T) {
	var reported []string
	previous := otel.GetErrorHandler()
	t.Cleanup(func() { otel.SetErrorHandler(previous) })
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { reported = append(reported, err.Error()) }))
	wrong := []string{"", ".", "https://example.com", "example.com:443", "*.example.com", "a b", "10.0.0.0/33",
		"user@host"}
	telemetry.WithTrustedHosts(wrong...)
	require.Len(t, reported, len(wrong))
	require.Contains(t, reported[2], `trusted host "https://example.com": expected a host name`)
}

func FuzzTrustedHosts(f *testing.F) {
	f.Add("example.com", "http://example.com/")
	f.Add(".example.com", "http://a.example.com:1/")
	f.Add("::1", "http://[::1%25eth0]/")
	previous := otel.GetErrorHandler()
	f.Cleanup(func() { otel.SetErrorHandler(previous) })
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	setPropagator(f, propagation.Baggage{})
	ctx := withBaggage(f, "a=1")
	f.Fuzz(func(t *testing.T, host, target string) {
		parsed, err := url.Parse(target)
		if err != nil {
			return
		}
		var sent string
		transport := telemetry.Transport(roundTripFunc(func(r *http.Request) (*http.Response, error) {
			sent = r.Header.Get("baggage")
			return nil, io.ErrUnexpectedEOF
		}), telemetry.WithTrustedHosts(host))
		_, err = transport.RoundTrip((&http.Request{Method: "GET", URL: parsed,
			Header: http.Header{}}).WithContext(ctx))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		if name := strings.ToLower(parsed.Hostname()); sent != "" && !strings.ContainsAny(host, "/:") {
			require.True(t, strings.HasSuffix(strings.TrimSuffix("."+name, "."),
				strings.ToLower(strings.TrimSuffix(host, "."))), "%q got what is for %q", name, host)
		}
	})
}

type closeSignal struct {
	http.RoundTripper
	closed chan struct{}
}

func (c closeSignal) CloseIdleConnections() { c.closed <- struct{}{} }

// TestTransportHalfClosesAnUpgradedConnection sends through a reverse proxy what ends with the
// client closing its direction, and what the backend answers after that.
func TestTransportHalfClosesAnUpgradedConnection(t *testing.T) {
	sdk := recordGlobals(t)
	backend := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close() // the test is over
		_, _ = buffer.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = buffer.Flush()
		all, _ := io.ReadAll(buffer)
		_, _ = io.WriteString(conn, strings.ToUpper(string(all)))
	}))
	target, err := url.Parse(backend.URL)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: telemetry.Transport(nil),
	}
	conn, err := net.Dial("tcp", serve(t, telemetry.Handler(proxy)).Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close() // the test is over
	require.NoError(t, conn.SetDeadline(time.Now().Add(waitFor)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	require.NoError(t, err)
	received := bufio.NewReader(conn)
	response, err := http.ReadResponse(received, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	answer, err := io.ReadAll(received)
	require.NoError(t, err)
	require.Equal(t, "HELLO", string(answer))
	require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == 2 }, waitFor, tick)
	for _, span := range sdk.spans.Ended() {
		require.Equal(t, codes.Unset, span.Status().Code, span.SpanKind())
	}
}

// sentTo returns the headers of the request that is sent for the URL.
func sentTo(t *testing.T, target string, given http.Header, opts ...telemetry.TransportOption) http.Header {
	t.Helper()
	var sent http.Header
	transport := telemetry.Transport(roundTripFunc(func(r *http.Request) (*http.Response, error) {
		sent = r.Header
		return nil, io.ErrUnexpectedEOF
	}), opts...)
	r, err := http.NewRequestWithContext(withBaggage(t, "customer=4711"), http.MethodGet, target, http.NoBody)
	require.NoError(t, err)
	for name, values := range given {
		r.Header[name] = values
	}
	before := r.Header.Clone()
	_, err = transport.RoundTrip(r)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, before, r.Header, "a round tripper leaves the request as it is")
	return sent
}
