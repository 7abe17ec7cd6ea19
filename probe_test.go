package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestProbeDetectsTheWrongProtocol(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	plain, secure := otlptest.New(t), otlptest.New(t, otlptest.WithTLS(certs.Server))
	grpc, web := address(plain.GRPCEndpoint()), address(plain.HTTPEndpoint())
	secureGRPC, secureWeb := address(secure.GRPCEndpoint()), address(secure.HTTPEndpoint())
	tracesEndpoint, tracesProtocol := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	for _, d := range []diagnosis{
		{
			name: "HTTP to gRPC", collector: plain, env: map[string]string{endpointVariable: plain.GRPCEndpoint()},
			want: "traces, metrics and logs: " + grpc +
				" answers gRPC, but the protocol is http/protobuf: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc or use the " +
				"port for http/protobuf, usually 4318",
		},
		{
			name: "gRPC to HTTP", collector: plain, env: map[string]string{endpointVariable: plain.HTTPEndpoint(),
				protocolVariable: "grpc"},
			want: "traces, metrics and logs: " + web +
				" answers HTTP, but the protocol is grpc: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf or use the " +
				"port for grpc, usually 4317",
		},
		{
			name: "HTTP to gRPC with TLS", collector: secure,
			env: map[string]string{endpointVariable: secure.GRPCEndpoint(), caVariable: certs.CAFile},
			want: "traces, metrics and logs: " + secureGRPC +
				" answers gRPC, but the protocol is http/protobuf: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc or use the " +
				"port for http/protobuf, usually 4318",
		},
		{
			name: "gRPC to HTTP with TLS", collector: secure,
			env: map[string]string{endpointVariable: secure.HTTPEndpoint(), protocolVariable: "grpc",
				caVariable: certs.CAFile},
			want: "traces, metrics and logs: " + secureWeb +
				" answers HTTP, but the protocol is grpc: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf or use the " +
				"port for grpc, usually 4317",
		},
		{
			name: "one signal alone keeps the others' protocol", collector: plain,
			env: map[string]string{endpointVariable: plain.HTTPEndpoint(), tracesEndpoint: plain.GRPCEndpoint()},
			want: "traces: " + grpc + " answers gRPC, but the protocol is http/protobuf: set " +
				"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc or use the port for http/protobuf, usually 4318",
		},
		{
			name: "a signal's own URL needs its path over HTTP", collector: plain,
			env: map[string]string{endpointVariable: plain.HTTPEndpoint(), tracesEndpoint: plain.HTTPEndpoint(),
				tracesProtocol: "grpc"},
			want: "traces: " + web + " answers HTTP, but the protocol is grpc: set " +
				"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" +
				plain.HTTPEndpoint() + "/v1/traces, or use the port for grpc, usually 4317",
		},
	} {
		d.run(t)
	}
	require.Zero(t, secure.PlaintextBytes())
}

