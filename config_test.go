package telemetry

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"log/slog"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// probe is what a row is tested with. Values are compared as Describe shows them.
type probe struct {
	option, badOption Option
	badOptionName     string // "" means: as the row says
	optionShown       string
	env, envShown     string // envShown "" means: as env
	env2              string // another valid value, for the less specific variable
	badEnv            string // "" where every text is valid
	secret            bool
	with              environment // what else has to be set for the variables to count
	sum               string      // of option and variable, where they add up
}

// environment is variable with value, and what it needs beside it.
func (p probe) environment(variable, value string) environment {
	env := environment{variable: value}
	maps.Copy(env, p.with)
	return env
}

func (p probe) shown() string {
	if p.envShown != "" {
		return p.envShown
	}
	return p.env
}

// probes has one entry for each row of the table; a row without one fails the test.
func probes(t *testing.T) map[string]probe {
	t.Helper()
	certs := writeCertificates(t)
	duration := func(option func(time.Duration) Option) probe {
		p := probe{env: "1234", envShown: "1.234s", env2: "77", badEnv: "0"}
		if option != nil {
			p.option, p.optionShown, p.badOption = option(7*time.Second), "7s", option(time.Nanosecond)
		}
		return p
	}
	number := func(option func(int) Option) probe {
		p := probe{env: "300", env2: "200", badEnv: "-1"}
		if option != nil {
			p.option, p.optionShown, p.badOption = option(7), "7", option(-1)
		}
		return p
	}
	limit := probe{env: "300", env2: "200", badEnv: "-2"}
	name := func(option func(string) Option) probe {
		return probe{option: option("mine"), optionShown: "mine", badOption: option(" "), env: "theirs"}
	}
	enumeration := func(env, env2 string) probe { return probe{env: env, env2: env2, badEnv: "no-such"} }

	all := map[string]probe{
		"profile": {
			option: WithProfile(ProfileEdge), optionShown: "edge", badOption: WithProfile("egde"),
			env: "HIGH-throughput", envShown: "high-throughput", badEnv: "fast",
		},
		"disabled":         {option: WithDisabled(true), optionShown: "true", env: "FALSE", envShown: "false", badEnv: "yes"},
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
			option: WithSampler(sdktrace.NeverSample()), optionShown: "AlwaysOffSampler", badOption: WithAdaptiveSampling(Sampling{TracesPerSecond: -1}), badOptionName: "WithAdaptiveSampling",
			env: "TraceIDRatio", envShown: "traceidratio", badEnv: "jaeger_remote",
		},
		"sampler argument": {env: "0.25", badEnv: "1.5"},
		"traces per second": {
			option: WithAdaptiveSampling(Sampling{TracesPerSecond: 7}), optionShown: "7",
			env: "20", env2: "0.5", badEnv: "0", with: environment{"OTEL_TRACES_SAMPLER": "Adaptive"},
		},
		"slow threshold": {
			option: WithAdaptiveSampling(Sampling{SlowThreshold: 7 * time.Second}), optionShown: "7s", env: "1234", envShown: "1.234s", badEnv: "600001",
		},

		"span queue size":         number(func(n int) Option { return WithSpanBatch(Batch{MaxQueueSize: n, MaxExportBatchSize: 1}) }),
		"span batch size":         number(func(n int) Option { return WithSpanBatch(Batch{MaxExportBatchSize: n}) }),
		"span concurrent exports": number(func(n int) Option { return WithSpanBatch(Batch{MaxConcurrentExports: n}) }),
		"span queue bytes":        number(nil),
		"span schedule delay":     duration(func(d time.Duration) Option { return WithSpanBatch(Batch{ScheduleDelay: d}) }),
		"span export timeout":     duration(func(d time.Duration) Option { return WithSpanBatch(Batch{ExportTimeout: d}) }),
		"log queue size":          number(func(n int) Option { return WithLogBatch(Batch{MaxQueueSize: n, MaxExportBatchSize: 1}) }),
		"log batch size":          number(func(n int) Option { return WithLogBatch(Batch{MaxExportBatchSize: n}) }),
		"log concurrent exports":  number(func(n int) Option { return WithLogBatch(Batch{MaxConcurrentExports: n}) }),
		"log queue bytes":         number(nil),
		"log schedule delay":      duration(func(d time.Duration) Option { return WithLogBatch(Batch{ScheduleDelay: d}) }),
		"log export timeout":      duration(func(d time.Duration) Option { return WithLogBatch(Batch{ExportTimeout: d}) }),

		"span attribute value length": limit, "span attributes": limit, "span events": limit, "span links": limit,
		"span event attributes": limit, "span link attributes": limit,
		"log attribute value length": limit, "log attributes": limit,

		"metric interval":          duration(WithMetricInterval),
		"metric timeout":           duration(nil),
		"metric temporality":       enumeration("delta", "lowmemory"),
		"histogram aggregation":    enumeration("base2_exponential_bucket_histogram", ""),
		"console traces":           {env: "Errors,slow", envShown: "errors,slow", badEnv: "everything"},
		"console slow threshold":   duration(nil),
		"console metrics":          enumeration("changes", ""),
		"exemplar filter":          enumeration("always_off", ""),
		"metric cardinality limit": number(nil),
		"self-metrics":             {env: "FALSE", envShown: "false", badEnv: "no"},
		"runtime metrics":          {option: WithoutRuntimeMetrics(), optionShown: "false", env: "False", envShown: "false", badEnv: "off"},

		"redaction": {
			option: WithRedaction(Redaction{Off: true}), optionShown: "false", env: "False", envShown: "false", badEnv: "off",
		},
		"redacted keys": {
			option: WithRedaction(Redaction{Keys: []string{"email"}}), optionShown: "email", badOption: WithRedaction(Redaction{Keys: []string{"."}}),
			env: "email, ,phone.number", envShown: "email,phone.number", badEnv: "-", sum: "email,phone.number",
		},
		"keys without redaction": {
			option: WithRedaction(Redaction{AllowKeys: []string{"order.id"}}), optionShown: "order.id",
			badOption: WithRedaction(Redaction{AllowKeys: []string{strings.Repeat("x", 49)}}),
			env:       "article", badEnv: strings.Repeat("x", 49), sum: "order.id,article",
		},
		"redacted values": {
			option: WithRedaction(Redaction{Values: []*regexp.Regexp{regexp.MustCompile("cust-[0-9]+")}}), optionShown: "cust-[0-9]+",
			badOption: WithRedaction(Redaction{Values: []*regexp.Regexp{regexp.MustCompile("x*")}}),
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
			option: WithLogFormat(LogFormatText), optionShown: "text", badOption: WithLogFormat("xml"), env: "TEXT", envShown: "text", badEnv: "xml",
		},
	}
	for _, v := range kubernetesVariables {
		all[v.attribute] = probe{env: "theirs"}
	}
	forSignal := [...]func(...Option) Option{ForTraces, ForMetrics, ForLogs}
	given := [...][2]Option{
		{WithSpanExporter(tracetest.NewNoopExporter()), WithSpanExporter(nil)},
		{WithMetricReader(sdkmetric.NewManualReader()), WithMetricReader(nil)},
		{WithLogExporter(discardLogs{}), WithLogExporter((*discardPointer)(nil))},
	}
	for _, s := range allSignals() {
		scope := forSignal[s]
		tlsOption := scope(WithTLSConfig(&tls.Config{}))
		all[s.String()+" exporter"] = probe{
			option: given[s][0], optionShown: exporterGiven, badOption: given[s][1],
			env: "OTLP, console", envShown: "otlp,console", badEnv: "zipkin",
		}
		all[s.String()+" endpoint"] = probe{
			option: scope(WithEndpoint("https://a:1/base")), optionShown: "https://a:1/base", badOption: scope(WithEndpoint("ftp://a")),
			env: "http://b:2", env2: "http://c:3", badEnv: "http://:4318",
		}
		all[s.String()+" protocol"] = probe{
			option: scope(WithProtocol(ProtocolGRPC)), optionShown: "grpc", badOption: scope(WithProtocol("GRPC")),
			env: "Grpc", envShown: "grpc", env2: "http/protobuf", badEnv: "http/json",
		}
		all[s.String()+" headers"] = probe{
			option: scope(WithHeaders(map[string]string{"a": "s3cr3t"})), optionShown: "a=<redacted>",
			badOption: scope(WithHeaders(map[string]string{"a b": "s3cr3t"})),
			env:       "x-key=s3cr%33t , b=c", envShown: "b=<redacted>,x-key=<redacted>", env2: "c=d", badEnv: "", secret: true,
		}
		all[s.String()+" token file"] = probe{option: scope(WithTokenFile("/run/a")), optionShown: "/run/a", env: "/run/b", env2: "/run/c"}
		all[s.String()+" compression"] = probe{
			option: scope(WithCompression(CompressionNone)), optionShown: "none", badOption: scope(WithCompression("zstd")),
			env: "NONE", envShown: "none", env2: "gzip", badEnv: "zstd",
		}
		all[s.String()+" timeout"] = duration(nil)
		all[s.String()+" insecure"] = probe{env: "True", envShown: "true", env2: "false", badEnv: "1"}
		secure := environment{signalEnv(s, "ENDPOINT"): "https://c"}
		all[s.String()+" certificate"] = probe{with: secure, option: tlsOption, optionShown: exporterGiven, env: certs.ServerCertFile, env2: certs.CAFile, badEnv: "/no/such.pem"}
		all[s.String()+" client certificate"] = probe{with: secure, option: tlsOption, optionShown: exporterGiven, env: certs.ClientCertFile, env2: certs.CAFile, badEnv: certs.ClientKeyFile}
		all[s.String()+" client key"] = probe{with: secure, option: tlsOption, optionShown: exporterGiven, env: certs.ClientKeyFile, env2: certs.ServerKeyFile, badEnv: "/no/such.pem"}
	}
	return all
}

