package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// TestDescribeGolden compares the whole text; `make update` writes the golden file.
func TestDescribeGolden(t *testing.T) {
	_, text := described(t, settings.Environment{
		"OTEL_SERVICE_NAME": "checkout", "OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,team=pay",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otlp.example.com", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cr3t",
		"OTEL_LOGS_EXPORTER": "oltp,zipkin", "OTEL_METRICS_EXPORTER": "none",
		"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25",
		"OTEL_BSP_MAX_QUEUE_SIZE": "-1", "OTEL_EXPORTER_OLTP_ENDPOINT": "http://collector:4318",
		"TELEMETRY_PROFILE": "edge",
	}, WithSpool("/var/spool/checkout", 0), WithSpanProcessors(discard{}), WithLogOutput(io.Discard))
	require.NotContains(t, text, "s3cr3t")
	require.NotContains(t, text, "4711")
	require.NotContains(t, text, "5ad1ac6c")
	text = strings.Replace(text, "telemetry "+Version, "telemetry VERSION", 1)
	golden := filepath.Join("testdata", "describe.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(text), 0o644))
		return
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "run: make update")
}

func TestDescribeListsEverySetting(t *testing.T) {
	_, text := described(t, nil)
	for _, row := range settings.Rows() {
		require.Regexp(t, `(?m)^  `+regexp.QuoteMeta(row.Describe().Name)+` {2,}\S.*  default  `, text)
	}
	require.NotContains(t, text, "problems")
	require.NotContains(t, text, "given by option")
}

func TestDescribeExplainsWhyASignalIsOff(t *testing.T) {
	for _, tt := range []struct {
		env  settings.Environment
		opts []Option
		want string
	}{
		{settings.Environment{"OTEL_SDK_DISABLED": "true"}, nil, "off: OTEL_SDK_DISABLED is true"},
		{settings.Environment{"OTEL_TRACES_EXPORTER": "None"}, nil,
			"off: OTEL_TRACES_EXPORTER=none; spans have ids, and the sampler decides for the services that are called"},
		{settings.Environment{"OTEL_SDK_DISABLED": "false", "OTEL_TRACES_EXPORTER": "none"},
			[]Option{WithDisabled(true)}, "off: WithDisabled"},
		{settings.Environment{"OTEL_SDK_DISABLED": "true"}, []Option{WithDisabled(false)},
			"off: OTEL_SDK_DISABLED is true"},
		{nil, []Option{WithOptions(WithDisabled(true)), WithDisabled(false), WithoutTraces()}, "off: WithoutTraces"},
		{settings.Environment{"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none",
			"OTEL_SDK_DISABLED": "true"}, nil, "off: OTEL_SDK_DISABLED is true"},
		{nil, []Option{WithoutTraces()}, "off: WithoutTraces"},
		{settings.Environment{"OTEL_TRACES_EXPORTER": "zipkin"}, nil, "off: OTEL_TRACES_EXPORTER is invalid"},
		{nil, []Option{WithEndpoint("x://"), WithAdaptiveSampling(Sampling{HeldBytes: 1})},
			"off: WithEndpoint and WithAdaptiveSampling are invalid"},
	} {
		r, text := described(t, tt.env, tt.opts...)
		require.Equal(t, tt.want, settings.Destination(r.Config, signal.Traces))
		require.Contains(t, text, tt.want)
	}
}