func TestProbeDetectsTLSMistakes(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	plain, secure := otlptest.New(t), otlptest.New(t, otlptest.WithTLS(certs.Server))
	mutual := otlptest.New(t, otlptest.WithTLS(certs.MutualServer))
	const issuer = " (CN=otlptest authority)"
	const unused = "OTEL_EXPORTER_OTLP_ENDPOINT uses http://, so the TLS settings are ignored"
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		other := map[string]string{"grpc": "http/protobuf", "http/protobuf": "grpc"}[protocol]
		in := func(env ...string) map[string]string {
			all := map[string]string{protocolVariable: protocol}
			for i := 0; i < len(env); i += 2 {
				all[env[i]] = env[i+1]
			}
			return all
		}
		at, otherAt := address(secure.Endpoint(protocol)), address(secure.Endpoint(other))
		mutualAt, plainAt := address(mutual.Endpoint(protocol)), address(plain.Endpoint(protocol))
		for _, d := range []diagnosis{
			{
				name: "plaintext to TLS", collector: secure, env: in(endpointVariable, "http://"+at),
				fill: map[string]string{" to a PEM file that contains its authority's certificate": "=" + certs.CAFile},
				want: "traces, metrics and logs: " + at +
					" speaks TLS, but the endpoint is http://: set OTEL_EXPORTER_OTLP_ENDPOINT=https://" + at +
					", and OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file that contains its authority's certificate" +
					issuer,
			},
			{
				name: "plaintext to TLS of a known authority", collector: secure,
				env: in(endpointVariable, "http://"+at, caVariable, certs.CAFile), also: unused,
				want: "traces, metrics and logs: " + at +
					" speaks TLS, but the endpoint is http://: set OTEL_EXPORTER_OTLP_ENDPOINT=https://" + at,
			},
			{
				name: "plaintext to TLS of the other protocol", collector: secure,
				env: in(endpointVariable, "http://"+otherAt, caVariable, certs.CAFile), also: unused,
				want: "traces, metrics and logs: " + otherAt + " speaks TLS and " + other +
					", but the endpoint is http:// and the protocol is " + protocol +
					": set OTEL_EXPORTER_OTLP_ENDPOINT=https://" + otherAt + " and OTEL_EXPORTER_OTLP_PROTOCOL=" +
					other,
			},
			{
				name: "TLS to plaintext", collector: plain, env: in(endpointVariable, "https://"+plainAt),
				want: "traces, metrics and logs: " + plainAt +
					" does not speak TLS, but the endpoint is https://: use the TLS port, or set " +
					"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + plainAt + " if the data may go unencrypted",
			},
			{
				name: "unknown authority", collector: secure, env: in(endpointVariable, "https://"+at),
				fill: map[string]string{" to a PEM file that contains the authority's certificate": "=" + certs.CAFile},
				want: "traces, metrics and logs: the certificate of " + at +
					" is signed by an authority that is not trusted here" + issuer +
					": set OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file that contains the authority's certificate",
			},
			{
				name: "another authority", collector: secure, env: in(endpointVariable, "https://"+at, caVariable,
					otherAuthority(t)),
				want: "traces, metrics and logs: the certificate of " + at +
					" is signed by an authority that is not in OTEL_EXPORTER_OTLP_CERTIFICATE" + issuer +
					": add the authority's certificate to it",
				repair: func() map[string]string { return map[string]string{caVariable: certs.CAFile} },
			},
			{
				name: "client certificate", collector: mutual, env: in(endpointVariable, "https://"+mutualAt,
					caVariable, certs.CAFile),
				fill: map[string]string{" to a PEM file": "=" + certs.ClientCertFile,
					" to the file of its key": "=" + certs.ClientKeyFile},
				want: "traces, metrics and logs: " + mutualAt + " requires a client certificate: " +
					"set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE to a PEM file and OTEL_EXPORTER_OTLP_CLIENT_KEY to " +
					"the file of its key",
			},
		} {
			d.name = protocol + ": " + d.name
			d.run(t)
		}
		t.Run(protocol+": certificates of the collector's", func(t *testing.T) {
			old := otlptest.New(t, otlptest.WithTLS(certs.ExpiredServer))
			lines := warningsOf(t, in(endpointVariable, old.Endpoint(protocol), caVariable, certs.CAFile))
			require.Len(t, lines, 1)
			require.Regexp(t, `^telemetry: traces, metrics and logs: the certificate of `+
				regexp.QuoteMeta(address(old.Endpoint(protocol)))+
				` is not valid now \(it expired on [-0-9]{10} [:0-9]{8} UTC\): renew it on the collector, or correct this machine's clock$`, lines[0])

			elsewhere := otlptest.New(t, otlptest.WithTLS(certs.OtherServer))
			lines = warningsOf(t, in(endpointVariable, elsewhere.Endpoint(protocol), caVariable, certs.CAFile))
			require.Equal(t, []string{"telemetry: traces, metrics and logs: the certificate of " +
				address(elsewhere.Endpoint(protocol)) +
				" is valid for collector.test, not for 127.0.0.1: use that name in OTEL_EXPORTER_OTLP_ENDPOINT, or " +
				"add the name to the certificate"}, lines)

			// Both lines advise a new certificate, which the secure collector has.
			d := diagnosis{collector: secure}
			require.Empty(t, d.arrives(t, in(endpointVariable, "https://"+at, caVariable, certs.CAFile)))
		})
	}
}

// A TLS server never receives plaintext when the endpoint is https://.
func TestProbeNeverDowngrades(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	secure := otlptest.New(t, otlptest.WithTLS(certs.Server))
	for _, protocol := range protocols {
		for _, endpoint := range []string{secure.HTTPEndpoint(), secure.GRPCEndpoint()} {
			warningsOf(t, map[string]string{endpointVariable: endpoint, protocolVariable: string(protocol),
				"OTEL_EXPORTER_OTLP_INSECURE": "true"})
		}
	}
	require.Zero(t, secure.PlaintextBytes())
}