func optionOnly(p probe) probe {
	p.env = ""
	return p
}

// TestSettings tries every row in six ways.
func TestSettings(t *testing.T) {
	probes := probes(t)
	tested := 0
	for _, row := range settings() {
		info := row.describe()
		p, ok := probes[info.name]
		require.True(t, ok, "row %q has no probe", info.name)
		tested++
		t.Run(info.name, func(t *testing.T) {
			require.Equal(t, info.option != "", p.option != nil, "an option is documented exactly where there is one")
			require.Equal(t, len(info.env) > 0, p.env != "", "a variable is documented exactly where there is one")
			def, _ := row.report(resolveConfig(&options{}, nil).cfg)

			t.Run("default", func(t *testing.T) {
				r := resolveConfig(&options{}, nil)
				_, origin := row.report(r.cfg)
				require.Equal(t, originDefault, origin)
				require.Empty(t, r.problems)
				for _, profile := range []Profile{ProfileService, ProfileHighThroughput, ProfileEdge, ProfileDevelopment} {
					r := resolveConfig(&options{profile: &profile}, nil)
					require.Empty(t, r.problems, "the defaults of profile %s are valid", profile)
				}
			})
			t.Run("option", func(t *testing.T) {
				if p.option == nil {
					return
				}
				requireValue(t, row, p.optionShown, info.option, resolve(nil, p.option))
			})
			t.Run("environment", func(t *testing.T) {
				for _, variable := range info.env {
					requireValue(t, row, p.shown(), variable, resolve(p.environment(variable, p.env)))
				}
			})
			t.Run("invalid option", func(t *testing.T) {
				if p.badOption == nil {
					return
				}
				r := resolve(nil, p.badOption)
				requireProblem(t, r, info, cmp.Or(p.badOptionName, info.option), true)
				value, _ := row.report(r.cfg)
				require.Equal(t, def, value, "an invalid option leaves the default")
				for _, variable := range info.env {
					value, origin := row.report(resolve(p.environment(variable, p.env), p.badOption).cfg)
					require.Equal(t, []string{p.shown(), variable}, []string{value, origin}, "an invalid option leaves the variable")
				}
			})
			t.Run("invalid environment", func(t *testing.T) {
				if p.badEnv == "" {
					return
				}
				for _, variable := range info.env {
					r := resolve(p.environment(variable, p.badEnv))
					requireProblem(t, r, info, variable, info.strict)
					value, _ := row.report(r.cfg)
					require.Equal(t, def, value)
				}
			})
			t.Run("precedence", func(t *testing.T) {
				env := maps.Clone(p.with)
				if env == nil {
					env = environment{}
				}
				for i, variable := range info.env {
					env[variable] = [...]string{p.env, p.env2}[i]
				}
				if len(info.env) == 2 {
					require.NotEmpty(t, p.env2)
					requireValue(t, row, p.shown(), info.env[0], resolve(env))
				}
				switch {
				case p.sum != "":
					requireValue(t, row, p.sum, info.option+" and "+info.env[0], resolve(env, p.option))
				case p.option != nil:
					requireValue(t, row, p.optionShown, info.option, resolve(env, p.option))
				}
			})
		})
	}
	require.Len(t, probes, tested, "every probe belongs to a row")
}

