package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/identity"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

func TestMisspelledVariablesGetASuggestion(t *testing.T) {
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
		"OTEL_EXPORTER_JAEGER_ENDPOINT": "is not supported here: Jaeger takes OTLP: set " +
			"OTEL_EXPORTER_OTLP_ENDPOINT to its port 4318",
		"OTEL_EXPORTER_ZIPKIN_ENDPOINT":    "is not supported here: send OTLP to a collector",
		"OTEL_EXPORTER_PROMETHEUS_PORT":    "is not supported here: use WithMetricReader with a Prometheus reader",
		"OTEL_EXPORTER_OTLP_SPAN_INSECURE": "is not supported here: set OTEL_EXPORTER_OTLP_TRACES_INSECURE",
		"OTEL_SERVICE_VERSION":             "is not supported here: set OTEL_RESOURCE_ATTRIBUTES=service.version=",
		"OTEL_SERVICE_NAMESPACE":           "WithServiceNamespace",

		"TELEMETRY_ENABLED":           "TELEMETRY_ENABLED is not a known variable and is ignored",
		"TELEMETRY_SERVICE_NAME":      "did you mean OTEL_SERVICE_NAME?",
		"TELEMETRY_TRACES_SAMPLER":    "did you mean OTEL_TRACES_SAMPLER?",
		"TELEMETRY_SAMPLE_EVERYTHING": "TELEMETRY_SAMPLE_EVERYTHING is not a known variable and is ignored",

		// Not variables of this library: no warning.
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
		r := resolve(settings.Environment{name: "s3cr3t-value"})
		require.NoError(t, r.Err(), name)
		if want == "" {
			require.Empty(t, r.Warnings(), name)
			continue
		}
		require.Len(t, r.Warnings(), 1, name)
		require.Contains(t, r.Warnings()[0], want)
		require.True(t, strings.HasPrefix(r.Warnings()[0], name+" is "), "%s", r.Warnings())
		require.NotContains(t, r.Warnings()[0], "s3cr3t", "the value of a misspelled variable may be a header")
	}
	require.NotContains(t, strings.Join(resolve(every(settings.Rows())).Warnings(), "\n"), "known variable",
		"no variable of ours is a near miss")
}

func TestMisspelledVariablesAreRead(t *testing.T) {
	t.Setenv("otel_service_name", "x")
	t.Setenv("OTELL_EXPORTER_OTLP_ENDPOINT", "x")
	t.Setenv("HOTELS_URL", "x")
	env := settings.ReadEnvironment()
	require.Contains(t, env, "otel_service_name")
	require.Contains(t, env, "OTELL_EXPORTER_OTLP_ENDPOINT")
	require.NotContains(t, env, "HOTELS_URL")
}

func TestMisspelledValuesGetASuggestion(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http-protobuf", "(did you mean http/protobuf?)"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http", "(did you mean http/protobuf?)"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "protobuf", "(did you mean http/protobuf?)"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "gprc", "(did you mean grpc?)"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json",
			"http/json is not supported: collectors take http/protobuf at the same endpoint"},
		{"OTEL_TRACES_SAMPLER", "parentbased_alwayson", "(did you mean parentbased_always_on?)"},
		{"OTEL_TRACES_SAMPLER", "always-on", "(did you mean always_on?)"},
		{"OTEL_TRACES_SAMPLER", "traceidratiobased", "(did you mean traceidratio?)"},
		{"OTEL_TRACES_SAMPLER", "jaeger_remote", "others are given with WithSampler; the variable is ignored"},
		{"OTEL_TRACES_EXPORTER", "oltp", "(did you mean otlp?)"},
		{"OTEL_TRACES_EXPORTER", "jaeger", "Jaeger takes otlp"},
		{"OTEL_METRICS_EXPORTER", "prometheus", "use WithMetricReader with a Prometheus reader"},
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
		r := resolve(settings.Environment{tt.name: tt.value})
		require.NotEmpty(t, r.Problems, tt.value)
		require.Contains(t, r.Problems[0].Error(), tt.want)
	}
	require.ErrorContains(t, resolve(nil, WithProtocol("GRPC")).Err(), "(did you mean grpc?)")
	require.NoError(t, resolve(settings.Environment{"OTEL_EXPORTER_OTLP_PROTOCOL": "GRPC"}).Err(),
		"the environment is read in any case")
}

