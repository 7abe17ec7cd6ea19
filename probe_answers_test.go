package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// gateway stands before a collector and decides what reaches it.
func gateway(t *testing.T, c *otlptest.Collector, decide func(http.ResponseWriter, *http.Request) (pass bool)) string {
	t.Helper()
	target, err := url.Parse(c.HTTPEndpoint())
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if decide(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestProbeReadsAnswers(t *testing.T) {
	c := otlptest.New(t)
	webPage := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>login</html>"))
	}
	guarded := func(status int) string {
		return gateway(t, c, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("api-key") != "right-key" {
				http.Error(w, "who are you with "+r.Header.Get("api-key"), status)
				return false
			}
			return true
		})
	}
	below := func(prefix string, otherwise func(http.ResponseWriter)) string {
		return gateway(t, c, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, prefix+"/v1/") {
				otherwise(w)
				return false
			}
			return true
		})
	}
	missing := func(w http.ResponseWriter) { http.Error(w, "404 page not found", http.StatusNotFound) }
	open, strict := guarded(http.StatusUnauthorized), guarded(http.StatusForbidden)
	atRoot, atOTLP, behindLogin := below("", missing), below("/otlp", missing), below("/otlp", webPage)
	moved := gateway(t, c, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, c.HTTPEndpoint()+r.URL.Path, http.StatusTemporaryRedirect)
		return false
	})
	onlyTraces := gateway(t, c, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v1/traces" {
			missing(w)
			return false
		}
		return true
	})
	nothing := gateway(t, c, func(w http.ResponseWriter, _ *http.Request) bool { missing(w); return false })
	const all = "traces, metrics and logs: "
	const headers = "OTEL_EXPORTER_OTLP_HEADERS"
	for _, d := range []diagnosis{
		{
			name: "401 without headers", env: map[string]string{endpointVariable: open}, fill: map[string]string{"name=value": "api-key=right-key"},
			want: all + open + "/v1/* requires credentials (401 Unauthorized: who are you with): set OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies",
		},
		{
			name: "403 with headers", env: map[string]string{endpointVariable: strict, headers: "api-key=wrong-key"},
			want:   all + strict + "/v1/* refuses the credentials (403 Forbidden: who are you with <redacted>): correct them in OTEL_EXPORTER_OTLP_HEADERS",
			repair: func() map[string]string { return map[string]string{headers: "api-key=right-key"} },
		},
		{
			name: "path that is too long", env: map[string]string{endpointVariable: atRoot + "/api"},
			want: all + "there is no OTLP receiver at " + atRoot + "/api/v1/* (404 Not Found), but there is one at " + atRoot + "/v1/*: set OTEL_EXPORTER_OTLP_ENDPOINT=" + atRoot,
		},
		{
			name: "path that is missing", env: map[string]string{endpointVariable: atOTLP},
			want: all + "there is no OTLP receiver at " + atOTLP + "/v1/* (404 Not Found), but there is one at " + atOTLP + "/otlp/v1/*: set OTEL_EXPORTER_OTLP_ENDPOINT=" + atOTLP + "/otlp",
		},
		{
			name: "a web page instead", env: map[string]string{endpointVariable: behindLogin},
			want: all + "there is no OTLP receiver at " + behindLogin + "/v1/* (200 OK with a web page), but there is one at " + behindLogin + "/otlp/v1/*: set OTEL_EXPORTER_OTLP_ENDPOINT=" + behindLogin + "/otlp",
		},
		{
			name: "a signal's own URL without its path", signals: []string{"traces"}, env: map[string]string{endpointVariable: c.HTTPEndpoint(), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": atRoot},
			want: "traces: there is no OTLP receiver at " + atRoot + "/ (404 Not Found), but there is one at " + atRoot + "/v1/traces: set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + atRoot + "/v1/traces",
		},
		{
			name: "no receiver at all", env: map[string]string{endpointVariable: nothing},
			want:   all + "there is no OTLP receiver at " + nothing + "/v1/* (404 Not Found), nor at the usual paths of " + address(nothing) + ": correct the host and port in OTEL_EXPORTER_OTLP_ENDPOINT",
			repair: func() map[string]string { return map[string]string{endpointVariable: c.HTTPEndpoint()} },
		},
		{
			name: "redirect", env: map[string]string{endpointVariable: moved},
			want: all + moved + "/v1/* redirects to " + c.HTTPEndpoint() + "/v1/*, and redirects are not followed: set OTEL_EXPORTER_OTLP_ENDPOINT=" + c.HTTPEndpoint(),
		},
		{
			name: "a backend of traces alone", signals: []string{"traces"}, env: map[string]string{endpointVariable: onlyTraces, "OTEL_METRICS_EXPORTER": "none"},
			want: "logs: " + address(onlyTraces) + " does not accept logs (404 Not Found): add its OTLP receiver to a pipeline for logs, or set OTEL_LOGS_EXPORTER=none",
		},
	} {
		d.collector = c
		d.run(t)
	}
}

func TestProbeReadsAnswersOfGRPC(t *testing.T) {
	c := otlptest.New(t)
	in := func(env ...string) map[string]string {
		all := map[string]string{protocolVariable: "grpc", endpointVariable: c.GRPCEndpoint()}
		for i := 0; i < len(env); i += 2 {
			all[env[i]] = env[i+1]
		}
		return all
	}
	at := address(c.GRPCEndpoint())
	for code, want := range map[codes.Code]string{
		codes.Unauthenticated:  "requires credentials (Unauthenticated: no key): set OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies",
		codes.PermissionDenied: "requires credentials (PermissionDenied: no key): set OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies",
	} {
		c.SetFault(otlptest.Fault{GRPCCode: code, Message: "no key"})
		require.Equal(t, []string{"telemetry: traces, metrics and logs: " + at + " " + want}, warningsOf(t, in()))
	}
	c.SetFault(otlptest.Fault{GRPCCode: codes.Unauthenticated, Message: "not s3cr3t-key"})
	require.Equal(t, []string{"telemetry: traces, metrics and logs: " + at + " refuses the credentials (Unauthenticated: not <redacted>): correct them in OTEL_EXPORTER_OTLP_HEADERS"},
		warningsOf(t, in("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cr3t-key")))
	c.SetFault(otlptest.Fault{})
	d := diagnosis{collector: c}
	require.Empty(t, d.arrives(t, in("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cr3t-key")))

	bare := address(bareGRPC(t))
	unknown := func(signal, service string) string {
		return "telemetry: " + signal + ": " + bare + " answers gRPC, but does not accept " + signal + " (Unimplemented: unknown service opentelemetry.proto.collector." + service +
			"): add its OTLP receiver to a pipeline for " + signal + ", or set OTEL_" + strings.ToUpper(signal) + "_EXPORTER=none"
	}
	lines := warningsOf(t, in(endpointVariable, "http://"+bare, "OTEL_METRICS_EXPORTER", "none", "OTEL_LOGS_EXPORTER", "none"))
	require.Equal(t, []string{unknown("traces", "trace.v1.TraceService")}, lines)
	require.Empty(t, (&diagnosis{collector: c, signals: []string{"logs"}}).arrives(t, settingsIn(t, lines[0], nil), in()))
}

// bareGRPC is a gRPC server without OTLP.
func bareGRPC(t *testing.T) string {
	t.Helper()
	l := listen(t)
	server := grpc.NewServer()
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return "http://" + l.Addr().String()
}
