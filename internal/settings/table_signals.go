package settings

import (
	"log/slog"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/signal"
)

// SignalVariable returns the signal's own variable of the OTLP exporter, such as
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.
func SignalVariable(s signal.Signal, suffix string) string {
	return "OTEL_EXPORTER_OTLP_" + strings.ToUpper(s.String()) + "_" + suffix
}

// scopedEnv returns the signal's own variable and the general one.
func scopedEnv(s signal.Signal, suffix string) []string {
	return []string{SignalVariable(s, suffix), "OTEL_EXPORTER_OTLP_" + suffix}
}

// ownVariable returns the library's own variable for a setting that the specification has no
// variable for.
func ownVariable(variable string) string { return strings.Replace(variable, "OTEL_", "TELEMETRY_", 1) }

// SignalRows returns the settings that exist once for each signal.
func SignalRows(s signal.Signal) []Row {
	on := []signal.Signal{s}
	name := func(what string) string { return s.String() + " " + what }
	at := func(c *Config) *SignalConfig { return &c.Signals[s] }
	pem := func(what, suffix string, k kind[pemFile], field func(*SignalConfig) *Setting[pemFile]) Row {
		return typedRow[pemFile]{
			Info{Name: name(what), Option: "WithTLSConfig", Env: scopedEnv(s, suffix), Signals: on, Strict: true,
				otlpOnly: true, Reason: "WithTLSConfig replaces all three files"},
			k, func(c *Config) *Setting[pemFile] { return field(at(c)) },
			func(o *Asked) *pemFile {
				if o.TLS(s) == nil {
					return nil
				}
				return &pemFile{replaced: true}
			},
		}
	}
	return []Row{
		typedRow[[]string]{
			Info{
				Name: name("exporter"), Option: (&Asked{}).exporterOption(s),
				options: func(o *Asked) string { return o.exporterOption(s) },
				Env:     []string{"OTEL_" + strings.ToUpper(s.String()) + "_EXPORTER"}, Defaults: Always(ExporterOTLP),
				Signals: on, Strict: true,
				Reason: "console in the development profile, unless an endpoint is set; off with Without" +
					title(s.String()),
			},
			exporterList(), func(c *Config) *Setting[[]string] { return &at(c).Exporters },
			func(o *Asked) *[]string { return o.exporters(s) },
		},
		typedRow[string]{
			Info{
				Name: name("endpoint"), Option: "WithEndpoint", options: (*Asked).endpointOption,
				Env: scopedEnv(s, "ENDPOINT"), Defaults: Always(defaultHTTPEndpoint),
				Signals: on, Strict: true, otlpOnly: true,
				Reason: "from the specification; port 4317 for grpc. The SDK's default is https://",
			},
			endpointURL(), func(c *Config) *Setting[string] { return &at(c).Endpoint },
			func(o *Asked) *string { return firstNonNil(o.Signals[s].Endpoint, o.Export.Endpoint) },
		},
		typedRow[string]{
			Info{
				Name: name("protocol"), Option: "WithProtocol", Env: scopedEnv(s, "PROTOCOL"),
				Defaults: Always(protocolHTTP),
				Signals:  on, otlpOnly: true, Reason: "from the specification",
			},
			enum(ProtocolGRPC, protocolHTTP), func(c *Config) *Setting[string] { return &at(c).Protocol },
			func(o *Asked) *string { return firstNonNil(o.Signals[s].Protocol, o.Export.Protocol) },
		},
		typedRow[map[string]string]{
			Info{Name: name("headers"), Option: "WithHeaders", Env: scopedEnv(s, "HEADERS"), Signals: on,
				otlpOnly: true},
			headerList(), func(c *Config) *Setting[map[string]string] { return &at(c).Headers },
			func(o *Asked) *map[string]string { return firstNonNil(o.Signals[s].Headers, o.Export.Headers) },
		},
		typedRow[string]{
			Info{
				Name: name("token file"), Option: "WithTokenFile", Signals: on, otlpOnly: true,
				Env: []string{ownVariable(SignalVariable(s, "TOKEN_FILE")),
					ownVariable("OTEL_EXPORTER_OTLP_TOKEN_FILE")},
				Reason: "read for each request and sent as a bearer token; the SDK has none",
			},
			text(), func(c *Config) *Setting[string] { return &at(c).tokenFile },
			func(o *Asked) *string { return firstNonNil(o.Signals[s].TokenFile, o.Export.TokenFile) },
		},
		typedRow[string]{
			Info{
				Name: name("compression"), Option: "WithCompression", Env: scopedEnv(s, "COMPRESSION"),
				Defaults: Always(CompressionGzip),
				Signals:  on, otlpOnly: true, Reason: "batches shrink to about a tenth; the SDK does not compress by " +
					"default",
			},
			enum(CompressionGzip, compressionNone), func(c *Config) *Setting[string] { return &at(c).Compression },
			func(o *Asked) *string { return firstNonNil(o.Signals[s].Compression, o.Export.Compression) },
		},
		typedRow[time.Duration]{
			Info{
				Name: name("timeout"), Env: scopedEnv(s, "TIMEOUT"), Defaults: Always("10000"), Signals: on,
				Reason: "limits one attempt; from the specification, also the SDK's default",
			},
			milliseconds(), func(c *Config) *Setting[time.Duration] { return &at(c).Timeout }, nil,
		},
		typedRow[bool]{
			Info{
				Name: name("insecure"), Env: scopedEnv(s, "INSECURE"), Signals: on,
				Reason: "only for endpoints without a scheme; https:// is never downgraded. If not set: plaintext to " +
					"this machine, TLS to any other",
			},
			boolean(), func(c *Config) *Setting[bool] { return &at(c).insecure }, nil,
		},
		pem("certificate", "CERTIFICATE", certificateFile(),
			func(sc *SignalConfig) *Setting[pemFile] { return &sc.Certificate }),
		pem("client certificate", "CLIENT_CERTIFICATE", certificateFile(),
			func(sc *SignalConfig) *Setting[pemFile] { return &sc.ClientCertificate }),
		pem("client key", "CLIENT_KEY", keyFile(), func(sc *SignalConfig) *Setting[pemFile] { return &sc.ClientKey }),
	}
}