func TestStartLineNamesTheEffectiveSettings(t *testing.T) {
	require.Equal(t, map[string]string{
		"service.name": "checkout", "service.version": "v1.2.3", "service.instance.id": "me",
		"traces":  "http/protobuf http://localhost:4318/v1/traces",
		"metrics": "http/protobuf http://localhost:4318/v1/metrics",
		"logs":    "http/protobuf http://localhost:4318/v1/logs",
		"sampler": "adaptive 50/s", "profile": "service",
	}, started(t, nil), "defaults have no origin")

	require.Equal(t, map[string]string{
		"service.name": "checkout", "service.name.origin": "OTEL_SERVICE_NAME", "service.version": "v1.2.3",
		"service.instance.id":    "me",
		"service.version.origin": "OTEL_RESOURCE_ATTRIBUTES",
		"traces":                 "grpc https://c:1 (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL)",
		"metrics":                "off: OTEL_METRICS_EXPORTER=none",
		"logs":                   "http/protobuf https://d/v1/logs (WithEndpoint) and console (OTEL_LOGS_EXPORTER)",
		"sampler":                "traceidratio 0.1 (OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG)",
		"spool":                  "/var/spool/x, at most 67108864 bytes (TELEMETRY_SPOOL_DIR)",
		"profile":                "edge (WithProfile)",
	}, started(t, settings.Environment{
		"OTEL_SERVICE_NAME": "checkout", "OTEL_RESOURCE_ATTRIBUTES": "service.version=v1.2.3",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:1", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
		"OTEL_METRICS_EXPORTER": "none",
		"OTEL_LOGS_EXPORTER":    "otlp,console", "OTEL_TRACES_SAMPLER": "traceidratio",
		"OTEL_TRACES_SAMPLER_ARG": "0.1",
		"TELEMETRY_SPOOL_DIR":     "/var/spool/x",
	}, WithProfile(ProfileEdge), ForLogs(WithEndpoint("https://d"))))

	require.Equal(t, "adaptive 7.5/s, head only (WithAdaptiveSampling)",
		started(t, nil, WithAdaptiveSampling(Sampling{TracesPerSecond: 7.5, HeadOnly: true}))["sampler"])
	require.Equal(t, "AlwaysOffSampler (WithSampler)", started(t, nil, WithSampler(sdktrace.NeverSample()))["sampler"])
	require.NotContains(t, started(t, nil, WithoutTraces()), "sampler")
	development := started(t, nil, WithProfile(ProfileDevelopment))
	require.Equal(t, []string{"console", "development (WithProfile)"},
		[]string{development["traces"], development["profile"]})
	require.NotContains(t, started(t, nil, WithoutGlobals()), "service.name", "there every line has it")
}

// FuzzMaskHidesHeaders puts a secret where header lists have values, well-formed and malformed, and
// looks for it in all output of Init, Describe and the self-log, also when other errors repeat the
// list or parts of it. It needs no server; FuzzHeadersStaySecret covers what a server says.
func FuzzMaskHidesHeaders(f *testing.F) {
	for _, list := range []string{
		"api-key=%", "%", "%=", "%==", "=%", "api-key: %", "api-key %", "api-key=%,", "a=b,%", "a=%zz%", "a=Bearer %",
		"a=%;b=%", "b ad=%", "a=%%20%", "a=\"%\"", "a=%\t%", "content-type=%", "a=%,a=%", "a\x00=%", "%\n%",
		"authorization=Basic %==", "a=b=%", ",,%,,", "é=%",
	} {
		f.Add(list, "http://localhost:4318")
	}
	f.Add("a=b", "https://user:%@collector:4318")
	f.Add("a=b", "user:%@collector")
	f.Add("a=b", "https://collector?token=%")
	f.Fuzz(func(t *testing.T, list, endpoint string) {
		const secret = "s3cr3tToken"
		put := func(text string) string {
			return strings.ReplaceAll(strings.ReplaceAll(text, secret, ""), "%", secret)
		}
		for pair := range strings.SplitSeq(put(list), ",") {
			name, value, _ := strings.Cut(pair, "=")
			if strings.Contains(name, secret) && strings.Trim(value, "= ") != "" &&
				settings.ValidHeader(strings.TrimSpace(name), "") == nil {
				t.Skip("the name of a header is no secret")
			}
		}
		env := settings.Environment{"OTEL_EXPORTER_OTLP_HEADERS": put(list),
			"OTEL_EXPORTER_OTLP_LOGS_HEADERS": put(list), "OTEL_EXPORTER_OTLP_ENDPOINT": put(endpoint),
			"OTEL_EXPORTER_OTLP_HEADER": put(list)}
		if _, _, err := settings.ParseEndpoint(put(endpoint)); strings.Contains(endpoint, "%") &&
			(err == nil || !strings.ContainsAny(endpoint, "@?#")) {
			t.Skip("the host and path of an endpoint are shown and are not secrets")
		}
		for _, opts := range [][]Option{nil, {WithHeaders(map[string]string{"api-key": put(list)})}} {
			r, text := described(t, env, opts...)
			var out bytes.Buffer
			log := selflog.New(selflog.ToHandler(slog.NewJSONHandler(&out, nil)), slog.LevelDebug, r.Mask())
			log.Say(settings.StartLine(r.Config, resourceOf()))
			for _, line := range r.Lines() {
				log.Say(line)
			}
			quotes := []string{put(list), fmt.Sprintf("%q", put(list)), put(endpoint)}
			for pair := range strings.SplitSeq(put(list), ",") {
				_, value, _ := strings.Cut(pair, "=")
				quotes = append(quotes, pair, value, strings.TrimSpace(value), fmt.Sprintf("%q", value))
			}
			for _, quoted := range quotes {
				log.Handle(fmt.Errorf("exporter: parse headers %s: refused", quoted))
				log.Say(lines.Lost(signal.Traces, 1, "", errors.New(quoted)))
			}
			_, err := url.Parse(put(endpoint))
			log.Handle(err)
			log.Close()
			require.NotContains(t, out.String()+text+fmt.Sprint(r.Err()), secret)
		}
	})
}

