package telemetry_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// diagnosis is one way to get the settings wrong. The line that the probe writes is asserted word for word; then the test
// does what the line says, and data must arrive.
type diagnosis struct {
	name string
	env  map[string]string // the wrong settings
	want string            // the probe's only line, without "telemetry: "
	also string            // what Init says before it
	// fill has what a person puts in place of words in the advice, such as the file in place of "a PEM file".
	fill map[string]string
	// repair is for advice that is not a setting with its value; what it returns are settings.
	repair    func() map[string]string
	collector *otlptest.Collector
	signals   []string // those that are diagnosed and must arrive; all, if empty
}

// quietMetrics leaves nothing to export but what a test records.
var quietMetrics = map[string]string{"TELEMETRY_RUNTIME_METRICS": "false", "TELEMETRY_SELF_METRICS": "false"}

func (d diagnosis) run(t *testing.T) {
	t.Helper()
	t.Run(d.name, d.check)
}

func (d diagnosis) check(t *testing.T) {
	lines := warningsOf(t, d.env, d.also)
	if d.also != "" {
		require.Equal(t, "telemetry: "+d.also, lines[0])
		lines = lines[1:]
	}
	require.Equal(t, []string{"telemetry: " + d.want}, lines)

	repaired := maps.Clone(d.env)
	if d.repair != nil {
		maps.Copy(repaired, d.repair())
	} else {
		maps.Copy(repaired, settingsIn(t, d.want, d.fill))
	}
	require.Empty(t, d.arrives(t, repaired), "nothing more to say")
}

// arrives records one item of each signal in a service with these settings and waits until they are there. It returns the
// service's warnings.
func (d diagnosis) arrives(t *testing.T, settings ...map[string]string) []string {
	t.Helper()
	d.collector.Reset()
	env := map[string]string{}
	for _, more := range settings {
		maps.Copy(env, more)
	}
	guard, console := inEnvironment(t, env)
	record(t.Context(), guard, "after the repair")
	require.NoError(t, guard.Shutdown(t.Context()))
	signals := d.signals
	if len(signals) == 0 {
		signals = []string{"traces", "metrics", "logs"}
	}
	for _, signal := range signals {
		switch signal {
		case "traces":
			require.Equal(t, []string{"after the repair"}, spanNames(d.collector))
		case "metrics":
			require.Equal(t, []string{"after.the.repair"}, metricNames(d.collector))
		case "logs":
			require.Len(t, d.collector.LogRecords(), 1)
		}
	}
	return warnings(console.String())
}

func inEnvironment(t *testing.T, env map[string]string) (*telemetry.Guard, *syncBuffer) {
	t.Helper()
	variables := map[string]string{"OTEL_TRACES_SAMPLER": "always_on"}
	maps.Copy(variables, quietMetrics)
	maps.Copy(variables, env)
	console := &syncBuffer{}
	guard, err := telemetry.Init(testenv.With(t.Context(), variables), telemetry.WithoutGlobals(), telemetry.WithLogOutput(console), telemetry.WithServiceName("probed"),
		telemetry.WithShutdownTimeout(30*time.Second))
	require.NoError(t, err)
	t.Cleanup(func() { _ = guard.Shutdown(context.Background()) })
	return guard, console
}

// warningsOf starts a service that records nothing, waits for its probe's first line, and returns all it has warned of in
// its life.
func warningsOf(t *testing.T, env map[string]string, also ...string) []string {
	t.Helper()
	guard, console := inEnvironment(t, env)
	enough := len(strings.Join(also, ""))
	require.Eventually(t, func() bool { return len(strings.Join(warnings(console.String()), "")) > enough+len("telemetry: ") }, time.Minute, 5*time.Millisecond)
	require.NoError(t, guard.Shutdown(t.Context()))
	return warnings(console.String())
}