func resolve(env environment, opts ...Option) *resolution {
	o := &options{}
	o.record(opts)
	return resolveConfig(o, env)
}

func requireValue(t *testing.T, row row, value, origin string, r *resolution) {
	t.Helper()
	gotValue, gotOrigin := row.report(r.cfg)
	require.Equal(t, []string{value, origin}, []string{gotValue, gotOrigin})
	for _, p := range r.problems {
		require.NotEqual(t, row.describe().name, p.setting, p.Error())
	}
}

// requireProblem checks that a wrong value is named with its source, and that its signals are off exactly if it is an
// error of Init.
func requireProblem(t *testing.T, r *resolution, info rowInfo, origin string, fatal bool) {
	t.Helper()
	require.NotEmpty(t, r.problems)
	found := false
	for _, p := range r.problems {
		if p.setting != info.name || p.origin != origin {
			continue
		}
		found = true
		require.Equal(t, fatal, p.fatal)
		require.Regexp(t, "must |; use ", p.Error(), "the message says what was expected")
		require.NotContains(t, p.Error(), "s3cr3t")
	}
	require.True(t, found, "no problem names %s and %s: %v", info.name, origin, r.problems)
	for _, s := range info.signals {
		require.Equal(t, !fatal, r.cfg.signals[s].on, "%s", s)
	}
	if fatal {
		require.ErrorContains(t, r.err(), origin)
	} else {
		require.NoError(t, r.err())
		require.Contains(t, strings.Join(r.warnings(), "\n"), origin)
	}
}

func TestSettingsReportEveryProblemTogether(t *testing.T) {
	r := resolve(environment{"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_BSP_MAX_QUEUE_SIZE": "-1", "OTEL_CONFIG_FILE": "otel.yaml"},
		WithMetricInterval(-time.Second), ForLogs(WithServiceName("x")), WithProfile("fast"))
	err := r.err()
	require.ErrorContains(t, err, `telemetry: OTEL_TRACES_EXPORTER="zipkin": there is no exporter "zipkin" in this library; `+
		`use a comma-separated list of otlp, console, none (send otlp to a collector that has a Zipkin exporter, or use WithSpanExporter); traces are off`)
	require.ErrorContains(t, err, `telemetry: WithMetricInterval("-1s") must be a whole number of milliseconds, from 1 to 86400000 (a day); metrics are off`)
	require.ErrorContains(t, err, "ForLogs")
	require.ErrorContains(t, err, "OTEL_CONFIG_FILE")
	require.ErrorContains(t, err, `telemetry: WithProfile("fast") is unknown; use service, high-throughput, edge or development; the option is ignored`)
	require.NotContains(t, err.Error(), "OTEL_BSP_MAX_QUEUE_SIZE", "a variable that falls back is a warning")
	require.Contains(t, strings.Join(r.warnings(), "\n"), `OTEL_BSP_MAX_QUEUE_SIZE="-1" must be a whole number from 1 to 1048576`)
	for _, s := range allSignals() {
		require.False(t, r.cfg.signals[s].on)
	}
}

func TestAProblemOfAllSignalsIsSaidOnce(t *testing.T) {
	err := resolve(environment{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/pigeon", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_LOGS_EXPORTER": "none"}).err()
	require.Equal(t, 1, strings.Count(err.Error(), `"/no/pigeon"`))
	require.ErrorContains(t, err, `telemetry: OTEL_EXPORTER_OTLP_CERTIFICATE="/no/pigeon" cannot be read (no such file or directory); it must be a PEM file with at least one certificate`)
	require.ErrorContains(t, err, "; traces and metrics are off")
	warnings := resolve(environment{"OTEL_EXPORTER_OTLP_TIMEOUT": "5s", "OTEL_METRIC_EXPORT_TIMEOUT": "5s"}).warnings()
	require.Len(t, warnings, 2, "not what another variable says: %v", warnings)
	require.Contains(t, warnings[0], `OTEL_EXPORTER_OTLP_TIMEOUT="5s" must be a whole number of milliseconds`)
	warnings = resolve(environment{"LOG_LEVEL": "loud", "OTEL_ATTRIBUTE_COUNT_LIMIT": "many", "TELEMETRY_OTLP_LOG_LEVEL": "louder"}).warnings()
	require.Len(t, warnings, 3, "each variable once: %v", warnings)
	require.Len(t, slices.DeleteFunc(warnings, func(w string) bool {
		return !strings.HasPrefix(w, "OTEL_ATTRIBUTE_COUNT_LIMIT=")
	}), 1)
	require.Contains(t, resolve(environment{"LOG_LEVEL": "loud"}).warnings()[0], `LOG_LEVEL="loud" is unknown; use debug, info, warn or error`)
}