// batchSettings are the settings of one batch processor.
type batchSettings struct {
	signal signal.Signal
	what   string // of its items
	option string
	// OTEL_BSP or OTEL_BLRP, with TELEMETRY_ instead of OTEL_ if the specification has no variable
	variable string
	sdkDelay string // the SDK's own schedule delay, in milliseconds
	at       func(*Config) *BatchConfig
	given    func(*Asked) *Batch
}

func (b batchSettings) rows() []Row {
	own := ownVariable(b.variable)
	return []Row{
		b.number("queue size", "MaxQueueSize", b.variable+"_MAX_QUEUE_SIZE", maxItems,
			Defaults{"8192", "65536", "1024", "2048"},
			"8192 items last 0.8 s at 10,000 items/s while the collector stalls; the SDK's default is 2048",
			func(c *BatchConfig) *Setting[int] { return &c.MaxQueueSize },
			func(g *Batch) *int { return &g.MaxQueueSize }),
		b.number("batch size", "MaxExportBatchSize", b.variable+"_MAX_EXPORT_BATCH_SIZE", maxItems,
			Defaults{"1024", "4096", "256", "512"},
			"half as many requests as with the SDK's default of 512, and far below a collector's 4 MiB",
			func(c *BatchConfig) *Setting[int] { return &c.MaxExportBatchSize },
			func(g *Batch) *int { return &g.MaxExportBatchSize }),
		b.number("concurrent exports", "MaxConcurrentExports", own+"_MAX_CONCURRENT_EXPORTS", maxInFlight,
			Defaults{"8", "16", "1", "1"},
			"requests in flight: 8 of 1,024 items at a round trip of 100 ms are 80,000 items/s; the SDK's default is 1",
			func(c *BatchConfig) *Setting[int] { return &c.MaxConcurrentExports },
			func(g *Batch) *int { return &g.MaxConcurrentExports }),
		typedRow[int]{
			Info{
				Name: b.what + " queue bytes", Env: []string{own + "_MAX_QUEUE_BYTES"},
				Signals:  []signal.Signal{b.signal},
				Defaults: Defaults{"33554432", "268435456", "2097152", "8388608"},
				Reason:   "estimated memory of the items held; the SDK has no limit",
			},
			count(1, maxBytes), func(c *Config) *Setting[int] { return &b.at(c).MaxQueueBytes }, nil,
		},
		b.duration("schedule delay", "ScheduleDelay", "_SCHEDULE_DELAY", Defaults{"3000", "1000", "15000", "200"},
			"how stale a dashboard may be; the SDK's default is "+b.sdkDelay,
			func(c *BatchConfig) *Setting[time.Duration] { return &c.ScheduleDelay },
			func(g *Batch) *time.Duration { return &g.ScheduleDelay }),
		b.duration("export timeout", "ExportTimeout", "_EXPORT_TIMEOUT", Defaults{"30000", "30000", "60000", "5000"},
			"limits all attempts to send one batch together; the SDK's default is 30000",
			func(c *BatchConfig) *Setting[time.Duration] { return &c.ExportTimeout },
			func(g *Batch) *time.Duration { return &g.ExportTimeout }),
	}
}

