package telemetry

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// TestEverySettingFromOptionAndVariable tests every row in six ways.
func TestEverySettingFromOptionAndVariable(t *testing.T) {
	rowCases := rowCases(t)
	tested := 0
	for _, row := range settings.Rows() {
		info := row.Describe()
		p, ok := rowCases[info.Name]
		require.True(t, ok, "row %q has no case", info.Name)
		tested++
		t.Run(info.Name, func(t *testing.T) {
			require.Equal(t, info.Option != "", p.option != nil, "an option is documented exactly where there is one")
			require.Equal(t, len(info.Env) > 0, p.env != "", "a variable is documented exactly where there is one")
			def, _ := row.Report(settings.Resolve(&settings.Asked{}, nil).Config)

			t.Run("default", func(t *testing.T) {
				r := settings.Resolve(&settings.Asked{}, nil)
				_, origin := row.Report(r.Config)
				require.Equal(t, settings.OriginDefault, origin)
				require.Empty(t, r.Problems)
				for _, profile := range []string{settings.ProfileService, settings.ProfileHighThroughput,
					settings.ProfileEdge, settings.ProfileDevelopment} {
					r := settings.Resolve(&settings.Asked{Profile: &profile}, nil)
					require.Empty(t, r.Problems, "the defaults of profile %s are valid", profile)
				}
			})
			t.Run("option", func(t *testing.T) {
				if p.option == nil {
					return
				}
				requireValue(t, row, p.optionShown, info.Option, resolve(nil, p.option))
			})
			t.Run("environment", func(t *testing.T) {
				for _, variable := range info.Env {
					requireValue(t, row, p.shown(), variable, resolve(p.environment(variable, p.env)))
				}
			})
			t.Run("invalid option", func(t *testing.T) {
				if p.badOption == nil {
					return
				}
				r := resolve(nil, p.badOption)
				requireProblem(t, r, info, cmp.Or(p.badOptionName, info.Option), true)
				value, _ := row.Report(r.Config)
				require.Equal(t, def, value, "an invalid option leaves the default")
				for _, variable := range info.Env {
					value, origin := row.Report(resolve(p.environment(variable, p.env), p.badOption).Config)
					require.Equal(t, []string{p.shown(), variable}, []string{value, origin},
						"an invalid option leaves the variable")
				}
			})
			t.Run("invalid environment", func(t *testing.T) {
				if p.badEnv == "" {
					return
				}
				for _, variable := range info.Env {
					r := resolve(p.environment(variable, p.badEnv))
					requireProblem(t, r, info, variable, info.Strict)
					value, _ := row.Report(r.Config)
					require.Equal(t, def, value)
				}
			})
			t.Run("precedence", func(t *testing.T) {
				env := maps.Clone(p.with)
				if env == nil {
					env = settings.Environment{}
				}
				for i, variable := range info.Env {
					env[variable] = [...]string{p.env, p.env2}[i]
				}
				if len(info.Env) == 2 {
					require.NotEmpty(t, p.env2)
					requireValue(t, row, p.shown(), info.Env[0], resolve(env))
				}
				switch {
				case p.sum != "":
					requireValue(t, row, p.sum, info.Option+" and "+info.Env[0], resolve(env, p.option))
				case p.option != nil:
					requireValue(t, row, p.optionShown, info.Option, resolve(env, p.option))
				}
			})
		})
	}
	require.Len(t, rowCases, tested, "every case belongs to a row")
}

func TestKnownHTTPMethodsAreBounded(t *testing.T) {
	const variable = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"
	long, many := strings.Repeat("M", 32), make([]string, 64)
	for i := range many {
		many[i] = "M" + strconv.Itoa(i)
	}
	all := strings.Join(many, ",")
	for name, tc := range map[string]struct{ given, shown, warns string }{
		"longest":     {long, long, ""},
		"too long":    {long + "M,GET", "GET", `"` + long + `"... is too long`},
		"most":        {all, all, ""},
		"too many":    {all + ",GET", all, "it has 65 methods"},
		"one wrong":   {"GET,P T,PROPFIND", "GET,PROPFIND", `"P T" is not a method`},
		"only commas": {",,", "CONNECT,DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,QUERY,TRACE", "it has no method"},
	} {
		t.Run(name, func(t *testing.T) {
			r := resolve(settings.Environment{variable: tc.given})
			require.NoError(t, r.Err())
			value, _ := rowNamed(t, "HTTP methods").Report(r.Config)
			require.Equal(t, tc.shown, value)
			if tc.warns == "" {
				require.Empty(t, r.Warnings())
				return
			}
			require.Len(t, r.Warnings(), 1)
			require.Contains(t, r.Warnings()[0], variable+"=")
			require.Contains(t, r.Warnings()[0], tc.warns)
		})
	}
}