// TestDescribeListsOptionsOutsideTheTable has a preset and a service that extends it.
func TestDescribeShowsTheHeadersAsTheyWereGiven(t *testing.T) {
	headers := map[string]string{"x-key": "1"}
	option := WithHeaders(headers)
	headers["x-other"] = "2"
	r := resolve(nil, option)
	require.NoError(t, r.Err())
	require.NotContains(t, settings.Describe(r.Config, resourceOf(), nil, nil), "x-other")
}

func TestInspectionWaitsForTheWarnings(t *testing.T) {
	var warnings atomic.Int32
	// Without the wait, Init would return long before this handler has counted both warnings.
	slow := otel.ErrorHandlerFunc(func(error) { time.Sleep(80 * time.Millisecond); warnings.Add(1) })
	ctx := settings.WithInspection(t.Context(), settings.Inspection{Described: func(settings.Description) {}})
	t.Setenv("OTEL_METRICS_PRODUCERS", "prometheus")
	t.Setenv("TELEMETRY_UNKNOWN", "1")
	_, err := Init(ctx, WithoutGlobals(), WithErrorHandler(slow), WithServiceName("x"))
	require.NoError(t, err)
	require.Equal(t, int32(2), warnings.Load())
}

func TestDescribeListsOptionsOutsideTheTable(t *testing.T) {
	view := sdkmetric.NewView(sdkmetric.Instrument{Name: "x"}, sdkmetric.Stream{Name: "y"})
	preset := WithOptions(
		WithServiceNamespace("shop"), WithResourceAttributes(attribute.String("team", "pay"),
			attribute.String("tier", "1")), WithViews(view),
		WithHeaderFunc(headersOf("a")),
		WithAdaptiveSampling(Sampling{HeldBytes: 1 << 20, TailTracesPerSecond: 1e6,
			Rules: []Rule{{PathPrefix: "/internal/", Drop: true}}}),
	)
	r := resolve(nil, preset, WithViews(view, view), WithSpanProcessors(discard{}),
		WithResourceDetectors(resource.StringDetector("", "a", func() (string, error) { return "b", nil })),
		WithResourceAttributes(attribute.String("tier", "2")),
		WithAdaptiveSampling(Sampling{
			HeadOnly: true, RemoteTracesPerSecond: 7.5, RecordedSpansPerSecond: 20000,
			Untrusted: func(context.Context) bool { return true },
			Rules: []Rule{
				{Route: "/orders", Kind: trace.SpanKindServer, Attribute: attribute.String("tenant", "a\tb"),
					Ratio: 0.25},
				{SpanName: "payment.*", Keep: true, Attribute: attribute.KeyValue{Key: "vip"}},
				{TracesPerSecond: 5, SlowThreshold: -1, Attribute: attribute.String("password", "s3cr3t")},
				{SlowThreshold: 2 * time.Second, Route: "/" + strings.Repeat("é", 300)},
				{},
			},
		}))
	require.NoError(t, r.Err())
	text := settings.Describe(r.Config,
		resourceOf(attribute.String("service.namespace", "shop"), attribute.String("team", "pay"),
			attribute.String("tier", "2")), nil, nil)
	require.NotContains(t, text, "s3cr3t")
	fields := regexp.MustCompile(` {2,}`)
	var section []string
	resourceOrigins := map[string]string{}
	title := ""
	for line := range strings.Lines(text) {
		columns := fields.Split(strings.TrimSpace(line), -1)
		switch {
		case line == "\n":
			title = ""
		case title == "":
			title = columns[0]
		case title == "also given by option":
			section = append(section, strings.Join(columns, " | "))
		case title == "resource", title == "general":
			resourceOrigins[title+" "+columns[0]] = columns[2]
		}
	}
	const ofPreset, ofService = "WithOptions(WithAdaptiveSampling)", "WithAdaptiveSampling"
	require.Equal(t, []string{
		"Sampling.HeadOnly | true | " + ofService,
		"Sampling.Rules[0] | keep a ratio of 0.25: route /orders, attribute tenant=a b, kind server | " + ofService,
		"Sampling.Rules[1] | keep: span name payment.*, attribute vip | " + ofService,
		"Sampling.Rules[2] | keep 5/s, slowness is no reason: attribute password=[redacted] | " + ofService,
		"Sampling.Rules[3] | sample as usual, slow from 2s: route /" +
			strings.Repeat("é", 120-len("sample as usual, slow from 2s: route /")-1) + "… | " + ofService,
		"Sampling.Rules[4] | sample as usual: everything | " + ofService,
		"Sampling.Rules[5] | drop: path prefix /internal/ | " + ofPreset,
		"Sampling.Untrusted | given by option | " + ofService,
		"Sampling.RemoteTracesPerSecond | 7.5 | " + ofService,
		"Sampling.TailTracesPerSecond | 1000000 | " + ofPreset,
		"Sampling.HeldBytes | 1048576 | " + ofPreset,
		"Sampling.RecordedSpansPerSecond | 20000 | " + ofService,
		"resource detectors | 1 | WithResourceDetectors",
		"span processors | 1 | WithSpanProcessors",
		"views | 3 | WithOptions(WithViews) and WithViews",
		"traces header function | given by option | WithOptions(WithHeaderFunc)",
		"metrics header function | given by option | WithOptions(WithHeaderFunc)",
		"logs header function | given by option | WithOptions(WithHeaderFunc)",
	}, section)
	require.Equal(t, "WithOptions(WithServiceNamespace)", resourceOrigins["general service.namespace"])
	require.Equal(t, "WithOptions(WithServiceNamespace)", resourceOrigins["resource service.namespace"])
	require.Equal(t, "WithOptions(WithResourceAttributes)", resourceOrigins["resource team"])
	require.Equal(t, "WithOptions(WithResourceAttributes) and WithResourceAttributes", resourceOrigins["resource tier"])

	_, text = described(t, nil, WithSampler(sdktrace.AlwaysSample()), preset, WithSampler(sdktrace.NeverSample()))
	require.NotContains(t, text, "Sampling.", "another sampler is in force")
}