// number returns the row of a field of Batch.
func (b batchSettings) number(name, field, env string, most int, d Defaults, reason string,
	to func(*BatchConfig) *Setting[int], from func(*Batch) *int) Row {
	return typedRow[int]{
		b.info(name, field, env, d, reason), count(1, most),
		func(c *Config) *Setting[int] { return to(b.at(c)) },
		func(o *Asked) *int { return nonZero(from(b.given(o))) },
	}
}

func (b batchSettings) duration(name, field, suffix string, d Defaults, reason string,
	to func(*BatchConfig) *Setting[time.Duration], from func(*Batch) *time.Duration) Row {
	return typedRow[time.Duration]{
		b.info(name, field, b.variable+suffix, d, reason), milliseconds(),
		func(c *Config) *Setting[time.Duration] { return to(b.at(c)) },
		func(o *Asked) *time.Duration { return nonZero(from(b.given(o))) },
	}
}

func (b batchSettings) info(name, field, env string, d Defaults, reason string) Info {
	return Info{
		Name: b.what + " " + name, Option: b.option + "(Batch{" + field + "})", Env: []string{env},
		Defaults: d, Signals: []signal.Signal{b.signal}, Reason: reason,
	}
}

// nonZero returns nil for a zero field, so that the environment decides.
func nonZero[T comparable](p *T) *T {
	var zero T
	if *p == zero {
		return nil
	}
	return p
}

func limitRow(name string, s signal.Signal, env []string, d, reason string, field func(*Config) *Setting[int]) Row {
	return typedRow[int]{
		Info{Name: name, Env: env, Defaults: Always(d), Signals: []signal.Signal{s}, Reason: reason},
		limit(), field, nil,
	}
}

const (
	defaultValueLength = "32768"
	valueLengthReason  = "characters; one value of 1 MiB times a full queue would be 8 GiB. The SDK has no limit"
)

// The variables of the samplers' settings.
const (
	samplerArgVariable      = "OTEL_TRACES_SAMPLER_ARG"
	tracesPerSecondVariable = "TELEMETRY_TRACES_PER_SECOND"
	slowThresholdVariable   = "TELEMETRY_SLOW_THRESHOLD"
)

