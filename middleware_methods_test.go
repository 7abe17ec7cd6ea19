package telemetry_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// requestsOfMethods sends a request of each method to the handler and through the transport.
func requestsOfMethods(t *testing.T, handler http.Handler, transport http.RoundTripper, methods ...string) {
	t.Helper()
	for _, method := range methods {
		r := httptest.NewRequest(method, "http://shop/", http.NoBody)
		handler.ServeHTTP(httptest.NewRecorder(), r)
		_, err := transport.RoundTrip(r)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

// methodsAt are the names and methods of the spans that arrived, which have those of the metrics.
func methodsAt(t *testing.T, c *otlptest.Collector) (all []string) {
	t.Helper()
	methods := map[any]bool{}
	for _, span := range c.Spans() {
		method, original := span.Attributes["http.request.method"], span.Attributes["http.request.method_original"]
		methods[method] = true
		all = append(all, fmt.Sprint(span.Kind, " ", span.Name, ": ", method, " ", original))
	}
	measured := map[any]bool{}
	for _, m := range c.Metrics() {
		for _, p := range m.Points {
			if method, has := p.Attributes["http.request.method"]; has {
				measured[method] = true
			}
		}
	}
	require.Equal(t, methods, measured)
	slices.Sort(all)
	return all
}

func TestKnownHTTPMethods(t *testing.T) {
	handler, transport := telemetry.Handler(http.HandlerFunc(ok)), telemetry.Transport(unreachable)
	run := func(t *testing.T, send func(*telemetry.Guard), opts ...telemetry.Option) []string {
		c := otlptest.New(t)
		guard, err := telemetry.Init(t.Context(), append(opts, telemetry.WithEndpoint(c.HTTPEndpoint()),
			telemetry.WithLogOutput(io.Discard), telemetry.WithSampler(sdktrace.AlwaysSample()))...)
		require.NoError(t, err)
		send(guard)
		require.NoError(t, guard.Shutdown(t.Context()))
		return methodsAt(t, c)
	}
	ofTheProcess := func(*telemetry.Guard) {
		requestsOfMethods(t, handler, transport, "GET", "get", "POST", "PROPFIND")
	}
	listed := []string{
		"client GET: GET <nil>", "client HTTP: _OTHER POST", "client HTTP: _OTHER get", "client PROPFIND: PROPFIND <nil>",
		"server GET: GET <nil>", "server HTTP: _OTHER POST", "server HTTP: _OTHER get", "server PROPFIND: PROPFIND <nil>",
	}
	t.Run("of middleware made before Init", func(t *testing.T) {
		t.Setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET,PROPFIND")
		require.Equal(t, listed, run(t, ofTheProcess))
	})
	t.Run("of a guard", func(t *testing.T) {
		t.Setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET,PROPFIND")
		require.Equal(t, listed, run(t, func(guard *telemetry.Guard) {
			requestsOfMethods(t, telemetry.Handler(http.HandlerFunc(ok), telemetry.WithGuard(guard)),
				telemetry.Transport(unreachable, telemetry.WithGuard(guard)), "GET", "get", "POST", "PROPFIND")
		}, telemetry.WithoutGlobals()))
	})
	t.Run("end with their guard", func(t *testing.T) {
		sdk := recordGlobals(t)
		requestsOfMethods(t, handler, transport, "PROPFIND", "POST")
		require.Equal(t, []string{"HTTP", "HTTP", "POST", "POST"}, slices.Sorted(slices.Values(sdk.names())))
	})
}