func TestAllProblemsAreReportedTogether(t *testing.T) {
	r := resolve(settings.Environment{"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_BSP_MAX_QUEUE_SIZE": "-1",
		"OTEL_CONFIG_FILE": "otel.yaml"},
		WithMetricInterval(-time.Second), ForLogs(WithServiceName("x")), WithProfile("fast"))
	err := r.Err()
	require.ErrorContains(t, err, `telemetry: OTEL_TRACES_EXPORTER="zipkin": there is no exporter "zipkin" in this library; `+
		`use a comma-separated list of otlp, console, none (send otlp to a collector that has a Zipkin exporter, or use WithSpanExporter); traces are off`)
	require.ErrorContains(t, err, `telemetry: WithMetricInterval("-1s") must be a whole number of milliseconds, from 1 to 86400000 (a day); metrics are off`)
	require.ErrorContains(t, err, "ForLogs")
	require.ErrorContains(t, err, "OTEL_CONFIG_FILE")
	require.ErrorContains(t, err, `telemetry: WithProfile("fast") is unknown; use service, high-throughput, edge or development; the option is ignored`)
	require.NotContains(t, err.Error(), "OTEL_BSP_MAX_QUEUE_SIZE", "a variable that falls back is a warning")
	require.Contains(t, strings.Join(r.Warnings(), "\n"),
		`OTEL_BSP_MAX_QUEUE_SIZE="-1" must be a whole number from 1 to 1048576`)
	for _, s := range signal.All() {
		require.False(t, r.Config.Signals[s].On)
	}
}

func TestAProblemSharedByAllSignalsIsReportedOnce(t *testing.T) {
	err := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/pigeon",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_LOGS_EXPORTER": "none"}).Err()
	require.Equal(t, 1, strings.Count(err.Error(), `"/no/pigeon"`))
	require.ErrorContains(t, err, `telemetry: OTEL_EXPORTER_OTLP_CERTIFICATE="/no/pigeon" cannot be read (no such file or directory); it must be a PEM file with at least one certificate`)
	require.ErrorContains(t, err, "; traces and metrics are off")
	warnings := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_TIMEOUT": "5s",
		"OTEL_METRIC_EXPORT_TIMEOUT": "5s"}).Warnings()
	require.Len(t, warnings, 2, "not what another variable says: %v", warnings)
	require.Contains(t, warnings[0], `OTEL_EXPORTER_OTLP_TIMEOUT="5s" must be a whole number of milliseconds`)
	warnings = resolve(settings.Environment{"LOG_LEVEL": "loud", "OTEL_ATTRIBUTE_COUNT_LIMIT": "many",
		"TELEMETRY_OTLP_LOG_LEVEL": "louder"}).Warnings()
	require.Len(t, warnings, 3, "each variable once: %v", warnings)
	require.Len(t, slices.DeleteFunc(warnings, func(w string) bool {
		return !strings.HasPrefix(w, "OTEL_ATTRIBUTE_COUNT_LIMIT=")
	}), 1)
	require.Contains(t, resolve(settings.Environment{"LOG_LEVEL": "loud"}).Warnings()[0],
		`LOG_LEVEL="loud" is unknown; use debug, info, warn or error`)
}

