package telemetry

import (
	"crypto/tls"
	"encoding/base64"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

func TestEndpointURLOfASignal(t *testing.T) {
	const general, own = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	tests := []struct {
		name   string
		env    settings.Environment
		opts   []Option
		want   string
		notice string
	}{
		{name: "default over HTTP", want: "http://localhost:4318/v1/traces"},
		{name: "default over gRPC", opts: []Option{WithProtocol(ProtocolGRPC)}, want: "http://localhost:4317"},
		{name: "a base path is kept", env: settings.Environment{general: "http://c:1/base/"},
			want: "http://c:1/base/v1/traces"},
		{name: "an option is a base", opts: []Option{WithEndpoint("https://c")}, want: "https://c/v1/traces"},
		{name: "an option with the path of the signal is not doubled",
			opts: []Option{ForTraces(WithEndpoint("http://c:1/v1/traces"))}, want: "http://c:1/v1/traces"},
		{name: "the signal's own variable is taken as it is", env: settings.Environment{own: "http://c:1/custom"},
			want: "http://c:1/custom"},
		{name: "the signal's own variable without a path", env: settings.Environment{own: "http://c:1"},
			want: "http://c:1/"},
		{name: "this machine without a scheme", env: settings.Environment{general: "localhost:4318"},
			want: "http://localhost:4318/v1/traces", notice: "http is assumed"},
		{name: "a loopback address without a scheme", env: settings.Environment{general: "127.0.0.1:4318"},
			want: "http://127.0.0.1:4318/v1/traces", notice: "http is assumed"},
		{name: "another machine without a scheme", env: settings.Environment{general: "collector:4318"},
			want: "https://collector:4318/v1/traces", notice: "https is assumed"},
		{name: "insecure without a scheme",
			env:  settings.Environment{general: "collector:4318", "OTEL_EXPORTER_OTLP_INSECURE": "true"},
			want: "http://collector:4318/v1/traces", notice: "http is assumed"},
		{name: "secure without a scheme",
			env:  settings.Environment{general: "localhost:4318", "OTEL_EXPORTER_OTLP_INSECURE": "false"},
			want: "https://localhost:4318/v1/traces", notice: "https is assumed"},
		{name: "https is never downgraded",
			env:  settings.Environment{general: "https://c:1", "OTEL_EXPORTER_OTLP_INSECURE": "true"},
			want: "https://c:1/v1/traces"},
		{name: "TLS that is configured speaks for https", env: settings.Environment{general: "localhost:4318"},
			opts: []Option{WithTLSConfig(&tls.Config{})}, want: "https://localhost:4318/v1/traces",
			notice: "https is assumed"},
		{name: "TLS that is not used is mentioned", env: settings.Environment{general: "http://c:1"},
			opts: []Option{WithTLSConfig(&tls.Config{})}, want: "http://c:1/v1/traces",
			notice: "TLS settings are ignored"},
		{name: "a path over gRPC is mentioned", env: settings.Environment{general: "http://c:1/x"},
			opts: []Option{WithProtocol(ProtocolGRPC)}, want: "http://c:1/x", notice: "is ignored over gRPC"},
		{name: "upper case", env: settings.Environment{general: "HTTP://c:1"}, want: "http://c:1/v1/traces"},
		{name: "IPv6", env: settings.Environment{general: "http://[::1]:4318"}, want: "http://[::1]:4318/v1/traces"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := resolve(tt.env, tt.opts...)
			require.Empty(t, r.Problems)
			require.Equal(t, tt.want, r.Config.Signals[signal.Traces].Target.URL.String())
			require.Contains(t, strings.Join(r.Warnings(), "\n"), tt.notice)
			require.Equal(t, tt.notice != "", len(r.Warnings()) > 0, "%v", r.Warnings())
		})
	}
}