func traceRows() []Row {
	rows := []Row{
		typedRow[Sampler]{
			Info{
				Name: "sampler", Option: "WithSampler", Env: []string{"OTEL_TRACES_SAMPLER"},
				Defaults: Always(SamplerAdaptive),
				Signals:  []signal.Signal{signal.Traces}, options: func(o *Asked) string { return o.Sampler.option() },
				Reason: "about 50 traces/s per process, plus errors and slow requests (WithAdaptiveSampling); the " +
					"SDK's default is parentbased_always_on",
			},
			samplerName(), func(c *Config) *Setting[Sampler] { return &c.Sampler },
			func(o *Asked) *Sampler { return o.Sampler },
		},
		typedRow[float64]{
			Info{
				Name: "sampler argument", Env: []string{samplerArgVariable}, Defaults: Always("1"),
				Signals: []signal.Signal{signal.Traces},
				Reason:  "the ratio of traceidratio and parentbased_traceidratio",
				reads:   func(env Environment, _ string) bool { return !adaptiveByName(env) },
			},
			ratio(), func(c *Config) *Setting[float64] { return &c.SamplerArg }, nil,
		},
		typedRow[float64]{
			Info{
				Name: "traces per second", Option: "WithAdaptiveSampling(Sampling{TracesPerSecond})",
				Env:      []string{tracesPerSecondVariable, samplerArgVariable},
				Defaults: Always("50"), Signals: []signal.Signal{signal.Traces},
				Reason: "of the adaptive sampler, per process; OTEL_TRACES_SAMPLER_ARG applies with " +
					"OTEL_TRACES_SAMPLER=adaptive",
				reads: func(env Environment, name string) bool {
					return name != samplerArgVariable || adaptiveByName(env)
				},
			},
			tracesPerSecond(), func(c *Config) *Setting[float64] { return &c.tracesPerSecond },
			func(o *Asked) *float64 { s := o.adaptiveOption(); return nonZero(&s.TracesPerSecond) },
		},
		typedRow[time.Duration]{
			Info{
				Name: "slow threshold", Option: "WithAdaptiveSampling(Sampling{SlowThreshold})",
				Env:      []string{slowThresholdVariable},
				Defaults: Always("1000"), Signals: []signal.Signal{signal.Traces},
				Reason: "of the adaptive sampler, in milliseconds: slower requests are kept whatever the sampling rate",
			},
			slowThreshold(), func(c *Config) *Setting[time.Duration] { return &c.slowThreshold },
			func(o *Asked) *time.Duration { s := o.adaptiveOption(); return nonZero(&s.SlowThreshold) },
		},
	}
	rows = append(rows, batchSettings{
		signal: signal.Traces, what: "span", option: "WithSpanBatch", variable: "OTEL_BSP", sdkDelay: "5000",
		at: func(c *Config) *BatchConfig { return &c.SpanBatch }, given: func(o *Asked) *Batch { return &o.SpanBatch },
	}.rows()...)
	return append(rows,
		limitRow("span attribute value length", signal.Traces,
			[]string{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"},
			defaultValueLength, valueLengthReason,
			func(c *Config) *Setting[int] { return &c.SpanLimits.attributeValueLength }),
		limitRow("span attributes", signal.Traces,
			[]string{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"},
			"128", "from the specification", func(c *Config) *Setting[int] { return &c.SpanLimits.attributeCount }),
		limitRow("span events", signal.Traces, []string{"OTEL_SPAN_EVENT_COUNT_LIMIT"},
			"128", "from the specification", func(c *Config) *Setting[int] { return &c.SpanLimits.eventCount }),
		limitRow("span links", signal.Traces, []string{"OTEL_SPAN_LINK_COUNT_LIMIT"},
			"128", "from the specification", func(c *Config) *Setting[int] { return &c.SpanLimits.linkCount }),
		limitRow("span event attributes", signal.Traces, []string{"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"},
			"128", "from the specification", func(c *Config) *Setting[int] { return &c.SpanLimits.eventAttributeCount }),
		limitRow("span link attributes", signal.Traces, []string{"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"},
			"128", "from the specification", func(c *Config) *Setting[int] { return &c.SpanLimits.linkAttributeCount }),
	)
}

func metricRows() []Row {
	on := []signal.Signal{signal.Metrics}
	return []Row{
		typedRow[time.Duration]{
			Info{
				Name: "metric interval", Option: "WithMetricInterval", Env: []string{"OTEL_METRIC_EXPORT_INTERVAL"},
				Defaults: Defaults{"60000", "30000", "60000", "5000"}, Signals: on,
				Reason: "the default of the specification and the SDK is 60000",
			},
			milliseconds(), func(c *Config) *Setting[time.Duration] { return &c.MetricInterval },
			func(o *Asked) *time.Duration { return o.MetricInterval },
		},
		typedRow[time.Duration]{
			Info{
				Name: "metric timeout", Env: []string{"OTEL_METRIC_EXPORT_TIMEOUT"}, Defaults: Always("30000"),
				Signals: on,
				Reason:  "limits collecting and sending; from the specification, also the SDK's default",
			},
			milliseconds(), func(c *Config) *Setting[time.Duration] { return &c.MetricTimeout }, nil,
		},
		typedRow[string]{
			Info{
				Name: "metric temporality", Env: []string{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"},
				Defaults: Always(TemporalityCumulative), Signals: on, Reason: "from the specification, also the SDK's default",
			},
			enum(TemporalityCumulative, TemporalityDelta, TemporalityLowMemory),
			func(c *Config) *Setting[string] { return &c.Temporality }, nil,
		},
		typedRow[string]{
			Info{
				Name:     "histogram aggregation",
				Env:      []string{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"},
				Defaults: Always(histogramExplicit), Signals: on, Reason: "from the specification, also the SDK's default",
			},
			enum(histogramExplicit, HistogramExponential),
			func(c *Config) *Setting[string] { return &c.HistogramAggregation }, nil,
		},
		typedRow[string]{
			Info{
				Name: "exemplar filter", Env: []string{"OTEL_METRICS_EXEMPLAR_FILTER"},
				Defaults: Always(exemplarTraceBased), Signals: on,
				Reason: "from the specification, also the SDK's default",
			},
			enum(ExemplarAlwaysOn, ExemplarAlwaysOff, exemplarTraceBased),
			func(c *Config) *Setting[string] { return &c.ExemplarFilter }, nil,
		},
		typedRow[int]{
			Info{
				Name: "metric cardinality limit", Env: []string{"TELEMETRY_METRIC_CARDINALITY_LIMIT"},
				Defaults: Always("2000"), Signals: on,
				Reason: "attribute sets per instrument; the rest are summed as otel.metric.overflow. From the " +
					"specification, also the SDK's default",
			},
			count(1, maxItems), func(c *Config) *Setting[int] { return &c.CardinalityLimit }, nil,
		},
		typedRow[bool]{
			Info{
				Name: "runtime metrics", Option: "WithoutRuntimeMetrics", Env: []string{"TELEMETRY_RUNTIME_METRICS"},
				Defaults: Always("true"), Signals: on,
				Reason: "a dozen series that answer most questions about a Go process; the SDK has none",
			},
			boolean(), func(c *Config) *Setting[bool] { return &c.RuntimeMetrics },
			func(o *Asked) *bool { return o.RuntimeMetrics },
		},
		typedRow[bool]{
			Info{
				Name: "self-metrics", Env: []string{"TELEMETRY_SELF_METRICS"}, Defaults: Always("true"), Signals: on,
				Reason: "otel.sdk.*: counts of delivered and lost spans, log records and data points; the SDK has none",
			},
			boolean(), func(c *Config) *Setting[bool] { return &c.SelfMetrics }, nil,
		},
	}
}

func logRows() []Row {
	rows := []Row{
		typedRow[slog.Leveler]{
			Info{Name: "console log level", Option: "WithLogLevel",
				Env: []string{"TELEMETRY_CONSOLE_LOG_LEVEL", "LOG_LEVEL"}, Defaults: Always("info")},
			logLevel(), func(c *Config) *Setting[slog.Leveler] { return &c.LogLevel },
			func(o *Asked) *slog.Leveler { return o.LogLevel },
		},
		typedRow[slog.Leveler]{
			Info{
				Name: "OTLP log level", Option: "ForLogs(WithLogLevel)",
				Env: []string{"TELEMETRY_OTLP_LOG_LEVEL", "LOG_LEVEL"}, Defaults: Always("info"),
				Signals: []signal.Signal{signal.Logs},
				Reason:  "follows WithLogLevel; without a level, otelslog would also send debug records",
			},
			logLevel(), func(c *Config) *Setting[slog.Leveler] { return &c.OTLPLevel },
			func(o *Asked) *slog.Leveler { return firstNonNil(o.OTLPLogLevel, o.LogLevel) },
		},
		typedRow[string]{
			Info{
				Name: "console log format", Option: "WithLogFormat", Env: []string{"TELEMETRY_LOG_FORMAT"},
				Defaults: Defaults{"json", "json", "json", "text"},
			},
			enum(logFormatJSON, LogFormatText), func(c *Config) *Setting[string] { return &c.LogFormat },
			func(o *Asked) *string { return o.LogFormat },
		},
	}
	rows = append(rows, batchSettings{
		signal: signal.Logs, what: "log", option: "WithLogBatch", variable: "OTEL_BLRP", sdkDelay: "1000",
		at: func(c *Config) *BatchConfig { return &c.LogBatch }, given: func(o *Asked) *Batch { return &o.LogBatch },
	}.rows()...)
	return append(rows,
		limitRow("log attribute value length", signal.Logs,
			[]string{"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"},
			defaultValueLength, valueLengthReason,
			func(c *Config) *Setting[int] { return &c.LogLimits.AttributeValueLength }),
		limitRow("log attributes", signal.Logs,
			[]string{"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"},
			"128", "from the specification", func(c *Config) *Setting[int] { return &c.LogLimits.AttributeCount }),
	)
}