// TestAnUnknownValueWarnsAndFallsBack covers all settings with a fixed set of values. The
// specification requires a warning and that the setting is ignored.
func TestAnUnknownValueWarnsAndFallsBack(t *testing.T) {
	const unknown = "carrier-pigeon"
	names := map[string]string{ // a variable and what stays in force
		"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "gzip",
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp",
		"OTEL_TRACES_SAMPLER": "adaptive", "OTEL_PROPAGATORS": "tracecontext,baggage",
		"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE":        "cumulative",
		"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "explicit_bucket_histogram",
		"OTEL_METRICS_EXEMPLAR_FILTER":                             "trace_based",
		"OTEL_LOG_LEVEL":                                           "info", "LOG_LEVEL": "info",
		"TELEMETRY_CONSOLE_LOG_LEVEL": "info", "TELEMETRY_OTLP_LOG_LEVEL": "info",
		"TELEMETRY_LOG_FORMAT": "json", "TELEMETRY_CONSOLE_FORMAT": "auto", "TELEMETRY_CONSOLE_TRACES": "all",
		"TELEMETRY_CONSOLE_METRICS": "shutdown", "TELEMETRY_PROFILE": "service",
	}
	for variable, fallback := range names {
		r := resolve(settings.Environment{variable: unknown})
		require.NoError(t, r.Err(), variable)
		require.Len(t, r.Warnings(), 1, variable)
		require.Contains(t, r.Warnings()[0], variable+`="`+unknown+`"`)
		require.Contains(t, r.Warnings()[0], " is unknown; use ")
		for _, row := range settings.Rows() {
			if !slices.Contains(row.Describe().Env, variable) {
				continue
			}
			value, origin := row.Report(r.Config)
			require.Equal(t, settings.OriginDefault, origin, variable)
			// the sampler shows its figures too
			require.True(t, strings.HasPrefix(value, fallback), "%s: %s", variable, value)
		}
		for _, s := range signal.All() {
			require.True(t, r.Config.Signals[s].On, variable)
		}
	}
	r := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": unknown,
		"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
	require.Equal(t, settings.Setting[string]{Value: "grpc", Origin: "OTEL_EXPORTER_OTLP_PROTOCOL"},
		r.Config.Signals[signal.Logs].Protocol, "the general variable is next")
}

func TestExporterListsUseTheKnownNames(t *testing.T) {
	for _, tt := range []struct {
		value, exporters, says string
		off                    bool
	}{
		{value: "otlp,zipkin", exporters: "otlp",
			says: `"zipkin" (send otlp to a collector that has a Zipkin exporter, or use WithSpanExporter) cannot be used here; otlp stays in force`},
		{value: "pigeon , Console,dove", exporters: "console",
			says: `"pigeon" and "dove" cannot be used here; console stays in force`},
		{value: "none,zipkin", exporters: "none", says: "none stays in force", off: true},
		{value: "pigeon,zipkin", exporters: "otlp", says: `there is no exporter "zipkin" in this library`, off: true},
		{value: "prometheus", exporters: "otlp", says: "use WithMetricReader with a Prometheus reader", off: true},
		{value: "jaeger", exporters: "otlp", says: "Jaeger takes otlp", off: true},
		{value: "logging", exporters: "otlp", says: "did you mean console?", off: true},
		{value: "otlp/stdout", exporters: "otlp", says: "console writes JSON", off: true},
		{value: "none,otlp", exporters: "otlp", says: "none cannot be combined with other names", off: true},
		{value: "pigeon,dove", exporters: "otlp", says: `"pigeon" is unknown; use`},
	} {
		for _, s := range signal.All() {
			r := resolve(settings.Environment{"OTEL_" + strings.ToUpper(s.String()) + "_EXPORTER": tt.value})
			require.Equal(t, tt.exporters, strings.Join(r.Config.Signals[s].Exporters.Value, ","), tt.value)
			off := tt.off && (s != signal.Traces || tt.exporters != "none") // without an exporter, spans still have ids
			require.Equal(t, !off, r.Config.Signals[s].On, tt.value)
			require.Len(t, r.Problems, 1, tt.value)
			require.ErrorContains(t, r.Problems[0], tt.says, tt.value)
		}
	}
}

