package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func TestNearMissesOfVariables(t *testing.T) {
	for name, want := range map[string]string{
		"OTEL_EXPORTER_OLTP_ENDPOINT":       "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?",
		"OTEL_TRACE_EXPORTER":               "did you mean OTEL_TRACES_EXPORTER?",
		"OTEL_METRIC_EXPORTER":              "did you mean OTEL_METRICS_EXPORTER?",
		"OTEL_EXPORTER_OTLP_TRACE_ENDPOINT": "did you mean OTEL_EXPORTER_OTLP_TRACES_ENDPOINT?",
		"OTEL_EXPORTER_OTLP_LOG_HEADERS":    "did you mean OTEL_EXPORTER_OTLP_LOGS_HEADERS?",
		"OTEL_EXPORTER_OTLP_HEADER":         "did you mean OTEL_EXPORTER_OTLP_HEADERS?",
		"OTEL_OTLP_EXPORTER_ENDPOINT":       "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?",
		"OTEL_EXPORTER_ENDPOINT":            "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?",
		"OTEL_OTLP_ENDPOINT":                "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?",
		"OTEL_EXPORTER_OTLP_ENDPOINT_URL":   "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?",
		"OTEL_METRICS_EXPORT_INTERVAL":      "did you mean OTEL_METRIC_EXPORT_INTERVAL?",
		"OTEL_BSP_SCHEDULE_DELAY_MILLIS":    "did you mean OTEL_BSP_SCHEDULE_DELAY?",
		"OTEL_RESOURCE_ATTRIBUTE":           "did you mean OTEL_RESOURCE_ATTRIBUTES?",
		"OTEL_SERVICENAME":                  "did you mean OTEL_SERVICE_NAME?",
		"otel_service_name":                 "did you mean OTEL_SERVICE_NAME?",
		"Otel_Traces_Sampler":               "did you mean OTEL_TRACES_SAMPLER?",
		"OTEL-SERVICE-NAME":                 "did you mean OTEL_SERVICE_NAME?",
		"OTL_SERVICE_NAME":                  "did you mean OTEL_SERVICE_NAME?",
		"TELEMETRIE_PROFILE":                "did you mean TELEMETRY_PROFILE?",
		"TELEMETRY_SPOOLDIR":                "did you mean TELEMETRY_SPOOL_DIR?",
		"TELEMETRY_LOG_LEVEL":               "did you mean TELEMETRY_CONSOLE_LOG_LEVEL?",
		"OTEL_EXPORTER_JAEGER_ENDPOINT":     "is not supported here: Jaeger takes OTLP: set OTEL_EXPORTER_OTLP_ENDPOINT to its port 4318",
		"OTEL_EXPORTER_ZIPKIN_ENDPOINT":     "is not supported here: send OTLP to a collector",
		"OTEL_EXPORTER_PROMETHEUS_PORT":     "is not supported here: give a Prometheus reader with WithMetricReader",
		"OTEL_EXPORTER_OTLP_SPAN_INSECURE":  "is not supported here: set OTEL_EXPORTER_OTLP_TRACES_INSECURE",
		"OTEL_SERVICE_VERSION":              "is not supported here: set OTEL_RESOURCE_ATTRIBUTES=service.version=",
		"OTEL_SERVICE_NAMESPACE":            "WithServiceNamespace",

		"TELEMETRY_ENABLED":           "TELEMETRY_ENABLED is not a known variable and is ignored",
		"TELEMETRY_SERVICE_NAME":      "did you mean OTEL_SERVICE_NAME?",
		"TELEMETRY_TRACES_SAMPLER":    "did you mean OTEL_TRACES_SAMPLER?",
		"TELEMETRY_SAMPLE_EVERYTHING": "TELEMETRY_SAMPLE_EVERYTHING is not a known variable and is ignored",

		// Not ours, and nothing to say about.
		"OTEL_GO_X_OBSERVABILITY":                          "",
		"OTEL_GO_X_EXEMPLAR":                               "",
		"OTEL_SEMCONV_STABILITY_OPT_IN":                    "",
		"OTEL_JAVAAGENT_ENABLED":                           "",
		"OTEL_JAVAAGENT_LOG_LEVEL":                         "",
		"OTEL_PYTHON_LOG_LEVEL":                            "",
		"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "",
		"OTEL_DOTNET_AUTO_TRACES_ENABLED":                  "",
		"OTEL_NODE_RESOURCE_DETECTORS":                     "",
		"OTEL_PHP_TRACES_PROCESSOR":                        "",
		"OTEL_INSTRUMENTATION_HTTP_ENABLED":                "",
		"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS":             "",
		"OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT":             "",
		"OTEL_PROFILES_EXPORTER":                           "",
		"OTEL_ENTITIES":                                    "",
		"OTEL_SERVICE_PORT":                                "", // Kubernetes, of a service called otel
		"OTEL_SERVICE_PORT_OTLP_HTTP":                      "",
		"OTEL_COLLECTOR_PORT_4317_TCP_ADDR":                "",
		"TELEMETRY_SERVICE_HOST":                           "",
		"TELEMETRY_PORT":                                   "",
		"K8S_POD_IP":                                       "",
		"HOTEL_BOOKING_URL":                                "",
	} {
		r := resolve(environment{name: "s3cr3t-value"})
		require.NoError(t, r.err(), name)
		if want == "" {
			require.Empty(t, r.warnings(), name)
			continue
		}
		require.Len(t, r.warnings(), 1, name)
		require.Contains(t, r.warnings()[0], want)
		require.True(t, strings.HasPrefix(r.warnings()[0], name+" is "), "%s", r.warnings())
		require.NotContains(t, r.warnings()[0], "s3cr3t", "the value of a misspelt variable may be a header")
	}
	require.Empty(t, resolve(every(settings())).notices, "no variable of ours is a near miss")
}

