package telemetry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
)

// TestTransportTakesOddRequests has what http.Client would have completed, sent through the transport itself.
func TestTransportTakesOddRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		request http.Request // its URL is the server's unless the row says otherwise
		noURL   bool
		trusted []telemetry.TransportOption
		refused string // by net/http's own transport
		injects bool
	}{
		"no header":                       {request: http.Request{Method: http.MethodGet}, injects: true},
		"no header, no method":            {injects: true},
		"no header, to a stranger":        {trusted: []telemetry.TransportOption{telemetry.WithTrustedHosts("partner.example")}},
		"a body, no header":               {request: http.Request{Method: http.MethodPost, Body: io.NopCloser(strings.NewReader("order")), ContentLength: 5}, injects: true},
		"no URL":                          {request: http.Request{Method: http.MethodGet, Header: http.Header{}}, noURL: true, refused: "nil Request.URL"},
		"neither URL nor header":          {noURL: true, refused: "nil Request.URL"},
		"no URL, trusted hosts":           {noURL: true, trusted: []telemetry.TransportOption{telemetry.WithTrustedHosts("a")}, refused: "nil Request.URL"},
		"an empty URL":                    {request: http.Request{URL: &url.URL{}}, refused: "unsupported protocol scheme"},
		"a method that is none":           {request: http.Request{Method: "G T"}, refused: "invalid method"},
		"a header value that is none":     {request: http.Request{Header: http.Header{"X": {"a\x00b"}}}, refused: "invalid header field value"},
		"no header, and a scheme unknown": {request: http.Request{URL: &url.URL{Scheme: "gopher", Host: "x"}}, refused: "unsupported protocol scheme"},
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

// TestHandlerTakesOddRequests has requests as adapters of serverless platforms and tests make them.
func TestHandlerTakesOddRequests(t *testing.T) {
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