func TestBatchSizeStaysWithinQueueSize(t *testing.T) {
	tests := []struct {
		name         string
		env          settings.Environment
		opts         []Option
		queue, batch int
		problem      string
		on           bool
	}{
		{name: "a small queue shrinks the default batch", env: settings.Environment{"OTEL_BSP_MAX_QUEUE_SIZE": "10"},
			queue: 10, batch: 10, on: true},
		{name: "equal is allowed", env: settings.Environment{"OTEL_BSP_MAX_QUEUE_SIZE": "10",
			"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"}, queue: 10, batch: 10, on: true},
		{
			name: "a batch larger than the queue in the environment is cut", on: true, queue: 10, batch: 10,
			problem: "must be at most the queue size, 10",
			env:     settings.Environment{"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "11"},
		},
		{
			name: "the operator's queue cuts the code's batch", on: true, queue: 10, batch: 10, problem: "using 10",
			env:  settings.Environment{"OTEL_BSP_MAX_QUEUE_SIZE": "10"},
			opts: []Option{WithSpanBatch(Batch{MaxExportBatchSize: 11})},
		},
		{
			name: "a batch larger than the queue by option is an error", queue: 10, batch: 10,
			problem: "traces are off",
			opts:    []Option{WithSpanBatch(Batch{MaxQueueSize: 10, MaxExportBatchSize: 11})},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := resolve(tt.env, tt.opts...)
			require.Equal(t, tt.queue, r.Config.SpanBatch.MaxQueueSize.Value)
			require.Equal(t, tt.batch, r.Config.SpanBatch.MaxExportBatchSize.Value)
			require.Equal(t, tt.on, r.Config.Signals[signal.Traces].On)
			if tt.problem == "" {
				require.Empty(t, r.Problems)
			} else {
				require.Len(t, r.Problems, 1)
				require.ErrorContains(t, r.Problems[0], tt.problem)
			}
		})
	}
}