// described resolves a configuration as Init does, with a resource that is the same on every
// machine.
func described(t *testing.T, env settings.Environment, opts ...Option) (*settings.Resolution, string) {
	t.Helper()
	r := resolve(env, opts...)
	attrs := []attribute.KeyValue{
		attribute.String("service.instance.id", "5ad1ac6c-0b6e-4a0c-9b8f-3f1fbb2f6a11"),
		attribute.Int("process.pid", 4711), attribute.String("host.name", "web-1"),
	}
	attrs = append(append(attrs, r.Config.EnvAttributes.Value...),
		attribute.String("service.name", r.Config.ServiceName.Value))
	return r, settings.Describe(r.Config, resourceOf(attrs...), append(errorLines(r.Err()), r.Warnings()...),
		r.Remarks())
}

// started returns the attributes of the start line by key.
func started(t *testing.T, env settings.Environment, opts ...Option) map[string]string {
	t.Helper()
	r := resolve(env, opts...)
	require.NoError(t, r.Err())
	res := resourceOf(attribute.String("service.name", "checkout"), attribute.String("service.version", "v1.2.3"),
		attribute.String("service.instance.id", "me"))
	all := map[string]string{}
	for _, attr := range settings.StartLine(r.Config, res).Attrs() {
		require.NotContains(t, all, attr.Key)
		all[attr.Key] = attr.Value.String()
	}
	return all
}

func resourceOf(attrs ...attribute.KeyValue) *resource.Resource {
	return resource.NewSchemaless(attrs...)
}