func warnings(console string) (messages []string) {
	for line := range strings.Lines(console) {
		var record struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &record) == nil && (record.Level == "WARN" || record.Level == "ERROR") {
			messages = append(messages, record.Msg)
		}
	}
	return messages
}

// settingsIn reads the settings out of the advice: NAME=value, up to a blank that does not belong to the value.
func settingsIn(t *testing.T, advice string, fill map[string]string) map[string]string {
	t.Helper()
	for words, value := range fill {
		require.Contains(t, advice, words)
		advice = strings.ReplaceAll(advice, words, value)
	}
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`\b([A-Z][A-Z_]+)=([^\s,]+)`).FindAllStringSubmatch(advice, -1) {
		found[m[1]] = m[2]
	}
	require.NotEmpty(t, found, advice)
	return found
}

const (
	endpointVariable = "OTEL_EXPORTER_OTLP_ENDPOINT"
	protocolVariable = "OTEL_EXPORTER_OTLP_PROTOCOL"
	caVariable       = "OTEL_EXPORTER_OTLP_CERTIFICATE"
	timeoutVariable  = "OTEL_EXPORTER_OTLP_TIMEOUT"
)

// address is host and port of a URL.
func address(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

func TestProbeTellsProtocolsApart(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	plain, secure := otlptest.New(t), otlptest.New(t, otlptest.WithTLS(certs.Server))
	grpc, web := address(plain.GRPCEndpoint()), address(plain.HTTPEndpoint())
	secureGRPC, secureWeb := address(secure.GRPCEndpoint()), address(secure.HTTPEndpoint())
	tracesEndpoint, tracesProtocol := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	for _, d := range []diagnosis{
		{
			name: "HTTP to gRPC", collector: plain, env: map[string]string{endpointVariable: plain.GRPCEndpoint()},
			want: "traces, metrics and logs: " + grpc + " answers gRPC, but the protocol is http/protobuf: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc or use the port for http/protobuf, usually 4318",
		},
		{
			name: "gRPC to HTTP", collector: plain, env: map[string]string{endpointVariable: plain.HTTPEndpoint(), protocolVariable: "grpc"},
			want: "traces, metrics and logs: " + web + " answers HTTP, but the protocol is grpc: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf or use the port for grpc, usually 4317",
		},
		{
			name: "HTTP to gRPC with TLS", collector: secure, env: map[string]string{endpointVariable: secure.GRPCEndpoint(), caVariable: certs.CAFile},
			want: "traces, metrics and logs: " + secureGRPC + " answers gRPC, but the protocol is http/protobuf: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc or use the port for http/protobuf, usually 4318",
		},
		{
			name: "gRPC to HTTP with TLS", collector: secure, env: map[string]string{endpointVariable: secure.HTTPEndpoint(), protocolVariable: "grpc", caVariable: certs.CAFile},
			want: "traces, metrics and logs: " + secureWeb + " answers HTTP, but the protocol is grpc: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf or use the port for grpc, usually 4317",
		},
		{
			name: "one signal alone keeps the others' protocol", collector: plain, env: map[string]string{endpointVariable: plain.HTTPEndpoint(), tracesEndpoint: plain.GRPCEndpoint()},
			want: "traces: " + grpc + " answers gRPC, but the protocol is http/protobuf: set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc or use the port for http/protobuf, usually 4318",
		},
		{
			name: "a signal's own URL needs its path over HTTP", collector: plain, env: map[string]string{endpointVariable: plain.HTTPEndpoint(), tracesEndpoint: plain.HTTPEndpoint(), tracesProtocol: "grpc"},
			want: "traces: " + web + " answers HTTP, but the protocol is grpc: set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" +
				plain.HTTPEndpoint() + "/v1/traces, or use the port for grpc, usually 4317",
		},
	} {
		d.run(t)
	}
	require.Zero(t, secure.PlaintextBytes())
}

func TestProbeTellsTLSApart(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	plain, secure := otlptest.New(t), otlptest.New(t, otlptest.WithTLS(certs.Server))
	mutual := otlptest.New(t, otlptest.WithTLS(certs.MutualServer))
	const issuer = " (CN=otlptest authority)"
	const unused = "OTEL_EXPORTER_OTLP_ENDPOINT says http://, so the TLS settings are not used"
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
				name: "plaintext to TLS", collector: secure, env: in(endpointVariable, "http://"+at), fill: map[string]string{" to a PEM file that contains its authority's certificate": "=" + certs.CAFile},
				want: "traces, metrics and logs: " + at + " speaks TLS, but the endpoint is http://: set OTEL_EXPORTER_OTLP_ENDPOINT=https://" + at +
					", and OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file that contains its authority's certificate" + issuer,
			},
			{
				name: "plaintext to TLS of a known authority", collector: secure, env: in(endpointVariable, "http://"+at, caVariable, certs.CAFile), also: unused,
				want: "traces, metrics and logs: " + at + " speaks TLS, but the endpoint is http://: set OTEL_EXPORTER_OTLP_ENDPOINT=https://" + at,
			},
			{
				name: "plaintext to TLS of the other protocol", collector: secure, env: in(endpointVariable, "http://"+otherAt, caVariable, certs.CAFile), also: unused,
				want: "traces, metrics and logs: " + otherAt + " speaks TLS and " + other + ", but the endpoint is http:// and the protocol " + protocol +
					": set OTEL_EXPORTER_OTLP_ENDPOINT=https://" + otherAt + " and OTEL_EXPORTER_OTLP_PROTOCOL=" + other,
			},
			{
				name: "TLS to plaintext", collector: plain, env: in(endpointVariable, "https://"+plainAt),
				want: "traces, metrics and logs: " + plainAt + " does not speak TLS, but the endpoint is https://: use the port that does, or set OTEL_EXPORTER_OTLP_ENDPOINT=http://" + plainAt + " if the network may read the data",
			},
			{
				name: "unknown authority", collector: secure, env: in(endpointVariable, "https://"+at), fill: map[string]string{" to a PEM file that contains the authority's certificate": "=" + certs.CAFile},
				want: "traces, metrics and logs: the certificate of " + at + " is signed by an authority that is not trusted here" + issuer + ": set OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file that contains the authority's certificate",
			},
			{
				name: "another authority", collector: secure, env: in(endpointVariable, "https://"+at, caVariable, otherAuthority(t)),
				want:   "traces, metrics and logs: the certificate of " + at + " is signed by an authority that OTEL_EXPORTER_OTLP_CERTIFICATE does not hold" + issuer + ": add the authority's certificate to it",
				repair: func() map[string]string { return map[string]string{caVariable: certs.CAFile} },
			},
			{
				name: "client certificate", collector: mutual, env: in(endpointVariable, "https://"+mutualAt, caVariable, certs.CAFile),
				fill: map[string]string{" to a PEM file": "=" + certs.ClientCertFile, " to the file of its key": "=" + certs.ClientKeyFile},
				want: "traces, metrics and logs: " + mutualAt + " requires a client certificate: " +
					"set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE to a PEM file and OTEL_EXPORTER_OTLP_CLIENT_KEY to the file of its key",
			},
		} {
			d.name = protocol + ": " + d.name
			d.run(t)
		}
		t.Run(protocol+": certificates of the collector's", func(t *testing.T) {
			old := otlptest.New(t, otlptest.WithTLS(certs.ExpiredServer))
			lines := warningsOf(t, in(endpointVariable, old.Endpoint(protocol), caVariable, certs.CAFile))
			require.Len(t, lines, 1)
			require.Regexp(t, `^telemetry: traces, metrics and logs: the certificate of `+regexp.QuoteMeta(address(old.Endpoint(protocol)))+
				` is not valid today \(it ended on [-0-9]{10} [:0-9]{8} UTC\): renew it on the collector, or correct this machine's clock$`, lines[0])

			elsewhere := otlptest.New(t, otlptest.WithTLS(certs.OtherServer))
			lines = warningsOf(t, in(endpointVariable, elsewhere.Endpoint(protocol), caVariable, certs.CAFile))
			require.Equal(t, []string{"telemetry: traces, metrics and logs: the certificate of " + address(elsewhere.Endpoint(protocol)) +
				" is valid for collector.test, not for 127.0.0.1: use that name in OTEL_EXPORTER_OTLP_ENDPOINT, or renew the certificate with the name"}, lines)

			// The advice of both is a new certificate, which the secure collector has.
			d := diagnosis{collector: secure}
			require.Empty(t, d.arrives(t, in(endpointVariable, "https://"+at, caVariable, certs.CAFile)))
		})
	}
}