// TestAnEndpointWithAnotherSignalsPathWarns uses full URLs in place of base URLs, and the reverse.
func TestAnEndpointWithAnotherSignalsPathWarns(t *testing.T) {
	const general = "OTEL_EXPORTER_OTLP_ENDPOINT"
	paths := func(of ...string) (urls [signal.Count]string) {
		for i, path := range of {
			urls[signal.All()[i]] = "http://c:4318" + path
		}
		return urls
	}
	for _, tt := range []struct {
		name string
		env  settings.Environment
		opts []Option
		urls [signal.Count]string
		want []string // the warnings
	}{
		{
			name: "traces in the general variable", env: settings.Environment{general: "http://c:4318/v1/traces"},
			urls: paths("/v1/traces", "/v1/traces/v1/metrics", "/v1/traces/v1/logs"),
			want: []string{general + " ends in /v1/traces, but is the base URL of all signals, so the others go to " +
				"/v1/traces/v1/…: " +
				"remove /v1/traces, or set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT instead if it is for traces only"},
		},
		{
			name: "metrics in the general variable",
			env:  settings.Environment{general: "http://c:4318/otlp/v1/metrics/"},
			urls: paths("/otlp/v1/metrics/v1/traces", "/otlp/v1/metrics/", "/otlp/v1/metrics/v1/logs"),
			want: []string{general + " ends in /v1/metrics, but is the base URL of all signals, so the others go to " +
				"/v1/metrics/v1/…: " +
				"remove /v1/metrics, or set OTEL_EXPORTER_OTLP_METRICS_ENDPOINT instead if it is for metrics only"},
		},
		{
			name: "logs in the option", opts: []Option{WithEndpoint("http://c:4318/v1/logs")},
			urls: paths("/v1/logs/v1/traces", "/v1/logs/v1/metrics", "/v1/logs"),
			want: []string{"WithEndpoint ends in /v1/logs, but is the base URL of all signals, so the others go to " +
				"/v1/logs/v1/…: " +
				"remove /v1/logs, or use ForLogs(WithEndpoint) instead if it is for logs only"},
		},
		{
			name: "traces in the variable of metrics", env: settings.Environment{general: "http://c:4318",
				settings.SignalVariable(signal.Metrics, "ENDPOINT"): "http://c:4318/v1/traces"},
			urls: paths("/v1/traces", "/v1/traces", "/v1/logs"),
			want: []string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT ends in /v1/traces, but is the endpoint of metrics: " +
				"did you mean /v1/metrics?"},
		},
		{
			name: "metrics in the option of logs", opts: []Option{WithEndpoint("http://c:4318"),
				ForLogs(WithEndpoint("http://c:4318/v1/metrics"))},
			urls: paths("/v1/traces", "/v1/metrics", "/v1/metrics/v1/logs"),
			want: []string{"ForLogs(WithEndpoint) ends in /v1/metrics, but is the endpoint of logs: did you mean " +
				"/v1/logs?"},
		},
		{
			name: "each its own by option", opts: []Option{
				ForTraces(WithEndpoint("http://c:4318/v1/traces")),
				ForMetrics(WithEndpoint("http://c:4318/v1/metrics")), ForLogs(WithEndpoint("http://c:4318/v1/logs")),
			},
			urls: paths("/v1/traces", "/v1/metrics", "/v1/logs"),
		},
		{
			name: "traces only", env: settings.Environment{general: "http://c:4318/v1/traces"},
			opts: []Option{WithoutMetrics(), WithoutLogs()},
			urls: [signal.Count]string{signal.Traces: "http://c:4318/v1/traces"},
		},
		{
			name: "gRPC has no paths", env: settings.Environment{general: "http://c:4318/v1/traces"},
			opts: []Option{WithProtocol(ProtocolGRPC)},
			urls: paths("/v1/traces", "/v1/traces", "/v1/traces"),
			want: []string{general + " has a path, which is ignored over gRPC"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := resolve(tt.env, tt.opts...)
			var urls [signal.Count]string
			for _, s := range signal.All() {
				if u := r.Config.Signals[s].Target.URL; u != nil {
					urls[s] = u.String()
				}
			}
			require.Equal(t, tt.urls, urls)
			require.Equal(t, tt.want, r.Warnings())
		})
	}
}