// every sets each variable of the table to something.
func every(rows []row) environment {
	env := environment{}
	for _, row := range rows {
		for _, name := range row.describe().env {
			env[name] = "x"
		}
	}
	delete(env, "OTEL_RESOURCE_ATTRIBUTES")
	delete(env, "OTEL_EXPORTER_OTLP_ENDPOINT") // what it would notice is not the matter here
	for _, s := range allSignals() {
		delete(env, signalEnv(s, "ENDPOINT"))
	}
	return env
}

func TestMisspeltVariablesAreRead(t *testing.T) {
	t.Setenv("otel_service_name", "x")
	t.Setenv("OTELL_EXPORTER_OTLP_ENDPOINT", "x")
	t.Setenv("HOTELS_URL", "x")
	env := readEnvironment()
	require.Contains(t, env, "otel_service_name")
	require.Contains(t, env, "OTELL_EXPORTER_OTLP_ENDPOINT")
	require.NotContains(t, env, "HOTELS_URL")
}

func TestNearMissesOfValues(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http-protobuf", "(did you mean http/protobuf?)"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http", "(did you mean http/protobuf?)"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "protobuf", "(did you mean http/protobuf?)"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "gprc", "(did you mean grpc?)"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "http/json is not supported: collectors take http/protobuf at the same endpoint"},
		{"OTEL_TRACES_SAMPLER", "parentbased_alwayson", "(did you mean parentbased_always_on?)"},
		{"OTEL_TRACES_SAMPLER", "always-on", "(did you mean always_on?)"},
		{"OTEL_TRACES_SAMPLER", "traceidratiobased", "(did you mean traceidratio?)"},
		{"OTEL_TRACES_SAMPLER", "jaeger_remote", "others are given with WithSampler; the variable is ignored"},
		{"OTEL_TRACES_EXPORTER", "oltp", "(did you mean otlp?)"},
		{"OTEL_TRACES_EXPORTER", "jaeger", "Jaeger takes otlp"},
		{"OTEL_METRICS_EXPORTER", "prometheus", "give a Prometheus reader with WithMetricReader"},
		{"OTEL_LOGS_EXPORTER", "stdout", "did you mean console?"},
		{"OTEL_PROPAGATORS", "b3", "other formats are given with WithPropagators; the variable is ignored"},
		{"OTEL_PROPAGATORS", "trace-context", "(did you mean tracecontext?)"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "gz", "use gzip or none;"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "gzipp", "(did you mean gzip?)"},
		{"TELEMETRY_PROFILE", "developement", "(did you mean development?)"},
		{"TELEMETRY_PROFILE", "dev", `TELEMETRY_PROFILE="dev" is unknown; use service, high-throughput, edge or development (did you mean development?); the variable is ignored`},
		{"LOG_LEVEL", "wran", "(did you mean warn?)"},
		{"OTEL_LOG_LEVEL", "information", "(did you mean info?)"},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cummulative", "(did you mean cumulative?)"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon", "use grpc or http/protobuf;"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "x", "use grpc or http/protobuf;"},
	} {
		r := resolve(environment{tt.name: tt.value})
		require.NotEmpty(t, r.problems, tt.value)
		require.Contains(t, r.problems[0].Error(), tt.want)
	}
	require.ErrorContains(t, resolve(nil, WithProtocol("GRPC")).err(), "(did you mean grpc?)")
	require.NoError(t, resolve(environment{"OTEL_EXPORTER_OTLP_PROTOCOL": "GRPC"}).err(), "the environment is read in any case")
}