// The probe sends one request for each signal, with the service's headers. They are not counted in
// the books.
func TestProbeAsksOnce(t *testing.T) {
	for _, protocol := range protocols {
		c := otlptest.New(t)
		guard, console := inEnvironment(t, map[string]string{
			endpointVariable: c.Endpoint(string(protocol)), protocolVariable: string(protocol),
			"OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cr3t-value", "OTEL_LOG_LEVEL": "debug",
		})
		require.Eventually(t, func() bool { return strings.Contains(console.String(), "accepts requests") },
			time.Minute, time.Millisecond)
		var asked []string
		for _, r := range c.Probes() {
			asked = append(asked, r.Signal.String())
			require.Equal(t, "s3cr3t-value", r.Header.Get("api-key"))
			require.True(t, r.Accepted)
			require.Zero(t, r.Items)
		}
		require.ElementsMatch(t, []string{"traces", "metrics", "logs"}, asked)
		require.Empty(t, warnings(console.String()))
		require.Contains(t, console.String(), `"level":"DEBUG","msg":"telemetry: traces, metrics and logs: `+
			address(c.Endpoint(string(protocol)))+` accepts requests"`)
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Empty(t, c.Requests())
		require.Zero(t, guard.Health().Traces.Accepted+guard.Health().Logs.Accepted+guard.Health().Metrics.Accepted)
	}
}

func TestProbeIsSilent(t *testing.T) {
	t.Run("when it is off", func(t *testing.T) {
		c := otlptest.New(t)
		c.SetFault(otlptest.Fault{HTTPStatus: http.StatusUnauthorized})
		guard, console := inEnvironment(t,
			map[string]string{endpointVariable: c.HTTPEndpoint(), "TELEMETRY_PROBE": "false"})
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Empty(t, c.Probes())
		require.Empty(t, warnings(console.String()))
	})
	t.Run("about signals without OTLP", func(t *testing.T) {
		c := otlptest.New(t)
		guard, console := inEnvironment(t,
			map[string]string{endpointVariable: c.HTTPEndpoint(), "OTEL_METRICS_EXPORTER": "none",
				"OTEL_TRACES_EXPORTER": "none", "OTEL_LOG_LEVEL": "debug"})
		require.Eventually(t, func() bool { return strings.Contains(console.String(), "telemetry: logs: ") },
			time.Minute, time.Millisecond)
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Equal(t, []otlptest.Signal{otlptest.Logs},
			names(c.Probes(), func(r otlptest.Request) otlptest.Signal { return r.Signal }))
	})
	t.Run("about an endpoint that is busy", func(t *testing.T) {
		c := otlptest.New(t)
		c.SetFault(otlptest.Fault{HTTPStatus: http.StatusServiceUnavailable})
		guard, console := inEnvironment(t, map[string]string{endpointVariable: c.HTTPEndpoint()})
		require.Eventually(t, func() bool { return len(c.Probes()) == 3 }, time.Minute, time.Millisecond)
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Empty(t, warnings(console.String()))
	})
}

