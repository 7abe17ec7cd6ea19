package telemetry_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/fleetotel/telemetry"
)

// sentTo returns the header with which a request for the URL leaves.
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

func TestTrustedHosts(t *testing.T) {
	sdk := recordGlobals(t)
	hosts := telemetry.WithTrustedHosts("checkout", "API.Example.com.", ".svc.cluster.local", "10.0.0.0/8", "192.0.2.7", "::1")
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
	require.Len(t, sdk.spans.Ended(), 20, "a request to a stranger has its span all the same")
}

func TestTrustedHostsRuleOverWhatTheRequestWasGiven(t *testing.T) {
	recordGlobals(t)
	given := http.Header{"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-01"}, "Tracestate": {"a=b"}, "Baggage": {"role=admin"}, "X-Order": {"7"}}
	sent := sentTo(t, "http://partner.example/", given, telemetry.WithTrustedHosts("checkout"))
	require.Equal(t, http.Header{"X-Order": {"7"}}, sent)
}

func TestTrustedHostsAddUpAndNoneIsNone(t *testing.T) {
	recordGlobals(t)
	two := []telemetry.TransportOption{telemetry.WithTrustedHosts("a"), telemetry.WithTrustedHosts("b")}
	require.NotEmpty(t, sentTo(t, "http://a/", nil, two...).Get("traceparent"))
	require.NotEmpty(t, sentTo(t, "http://b/", nil, two...).Get("traceparent"))
	require.Empty(t, sentTo(t, "http://c/", nil, two...).Get("traceparent"))
	require.Empty(t, sentTo(t, "http://a/", nil, telemetry.WithTrustedHosts()).Get("traceparent"))
	require.NotEmpty(t, sentTo(t, "http://anywhere.example/", nil).Get("traceparent"))
}

// A redirect leads away from a trusted host and back.
func TestTrustedHostsJudgeEachHop(t *testing.T) {
	recordGlobals(t)
	seen := map[string]bool{}
	keep := func(r *http.Request) { seen[r.URL.Path] = r.Header.Get("traceparent") != "" }
	trusted := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { keep(r) }))
	stranger := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keep(r)
		http.Redirect(w, r, trusted.URL+"/back", http.StatusFound)
	}))
	strangersURL := strings.Replace(stranger.URL, "127.0.0.1", "localhost", 1)
	first := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keep(r)
		http.Redirect(w, r, strangersURL+"/away", http.StatusFound)
	}))
	client := &http.Client{Transport: telemetry.Transport(nil, telemetry.WithTrustedHosts("127.0.0.1"))}
	t.Cleanup(client.CloseIdleConnections)
	response, err := client.Get(first.URL + "/first")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, map[string]bool{"/first": true, "/away": false, "/back": true}, seen)
}

func TestTrustedHostsOfAGRPCConnection(t *testing.T) {
	recordGlobals(t)
	service := &paymentServer{}
	client := testpb.NewTestServiceClient(grpcConn(t, service, telemetry.ServerHandler(), telemetry.ClientHandler(telemetry.WithTrustedHosts("127.0.0.1"))))
	_, err := client.EmptyCall(withBaggage(t, "customer=4711"), &testpb.Empty{})
	require.NoError(t, err)
	require.Empty(t, service.bag, "it does not learn where it leads, so it trusts nobody")
}

func TestWhatIsNotAHostIsReported(t *testing.T) {
	var reported []string
	previous := otel.GetErrorHandler()
	t.Cleanup(func() { otel.SetErrorHandler(previous) })
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { reported = append(reported, err.Error()) }))
	wrong := []string{"", ".", "https://example.com", "example.com:443", "*.example.com", "a b", "10.0.0.0/33", "user@host"}
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
		_, err = transport.RoundTrip((&http.Request{Method: "GET", URL: parsed, Header: http.Header{}}).WithContext(ctx))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		if name := strings.ToLower(parsed.Hostname()); sent != "" && !strings.ContainsAny(host, "/:") {
			require.True(t, strings.HasSuffix(strings.TrimSuffix("."+name, "."), strings.ToLower(strings.TrimSuffix(host, "."))), "%q got what is for %q", name, host)
		}
	})
}