func TestSourcesThatDisagreeAboutTheName(t *testing.T) {
	name := func(value string) Option { return WithResourceAttributes(attribute.String("service.name", value)) }
	for _, tt := range []struct {
		env  environment
		opts []Option
		want string
	}{
		{environment{"OTEL_SERVICE_NAME": "a", "OTEL_RESOURCE_ATTRIBUTES": "service.name=a"}, []Option{WithServiceName("a"), name("a")}, ""},
		{environment{"OTEL_SERVICE_NAME": "a"}, nil, ""},
		{nil, nil, ""},
		{environment{"OTEL_SERVICE_NAME": "b"}, []Option{WithServiceName("a")}, `WithServiceName("a") overrides OTEL_SERVICE_NAME="b"; remove the option to let the environment decide`},
		{environment{"OTEL_SERVICE_NAME": "b", "OTEL_RESOURCE_ATTRIBUTES": "service.name=c"}, []Option{WithServiceName("a")}, `WithServiceName("a") overrides OTEL_SERVICE_NAME="b" and service.name="c" in OTEL_RESOURCE_ATTRIBUTES; remove the option to let the environment decide`},
		{environment{"OTEL_SERVICE_NAME": "b", "OTEL_RESOURCE_ATTRIBUTES": "service.name=c"}, nil, `OTEL_SERVICE_NAME="b" overrides service.name="c" in OTEL_RESOURCE_ATTRIBUTES`},
		{environment{"OTEL_SERVICE_NAME": "b"}, []Option{name("c")}, `service.name="c" in WithResourceAttributes overrides OTEL_SERVICE_NAME="b"; remove the option to let the environment decide`},
		{nil, []Option{WithServiceName("a"), name("c")}, `WithServiceName("a") overrides service.name="c" in WithResourceAttributes`},
	} {
		r := resolve(tt.env, tt.opts...)
		require.Empty(t, r.warnings(), "nothing is wrong")
		if tt.want == "" {
			require.Empty(t, r.remarks)
			continue
		}
		require.Len(t, r.remarks, 1)
		require.Equal(t, tt.want, r.remarks[0])
		res, _ := buildResource(t.Context(), r.cfg)
		won, _ := res.Set().Value("service.name")
		winner, _, _ := strings.Cut(r.remarks[0], " overrides ")
		require.Contains(t, winner, `"`+won.String()+`"`, "what is said to win wins")
		require.Contains(t, winner, identityOrigin(r.cfg, "service.name"))
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"same", "same", 0}, {"otlp", "oltp", 1}, {"ab", "ba", 1}, {"abc", "cab", 2},
		{"kitten", "sitting", 3}, {"ca", "abc", 3},
	} {
		require.Equal(t, tt.want, distance([]rune(tt.a), []rune(tt.b)), "%s %s", tt.a, tt.b)
		require.Equal(t, tt.want, distance([]rune(tt.b), []rune(tt.a)))
	}
}

func TestWrongSamplingIsNamedAlone(t *testing.T) {
	require.EqualError(t, resolve(nil, WithAdaptiveSampling(Sampling{TracesPerSecond: -1})).err(),
		"telemetry: WithAdaptiveSampling: TracesPerSecond is -1; it must be more than 0 and at most 1e+06, or 0 for 50; traces are off")
	require.EqualError(t, resolve(nil, WithAdaptiveSampling(Sampling{TracesPerSecond: 2e6, HeldBytes: 1})).err(),
		"telemetry: WithAdaptiveSampling: TracesPerSecond is 2e+06; it must be more than 0 and at most 1e+06, or 0 for 50; "+
			"HeldBytes is 1; it must be at least 65536, or 0 for 16777216; traces are off")
	_, err := NewAdaptiveSampler(Sampling{TracesPerSecond: -1})
	require.EqualError(t, err, "sampling: TracesPerSecond is -1; it must be more than 0 and at most 1e+06, or 0 for 50")
	require.ErrorContains(t, resolve(nil, WithSampler(nil)).err(), "telemetry: WithSampler must not be nil; traces are off")
}