func TestDisagreeingServiceNamesAreARemark(t *testing.T) {
	name := func(value string) Option { return WithResourceAttributes(attribute.String("service.name", value)) }
	for _, tt := range []struct {
		env  settings.Environment
		opts []Option
		want string
	}{
		{settings.Environment{"OTEL_SERVICE_NAME": "a", "OTEL_RESOURCE_ATTRIBUTES": "service.name=a"},
			[]Option{WithServiceName("a"), name("a")}, ""},
		{settings.Environment{"OTEL_SERVICE_NAME": "a"}, nil, ""},
		{nil, nil, ""},
		{settings.Environment{"OTEL_SERVICE_NAME": "b"}, []Option{WithServiceName("a")},
			`WithServiceName("a") overrides OTEL_SERVICE_NAME="b"; remove the option to let the environment decide`},
		{settings.Environment{"OTEL_SERVICE_NAME": "b", "OTEL_RESOURCE_ATTRIBUTES": "service.name=c"},
			[]Option{WithServiceName("a")},
			`WithServiceName("a") overrides OTEL_SERVICE_NAME="b" and service.name="c" in OTEL_RESOURCE_ATTRIBUTES; remove the option to let the environment decide`},
		{settings.Environment{"OTEL_SERVICE_NAME": "b", "OTEL_RESOURCE_ATTRIBUTES": "service.name=c"}, nil,
			`OTEL_SERVICE_NAME="b" overrides service.name="c" in OTEL_RESOURCE_ATTRIBUTES`},
		{settings.Environment{"OTEL_SERVICE_NAME": "b"}, []Option{name("c")},
			`service.name="c" in WithResourceAttributes overrides OTEL_SERVICE_NAME="b"; remove the option to let the environment decide`},
		{nil, []Option{WithServiceName("a"), name("c")},
			`WithServiceName("a") overrides service.name="c" in WithResourceAttributes`},
	} {
		r := resolve(tt.env, tt.opts...)
		require.Empty(t, r.Warnings(), "nothing is wrong")
		if tt.want == "" {
			require.Empty(t, r.Remarks())
			continue
		}
		require.Len(t, r.Remarks(), 1)
		require.Equal(t, tt.want, r.Remarks()[0])
		res, _ := identity.Resource(t.Context(), r.Config)
		won, _ := res.Set().Value("service.name")
		winner, _, _ := strings.Cut(r.Remarks()[0], " overrides ")
		require.Contains(t, winner, `"`+won.String()+`"`, "what is said to win wins")
		require.Contains(t, winner, settings.IdentityOrigin(r.Config, "service.name"))
	}
}

func TestEditDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"same", "same", 0}, {"otlp", "oltp", 1}, {"ab", "ba", 1},
		{"abc", "cab", 2},
		{"kitten", "sitting", 3}, {"ca", "abc", 3},
	} {
		require.Equal(t, tt.want, settings.Distance([]rune(tt.a), []rune(tt.b)), "%s %s", tt.a, tt.b)
		require.Equal(t, tt.want, settings.Distance([]rune(tt.b), []rune(tt.a)))
	}
}

func TestAnErrorNamesOnlyTheWrongSamplingFields(t *testing.T) {
	require.EqualError(t, resolve(nil, WithAdaptiveSampling(Sampling{TracesPerSecond: -1})).Err(),
		"telemetry: WithAdaptiveSampling: TracesPerSecond is -1; it must be more than 0 and at most 1e+06, or 0 for "+
			"50; traces are off")
	require.EqualError(t, resolve(nil, WithAdaptiveSampling(Sampling{TracesPerSecond: 2e6, HeldBytes: 1})).Err(),
		"telemetry: WithAdaptiveSampling: TracesPerSecond is 2e+06; it must be more than 0 and at most 1e+06, or 0 "+
			"for 50; HeldBytes is 1; it must be at least 65536, or 0 for 16777216; traces are off")
	_, err := NewAdaptiveSampler(Sampling{TracesPerSecond: -1})
	require.EqualError(t, err, "sampling: TracesPerSecond is -1; it must be more than 0 and at most 1e+06, or 0 for 50")
	require.ErrorContains(t, resolve(nil, WithSampler(nil)).Err(),
		"telemetry: WithSampler must not be nil; traces are off")
}

