package telemetry

import (
	"context"
	"crypto/tls"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/identity"
	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

func TestEveryOptionGivenTwice(t *testing.T) {
	cases := optionsGivenTwice()
	for _, name := range exportedOptions(t) {
		require.Contains(t, cases, name,
			"an option without a case: say and test what comes of it when it is given twice")
	}
	for name, all := range cases {
		for i, test := range all {
			opts := []Option{}
			if test.preset != nil {
				opts = append(opts, WithOptions(test.preset))
			}
			r := resolve(test.env, append(opts, test.service)...)
			if test.row != "" {
				row := rowNamed(t, test.row)
				value, _ := row.Report(r.Config)
				require.Equal(t, strings.Trim(test.shown, "-"), value, "%s %d: %s", name, i, test.row)
				if test.sources != "" {
					require.Equal(t, test.sources, row.Sources(r.Config), "%s %d: %s", name, i, test.row)
					require.Contains(t, settings.Describe(r.Config, resource.Empty(), nil, nil), test.sources)
				}
			}
			if test.check != nil {
				test.check(t, r)
			}
		}
	}
}

// A mistake in one list must not expose what the other lists mask.
func TestAWrongRedactionKeyLeavesThePresetsInForce(t *testing.T) {
	for name, test := range map[string]struct {
		service Option
		env     settings.Environment
		fatal   bool
		shown   string
		problem string
	}{
		"key": {service: WithRedaction(Redaction{Keys: []string{"iban", "."}}), fatal: true, shown: "iban,email",
			problem: `telemetry: WithRedaction(Redaction{Keys}): "iban,.,email"`},
		"variable": {service: WithServiceName("a"), env: settings.Environment{"TELEMETRY_REDACTION_KEYS": "-,phone"},
			shown: "email,phone", problem: `telemetry: TELEMETRY_REDACTION_KEYS="-,phone"`},
		"pattern": {service: WithRedaction(Redaction{Values: []*regexp.Regexp{regexp.MustCompile("x*"), nil,
			regexp.MustCompile("x+")}}), fatal: true, shown: "email",
			problem: "telemetry: WithRedaction(Redaction{Values}): "},
	} {
		t.Run(name, func(t *testing.T) {
			r := resolve(test.env, WithOptions(WithRedaction(Redaction{Keys: []string{"email"}})), test.service)
			value, _ := rowNamed(t, "redacted keys").Report(r.Config)
			require.Equal(t, test.shown, value)
			require.Len(t, r.Problems, 1)
			require.Equal(t, test.fatal, r.Problems[0].Fatal)
			require.Contains(t, r.Problems[0].Error(), test.problem)
			require.Contains(t, r.Problems[0].Error(), "; the others are used")
			if name == "pattern" {
				value, _ := rowNamed(t, "redacted values").Report(r.Config)
				require.Equal(t, "x+", value)
			}
		})
	}
}

// The operator's variable applies where the code does not set the same field, whatever else the
// code sets about sampling.
func TestSamplingFollowsTheVariables(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  settings.Environment
		opts []Option
		rate float64
		slow time.Duration
		line string // of the start
	}{
		{name: "default", rate: 50, slow: time.Second, line: "adaptive 50/s"},
		{name: "variables", env: settings.Environment{"TELEMETRY_TRACES_PER_SECOND": "0.5",
			"TELEMETRY_SLOW_THRESHOLD": "300"}, rate: 0.5, slow: 300 * time.Millisecond,
			line: "adaptive 0.5/s (TELEMETRY_TRACES_PER_SECOND)"},
		{name: "no threshold", env: settings.Environment{"TELEMETRY_SLOW_THRESHOLD": "-1"}, rate: 50,
			slow: -time.Millisecond, line: "adaptive 50/s"},
		{name: "the standard's", env: settings.Environment{"OTEL_TRACES_SAMPLER": "adaptive",
			"OTEL_TRACES_SAMPLER_ARG": "20"}, rate: 20, slow: time.Second,
			line: "adaptive 20/s (OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG)"},
		{name: "the library's own is more specific",
			env: settings.Environment{"OTEL_TRACES_SAMPLER": "adaptive", "OTEL_TRACES_SAMPLER_ARG": "20",
				"TELEMETRY_TRACES_PER_SECOND": "10"}, rate: 10, slow: time.Second,
			line: "adaptive 10/s (OTEL_TRACES_SAMPLER, TELEMETRY_TRACES_PER_SECOND)"},
		{name: "an option that says something else", env: settings.Environment{"TELEMETRY_TRACES_PER_SECOND": "10"},
			opts: []Option{WithAdaptiveSampling(Sampling{SlowThreshold: time.Minute})}, rate: 10, slow: time.Minute,
			line: "adaptive 10/s (WithAdaptiveSampling, TELEMETRY_TRACES_PER_SECOND)"},
		{name: "an option", env: settings.Environment{"TELEMETRY_TRACES_PER_SECOND": "10"},
			opts: []Option{WithAdaptiveSampling(Sampling{TracesPerSecond: 3})}, rate: 3, slow: time.Second,
			line: "adaptive 3/s (WithAdaptiveSampling)"},
		{name: "wrong", env: settings.Environment{"TELEMETRY_TRACES_PER_SECOND": "many",
			"TELEMETRY_SLOW_THRESHOLD": "1s"}, rate: 50, slow: time.Second, line: "adaptive 50/s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := resolve(tt.env, tt.opts...)
			require.NoError(t, r.Err())
			require.Equal(t, tt.line, settings.SamplerLine(r.Config))
			_, adaptive, _, err := r.Config.Sampler.Value.Build(1)
			require.NoError(t, err)
			defer adaptive.Close()
			require.InDelta(t, tt.rate, adaptive.Snapshot().Target, 1e-9)
			require.Equal(t, tt.slow, r.Config.Sampler.Value.Adaptive.SlowThreshold)
		})
	}
	r := resolve(settings.Environment{"TELEMETRY_TRACES_PER_SECOND": "0", "TELEMETRY_SLOW_THRESHOLD": "1s"})
	require.Equal(t, []string{
		`TELEMETRY_TRACES_PER_SECOND="0" must be a number of traces per second, more than 0 and at most 1000000; the variable is ignored`,
		`TELEMETRY_SLOW_THRESHOLD="1s" must be a whole number of milliseconds, from 1 to 600000 (10 minutes), or -1 for no threshold; the variable is ignored`,
	}, r.Warnings())
}