// A ratio without its sampler would be believed and mean nothing.
func TestArgumentWithoutItsSampler(t *testing.T) {
	const name = "OTEL_TRACES_SAMPLER_ARG"
	said := func(env environment, opts ...Option) string { return strings.Join(resolve(env, opts...).notices, "\n") }
	const only = name + " applies only to the samplers adaptive, traceidratio and parentbased_traceidratio: "
	require.Contains(t, said(environment{name: "0.1"}), only+"set OTEL_TRACES_SAMPLER=parentbased_traceidratio or adaptive too")
	require.Contains(t, said(environment{name: "0.1"}, WithSampler(sdktrace.AlwaysSample())), only+"WithSampler is in force")
	require.Contains(t, said(environment{name: "20", "OTEL_TRACES_SAMPLER": "adaptive"}, WithSampler(sdktrace.AlwaysSample())), only+"WithSampler is in force")
	require.NotContains(t, said(environment{name: "20", "OTEL_TRACES_SAMPLER": "Adaptive"}), name)
	require.NotContains(t, said(environment{name: "20", "OTEL_TRACES_SAMPLER": "adaptive"}, WithAdaptiveSampling(Sampling{})), name)
	require.NotContains(t, said(environment{name: "x", "OTEL_TRACES_SAMPLER": "adaptive"}), name)
	require.NotContains(t, said(environment{name: "0.1", "OTEL_TRACES_SAMPLER": "traceidratio"}), name)
	require.NotContains(t, said(environment{name: "1", "OTEL_TRACES_SAMPLER": "always_on"}), name, "harmless, and common")
	require.NotContains(t, said(environment{name: "7"}), name, "another line says what is wrong with it")
	require.NotContains(t, said(environment{}), name)

	own := environment{"TELEMETRY_TRACES_PER_SECOND": "20", "TELEMETRY_SLOW_THRESHOLD": "300"}
	require.Empty(t, said(own))
	require.Empty(t, said(own, WithAdaptiveSampling(Sampling{HeadOnly: true})))
	require.Equal(t, "TELEMETRY_TRACES_PER_SECOND applies only to the adaptive sampler: WithSampler is in force\n"+
		"TELEMETRY_SLOW_THRESHOLD applies only to the adaptive sampler: WithSampler is in force", said(own, WithSampler(sdktrace.AlwaysSample())))
	for _, tt := range []struct {
		sampling Sampling
		env      environment
		remarks  []string
	}{
		{sampling: Sampling{TracesPerSecond: 5, SlowThreshold: time.Second}, env: own, remarks: []string{
			`WithAdaptiveSampling(Sampling{TracesPerSecond: 5}) overrides TELEMETRY_TRACES_PER_SECOND="20"; remove the option to let the environment decide`,
			`WithAdaptiveSampling(Sampling{SlowThreshold: 1s}) overrides TELEMETRY_SLOW_THRESHOLD="300"; remove the option to let the environment decide`,
		}},
		{sampling: Sampling{TracesPerSecond: 20, SlowThreshold: 300 * time.Millisecond}, env: own},
		{sampling: Sampling{HeadOnly: true}, env: own},
		{sampling: Sampling{TracesPerSecond: 5}, env: environment{"OTEL_TRACES_SAMPLER": "adaptive", name: "7"}, remarks: []string{
			`WithAdaptiveSampling(Sampling{TracesPerSecond: 5}) overrides OTEL_TRACES_SAMPLER_ARG="7"; remove the option to let the environment decide`,
		}},
		{sampling: Sampling{TracesPerSecond: 5}},
	} {
		r := resolve(tt.env, WithAdaptiveSampling(tt.sampling))
		require.Empty(t, r.notices)
		require.Equal(t, tt.remarks, r.remarks)
	}
	own["OTEL_TRACES_SAMPLER"] = "always_on"
	require.Contains(t, said(own), "TELEMETRY_TRACES_PER_SECOND applies only to the adaptive sampler: OTEL_TRACES_SAMPLER is in force")
}