func TestEndpointErrorsShowNoSecret(t *testing.T) {
	for _, endpoint := range []string{
		"https://admin:s3cr3t#1@collector:4318", "https://admin:s3cr3t/1@collector:4318", "https://user:s3cr3t@host:1",
		"https://host:1?token=s3cr3t", "https://host/#s3cr3t", "http://user:s3cr3t@", "user:s3cr3t@host:%zz",
		"http://h:port?s3cr3t",
	} {
		for _, r := range []*settings.Resolution{resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}),
			resolve(nil, WithEndpoint(endpoint))} {
			require.Error(t, r.Err(), endpoint)
			require.NotContains(t, r.Err().Error(), "s3cr3t", endpoint)
			require.NotContains(t, strings.Join(r.Warnings(), ""), "s3cr3t")
		}
	}
}

func TestMisspelledEndpointsAreRejected(t *testing.T) {
	for _, endpoint := range []string{
		"unix:/var/run/o.sock", "unix:///var/run/o.sock", "dns:///c:4317", "http:/collector:4318",
		"http:collector:4318", "::1:4318", "http://collector:99999", "http://collector:0", "*:4318", "collector:port",
		"a b", "http://",
	} {
		r := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
		require.Error(t, r.Err(), endpoint)
		require.False(t, r.Config.Signals[signal.Logs].On, endpoint)
	}
}

// TestAddressesOfOtherKindsAreRejected uses addresses as other programs take them. Each form of one
// kind gets the same message.
func TestAddressesOfOtherKindsAreRejected(t *testing.T) {
	const (
		unix   = "unix sockets are not supported: let the collector listen at a port, such as http://localhost:4318"
		scheme = "gRPC's own name schemes are not supported: write it as http://host:port"
		zone   = "the % before the zone of an IPv6 address is written %25 in a URL"
	)
	for endpoint, want := range map[string]string{
		"unix:/var/run/o.sock": unix, "unix:///var/run/o.sock": unix, "unix://var/run/o.sock": unix,
		"unix:o.sock": unix, "UNIX:/o.sock": unix,
		"unix-abstract:o": unix, "http://unix:/var/run/o.sock": unix, "http+unix:///var/run/o.sock": unix,
		"/var/run/o.sock": unix, "https://unix:/p": unix,
		"dns:///collector:4317": scheme, "dns:collector": scheme, "passthrough:///c:4317": scheme, "xds:///c": scheme,
		"ipv4:127.0.0.1,127.0.0.2":   scheme,
		"http://[fe80::1%eth0]:4317": zone, "http://[::1%lo]": zone,
		"http://collector:":      "there is no port after the colon",
		"http://collector:/base": "there is no port after the colon",
		"http://::1:4318":        "it is not a URL", "http://[::1": "it is not a URL",
	} {
		for _, r := range []*settings.Resolution{resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}),
			resolve(nil, WithEndpoint(endpoint), WithProtocol(ProtocolGRPC))} {
			require.ErrorContains(t, r.Err(), ": "+want+"; it must be a URL such as http://collector:4318", endpoint)
			require.False(t, r.Config.Signals[signal.Traces].On)
		}
	}
	for endpoint, hostPort := range map[string]string{
		"http://unix:4317": "unix:4317", "dns:4317": "dns:4317", "http://[fe80::1%25eth0]:4317": "[fe80::1%eth0]:4317",
		"http://[::1%25lo]": "[::1%lo]:80",
		"[::1%lo]:4317":     "[::1%lo]:4317", "[::1%25lo]:4317": "[::1%lo]:4317",
	} {
		r := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
			"OTEL_EXPORTER_OTLP_INSECURE": "true"})
		require.NoError(t, r.Err(), endpoint)
		require.Equal(t, hostPort, r.Config.Signals[signal.Traces].Target.HostPort())
	}
	r := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "[::1%lo]:4317"})
	require.Equal(t, "http", r.Config.Signals[signal.Traces].Target.URL.Scheme,
		"a zone does not take the loopback away")
	r = resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://[fe80::1%25eth0]:4317"})
	require.Equal(t, "fe80::1", r.Config.Signals[signal.Traces].TLS.ServerName, "certificates know no zones")
}