// TestSignalScopesDocumentEveryOptionTheyTake compares the comments of ForTraces, ForMetrics and
// ForLogs with the code.
func TestSignalScopesDocumentEveryOptionTheyTake(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "options_otlp.go", nil, parser.ParseComments)
	require.NoError(t, err)
	comments, scoped := map[string]string{}, []string{}
	for _, decl := range file.Decls {
		option, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		comments[option.Name.Name] = option.Doc.Text()
		ast.Inspect(option.Body, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && name.Name == "recordExport" {
				scoped = append(scoped, option.Name.Name)
			}
			return true
		})
	}
	require.GreaterOrEqual(t, len(scoped), 7)
	for _, scope := range []string{"ForTraces", "ForMetrics", "ForLogs"} {
		for _, name := range scoped {
			require.Contains(t, comments[scope], "["+name+"]", scope)
		}
	}
}

// givenTwice is an option that a preset and a service both give, and the result.
type givenTwice struct {
	preset, service Option
	env             settings.Environment
	row             string // of the settings table; its value is shown and its sources are sources
	shown, sources  string
	check           func(t *testing.T, r *settings.Resolution) // what has no row
}

// The rule is that of Option: of single values the later one wins, lists add up, structs merge
// field by field.
func optionsGivenTwice() map[string][]givenTwice {
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	single := func(row string, preset, service Option, shown, option string) []givenTwice {
		return []givenTwice{
			{preset: preset, service: service, row: row, shown: shown, sources: option},
			{preset: service, row: row, shown: shown, sources: "WithOptions(" + option + ")"},
			{service: service, row: row, shown: shown, sources: option},
		}
	}
	scoped := func(name string, s signal.Signal, scope func(...Option) Option) []givenTwice {
		return append(single(s.String()+" endpoint", scope(WithEndpoint("http://a:1")),
			scope(WithEndpoint("http://b:2")), "http://b:2", "WithEndpoint"),
			// Scopes merge: what the service does not say stays the preset's.
			givenTwice{preset: scope(WithProtocol(ProtocolGRPC)), service: scope(WithCompression(CompressionNone)),
				row: s.String() + " protocol", shown: "grpc", sources: "WithOptions(WithProtocol)"},
			givenTwice{preset: scope(WithHeaders(map[string]string{"a": "1"})),
				service: scope(WithEndpoint("http://b:2")), row: s.String() + " headers",
				sources: settings.OriginDefault,
				check: func(t *testing.T, r *settings.Resolution) {
					require.Equal(t, []string{name +
						"(WithHeaders) is ignored because a later WithEndpoint changes the endpoint: pass it after " +
						"that WithEndpoint"}, r.Warnings())
				}},
			givenTwice{preset: WithHeaders(map[string]string{"a": "1"}), service: scope(WithEndpoint("http://b:2")),
				row: s.String() + " headers", shown: "a=<redacted>", sources: "WithOptions(WithHeaders)"})
	}
	flag := func(option Option, set func(*settings.Resolution) bool) []givenTwice {
		check := func(t *testing.T, r *settings.Resolution) { require.True(t, set(r)) }
		return []givenTwice{{preset: option, service: option, check: check},
			{preset: option, service: WithServiceName("a"), check: check}}
	}
	off := func(s signal.Signal) func(*settings.Resolution) bool {
		return func(r *settings.Resolution) bool { return !r.Config.Signals[s].On }
	}
	batch := func(option func(Batch) Option, what, name string) []givenTwice {
		preset, service := option(Batch{MaxQueueSize: 100, MaxExportBatchSize: 10, ScheduleDelay: seconds(1)}),
			option(Batch{MaxExportBatchSize: 20, ExportTimeout: seconds(2)})
		env := settings.Environment{"OTEL_BSP_MAX_QUEUE_SIZE": "300", "OTEL_BLRP_MAX_QUEUE_SIZE": "300"}
		return []givenTwice{
			{preset: preset, service: service, env: env, row: what + " queue size", shown: "100",
				sources: "WithOptions(" + name + "(Batch{MaxQueueSize}))"},
			{preset: preset, service: service, row: what + " batch size", shown: "20",
				sources: name + "(Batch{MaxExportBatchSize})"},
			{preset: preset, service: service, row: what + " schedule delay", shown: "1s",
				sources: "WithOptions(" + name + "(Batch{ScheduleDelay}))"},
			{preset: preset, service: service, row: what + " export timeout", shown: "2s",
				sources: name + "(Batch{ExportTimeout})"},
		}
	}
	counted := func(option Option, count func(*settings.Asked) int) []givenTwice {
		return []givenTwice{{preset: option, service: option,
			check: func(t *testing.T, r *settings.Resolution) { require.Equal(t, 2, count(r.Asked)) }}}
	}
	later := func(preset, service Option, got func(*settings.Asked) any, want any) []givenTwice {
		return []givenTwice{{preset: preset, service: service,
			check: func(t *testing.T, r *settings.Resolution) { require.Equal(t, want, got(r.Asked)) }}}
	}
	headers := func(name string, option Option, shown string) []givenTwice {
		return []givenTwice{
			{preset: WithOptions(WithEndpoint("https://a:1"), option), service: WithEndpoint("https://b:2"),
				row: "traces " + name, shown: "-", sources: settings.OriginDefault,
				check: func(t *testing.T, r *settings.Resolution) {
					require.Len(t, r.Warnings(), 1)
					require.Contains(t, r.Warnings()[0], "is ignored because a later WithEndpoint changes the endpoint")
				}},
			{preset: option, service: WithEndpoint("https://b:2"), row: "traces " + name, shown: "-",
				sources: settings.OriginDefault},
			// A caller who gives both at once means them for each other, in either order.
			{service: WithOptions(option, WithEndpoint("https://b:2")), row: "traces " + name, shown: shown,
				sources: ""},
			{preset: WithOptions(option, WithEndpoint("https://a:1")),
				service: WithOptions(WithEndpoint("https://b:2"), option), row: "traces " + name, shown: shown,
				sources: "",
				check:   func(t *testing.T, r *settings.Resolution) { require.Empty(t, r.Warnings()) }},
		}
	}
	recorder, other := tracetest.NewInMemoryExporter(), tracetest.NewInMemoryExporter()
	reader, otherReader := sdkmetric.NewManualReader(), sdkmetric.NewManualReader()
	logExporter, otherLogExporter := discardLogs{}, &discardPointer{}
	presetSampling := Sampling{TracesPerSecond: 30, HeadOnly: true, Rules: []Rule{{SpanName: "preset", Drop: true}}}
	serviceSampling := Sampling{SlowThreshold: seconds(3), Rules: []Rule{{SpanName: "service", Keep: true}}}
	keys := func(keys ...string) Option { return WithRedaction(Redaction{Keys: keys}) }
	const redactedKeys = "WithRedaction(Redaction{Keys})"

	return map[string][]givenTwice{
		"WithProfile": single("profile", WithProfile(ProfileEdge), WithProfile(ProfileDevelopment),
			"development", "WithProfile"),
		"WithServiceName": single("service.name", WithServiceName("a"), WithServiceName("b"), "b",
			"WithServiceName"),
		"WithServiceVersion": single("service.version", WithServiceVersion("a"), WithServiceVersion("b"), "b",
			"WithServiceVersion"),
		"WithServiceNamespace": single("service.namespace", WithServiceNamespace("a"), WithServiceNamespace("b"), "b",
			"WithServiceNamespace"),
		"WithEnvironment": single("deployment.environment.name", WithEnvironment("a"), WithEnvironment("b"), "b",
			"WithEnvironment"),
		"WithResourceAttributes": {{
			preset:  WithResourceAttributes(attribute.String("a", "1"), attribute.String("b", "1")),
			service: WithResourceAttributes(attribute.String("b", "2")),
			env:     settings.Environment{"OTEL_RESOURCE_ATTRIBUTES": "b=3,c=3"}, row: "resource attributes",
			shown:   "a=1,b=1,b=2",
			sources: "WithOptions(WithResourceAttributes): a=1,b=1; WithResourceAttributes: b=2",
			check: func(t *testing.T, r *settings.Resolution) {
				res, _ := identity.Resource(t.Context(), r.Config)
				for key, want := range map[attribute.Key]string{"a": "1", "b": "2", "c": "3"} {
					value, _ := res.Set().Value(key)
					require.Equal(t, want, value.String(), key)
				}
			},
		}},
		"WithResourceDetectors": counted(WithResourceDetectors(resource.StringDetector("", "a",
			func() (string, error) { return "b", nil })), func(o *settings.Asked) int { return len(o.Detectors) }),
		"WithSpanProcessors": counted(WithSpanProcessors(discard{}),
			func(o *settings.Asked) int { return len(o.SpanProcessors) }),
		"WithViews": counted(WithViews(func(sdkmetric.Instrument) (sdkmetric.Stream,
			bool) {
			return sdkmetric.Stream{}, false
		}), func(o *settings.Asked) int { return len(o.Views) }),
		"WithSpanExporter": later(WithSpanExporter(recorder), WithSpanExporter(other),
			func(o *settings.Asked) any { return *o.SpanExporter }, other),
		"WithMetricReader": later(WithMetricReader(reader), WithMetricReader(otherReader),
			func(o *settings.Asked) any { return *o.MetricReader }, otherReader),
		"WithLogExporter": later(WithLogExporter(logExporter), WithLogExporter(otherLogExporter),
			func(o *settings.Asked) any { return *o.LogExporter }, otherLogExporter),
		"WithIDGenerator": later(WithIDGenerator(oneID(1)), WithIDGenerator(oneID(2)),
			func(o *settings.Asked) any { return o.IDGenerator }, oneID(2)),
		"WithErrorHandler": later(WithErrorHandler(namedHandler("a")), WithErrorHandler(namedHandler("b")),
			func(o *settings.Asked) any { return o.ErrorHandler }, namedHandler("b")),
		"WithLogOutput": later(WithLogOutput(io.Discard), WithLogOutput(&selfLines{}),
			func(o *settings.Asked) any { return o.LogOutput }, &selfLines{}),
		"WithSampler": {
			{preset: WithSampler(sdktrace.AlwaysSample()), service: WithSampler(sdktrace.NeverSample()), row: "sampler",
				shown: "AlwaysOffSampler", sources: "WithSampler"},
			{preset: WithAdaptiveSampling(presetSampling), service: WithSampler(sdktrace.NeverSample()), row: "sampler",
				shown: "AlwaysOffSampler", sources: "WithSampler"},
		},
		"WithAdaptiveSampling": {
			{preset: WithAdaptiveSampling(presetSampling), service: WithAdaptiveSampling(serviceSampling),
				row: "sampler", shown: "adaptive 30/s, head only", sources: "WithOptions(WithAdaptiveSampling)"},
			{preset: WithAdaptiveSampling(presetSampling), service: WithAdaptiveSampling(serviceSampling),
				row: "traces per second", shown: "30",
				sources: "WithOptions(WithAdaptiveSampling(Sampling{TracesPerSecond}))"},
			{preset: WithAdaptiveSampling(presetSampling), service: WithAdaptiveSampling(serviceSampling),
				row: "slow threshold", shown: "3s", sources: "WithAdaptiveSampling(Sampling{SlowThreshold})"},
			{preset: WithAdaptiveSampling(serviceSampling), service: WithAdaptiveSampling(Sampling{HeadOnly: true}),
				env: settings.Environment{"TELEMETRY_TRACES_PER_SECOND": "7"}, row: "traces per second", shown: "7",
				sources: "TELEMETRY_TRACES_PER_SECOND"},
			{preset: WithAdaptiveSampling(presetSampling), service: WithAdaptiveSampling(serviceSampling),
				check: func(t *testing.T, r *settings.Resolution) {
					s := r.Config.Sampler.Value.Adaptive
					require.Equal(t, []sampling.Rule{{SpanName: "service", Keep: true},
						{SpanName: "preset", Drop: true}},
						s.Rules, "the later ones are tried first")
					require.True(t, s.HeadOnly, "true stays true")
					require.InDelta(t, 30, s.TracesPerSecond, 0)
					require.Equal(t, seconds(3), s.SlowThreshold)
				}},
			{preset: WithSampler(sdktrace.NeverSample()), service: WithAdaptiveSampling(serviceSampling),
				row: "sampler", shown: "adaptive 50/s", sources: "WithAdaptiveSampling"},
		},
		"WithRedaction": {
			{preset: keys("email"), service: keys("iban"),
				env: settings.Environment{"TELEMETRY_REDACTION_KEYS": "phone,email"}, row: "redacted keys",
				shown: "iban,email,phone",
				sources: "WithOptions(" + redactedKeys + "): email; " + redactedKeys +
					": iban; TELEMETRY_REDACTION_KEYS: phone,email"},
			{preset: keys("email"), env: settings.Environment{"TELEMETRY_REDACTION_KEYS": "phone"},
				row: "redacted keys", shown: "email,phone", sources: "WithOptions(" + redactedKeys +
					"): email; TELEMETRY_REDACTION_KEYS: phone"},
			{service: keys("email"), row: "redacted keys", shown: "email", sources: redactedKeys},
			{preset: WithRedaction(Redaction{AllowKeys: []string{"order.id"}}),
				service: WithRedaction(Redaction{AllowKeys: []string{"article"}}), row: "keys without redaction",
				shown: "article,order.id",
				sources: "WithOptions(WithRedaction(Redaction{AllowKeys})): order.id; " +
					"WithRedaction(Redaction{AllowKeys}): article"},
			{preset: WithRedaction(Redaction{Values: []*regexp.Regexp{regexp.MustCompile("a+")}}),
				service: WithRedaction(Redaction{Values: []*regexp.Regexp{regexp.MustCompile("b+")}}),
				row:     "redacted values", shown: "b+ a+",
				sources: "WithOptions(WithRedaction(Redaction{Values})): a+; WithRedaction(Redaction{Values}): b+"},
			{preset: WithRedaction(Redaction{Off: true}), service: keys("iban"), row: "redaction", shown: "false",
				sources: "WithOptions(WithRedaction(Redaction{Off}))"},
		},
		"WithSpanBatch": batch(WithSpanBatch, "span", "WithSpanBatch"),
		"WithLogBatch":  batch(WithLogBatch, "log", "WithLogBatch"),
		"WithMetricInterval": single("metric interval", WithMetricInterval(seconds(1)), WithMetricInterval(seconds(2)),
			"2s", "WithMetricInterval"),
		"WithLogLevel": single("console log level", WithLogLevel(slog.LevelError), WithLogLevel(slog.LevelDebug),
			"debug", "WithLogLevel"),
		"WithLogFormat": single("console log format", WithLogFormat(LogFormatJSON), WithLogFormat(LogFormatText),
			"text", "WithLogFormat"),
		"WithPropagators": single("propagators", WithPropagators(propagation.TraceContext{}),
			WithPropagators(propagation.Baggage{}), "baggage", "WithPropagators"),
		"WithShutdownTimeout": single("shutdown timeout", WithShutdownTimeout(seconds(1)),
			WithShutdownTimeout(seconds(2)), "2s", "WithShutdownTimeout"),
		"WithSpool": append(single("spool directory", WithSpool("/a", 1), WithSpool("/b", 2), "/b", "WithSpool"),
			givenTwice{preset: WithSpool("/a", 1), service: WithSpool("/b", 0), row: "spool bytes", shown: "1",
				sources: "WithOptions(WithSpool)"}),
		"WithDisabled": append(single("disabled", WithDisabled(false), WithDisabled(true), "true", "WithDisabled"),
			givenTwice{preset: WithDisabled(true), service: WithDisabled(false), row: "disabled", shown: "false",
				sources: settings.OriginDefault}),
		"WithoutTraces":  flag(WithoutTraces(), off(signal.Traces)),
		"WithoutMetrics": flag(WithoutMetrics(), off(signal.Metrics)),
		"WithoutLogs":    flag(WithoutLogs(), off(signal.Logs)),
		"WithoutRuntimeMetrics": flag(WithoutRuntimeMetrics(),
			func(r *settings.Resolution) bool { return !r.Config.RuntimeMetrics.Value }),
		"WithoutGlobals": flag(WithoutGlobals(),
			func(r *settings.Resolution) bool { return r.Asked.WithoutGlobals }),
		// Bundles add nothing of their own, at any depth.
		"WithOptions": {{preset: WithOptions(keys("email")), service: WithOptions(keys("iban")), row: "redacted keys",
			shown: "iban,email", sources: "WithOptions(" + redactedKeys + ")"}},

		"WithEndpoint": single("metrics endpoint", WithEndpoint("http://a:1"), WithEndpoint("http://b:2"),
			"http://b:2", "WithEndpoint"),
		"WithProtocol": single("logs protocol", WithProtocol(ProtocolHTTP), WithProtocol(ProtocolGRPC), "grpc",
			"WithProtocol"),
		"WithCompression": single("logs compression", WithCompression(CompressionGzip),
			WithCompression(CompressionNone), "none", "WithCompression"),
		"WithTLSConfig": later(WithTLSConfig(&tls.Config{ServerName: "a"}),
			WithTLSConfig(&tls.Config{ServerName: "b"}),
			func(o *settings.Asked) any { return o.TLS(signal.Traces).ServerName }, "b"),
		"WithHeaders": append(headers("headers", WithHeaders(map[string]string{"a": "1"}), "a=<redacted>"),
			single("traces headers", WithHeaders(map[string]string{"a": "1"}), WithHeaders(map[string]string{"b": "2"}),
				"b=<redacted>", "WithHeaders")...),
		"WithTokenFile": append(headers("token file", WithTokenFile("/run/token"), "/run/token"),
			single("traces token file", WithTokenFile("/a"), WithTokenFile("/b"), "/b", "WithTokenFile")...),
		"WithHeaderFunc": append(
			later(WithHeaderFunc(headersOf("a")), WithHeaderFunc(headersOf("b")),
				func(o *settings.Asked) any {
					h,
						_ := (*o.HeaderFunc(signal.Traces))(context.Background())
					return h
				}, map[string]string{"b": "1"}),
			later(WithOptions(WithEndpoint("https://a:1"), WithHeaderFunc(headersOf("a"))), WithEndpoint("https://b:2"),
				func(o *settings.Asked) any { return o.HeaderFunc(signal.Traces) == nil }, true)...),
		"ForTraces":  scoped("ForTraces", signal.Traces, ForTraces),
		"ForMetrics": scoped("ForMetrics", signal.Metrics, ForMetrics),
		"ForLogs": append(scoped("ForLogs", signal.Logs, ForLogs),
			single("OTLP log level", ForLogs(WithLogLevel(slog.LevelError)), ForLogs(WithLogLevel(slog.LevelDebug)),
				"debug", "ForLogs(WithLogLevel)")...),
	}
}

// oneID is a generator that always makes the same id.
type oneID byte

func (o oneID) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	return trace.TraceID{byte(o)}, trace.SpanID{byte(o)}
}

func (o oneID) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return trace.SpanID{byte(o)} }

type namedHandler string

func (namedHandler) Handle(error) {}

var _ otel.ErrorHandler = namedHandler("")

func rowNamed(t *testing.T, name string) settings.Row {
	for _, row := range settings.Rows() {
		if row.Describe().Name == name {
			return row
		}
	}
	require.Fail(t, "no such row", name)
	return nil
}

// exportedOptions are the functions that return an Option.
func exportedOptions(t *testing.T) (names []string) {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || f.Recv != nil || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
				continue
			}
			if result, ok := f.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name == "Option" {
				names = append(names, f.Name.Name)
			}
		}
	}
	require.Greater(t, len(names), 40)
	return names
}