// TestUnknownNamesWarnAndFallBack goes through all settings with a set of names: the specification wants a warning and
// the setting ignored.
func TestUnknownNamesWarnAndFallBack(t *testing.T) {
	const unknown = "carrier-pigeon"
	names := map[string]string{ // a variable and what stays in force
		"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "gzip",
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp",
		"OTEL_TRACES_SAMPLER": "adaptive", "OTEL_PROPAGATORS": "tracecontext,baggage",
		"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE":        "cumulative",
		"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "explicit_bucket_histogram",
		"OTEL_METRICS_EXEMPLAR_FILTER":                             "trace_based",
		"OTEL_LOG_LEVEL":                                           "info", "LOG_LEVEL": "info", "TELEMETRY_CONSOLE_LOG_LEVEL": "info", "TELEMETRY_OTLP_LOG_LEVEL": "info",
		"TELEMETRY_LOG_FORMAT": "json", "TELEMETRY_CONSOLE_FORMAT": "auto", "TELEMETRY_CONSOLE_TRACES": "all", "TELEMETRY_CONSOLE_METRICS": "shutdown", "TELEMETRY_PROFILE": "service",
	}
	for variable, fallback := range names {
		r := resolve(environment{variable: unknown})
		require.NoError(t, r.err(), variable)
		require.Len(t, r.warnings(), 1, variable)
		require.Contains(t, r.warnings()[0], variable+`="`+unknown+`"`)
		require.Contains(t, r.warnings()[0], " is unknown; use ")
		for _, row := range settings() {
			if !slices.Contains(row.describe().env, variable) {
				continue
			}
			value, origin := row.report(r.cfg)
			require.Equal(t, originDefault, origin, variable)
			require.True(t, strings.HasPrefix(value, fallback), "%s: %s", variable, value) // the sampler shows its figures too
		}
		for _, s := range allSignals() {
			require.True(t, r.cfg.signals[s].on, variable)
		}
	}
	r := resolve(environment{"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": unknown, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
	require.Equal(t, setting[Protocol]{ProtocolGRPC, "OTEL_EXPORTER_OTLP_PROTOCOL"}, r.cfg.signals[logs].protocol, "the general variable is next")
}

func TestExporterLists(t *testing.T) {
	for _, tt := range []struct {
		value, exporters, says string
		off                    bool
	}{
		{value: "otlp,zipkin", exporters: "otlp", says: `"zipkin" (send otlp to a collector that has a Zipkin exporter, or use WithSpanExporter) cannot be used here; otlp stays in force`},
		{value: "pigeon , Console,dove", exporters: "console", says: `"pigeon" and "dove" cannot be used here; console stays in force`},
		{value: "none,zipkin", exporters: "none", says: "none stays in force", off: true},
		{value: "pigeon,zipkin", exporters: "otlp", says: `there is no exporter "zipkin" in this library`, off: true},
		{value: "prometheus", exporters: "otlp", says: "give a Prometheus reader with WithMetricReader", off: true},
		{value: "jaeger", exporters: "otlp", says: "Jaeger takes otlp", off: true},
		{value: "logging", exporters: "otlp", says: "did you mean console?", off: true},
		{value: "otlp/stdout", exporters: "otlp", says: "console writes JSON", off: true},
		{value: "none,otlp", exporters: "otlp", says: "none cannot be combined with other names", off: true},
		{value: "pigeon,dove", exporters: "otlp", says: `"pigeon" is unknown; use`},
	} {
		for _, s := range allSignals() {
			r := resolve(environment{"OTEL_" + strings.ToUpper(s.String()) + "_EXPORTER": tt.value})
			require.Equal(t, tt.exporters, strings.Join(r.cfg.signals[s].exporters.value, ","), tt.value)
			off := tt.off && (s != traces || tt.exporters != "none") // without an exporter, spans still have ids
			require.Equal(t, !off, r.cfg.signals[s].on, tt.value)
			require.Len(t, r.problems, 1, tt.value)
			require.ErrorContains(t, r.problems[0], tt.says, tt.value)
		}
	}
}

func TestBatchStaysWithinQueue(t *testing.T) {
	tests := []struct {
		name         string
		env          environment
		opts         []Option
		queue, batch int
		problem      string
		on           bool
	}{
		{name: "a small queue shrinks the default batch", env: environment{"OTEL_BSP_MAX_QUEUE_SIZE": "10"}, queue: 10, batch: 10, on: true},
		{name: "equal is allowed", env: environment{"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"}, queue: 10, batch: 10, on: true},
		{
			name: "a batch larger than the queue in the environment is cut", on: true, queue: 10, batch: 10, problem: "must be at most the queue size, 10",
			env: environment{"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "11"},
		},
		{
			name: "the operator's queue cuts the code's batch", on: true, queue: 10, batch: 10, problem: "using 10",
			env: environment{"OTEL_BSP_MAX_QUEUE_SIZE": "10"}, opts: []Option{WithSpanBatch(Batch{MaxExportBatchSize: 11})},
		},
		{
			name: "a batch larger than the queue by option is an error", queue: 10, batch: 10, problem: "traces are off",
			opts: []Option{WithSpanBatch(Batch{MaxQueueSize: 10, MaxExportBatchSize: 11})},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := resolve(tt.env, tt.opts...)
			require.Equal(t, tt.queue, r.cfg.spanBatch.maxQueueSize.value)
			require.Equal(t, tt.batch, r.cfg.spanBatch.maxExportBatchSize.value)
			require.Equal(t, tt.on, r.cfg.signals[traces].on)
			if tt.problem == "" {
				require.Empty(t, r.problems)
			} else {
				require.Len(t, r.problems, 1)
				require.ErrorContains(t, r.problems[0], tt.problem)
			}
		})
	}
}

func TestEndpointTarget(t *testing.T) {
	const general, own = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	tests := []struct {
		name   string
		env    environment
		opts   []Option
		want   string
		notice string
	}{
		{name: "default over HTTP", want: "http://localhost:4318/v1/traces"},
		{name: "default over gRPC", opts: []Option{WithProtocol(ProtocolGRPC)}, want: "http://localhost:4317"},
		{name: "a base path is kept", env: environment{general: "http://c:1/base/"}, want: "http://c:1/base/v1/traces"},
		{name: "an option is a base", opts: []Option{WithEndpoint("https://c")}, want: "https://c/v1/traces"},
		{name: "an option with the path of the signal is not doubled", opts: []Option{ForTraces(WithEndpoint("http://c:1/v1/traces"))}, want: "http://c:1/v1/traces"},
		{name: "the signal's own variable is taken as it is", env: environment{own: "http://c:1/custom"}, want: "http://c:1/custom"},
		{name: "the signal's own variable without a path", env: environment{own: "http://c:1"}, want: "http://c:1/"},
		{name: "this machine without a scheme", env: environment{general: "localhost:4318"}, want: "http://localhost:4318/v1/traces", notice: "http is assumed"},
		{name: "a loopback address without a scheme", env: environment{general: "127.0.0.1:4318"}, want: "http://127.0.0.1:4318/v1/traces", notice: "http is assumed"},
		{name: "another machine without a scheme", env: environment{general: "collector:4318"}, want: "https://collector:4318/v1/traces", notice: "https is assumed"},
		{name: "insecure without a scheme", env: environment{general: "collector:4318", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, want: "http://collector:4318/v1/traces", notice: "http is assumed"},
		{name: "secure without a scheme", env: environment{general: "localhost:4318", "OTEL_EXPORTER_OTLP_INSECURE": "false"}, want: "https://localhost:4318/v1/traces", notice: "https is assumed"},
		{name: "https is never downgraded", env: environment{general: "https://c:1", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, want: "https://c:1/v1/traces"},
		{name: "TLS that is configured speaks for https", env: environment{general: "localhost:4318"}, opts: []Option{WithTLSConfig(&tls.Config{})}, want: "https://localhost:4318/v1/traces", notice: "https is assumed"},
		{name: "TLS that is not used is mentioned", env: environment{general: "http://c:1"}, opts: []Option{WithTLSConfig(&tls.Config{})}, want: "http://c:1/v1/traces", notice: "TLS settings are not used"},
		{name: "a path over gRPC is mentioned", env: environment{general: "http://c:1/x"}, opts: []Option{WithProtocol(ProtocolGRPC)}, want: "http://c:1/x", notice: "is ignored over gRPC"},
		{name: "upper case", env: environment{general: "HTTP://c:1"}, want: "http://c:1/v1/traces"},
		{name: "IPv6", env: environment{general: "http://[::1]:4318"}, want: "http://[::1]:4318/v1/traces"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := resolve(tt.env, tt.opts...)
			require.Empty(t, r.problems)
			require.Equal(t, tt.want, r.cfg.signals[traces].target.url.String())
			require.Contains(t, strings.Join(r.notices, "\n"), tt.notice)
			require.Equal(t, tt.notice != "", len(r.notices) > 0, "%v", r.notices)
		})
	}
}

// TestPathOfAnotherSignalIsMentioned has full URLs where base URLs belong, and the reverse.
func TestPathOfAnotherSignalIsMentioned(t *testing.T) {
	const general = "OTEL_EXPORTER_OTLP_ENDPOINT"
	paths := func(of ...string) (urls [signalCount]string) {
		for i, path := range of {
			urls[i] = "http://c:4318" + path
		}
		return urls
	}
	for _, tt := range []struct {
		name string
		env  environment
		opts []Option
		urls [signalCount]string
		want []string // the warnings
	}{
		{
			name: "traces in the general variable", env: environment{general: "http://c:4318/v1/traces"},
			urls: paths("/v1/traces", "/v1/traces/v1/metrics", "/v1/traces/v1/logs"),
			want: []string{general + " ends in /v1/traces, but is the base URL of all signals: the others go to /v1/traces/v1/…; " +
				"leave /v1/traces out, or set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT instead if it is for traces only"},
		},
		{
			name: "metrics in the general variable", env: environment{general: "http://c:4318/otlp/v1/metrics/"},
			urls: paths("/otlp/v1/metrics/v1/traces", "/otlp/v1/metrics/", "/otlp/v1/metrics/v1/logs"),
			want: []string{general + " ends in /v1/metrics, but is the base URL of all signals: the others go to /v1/metrics/v1/…; " +
				"leave /v1/metrics out, or set OTEL_EXPORTER_OTLP_METRICS_ENDPOINT instead if it is for metrics only"},
		},
		{
			name: "logs in the option", opts: []Option{WithEndpoint("http://c:4318/v1/logs")},
			urls: paths("/v1/logs/v1/traces", "/v1/logs/v1/metrics", "/v1/logs"),
			want: []string{"WithEndpoint ends in /v1/logs, but is the base URL of all signals: the others go to /v1/logs/v1/…; " +
				"leave /v1/logs out, or use ForLogs(WithEndpoint) instead if it is for logs only"},
		},
		{
			name: "traces in the variable of metrics", env: environment{general: "http://c:4318", signalEnv(metrics, "ENDPOINT"): "http://c:4318/v1/traces"},
			urls: paths("/v1/traces", "/v1/traces", "/v1/logs"),
			want: []string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT ends in /v1/traces, but is the endpoint of metrics: did you mean /v1/metrics?"},
		},
		{
			name: "metrics in the option of logs", opts: []Option{WithEndpoint("http://c:4318"), ForLogs(WithEndpoint("http://c:4318/v1/metrics"))},
			urls: paths("/v1/traces", "/v1/metrics", "/v1/metrics/v1/logs"),
			want: []string{"ForLogs(WithEndpoint) ends in /v1/metrics, but is the endpoint of logs: did you mean /v1/logs?"},
		},
		{
			name: "each its own by option", opts: []Option{
				ForTraces(WithEndpoint("http://c:4318/v1/traces")), ForMetrics(WithEndpoint("http://c:4318/v1/metrics")), ForLogs(WithEndpoint("http://c:4318/v1/logs")),
			},
			urls: paths("/v1/traces", "/v1/metrics", "/v1/logs"),
		},
		{
			name: "traces only", env: environment{general: "http://c:4318/v1/traces"}, opts: []Option{WithoutMetrics(), WithoutLogs()},
			urls: [signalCount]string{"http://c:4318/v1/traces"},
		},
		{
			name: "gRPC has no paths", env: environment{general: "http://c:4318/v1/traces"}, opts: []Option{WithProtocol(ProtocolGRPC)},
			urls: paths("/v1/traces", "/v1/traces", "/v1/traces"), want: []string{general + " has a path, which is ignored over gRPC"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := resolve(tt.env, tt.opts...)
			var urls [signalCount]string
			for _, s := range allSignals() {
				if u := r.cfg.signals[s].target.url; u != nil {
					urls[s] = u.String()
				}
			}
			require.Equal(t, tt.urls, urls)
			require.Equal(t, tt.want, r.warnings())
		})
	}
}

func TestWrongEndpointsShowNoSecret(t *testing.T) {
	for _, endpoint := range []string{
		"https://admin:s3cr3t#1@collector:4318", "https://admin:s3cr3t/1@collector:4318", "https://user:s3cr3t@host:1", "https://host:1?token=s3cr3t", "https://host/#s3cr3t", "http://user:s3cr3t@", "user:s3cr3t@host:%zz", "http://h:port?s3cr3t",
	} {
		for _, r := range []*resolution{resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}), resolve(nil, WithEndpoint(endpoint))} {
			require.Error(t, r.err(), endpoint)
			require.NotContains(t, r.err().Error(), "s3cr3t", endpoint)
			require.NotContains(t, strings.Join(r.warnings(), ""), "s3cr3t")
		}
	}
}

func TestMisspeltEndpointsAreRefused(t *testing.T) {
	for _, endpoint := range []string{
		"unix:/var/run/o.sock", "unix:///var/run/o.sock", "dns:///c:4317", "http:/collector:4318", "http:collector:4318", "::1:4318",
		"http://collector:99999", "http://collector:0", "*:4318", "collector:port", "a b", "http://",
	} {
		r := resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
		require.Error(t, r.err(), endpoint)
		require.False(t, r.cfg.signals[logs].on, endpoint)
	}
}

// TestAddressesOfOtherKinds has what people write for other programs: each form of one kind is refused in the same words.
func TestAddressesOfOtherKinds(t *testing.T) {
	const (
		unix   = "unix sockets are not supported: let the collector listen at a port, such as http://localhost:4318"
		scheme = "gRPC's own name schemes are not supported: write it as http://host:port"
		zone   = "the % before the zone of an IPv6 address is written %25 in a URL"
	)
	for endpoint, want := range map[string]string{
		"unix:/var/run/o.sock": unix, "unix:///var/run/o.sock": unix, "unix://var/run/o.sock": unix, "unix:o.sock": unix, "UNIX:/o.sock": unix,
		"unix-abstract:o": unix, "http://unix:/var/run/o.sock": unix, "http+unix:///var/run/o.sock": unix, "/var/run/o.sock": unix, "https://unix:/p": unix,
		"dns:///collector:4317": scheme, "dns:collector": scheme, "passthrough:///c:4317": scheme, "xds:///c": scheme, "ipv4:127.0.0.1,127.0.0.2": scheme,
		"http://[fe80::1%eth0]:4317": zone, "http://[::1%lo]": zone,
		"http://collector:": "there is no port after the colon", "http://collector:/base": "there is no port after the colon",
		"http://::1:4318": "it is not a URL", "http://[::1": "it is not a URL",
	} {
		for _, r := range []*resolution{resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}), resolve(nil, WithEndpoint(endpoint), WithProtocol(ProtocolGRPC))} {
			require.ErrorContains(t, r.err(), ": "+want+"; it must be a URL such as http://collector:4318", endpoint)
			require.False(t, r.cfg.signals[traces].on)
		}
	}
	for endpoint, hostPort := range map[string]string{
		"http://unix:4317": "unix:4317", "dns:4317": "dns:4317", "http://[fe80::1%25eth0]:4317": "[fe80::1%eth0]:4317", "http://[::1%25lo]": "[::1%lo]:80",
		"[::1%lo]:4317": "[::1%lo]:4317", "[::1%25lo]:4317": "[::1%lo]:4317",
	} {
		r := resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_INSECURE": "true"})
		require.NoError(t, r.err(), endpoint)
		require.Equal(t, hostPort, r.cfg.signals[traces].target.hostPort())
	}
	r := resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "[::1%lo]:4317"})
	require.Equal(t, "http", r.cfg.signals[traces].target.url.Scheme, "a zone does not take the loopback away")
	r = resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://[fe80::1%25eth0]:4317"})
	require.Equal(t, "fe80::1", r.cfg.signals[traces].tls.ServerName, "certificates know no zones")
}