func TestMistakesInUnusedSettingsDisableNothing(t *testing.T) {
	wrong := settings.Environment{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "bogus://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
		"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such",
	}
	given := []Option{WithSpanExporter(tracetest.NewNoopExporter()), WithMetricReader(sdkmetric.NewManualReader()),
		WithLogExporter(discardLogs{})}
	r := resolve(wrong, given...)
	require.NoError(t, r.Err())
	require.Contains(t, strings.Join(r.Warnings(), ""),
		"it is not used, since traces, metrics and logs are not sent over OTLP")
	for _, s := range signal.All() {
		require.True(t, r.Config.Signals[s].On)
	}
	require.NoError(t, resolve(wrong, WithoutTraces(), WithoutMetrics(), WithoutLogs()).Err())
	wrong["OTEL_SDK_DISABLED"] = "true"
	require.NoError(t, resolve(wrong).Err())
	r = resolve(settings.Environment{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such"}, WithTLSConfig(&tls.Config{}))
	require.NoError(t, r.Err(), "WithTLSConfig replaces the files")
}

// The development profile sends nothing over OTLP without an endpoint. A wrong endpoint shows that
// OTLP was wanted.
func TestOTLPMistakesDoNotDisableTheDevelopmentConsole(t *testing.T) {
	for name, wrong := range map[string]string{"OTEL_EXPORTER_OTLP_CLIENT_KEY": "/no/key",
		"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": "/no/such"} {
		r := resolve(settings.Environment{"TELEMETRY_PROFILE": "development", name: wrong})
		require.NoError(t, r.Err())
		require.Contains(t, strings.Join(r.Warnings(), ""), "it is not used, since traces")
		for _, s := range signal.All() {
			require.True(t, r.Config.Signals[s].Sends(settings.ExporterConsole), name)
		}
		require.Error(t, resolve(settings.Environment{"TELEMETRY_PROFILE": "development",
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c", name: wrong}).Err())
	}
	r := resolve(settings.Environment{"TELEMETRY_PROFILE": "development",
		"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "bogus://x"})
	require.ErrorContains(t, r.Err(), "logs are off")
	require.False(t, r.Config.Signals[signal.Logs].On)
	require.True(t, r.Config.Signals[signal.Traces].Sends(settings.ExporterConsole))
}

// The start line describes the sampler, and the description of ParentBased(nil) panics. So would
// each span.
func TestASamplerThatPanicsIsRejected(t *testing.T) {
	for _, broken := range []sdktrace.Sampler{sdktrace.ParentBased(nil), &AdaptiveSampler{}} {
		r := resolve(nil, WithSampler(broken))
		require.ErrorContains(t, r.Err(), "telemetry: WithSampler: its Description fails: panic: runtime error")
		require.False(t, r.Config.Signals[signal.Traces].On)
		require.True(t, r.Config.Signals[signal.Logs].On)
	}
}

// A signal that goes to another destination must be able to drop the shared headers and TLS
// settings.
func TestNilForOneSignalClearsTheSharedSetting(t *testing.T) {
	token := func(context.Context) (map[string]string, error) { return map[string]string{"authorization": "t"}, nil }
	r := resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c"},
		WithHeaderFunc(token), WithTLSConfig(&tls.Config{ServerName: "ours"}),
		ForLogs(WithHeaderFunc(nil), WithTLSConfig(nil)))
	require.NoError(t, r.Err())
	require.NotNil(t, r.Config.Signals[signal.Traces].HeaderFunc)
	require.Equal(t, "ours", r.Config.Signals[signal.Traces].TLS.ServerName)
	require.Nil(t, r.Config.Signals[signal.Logs].HeaderFunc)
	require.Empty(t, r.Config.Signals[signal.Logs].TLS.ServerName)
	require.Equal(t, settings.HeaderSource{},
		resolve(nil, WithHeaderFunc(token), WithHeaderFunc(nil)).Config.Signals[signal.Traces].HeaderSource())
}

func TestNumbersOutOfRangeAreRejected(t *testing.T) {
	const queue, delay = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_SCHEDULE_DELAY"
	for value, valid := range map[string]bool{"0": false, "1": true, "1048576": true, "1048577": false,
		"4611686018427387904": false, "1e3": false} {
		require.Equal(t, valid, len(resolve(settings.Environment{queue: value}).Problems) == 0, value)
	}
	for value, valid := range map[string]bool{"0": false, "1": true, "86400000": true, "86400001": false,
		"-9223372036855": false, "9223372036854775807": false} {
		require.Equal(t, valid, len(resolve(settings.Environment{delay: value}).Problems) == 0, value)
	}
	require.Error(t, resolve(nil, WithShutdownTimeout(math.MaxInt64)).Err())
	require.Error(t, resolve(nil, WithSpanBatch(Batch{MaxQueueSize: math.MaxInt})).Err())
}

func TestProfilesChangeDefaultsOnly(t *testing.T) {
	r := resolve(nil, WithProfile(ProfileEdge))
	require.Equal(t, settings.Setting[int]{Value: 1024, Origin: "profile edge"}, r.Config.SpanBatch.MaxQueueSize)
	r = resolve(settings.Environment{"OTEL_BSP_MAX_QUEUE_SIZE": "5000"}, WithProfile(ProfileEdge))
	require.Equal(t, settings.Setting[int]{Value: 5000, Origin: "OTEL_BSP_MAX_QUEUE_SIZE"},
		r.Config.SpanBatch.MaxQueueSize, "a profile never beats the operator")

	r = resolve(nil, WithProfile(ProfileDevelopment))
	require.Equal(t, []string{settings.ExporterConsole}, r.Config.Signals[signal.Traces].Exporters.Value)
	r = resolve(settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}, WithProfile(ProfileDevelopment))
	require.Equal(t, []string{settings.ExporterOTLP}, r.Config.Signals[signal.Traces].Exporters.Value)
}

func TestDisabledKeepsThePropagators(t *testing.T) {
	r := resolve(settings.Environment{"OTEL_SDK_DISABLED": "true"})
	for _, s := range signal.All() {
		require.False(t, r.Config.Signals[s].On)
	}
	require.ElementsMatch(t, []string{"traceparent", "tracestate", "baggage"},
		r.Config.Propagators.Value.Build().Fields())
}

func TestAnEmptyVariableCountsAsUnset(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", " ")
	t.Setenv("OTEL_SERVICE_NAME", "")
	require.NotContains(t, settings.ReadEnvironment(), "OTEL_BSP_MAX_QUEUE_SIZE")
	require.NotContains(t, settings.ReadEnvironment(), "OTEL_SERVICE_NAME")
}

func TestANilLogLevelIsAnError(t *testing.T) {
	require.Error(t, resolve(nil, WithLogLevel((*slog.LevelVar)(nil))).Err(), "not a panic at the first line")
}

// rowCase is what a row is tested with. Values are compared as Describe shows them.
type rowCase struct {
	option, badOption Option
	badOptionName     string // "" means: as the row says
	optionShown       string
	env, envShown     string // envShown "" means: as env
	env2              string // another valid value, for the less specific variable
	badEnv            string // "" where every text is valid
	secret            bool
	with              settings.Environment // what else has to be set for the variables to count
	sum               string               // of option and variable, where they add up
}

// environment sets a variable to a value, with the other variables that the case needs.
func (p rowCase) environment(variable, value string) settings.Environment {
	env := settings.Environment{variable: value}
	maps.Copy(env, p.with)
	return env
}

func (p rowCase) shown() string {
	if p.envShown != "" {
		return p.envShown
	}
	return p.env
}

// rowCases has one entry for each row of the table; a row without one fails the test.
func rowCases(t *testing.T) map[string]rowCase {
	t.Helper()
	certs := writeCertificates(t)
	duration := func(option func(time.Duration) Option) rowCase {
		p := rowCase{env: "1234", envShown: "1.234s", env2: "77", badEnv: "0"}
		if option != nil {
			p.option, p.optionShown, p.badOption = option(7*time.Second), "7s", option(time.Nanosecond)
		}
		return p
	}
	number := func(option func(int) Option) rowCase {
		p := rowCase{env: "300", env2: "200", badEnv: "-1"}
		if option != nil {
			p.option, p.optionShown, p.badOption = option(7), "7", option(-1)
		}
		return p
	}
	limit := rowCase{env: "300", env2: "200", badEnv: "-2"}
	name := func(option func(string) Option) rowCase {
		return rowCase{option: option("mine"), optionShown: "mine", badOption: option(" "), env: "theirs"}
	}
	enumeration := func(env, env2 string) rowCase { return rowCase{env: env, env2: env2, badEnv: "no-such"} }

	all := map[string]rowCase{
		"profile": {
			option: WithProfile(ProfileEdge), optionShown: "edge", badOption: WithProfile("egde"),
			env: "HIGH-throughput", envShown: "high-throughput", badEnv: "fast",
		},
		"disabled": {option: WithDisabled(true), optionShown: "true", env: "FALSE", envShown: "false",
			badEnv: "yes"},
		"self-log level":   enumeration("debug", "error"),
		"console format":   enumeration("tree", "json"),
		"shutdown timeout": duration(WithShutdownTimeout),
		"spool directory": {
			option: WithSpool("/mine", 0), optionShown: "/mine", badOption: WithSpool(" ", 0), env: "/theirs",
		},
		"spool bytes": {
			option: WithSpool("/mine", 7), optionShown: "7", badOption: WithSpool("/mine", -1), env: "300", badEnv: "0",
		},
		"probe":                       {env: "FALSE", envShown: "false", badEnv: "off"},
		"service.name":                name(WithServiceName),
		"service.version":             optionOnly(name(WithServiceVersion)),
		"service.namespace":           optionOnly(name(WithServiceNamespace)),
		"deployment.environment.name": optionOnly(name(WithEnvironment)),
		"resource attributes": {
			option: WithResourceAttributes(attribute.String("a", "b")), optionShown: "a=b",
			badOption: WithResourceAttributes(attribute.String("", "b")),
		},
		"resource attributes of the environment": {env: "a=b%20c, d=e", envShown: "a=b c,d=e"},
		"propagators": {
			option: WithPropagators(propagation.Baggage{}), optionShown: "baggage", badOption: WithPropagators(nil),
			env: "Baggage, tracecontext,baggage", envShown: "baggage,tracecontext", badEnv: "b4",
		},
		"sampler": {
			option: WithSampler(sdktrace.NeverSample()), optionShown: "AlwaysOffSampler",
			badOption: WithAdaptiveSampling(Sampling{TracesPerSecond: -1}), badOptionName: "WithAdaptiveSampling",
			env: "TraceIDRatio", envShown: "traceidratio", badEnv: "jaeger_remote",
		},
		"sampler argument": {env: "0.25", badEnv: "1.5"},
		"traces per second": {
			option: WithAdaptiveSampling(Sampling{TracesPerSecond: 7}), optionShown: "7",
			env: "20", env2: "0.5", badEnv: "0", with: settings.Environment{"OTEL_TRACES_SAMPLER": "Adaptive"},
		},
		"slow threshold": {
			option: WithAdaptiveSampling(Sampling{SlowThreshold: 7 * time.Second}), optionShown: "7s", env: "1234",
			envShown: "1.234s", badEnv: "600001",
		},

		"span queue size": number(func(n int) Option {
			return WithSpanBatch(Batch{MaxQueueSize: n,
				MaxExportBatchSize: 1})
		}),
		"span batch size":         number(func(n int) Option { return WithSpanBatch(Batch{MaxExportBatchSize: n}) }),
		"span concurrent exports": number(func(n int) Option { return WithSpanBatch(Batch{MaxConcurrentExports: n}) }),
		"span queue bytes":        number(nil),
		"span schedule delay":     duration(func(d time.Duration) Option { return WithSpanBatch(Batch{ScheduleDelay: d}) }),
		"span export timeout":     duration(func(d time.Duration) Option { return WithSpanBatch(Batch{ExportTimeout: d}) }),
		"log queue size": number(func(n int) Option {
			return WithLogBatch(Batch{MaxQueueSize: n,
				MaxExportBatchSize: 1})
		}),
		"log batch size":         number(func(n int) Option { return WithLogBatch(Batch{MaxExportBatchSize: n}) }),
		"log concurrent exports": number(func(n int) Option { return WithLogBatch(Batch{MaxConcurrentExports: n}) }),
		"log queue bytes":        number(nil),
		"log schedule delay":     duration(func(d time.Duration) Option { return WithLogBatch(Batch{ScheduleDelay: d}) }),
		"log export timeout":     duration(func(d time.Duration) Option { return WithLogBatch(Batch{ExportTimeout: d}) }),

		"span attribute value length": limit, "span attributes": limit, "span events": limit, "span links": limit,
		"span event attributes": limit, "span link attributes": limit,
		"log attribute value length": limit, "log attributes": limit,

		"metric interval":        duration(WithMetricInterval),
		"metric timeout":         duration(nil),
		"metric temporality":     enumeration("delta", "lowmemory"),
		"histogram aggregation":  enumeration("base2_exponential_bucket_histogram", ""),
		"console traces":         {env: "Errors,slow", envShown: "errors,slow", badEnv: "everything"},
		"console slow threshold": duration(nil), "console metrics": enumeration("changes", ""),
		"exemplar filter":          enumeration("always_off", ""),
		"metric cardinality limit": number(nil),
		"self-metrics":             {env: "FALSE", envShown: "false", badEnv: "no"},
		"runtime metrics": {option: WithoutRuntimeMetrics(), optionShown: "false", env: "False",
			envShown: "false", badEnv: "off"},

		"HTTP methods": {env: "GET, PROPFIND,,GET,get", envShown: "GET,PROPFIND,get", badEnv: "G T"},

		"redaction": {
			option: WithRedaction(Redaction{Off: true}), optionShown: "false", env: "False", envShown: "false",
			badEnv: "off",
		},
		"redacted keys": {
			option: WithRedaction(Redaction{Keys: []string{"email"}}), optionShown: "email",
			badOption: WithRedaction(Redaction{Keys: []string{"."}}),
			env:       "email, ,phone.number", envShown: "email,phone.number", badEnv: "-", sum: "email,phone.number",
		},
		"keys without redaction": {
			option: WithRedaction(Redaction{AllowKeys: []string{"order.id"}}), optionShown: "order.id",
			badOption: WithRedaction(Redaction{AllowKeys: []string{strings.Repeat("x", 49)}}),
			env:       "article", badEnv: strings.Repeat("x", 49), sum: "order.id,article",
		},
		"redacted values": {
			option:      WithRedaction(Redaction{Values: []*regexp.Regexp{regexp.MustCompile("cust-[0-9]+")}}),
			optionShown: "cust-[0-9]+",
			badOption:   WithRedaction(Redaction{Values: []*regexp.Regexp{regexp.MustCompile("x*")}}),
		},

		"console log level": {
			option: WithLogLevel(slog.LevelError), optionShown: "error", badOption: WithLogLevel(nil),
			env: "WARNING", envShown: "warn", env2: "debug", badEnv: "loud",
		},
		"OTLP log level": {
			option: ForLogs(WithLogLevel(slog.LevelError)), optionShown: "error", badOption: ForLogs(WithLogLevel(nil)),
			env: "WARN", envShown: "warn", env2: "debug", badEnv: "loud",
		},
		"console log format": {
			option: WithLogFormat(LogFormatText), optionShown: "text", badOption: WithLogFormat("xml"), env: "TEXT",
			envShown: "text", badEnv: "xml",
		},
	}
	for _, v := range settings.KubernetesVariables {
		all[v.Attribute] = rowCase{env: "theirs"}
	}
	forSignal := [...]func(...Option) Option{signal.Traces: ForTraces, signal.Metrics: ForMetrics, signal.Logs: ForLogs}
	given := [...][2]Option{
		signal.Traces:  {WithSpanExporter(tracetest.NewNoopExporter()), WithSpanExporter(nil)},
		signal.Metrics: {WithMetricReader(sdkmetric.NewManualReader()), WithMetricReader(nil)},
		signal.Logs:    {WithLogExporter(discardLogs{}), WithLogExporter((*discardPointer)(nil))},
	}
	for _, s := range signal.All() {
		scope := forSignal[s]
		tlsOption := scope(WithTLSConfig(&tls.Config{}))
		all[s.String()+" exporter"] = rowCase{
			option: given[s][0], optionShown: settings.ExporterGiven, badOption: given[s][1],
			env: "OTLP, console", envShown: "otlp,console", badEnv: "zipkin",
		}
		all[s.String()+" endpoint"] = rowCase{
			option: scope(WithEndpoint("https://a:1/base")), optionShown: "https://a:1/base",
			badOption: scope(WithEndpoint("ftp://a")),
			env:       "http://b:2", env2: "http://c:3", badEnv: "http://:4318",
		}
		all[s.String()+" protocol"] = rowCase{
			option: scope(WithProtocol(ProtocolGRPC)), optionShown: "grpc", badOption: scope(WithProtocol("GRPC")),
			env: "Grpc", envShown: "grpc", env2: "http/protobuf", badEnv: "http/json",
		}
		all[s.String()+" headers"] = rowCase{
			option: scope(WithHeaders(map[string]string{"a": "s3cr3t"})), optionShown: "a=<redacted>",
			badOption: scope(WithHeaders(map[string]string{"a b": "s3cr3t"})),
			env:       "x-key=s3cr%33t , b=c", envShown: "b=<redacted>,x-key=<redacted>", env2: "c=d", badEnv: "",
			secret: true,
		}
		all[s.String()+" token file"] = rowCase{option: scope(WithTokenFile("/run/a")), optionShown: "/run/a",
			env: "/run/b", env2: "/run/c"}
		all[s.String()+" compression"] = rowCase{
			option: scope(WithCompression(CompressionNone)), optionShown: "none",
			badOption: scope(WithCompression("zstd")),
			env:       "NONE", envShown: "none", env2: "gzip", badEnv: "zstd",
		}
		all[s.String()+" timeout"] = duration(nil)
		all[s.String()+" insecure"] = rowCase{env: "True", envShown: "true", env2: "false", badEnv: "1"}
		secure := settings.Environment{settings.SignalVariable(s, "ENDPOINT"): "https://c"}
		all[s.String()+" certificate"] = rowCase{with: secure, option: tlsOption, optionShown: settings.ExporterGiven,
			env: certs.ServerCertFile, env2: certs.CAFile, badEnv: "/no/such.pem"}
		all[s.String()+" client certificate"] = rowCase{with: secure, option: tlsOption,
			optionShown: settings.ExporterGiven, env: certs.ClientCertFile, env2: certs.CAFile,
			badEnv: certs.ClientKeyFile}
		all[s.String()+" client key"] = rowCase{with: secure, option: tlsOption, optionShown: settings.ExporterGiven,
			env: certs.ClientKeyFile, env2: certs.ServerKeyFile, badEnv: "/no/such.pem"}
	}
	return all
}

func optionOnly(p rowCase) rowCase {
	p.env = ""
	return p
}

func requireValue(t *testing.T, row settings.Row, value, origin string, r *settings.Resolution) {
	t.Helper()
	gotValue, gotOrigin := row.Report(r.Config)
	require.Equal(t, []string{value, origin}, []string{gotValue, gotOrigin})
	for _, p := range r.Problems {
		require.NotEqual(t, row.Describe().Name, p.Setting, p.Error())
	}
}

// requireProblem checks that a wrong value is named with its source, and that its signals are off
// exactly if it is an error of Init.
func requireProblem(t *testing.T, r *settings.Resolution, info settings.Info, origin string, fatal bool) {
	t.Helper()
	require.NotEmpty(t, r.Problems)
	found := false
	for _, p := range r.Problems {
		if p.Setting != info.Name || p.Origin != origin {
			continue
		}
		found = true
		require.Equal(t, fatal, p.Fatal)
		require.Regexp(t, "must |; use ", p.Error(), "the message says what was expected")
		require.NotContains(t, p.Error(), "s3cr3t")
	}
	require.True(t, found, "no problem names %s and %s: %v", info.Name, origin, r.Problems)
	for _, s := range info.Signals {
		require.Equal(t, !fatal, r.Config.Signals[s].On, "%s", s)
	}
	if fatal {
		require.ErrorContains(t, r.Err(), origin)
	} else {
		require.NoError(t, r.Err())
		require.Contains(t, strings.Join(r.Warnings(), "\n"), origin)
	}
}