func otherAuthority(t *testing.T) string {
	t.Helper()
	others, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	return others.CAFile
}

// A server of TLS does not learn that the port was spoken to in plaintext when the endpoint is https://.
func TestProbeNeverDowngrades(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	secure := otlptest.New(t, otlptest.WithTLS(certs.Server))
	for _, protocol := range protocols {
		for _, endpoint := range []string{secure.HTTPEndpoint(), secure.GRPCEndpoint()} {
			warningsOf(t, map[string]string{endpointVariable: endpoint, protocolVariable: string(protocol), "OTEL_EXPORTER_OTLP_INSECURE": "true"})
		}
	}
	require.Zero(t, secure.PlaintextBytes())
}

// The probe's requests carry the service's headers, once for each signal, and are no part of the books.
func TestProbeAsksOnce(t *testing.T) {
	for _, protocol := range protocols {
		c := otlptest.New(t)
		guard, console := inEnvironment(t, map[string]string{
			endpointVariable: c.Endpoint(string(protocol)), protocolVariable: string(protocol), "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cr3t-value", "OTEL_LOG_LEVEL": "debug",
		})
		require.Eventually(t, func() bool { return strings.Contains(console.String(), "takes what is sent to it") }, time.Minute, time.Millisecond)
		var asked []string
		for _, r := range c.Probes() {
			asked = append(asked, string(r.Signal))
			require.Equal(t, "s3cr3t-value", r.Header.Get("api-key"))
			require.True(t, r.Accepted)
			require.Zero(t, r.Items)
		}
		require.ElementsMatch(t, []string{"traces", "metrics", "logs"}, asked)
		require.Empty(t, warnings(console.String()))
		require.Contains(t, console.String(), `"level":"DEBUG","msg":"telemetry: traces, metrics and logs: `+address(c.Endpoint(string(protocol)))+` takes what is sent to it"`)
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Empty(t, c.Requests())
		require.Zero(t, guard.Health().Traces.Accepted+guard.Health().Logs.Accepted+guard.Health().Metrics.Accepted)
	}
}

func TestProbeIsSilent(t *testing.T) {
	t.Run("when it is off", func(t *testing.T) {
		c := otlptest.New(t)
		c.SetFault(otlptest.Fault{HTTPStatus: http.StatusUnauthorized})
		guard, console := inEnvironment(t, map[string]string{endpointVariable: c.HTTPEndpoint(), "TELEMETRY_PROBE": "false"})
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Empty(t, c.Probes())
		require.Empty(t, warnings(console.String()))
	})
	t.Run("about signals without OTLP", func(t *testing.T) {
		c := otlptest.New(t)
		guard, console := inEnvironment(t, map[string]string{endpointVariable: c.HTTPEndpoint(), "OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none", "OTEL_LOG_LEVEL": "debug"})
		require.Eventually(t, func() bool { return strings.Contains(console.String(), "telemetry: logs: ") }, time.Minute, time.Millisecond)
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Equal(t, []otlptest.Signal{otlptest.Logs}, names(c.Probes(), func(r otlptest.Request) otlptest.Signal { return r.Signal }))
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