// A ratio without its sampler would look effective and have no effect.
func TestASamplerArgumentWithoutItsSamplerWarns(t *testing.T) {
	const name = "OTEL_TRACES_SAMPLER_ARG"
	said := func(env settings.Environment, opts ...Option) string {
		return strings.Join(resolve(env, opts...).Warnings(), "\n")
	}
	const only = name + " applies only to the samplers adaptive, traceidratio and parentbased_traceidratio: "
	require.Contains(t, said(settings.Environment{name: "0.1"}),
		only+"set OTEL_TRACES_SAMPLER=parentbased_traceidratio or adaptive too")
	require.Contains(t, said(settings.Environment{name: "0.1"}, WithSampler(sdktrace.AlwaysSample())),
		only+"the sampler is set by WithSampler")
	require.Contains(t, said(settings.Environment{name: "20", "OTEL_TRACES_SAMPLER": "adaptive"},
		WithSampler(sdktrace.AlwaysSample())), only+"the sampler is set by WithSampler")
	require.NotContains(t, said(settings.Environment{name: "20", "OTEL_TRACES_SAMPLER": "Adaptive"}), name)
	require.NotContains(t, said(settings.Environment{name: "20", "OTEL_TRACES_SAMPLER": "adaptive"},
		WithAdaptiveSampling(Sampling{})), name)
	require.NotContains(t, said(settings.Environment{name: "x", "OTEL_TRACES_SAMPLER": "adaptive"}), "applies only")
	require.NotContains(t, said(settings.Environment{name: "0.1", "OTEL_TRACES_SAMPLER": "traceidratio"}), name)
	require.NotContains(t, said(settings.Environment{name: "1", "OTEL_TRACES_SAMPLER": "always_on"}), name,
		"harmless, and common")
	require.NotContains(t, said(settings.Environment{name: "7"}), "applies only",
		"another line says what is wrong with it")
	require.NotContains(t, said(settings.Environment{}), name)

	own := settings.Environment{"TELEMETRY_TRACES_PER_SECOND": "20", "TELEMETRY_SLOW_THRESHOLD": "300"}
	require.Empty(t, said(own))
	require.Empty(t, said(own, WithAdaptiveSampling(Sampling{HeadOnly: true})))
	require.Equal(t, "TELEMETRY_TRACES_PER_SECOND applies only to the adaptive sampler: the sampler is set by "+
		"WithSampler\n"+
		"TELEMETRY_SLOW_THRESHOLD applies only to the adaptive sampler: the sampler is set by WithSampler",
		said(own, WithSampler(sdktrace.AlwaysSample())))
	for _, tt := range []struct {
		sampling Sampling
		env      settings.Environment
		remarks  []string
	}{
		{sampling: Sampling{TracesPerSecond: 5, SlowThreshold: time.Second}, env: own, remarks: []string{
			`WithAdaptiveSampling(Sampling{TracesPerSecond: 5}) overrides TELEMETRY_TRACES_PER_SECOND="20"; remove the option to let the environment decide`,
			`WithAdaptiveSampling(Sampling{SlowThreshold: 1s}) overrides TELEMETRY_SLOW_THRESHOLD="300"; remove the option to let the environment decide`,
		}},
		{sampling: Sampling{TracesPerSecond: 20, SlowThreshold: 300 * time.Millisecond}, env: own},
		{sampling: Sampling{HeadOnly: true}, env: own},
		{sampling: Sampling{TracesPerSecond: 5},
			env: settings.Environment{"OTEL_TRACES_SAMPLER": "adaptive", name: "7"}, remarks: []string{
				`WithAdaptiveSampling(Sampling{TracesPerSecond: 5}) overrides OTEL_TRACES_SAMPLER_ARG="7"; remove the option to let the environment decide`,
			}},
		{sampling: Sampling{TracesPerSecond: 5}},
	} {
		r := resolve(tt.env, WithAdaptiveSampling(tt.sampling))
		require.Empty(t, r.Warnings())
		require.Equal(t, tt.remarks, r.Remarks())
	}
	own["OTEL_TRACES_SAMPLER"] = "always_on"
	require.Contains(t, said(own),
		"TELEMETRY_TRACES_PER_SECOND applies only to the adaptive sampler: the sampler is set by OTEL_TRACES_SAMPLER")
}

// every sets each variable of the table to something.
func every(rows []settings.Row) settings.Environment {
	env := settings.Environment{}
	for _, row := range rows {
		for _, name := range row.Describe().Env {
			env[name] = "x"
		}
	}
	delete(env, "OTEL_RESOURCE_ATTRIBUTES")
	delete(env, "OTEL_EXPORTER_OTLP_ENDPOINT") // what it reports is not under test here
	for _, s := range signal.All() {
		delete(env, settings.SignalVariable(s, "ENDPOINT"))
	}
	return env
}