func TestProbeExplainsHTTPAnswers(t *testing.T) {
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
			name: "401 without headers", env: map[string]string{endpointVariable: open},
			fill: map[string]string{"name=value": "api-key=right-key"},
			want: all + open + "/v1/* requires credentials (401 Unauthorized: who are you with): set " +
				"OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies",
		},
		{
			name: "403 with headers", env: map[string]string{endpointVariable: strict, headers: "api-key=wrong-key"},
			want: all + strict + "/v1/* refuses the credentials (403 Forbidden: who are you with <redacted>): " +
				"correct them in OTEL_EXPORTER_OTLP_HEADERS",
			repair: func() map[string]string { return map[string]string{headers: "api-key=right-key"} },
		},
		{
			name: "path that is too long", env: map[string]string{endpointVariable: atRoot + "/api"},
			want: all + "there is no OTLP receiver at " + atRoot + "/api/v1/* (404 Not Found), but there is one at " +
				atRoot + "/v1/*: set OTEL_EXPORTER_OTLP_ENDPOINT=" + atRoot,
		},
		{
			name: "path that is missing", env: map[string]string{endpointVariable: atOTLP},
			want: all + "there is no OTLP receiver at " + atOTLP + "/v1/* (404 Not Found), but there is one at " +
				atOTLP + "/otlp/v1/*: set OTEL_EXPORTER_OTLP_ENDPOINT=" + atOTLP + "/otlp",
		},
		{
			name: "a web page instead", env: map[string]string{endpointVariable: behindLogin},
			want: all + "there is no OTLP receiver at " + behindLogin +
				"/v1/* (200 OK with a web page), but there is one at " + behindLogin +
				"/otlp/v1/*: set OTEL_EXPORTER_OTLP_ENDPOINT=" + behindLogin + "/otlp",
		},
		{
			name: "a signal's own URL without its path", signals: []string{"traces"},
			env: map[string]string{endpointVariable: c.HTTPEndpoint(), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": atRoot},
			want: "traces: there is no OTLP receiver at " + atRoot + "/ (404 Not Found), but there is one at " +
				atRoot + "/v1/traces: set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + atRoot + "/v1/traces",
		},
		{
			name: "no receiver at all", env: map[string]string{endpointVariable: nothing},
			want: all + "there is no OTLP receiver at " + nothing +
				"/v1/* (404 Not Found), nor at the usual paths of " + address(nothing) +
				": correct the host and port in OTEL_EXPORTER_OTLP_ENDPOINT",
			repair: func() map[string]string { return map[string]string{endpointVariable: c.HTTPEndpoint()} },
		},
		{
			name: "redirect", env: map[string]string{endpointVariable: moved},
			want: all + moved + "/v1/* redirects to " + c.HTTPEndpoint() +
				"/v1/*, and redirects are not followed: set OTEL_EXPORTER_OTLP_ENDPOINT=" + c.HTTPEndpoint(),
		},
		{
			name: "a backend of traces alone", signals: []string{"traces"},
			env: map[string]string{endpointVariable: onlyTraces, "OTEL_METRICS_EXPORTER": "none"},
			want: "logs: " + address(onlyTraces) +
				" does not accept logs (404 Not Found): add its OTLP receiver to a pipeline for logs, or set " +
				"OTEL_LOGS_EXPORTER=none",
		},
	} {
		d.collector = c
		d.run(t)
	}
}

func TestProbeExplainsGRPCAnswers(t *testing.T) {
	c := otlptest.New(t)
	in := func(env ...string) map[string]string {
		all := map[string]string{protocolVariable: "grpc", endpointVariable: c.GRPCEndpoint()}
		for i := 0; i < len(env); i += 2 {
			all[env[i]] = env[i+1]
		}
		return all
	}
	at := address(c.GRPCEndpoint())
	for code, want := range map[grpccodes.Code]string{
		grpccodes.Unauthenticated: "requires credentials (Unauthenticated: no key): set " +
			"OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies",
		grpccodes.PermissionDenied: "requires credentials (PermissionDenied: no key): set " +
			"OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies",
	} {
		c.SetFault(otlptest.Fault{GRPCCode: code, Message: "no key"})
		require.Equal(t, []string{"telemetry: traces, metrics and logs: " + at + " " + want}, warningsOf(t, in()))
	}
	c.SetFault(otlptest.Fault{GRPCCode: grpccodes.Unauthenticated, Message: "not s3cr3t-key"})
	require.Equal(t, []string{"telemetry: traces, metrics and logs: " + at +
		" refuses the credentials (Unauthenticated: not <redacted>): correct them in OTEL_EXPORTER_OTLP_HEADERS"},
		warningsOf(t, in("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cr3t-key")))
	c.SetFault(otlptest.Fault{})
	d := diagnosis{collector: c}
	require.Empty(t, d.arrives(t, in("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cr3t-key")))

	bare := startGRPC(t, grpc.NewServer()) // without OTLP
	unknown := func(signal, service string) string {
		return "telemetry: " + signal + ": " + bare + " answers gRPC, but does not accept " + signal +
			" (Unimplemented: unknown service opentelemetry.proto.collector." + service +
			"): add its OTLP receiver to a pipeline for " + signal + ", or set OTEL_" + strings.ToUpper(signal) +
			"_EXPORTER=none"
	}
	lines := warningsOf(t, in(endpointVariable, "http://"+bare, "OTEL_METRICS_EXPORTER", "none", "OTEL_LOGS_EXPORTER",
		"none"))
	require.Equal(t, []string{unknown("traces", "trace.v1.TraceService")}, lines)
	require.Empty(t, (&diagnosis{collector: c, signals: []string{"logs"}}).arrives(t, settingsIn(t, lines[0], nil),
		in()))
}

func otherAuthority(t *testing.T) string {
	t.Helper()
	others, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	return others.CAFile
}

// gateway is a proxy in front of a collector that decides which requests reach it.
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

const caVariable = "OTEL_EXPORTER_OTLP_CERTIFICATE"