func TestHeadersThatATransportRefusesAreErrors(t *testing.T) {
	for _, headers := range []map[string]string{
		{"X!Key": "v"}, {"key": "café"}, {"key": "a\tb"}, {"grpc-timeout": "1"}, {"Content-Type": "x"},
		{"trace-bin": "x"}, {"API-Key": "1", "api-key": "2"},
	} {
		require.Error(t, resolve(nil, WithHeaders(headers)).Err(), "%v", headers)
	}
	r := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_HEADERS": "API-Key=1,api-key=2"})
	require.Len(t, r.Problems, 3, "once for each signal")
	require.Equal(t, map[string]string{"api-key": "1"}, r.Config.Signals[signal.Traces].Headers.Value)
}

func TestAMalformedHeaderIsReportedByItsPositionOnly(t *testing.T) {
	r := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cr3t1,s3cr3t2,b ad=s3cr3t3,x=%zzs3cr3t4"})
	require.NoError(t, r.Err())
	warnings := strings.Join(r.Warnings(), "\n")
	require.Contains(t, warnings, "OTEL_EXPORTER_OTLP_HEADERS: pair 2, 3, 4 is malformed and left out")
	require.NotContains(t, warnings, "s3cr3t")
	require.Equal(t, map[string]string{"api-key": "s3cr3t1"}, r.Config.Signals[signal.Traces].Headers.Value)
}

func TestPairsWithAColonSuggestAnEqualsSign(t *testing.T) {
	for _, tt := range []struct{ value, says string }{
		{"api-key: s3cr3t", "pair 1 is malformed and left out; in pair 1 `:` should be `=`; it must be a list of " +
			"key=value pairs"},
		{"a=b,Authorization: Basic czNjcjN0Og==,s3cr3t",
			"pair 2, 3 is malformed and left out; in pair 2 `:` should be `=`"},
		{"x-token :s3cr3t", "in pair 1 `:` should be `=`"},
		{"s3cr3t", "pair 1 is malformed and left out; it must be"},
		{"b ad=s3cr3t:x", "pair 1 is malformed and left out; it must be"},
	} {
		warnings := strings.Join(resolve(settings.Environment{"OTEL_EXPORTER_OTLP_HEADERS": tt.value}).Warnings(), "\n")
		require.Contains(t, warnings, tt.says)
		require.NotContains(t, warnings, "s3cr3t")
		require.NotContains(t, warnings, "czNj")
	}
	r := resolve(settings.Environment{"OTEL_RESOURCE_ATTRIBUTES": "team: pay,region=eu"})
	require.Contains(t, r.Warnings()[0], "in pair 1 `:` should be `=`")
	r = resolve(settings.Environment{"OTEL_EXPORTER_OTLP_HEADERS": "a=x:y", "OTEL_RESOURCE_ATTRIBUTES": "aws:tag=1"})
	require.Empty(t, r.Warnings(), "a colon elsewhere is not a mistake")
}

func TestClientCertificateNeedsItsKey(t *testing.T) {
	certs := writeCertificates(t)
	const cert, key = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"
	for _, tt := range []struct {
		files settings.Environment
		want  string
	}{
		{settings.Environment{cert: certs.ClientCertFile}, "needs its key"},
		{settings.Environment{key: certs.ClientKeyFile}, "needs its certificate"},
		{settings.Environment{cert: certs.ClientCertFile, key: certs.ServerKeyFile}, "does not match the key"},
	} {
		tt.files["OTEL_EXPORTER_OTLP_ENDPOINT"] = "https://c"
		require.ErrorContains(t, resolve(tt.files).Err(), tt.want)
		tt.files["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://c"
		r := resolve(tt.files)
		require.NoError(t, r.Err())
		require.Contains(t, strings.Join(r.Warnings(), "\n"), tt.want)
		require.Contains(t, strings.Join(r.Warnings(), "\n"), "it is not used: the endpoint is http://")
	}
	r := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", cert: certs.ClientCertFile,
		key: certs.ClientKeyFile})
	require.Len(t, r.Config.Signals[signal.Traces].TLS.Certificates, 1)
	require.True(t, r.Config.Signals[signal.Traces].On)
	require.False(t, r.Config.Signals[signal.Logs].On, "logs have a certificate without a key")
}