func TestSettingsThatAreNotUsedSwitchNothingOff(t *testing.T) {
	wrong := environment{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "bogus://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such",
	}
	given := []Option{WithSpanExporter(tracetest.NewNoopExporter()), WithMetricReader(sdkmetric.NewManualReader()), WithLogExporter(discardLogs{})}
	r := resolve(wrong, given...)
	require.NoError(t, r.err())
	require.Contains(t, strings.Join(r.warnings(), ""), "it is not used, since traces, metrics and logs are not sent over OTLP")
	for _, s := range allSignals() {
		require.True(t, r.cfg.signals[s].on)
	}
	require.NoError(t, resolve(wrong, WithoutTraces(), WithoutMetrics(), WithoutLogs()).err())
	wrong["OTEL_SDK_DISABLED"] = "true"
	require.NoError(t, resolve(wrong).err())
	r = resolve(environment{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such"}, WithTLSConfig(&tls.Config{}))
	require.NoError(t, r.err(), "WithTLSConfig replaces the files")
}

// The development profile sends nothing over OTLP as long as nobody sets an endpoint; with a wrong one, somebody wants it to.
func TestOTLPMistakesLeaveTheDevelopmentConsoleAlone(t *testing.T) {
	for name, wrong := range map[string]string{"OTEL_EXPORTER_OTLP_CLIENT_KEY": "/no/key", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": "/no/such"} {
		r := resolve(environment{"TELEMETRY_PROFILE": "development", name: wrong})
		require.NoError(t, r.err())
		require.Contains(t, strings.Join(r.warnings(), ""), "it is not used, since traces")
		for _, s := range allSignals() {
			require.True(t, r.cfg.signals[s].sends(exporterConsole), name)
		}
		require.Error(t, resolve(environment{"TELEMETRY_PROFILE": "development", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c", name: wrong}).err())
	}
	r := resolve(environment{"TELEMETRY_PROFILE": "development", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "bogus://x"})
	require.ErrorContains(t, r.err(), "logs are off")
	require.False(t, r.cfg.signals[logs].on)
	require.True(t, r.cfg.signals[traces].sends(exporterConsole))
}

// The start line describes the sampler, and that of ParentBased(nil) panics: so would each span.
func TestSamplerThatPanicsIsRefused(t *testing.T) {
	for _, broken := range []sdktrace.Sampler{sdktrace.ParentBased(nil), &AdaptiveSampler{}} {
		r := resolve(nil, WithSampler(broken))
		require.ErrorContains(t, r.err(), "telemetry: WithSampler: its Description panics: runtime error")
		require.False(t, r.cfg.signals[traces].on)
		require.True(t, r.cfg.signals[logs].on)
	}
}

// A signal that goes to somebody else must be able to keep what the others send and are sent with.
func TestNilForOneSignalIsNone(t *testing.T) {
	token := func(context.Context) (map[string]string, error) { return map[string]string{"authorization": "t"}, nil }
	r := resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c"},
		WithHeaderFunc(token), WithTLSConfig(&tls.Config{ServerName: "ours"}), ForLogs(WithHeaderFunc(nil), WithTLSConfig(nil)))
	require.NoError(t, r.err())
	require.NotNil(t, r.cfg.signals[traces].headerFunc)
	require.Equal(t, "ours", r.cfg.signals[traces].tls.ServerName)
	require.Nil(t, r.cfg.signals[logs].headerFunc)
	require.Empty(t, r.cfg.signals[logs].tls.ServerName)
	require.Equal(t, headerSource{}, resolve(nil, WithHeaderFunc(token), WithHeaderFunc(nil)).cfg.signals[traces].headerSource())
}

func TestBoundsOfRanges(t *testing.T) {
	const queue, delay = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_SCHEDULE_DELAY"
	for value, valid := range map[string]bool{"0": false, "1": true, "1048576": true, "1048577": false, "4611686018427387904": false, "1e3": false} {
		require.Equal(t, valid, len(resolve(environment{queue: value}).problems) == 0, value)
	}
	for value, valid := range map[string]bool{"0": false, "1": true, "86400000": true, "86400001": false, "-9223372036855": false, "9223372036854775807": false} {
		require.Equal(t, valid, len(resolve(environment{delay: value}).problems) == 0, value)
	}
	require.Error(t, resolve(nil, WithShutdownTimeout(math.MaxInt64)).err())
	require.Error(t, resolve(nil, WithSpanBatch(Batch{MaxQueueSize: math.MaxInt})).err())
}

func TestHeadersThatATransportRefuses(t *testing.T) {
	for _, headers := range []map[string]string{
		{"X!Key": "v"}, {"key": "café"}, {"key": "a\tb"}, {"grpc-timeout": "1"}, {"Content-Type": "x"}, {"trace-bin": "x"}, {"API-Key": "1", "api-key": "2"},
	} {
		require.Error(t, resolve(nil, WithHeaders(headers)).err(), "%v", headers)
	}
	r := resolve(environment{"OTEL_EXPORTER_OTLP_HEADERS": "API-Key=1,api-key=2"})
	require.Len(t, r.problems, 3, "once for each signal")
	require.Equal(t, map[string]string{"api-key": "1"}, r.cfg.signals[traces].headers.value)
}

func TestMalformedHeaderIsNamedByItsPlaceOnly(t *testing.T) {
	r := resolve(environment{"OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cr3t1,s3cr3t2,b ad=s3cr3t3,x=%zzs3cr3t4"})
	require.NoError(t, r.err())
	warnings := strings.Join(r.warnings(), "\n")
	require.Contains(t, warnings, "OTEL_EXPORTER_OTLP_HEADERS: pair 2, 3, 4 is malformed and left out")
	require.NotContains(t, warnings, "s3cr3t")
	require.Equal(t, map[string]string{"api-key": "s3cr3t1"}, r.cfg.signals[traces].headers.value)
}

func TestPairsWrittenWithAColon(t *testing.T) {
	for _, tt := range []struct{ value, says string }{
		{"api-key: s3cr3t", "pair 1 is malformed and left out; in pair 1 `:` should be `=`; it must be a list of key=value pairs"},
		{"a=b,Authorization: Basic czNjcjN0Og==,s3cr3t", "pair 2, 3 is malformed and left out; in pair 2 `:` should be `=`"},
		{"x-token :s3cr3t", "in pair 1 `:` should be `=`"},
		{"s3cr3t", "pair 1 is malformed and left out; it must be"},
		{"b ad=s3cr3t:x", "pair 1 is malformed and left out; it must be"},
	} {
		warnings := strings.Join(resolve(environment{"OTEL_EXPORTER_OTLP_HEADERS": tt.value}).warnings(), "\n")
		require.Contains(t, warnings, tt.says)
		require.NotContains(t, warnings, "s3cr3t")
		require.NotContains(t, warnings, "czNj")
	}
	r := resolve(environment{"OTEL_RESOURCE_ATTRIBUTES": "team: pay,region=eu"})
	require.Contains(t, r.warnings()[0], "in pair 1 `:` should be `=`")
	r = resolve(environment{"OTEL_EXPORTER_OTLP_HEADERS": "a=x:y", "OTEL_RESOURCE_ATTRIBUTES": "aws:tag=1"})
	require.Empty(t, r.warnings(), "a colon elsewhere is not a mistake")
}

func TestClientCertificateNeedsItsKey(t *testing.T) {
	certs := writeCertificates(t)
	const cert, key = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"
	for _, tt := range []struct {
		files environment
		want  string
	}{
		{environment{cert: certs.ClientCertFile}, "needs its key"},
		{environment{key: certs.ClientKeyFile}, "needs its certificate"},
		{environment{cert: certs.ClientCertFile, key: certs.ServerKeyFile}, "does not match the key"},
	} {
		tt.files["OTEL_EXPORTER_OTLP_ENDPOINT"] = "https://c"
		require.ErrorContains(t, resolve(tt.files).err(), tt.want)
		tt.files["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://c"
		r := resolve(tt.files)
		require.NoError(t, r.err())
		require.Contains(t, strings.Join(r.warnings(), "\n"), tt.want)
		require.Contains(t, strings.Join(r.warnings(), "\n"), "it is not used: the endpoint is http://")
	}
	r := resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", cert: certs.ClientCertFile, key: certs.ClientKeyFile})
	require.Len(t, r.cfg.signals[traces].tls.Certificates, 1)
	require.True(t, r.cfg.signals[traces].on)
	require.False(t, r.cfg.signals[logs].on, "logs have a certificate without a key")
}

// TestTLSFilesConcernSecureEndpointsOnly has files that cannot be read. Nothing is sent astray without one that is not used.
func TestTLSFilesConcernSecureEndpointsOnly(t *testing.T) {
	certs := writeCertificates(t)
	const general, ofLogs = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
	for _, file := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
		variable := "OTEL_EXPORTER_OTLP_" + file
		for _, tt := range []struct {
			name  string
			env   environment
			opts  []Option
			off   []signal
			plain []signal
		}{
			{name: "http", env: environment{general: "http://c:1", variable: "/nofile"}, plain: allSignals()},
			{name: "the default endpoint", env: environment{variable: "/nofile"}, plain: allSignals()},
			{name: "gRPC", env: environment{general: "http://c:1", variable: "/nofile"}, opts: []Option{WithProtocol(ProtocolGRPC)}, plain: allSignals()},
			{name: "option", env: environment{variable: "/nofile"}, opts: []Option{WithEndpoint("http://c:1")}, plain: allSignals()},
			{name: "https", env: environment{general: "https://c:1", variable: "/nofile"}, off: allSignals()},
			{name: "https over gRPC", env: environment{general: "https://c:1", variable: "/nofile"}, opts: []Option{WithProtocol(ProtocolGRPC)}, off: allSignals()},
			{name: "one of each", env: environment{general: "http://c:1", ofLogs: "https://c:1", variable: "/nofile"}, off: []signal{logs}, plain: []signal{traces, metrics}},
			{name: "the signal's own file", env: environment{general: "https://c:1", ofLogs: "http://c:1", "OTEL_EXPORTER_OTLP_LOGS_" + file: "/nofile"}, plain: []signal{logs}},
			{name: "this machine without a scheme", env: environment{general: "localhost:1", variable: "/nofile"}, off: allSignals()},
			{name: "insecure without a scheme", env: environment{general: "c:1", "OTEL_EXPORTER_OTLP_INSECURE": "true", variable: "/nofile"}, plain: allSignals()},
			{name: "wrong endpoint", env: environment{general: "bogus://c:1", variable: "/nofile"}, off: allSignals()},
			{name: "the pair of an unreadable file", env: environment{general: "http://c:1", variable: "/nofile", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": certs.ClientCertFile}, plain: allSignals()},
		} {
			t.Run(file+" "+tt.name, func(t *testing.T) {
				r := resolve(tt.env, tt.opts...)
				for _, s := range allSignals() {
					require.Equal(t, !slices.Contains(tt.off, s), r.cfg.signals[s].on, s)
				}
				require.Equal(t, len(tt.off) > 0, r.err() != nil)
				warnings := strings.Join(r.warnings(), "\n")
				require.Equal(t, len(tt.plain) > 0, strings.Contains(warnings, `="/nofile" cannot be read (no such file or directory)`), warnings)
				require.Equal(t, len(tt.plain) > 0, strings.Contains(warnings, "it is not used: the endpoint is http://"), warnings)
				for _, s := range tt.plain {
					require.Equal(t, "http", r.cfg.signals[s].target.url.Scheme)
				}
			})
		}
	}
}

// Kubernetes has keys in secrets, and a secret is easily put into the variable that wants the path of a file.
func TestKeyInThePlaceOfItsPathStaysSecret(t *testing.T) {
	certs := writeCertificates(t)
	key, err := os.ReadFile(certs.ClientKeyFile)
	require.NoError(t, err)
	for _, text := range []string{string(key), strings.ReplaceAll(string(key), "\n", `\n`), base64.StdEncoding.EncodeToString(key)} {
		for _, variable := range []string{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"} {
			r := resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:4318", variable: text})
			require.ErrorContains(t, r.err(), variable+`="<redacted>": it is the PEM text itself, not the path of a file`)
			for i := 64; i < len(text)-64; i += 64 {
				require.NotContains(t, r.err().Error(), text[i:i+16])
			}
		}
	}
}

func TestProfiles(t *testing.T) {
	r := resolve(nil, WithProfile(ProfileEdge))
	require.Equal(t, setting[int]{1024, "profile edge"}, r.cfg.spanBatch.maxQueueSize)
	r = resolve(environment{"OTEL_BSP_MAX_QUEUE_SIZE": "5000"}, WithProfile(ProfileEdge))
	require.Equal(t, setting[int]{5000, "OTEL_BSP_MAX_QUEUE_SIZE"}, r.cfg.spanBatch.maxQueueSize, "a profile never beats the operator")

	r = resolve(nil, WithProfile(ProfileDevelopment))
	require.Equal(t, []string{exporterConsole}, r.cfg.signals[traces].exporters.value)
	r = resolve(environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}, WithProfile(ProfileDevelopment))
	require.Equal(t, []string{exporterOTLP}, r.cfg.signals[traces].exporters.value)
}

func TestDisabledLeavesThePropagators(t *testing.T) {
	r := resolve(environment{"OTEL_SDK_DISABLED": "true"})
	for _, s := range allSignals() {
		require.False(t, r.cfg.signals[s].on)
	}
	require.ElementsMatch(t, []string{"traceparent", "tracestate", "baggage"}, r.cfg.propagators.value.build().Fields())
}

func TestEmptyVariableIsUnset(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", " ")
	t.Setenv("OTEL_SERVICE_NAME", "")
	require.NotContains(t, readEnvironment(), "OTEL_BSP_MAX_QUEUE_SIZE")
	require.NotContains(t, readEnvironment(), "OTEL_SERVICE_NAME")
}

func writeCertificates(t *testing.T) *otlptest.Certificates {
	t.Helper()
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	return certs
}

type discardLogs struct{ sdklog.Exporter }

type discardPointer struct{ sdklog.Exporter }
