package telemetry

import (
	"cmp"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"

	"github.com/fleetotel/telemetry/internal/middleware"
)

// Transport makes a client span and the metrics of each request that base sends, and hands the trace context and the
// baggage on in its header (to whom, see [WithTrustedHosts]); a nil base stands for [http.DefaultTransport].
//
// The span is named by the method and lasts until the response body is closed or read to its end, so close it; the
// metrics are http.client.request.duration and http.client.request.body.size. Nothing is excluded: do not use it for the
// client of a telemetry exporter. The transport may be made before [Init] and is as safe for concurrent use as base.
func Transport(base http.RoundTripper, opts ...TransportOption) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	e := newEdge(opts)
	propagator := trustingPropagator{TextMapPropagator: e.propagator()}
	return transport{base: base, trusted: e.trusted, propagator: propagator, traced: otelhttp.NewTransport(base,
		otelhttp.WithTracerProvider(e),
		otelhttp.WithMeterProvider(e.meterProvider()),
		otelhttp.WithPropagators(propagator),
		otelhttp.WithSpanNameFormatter(clientSpanName),
	)}
}

type transport struct {
	base       http.RoundTripper
	traced     http.RoundTripper // base in a span
	trusted    *trustedHosts
	propagator propagation.TextMapPropagator
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL == nil {
		return t.base.RoundTrip(r) // which says what is wrong with it
	}
	return t.traced.RoundTrip(t.screened(withHeader(r)))
}

// withHeader does what [http.Client] does for a request that has none.
func withHeader(r *http.Request) *http.Request {
	if r.Header != nil {
		return r
	}
	r = r.WithContext(r.Context())
	r.Header = http.Header{}
	return r
}

// CloseIdleConnections keeps [http.Client.CloseIdleConnections] working, which looks for this method.
func (t transport) CloseIdleConnections() {
	if closer, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// clientSpanName is the method, as the HTTP semantic conventions have it where no URL template is known.
func clientSpanName(_ string, r *http.Request) string {
	method := cmp.Or(r.Method, http.MethodGet) // net/http sends an empty method as GET
	if middleware.KnownMethod(method) == middleware.OtherMethod {
		return "HTTP"
	}
	return strings.ToUpper(method)
}