// TestTLSFilesApplyToSecureEndpointsOnly uses files that cannot be read. A file that is not used
// stops nothing, and nothing is sent without a file that is.
func TestTLSFilesApplyToSecureEndpointsOnly(t *testing.T) {
	certs := writeCertificates(t)
	const general, ofLogs = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
	for _, file := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
		variable := "OTEL_EXPORTER_OTLP_" + file
		for _, tt := range []struct {
			name  string
			env   settings.Environment
			opts  []Option
			off   []signal.Signal
			plain []signal.Signal
		}{
			{name: "http", env: settings.Environment{general: "http://c:1", variable: "/nofile"}, plain: signal.All()},
			{name: "the default endpoint", env: settings.Environment{variable: "/nofile"}, plain: signal.All()},
			{name: "gRPC", env: settings.Environment{general: "http://c:1", variable: "/nofile"},
				opts: []Option{WithProtocol(ProtocolGRPC)}, plain: signal.All()},
			{name: "option", env: settings.Environment{variable: "/nofile"}, opts: []Option{WithEndpoint("http://c:1")},
				plain: signal.All()},
			{name: "https", env: settings.Environment{general: "https://c:1", variable: "/nofile"}, off: signal.All()},
			{name: "https over gRPC", env: settings.Environment{general: "https://c:1", variable: "/nofile"},
				opts: []Option{WithProtocol(ProtocolGRPC)}, off: signal.All()},
			{name: "one of each", env: settings.Environment{general: "http://c:1", ofLogs: "https://c:1",
				variable: "/nofile"}, off: []signal.Signal{signal.Logs},
				plain: []signal.Signal{signal.Traces, signal.Metrics}},
			{name: "the signal's own file",
				env: settings.Environment{general: "https://c:1", ofLogs: "http://c:1",
					"OTEL_EXPORTER_OTLP_LOGS_" + file: "/nofile"}, plain: []signal.Signal{signal.Logs}},
			{name: "this machine without a scheme",
				env: settings.Environment{general: "localhost:1", variable: "/nofile"}, off: signal.All()},
			{name: "insecure without a scheme",
				env:   settings.Environment{general: "c:1", "OTEL_EXPORTER_OTLP_INSECURE": "true", variable: "/nofile"},
				plain: signal.All()},
			{name: "wrong endpoint", env: settings.Environment{general: "bogus://c:1", variable: "/nofile"},
				off: signal.All()},
			{name: "the pair of an unreadable file",
				env: settings.Environment{general: "http://c:1", variable: "/nofile",
					"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": certs.ClientCertFile}, plain: signal.All()},
		} {
			t.Run(file+" "+tt.name, func(t *testing.T) {
				r := resolve(tt.env, tt.opts...)
				for _, s := range signal.All() {
					require.Equal(t, !slices.Contains(tt.off, s), r.Config.Signals[s].On, s)
				}
				require.Equal(t, len(tt.off) > 0, r.Err() != nil)
				warnings := strings.Join(r.Warnings(), "\n")
				require.Equal(t, len(tt.plain) > 0,
					strings.Contains(warnings, `="/nofile" cannot be read (no such file or directory)`), warnings)
				require.Equal(t, len(tt.plain) > 0,
					strings.Contains(warnings, "it is not used: the endpoint is http://"), warnings)
				for _, s := range tt.plain {
					require.Equal(t, "http", r.Config.Signals[s].Target.URL.Scheme)
				}
			})
		}
	}
}

// Kubernetes keeps keys in secrets, and a secret is easily put into the variable that expects the
// path of a file.
func TestAKeyGivenInPlaceOfItsPathStaysSecret(t *testing.T) {
	certs := writeCertificates(t)
	key, err := os.ReadFile(certs.ClientKeyFile)
	require.NoError(t, err)
	for _, text := range []string{string(key), strings.ReplaceAll(string(key), "\n", `\n`),
		base64.StdEncoding.EncodeToString(key)} {
		for _, variable := range []string{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE",
			"OTEL_EXPORTER_OTLP_CERTIFICATE"} {
			r := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:4318", variable: text})
			require.ErrorContains(t, r.Err(),
				variable+`="<redacted>": it is the PEM text itself, not the path of a file`)
			for i := 64; i < len(text)-64; i += 64 {
				require.NotContains(t, r.Err().Error(), text[i:i+16])
			}
		}
	}
}
