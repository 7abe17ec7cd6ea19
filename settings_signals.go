package telemetry

import (
	"log/slog"
	"strings"
	"time"
)

// signalEnv is the signal's own variable of the OTLP exporter, such as OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.
func signalEnv(s signal, suffix string) string {
	return "OTEL_EXPORTER_OTLP_" + strings.ToUpper(s.String()) + "_" + suffix
}

// scopedEnv is the signal's own variable and the general one.
func scopedEnv(s signal, suffix string) []string {
	return []string{signalEnv(s, suffix), "OTEL_EXPORTER_OTLP_" + suffix}
}

// ownEnv is the library's own name for what the specification has no variable for.
func ownEnv(variable string) string { return strings.Replace(variable, "OTEL_", "TELEMETRY_", 1) }

// signalRows are the settings that exist once for each signal.
func signalRows(s signal) []row {
	on := []signal{s}
	name := func(what string) string { return s.String() + " " + what }
	at := func(c *config) *signalConfig { return &c.signals[s] }
	pem := func(what, suffix string, k kind[pemFile], field func(*signalConfig) *setting[pemFile]) row {
		return typedRow[pemFile]{
			rowInfo{name: name(what), option: "WithTLSConfig", env: scopedEnv(s, suffix), signals: on, strict: true, otlpOnly: true, reason: "WithTLSConfig replaces all three files"},
			k, func(c *config) *setting[pemFile] { return field(at(c)) },
			func(o *options) *pemFile {
				if o.tls(s) == nil {
					return nil
				}
				return &pemFile{replaced: true}
			},
		}
	}
	return []row{
		typedRow[[]string]{
			rowInfo{
				name: name("exporter"), option: (&options{}).exporterOption(s),
				options: func(o *options) string { return o.exporterOption(s) },
				env:     []string{"OTEL_" + strings.ToUpper(s.String()) + "_EXPORTER"}, defaults: always(exporterOTLP), signals: on, strict: true,
				reason: "in the development profile the console, as long as no endpoint is set; off with Without" + title(s.String()),
			},
			exporterList(), func(c *config) *setting[[]string] { return &at(c).exporters },
			func(o *options) *[]string { return o.exporters(s) },
		},
		typedRow[string]{
			rowInfo{
				name: name("endpoint"), option: "WithEndpoint", options: (*options).endpointOption,
				env: scopedEnv(s, "ENDPOINT"), defaults: always(defaultHTTPEndpoint),
				signals: on, strict: true, otlpOnly: true, reason: "the specification's; port 4317 for grpc. The SDK's own is https://",
			},
			endpointURL(), func(c *config) *setting[string] { return &at(c).endpoint },
			func(o *options) *string { return firstNonNil(o.signals[s].endpoint, o.export.endpoint) },
		},
		typedRow[Protocol]{
			rowInfo{
				name: name("protocol"), option: "WithProtocol", env: scopedEnv(s, "PROTOCOL"), defaults: always(string(ProtocolHTTP)),
				signals: on, otlpOnly: true, reason: "the specification's",
			},
			enum(ProtocolGRPC, ProtocolHTTP), func(c *config) *setting[Protocol] { return &at(c).protocol },
			func(o *options) *Protocol { return firstNonNil(o.signals[s].protocol, o.export.protocol) },
		},
		typedRow[map[string]string]{
			rowInfo{name: name("headers"), option: "WithHeaders", env: scopedEnv(s, "HEADERS"), signals: on, otlpOnly: true},
			headerList(), func(c *config) *setting[map[string]string] { return &at(c).headers },
			func(o *options) *map[string]string { return firstNonNil(o.signals[s].headers, o.export.headers) },
		},
		typedRow[string]{
			rowInfo{
				name: name("token file"), option: "WithTokenFile", signals: on, otlpOnly: true,
				env:    []string{ownEnv(signalEnv(s, "TOKEN_FILE")), ownEnv("OTEL_EXPORTER_OTLP_TOKEN_FILE")},
				reason: "sent as a bearer token, and read for each request; the SDK has none",
			},
			text(), func(c *config) *setting[string] { return &at(c).tokenFile },
			func(o *options) *string { return firstNonNil(o.signals[s].tokenFile, o.export.tokenFile) },
		},
		typedRow[Compression]{
			rowInfo{
				name: name("compression"), option: "WithCompression", env: scopedEnv(s, "COMPRESSION"), defaults: always(string(CompressionGzip)),
				signals: on, otlpOnly: true, reason: "batches shrink to about a tenth; the SDK's own is none",
			},
			enum(CompressionGzip, CompressionNone), func(c *config) *setting[Compression] { return &at(c).compression },
			func(o *options) *Compression { return firstNonNil(o.signals[s].compression, o.export.compression) },
		},
		typedRow[time.Duration]{
			rowInfo{
				name: name("timeout"), env: scopedEnv(s, "TIMEOUT"), defaults: always("10000"), signals: on,
				reason: "bounds one attempt; the specification's and the SDK's",
			},
			milliseconds(), func(c *config) *setting[time.Duration] { return &at(c).timeout }, nil,
		},
		typedRow[bool]{
			rowInfo{
				name: name("insecure"), env: scopedEnv(s, "INSECURE"), signals: on,
				reason: "for endpoints without a scheme only; https:// is never downgraded. Unset: plain to this machine, TLS to any other",
			},
			boolean(), func(c *config) *setting[bool] { return &at(c).insecure }, nil,
		},
		pem("certificate", "CERTIFICATE", certificateFile(), func(sc *signalConfig) *setting[pemFile] { return &sc.certificate }),
		pem("client certificate", "CLIENT_CERTIFICATE", certificateFile(), func(sc *signalConfig) *setting[pemFile] { return &sc.clientCertificate }),
		pem("client key", "CLIENT_KEY", keyFile(), func(sc *signalConfig) *setting[pemFile] { return &sc.clientKey }),
	}
}

// batchRows are the settings of one batch processor; variable is OTEL_BSP or OTEL_BLRP, and TELEMETRY_ in its place for
// what the specification has no variable for.
func batchRows(s signal, what, option, variable, sdkDelay string, at func(*config) *batchConfig, given func(*options) *Batch) []row {
	own := ownEnv(variable)
	number := func(name, field, env string, most int, d defaults, reason string, to func(*batchConfig) *setting[int], from func(*Batch) *int) row {
		return typedRow[int]{
			rowInfo{
				name: what + " " + name, option: option + "(Batch{" + field + "})", env: []string{env},
				defaults: d, signals: []signal{s}, reason: reason,
			},
			count(1, most), func(c *config) *setting[int] { return to(at(c)) },
			func(o *options) *int { return nonZero(from(given(o))) },
		}
	}
	duration := func(name, field, suffix string, d defaults, reason string, to func(*batchConfig) *setting[time.Duration], from func(*Batch) *time.Duration) row {
		return typedRow[time.Duration]{
			rowInfo{
				name: what + " " + name, option: option + "(Batch{" + field + "})", env: []string{variable + suffix},
				defaults: d, signals: []signal{s}, reason: reason,
			},
			milliseconds(), func(c *config) *setting[time.Duration] { return to(at(c)) },
			func(o *options) *time.Duration { return nonZero(from(given(o))) },
		}
	}
	return []row{
		number("queue size", "MaxQueueSize", variable+"_MAX_QUEUE_SIZE", maxItems, defaults{"8192", "65536", "1024", "2048"},
			"0.8 s at 10,000 items/s while the collector stalls; the SDK's own is 2048",
			func(b *batchConfig) *setting[int] { return &b.maxQueueSize }, func(b *Batch) *int { return &b.MaxQueueSize }),
		number("batch size", "MaxExportBatchSize", variable+"_MAX_EXPORT_BATCH_SIZE", maxItems, defaults{"1024", "4096", "256", "512"},
			"halves the requests of the SDK's own 512 and stays far below a collector's 4 MiB",
			func(b *batchConfig) *setting[int] { return &b.maxExportBatchSize }, func(b *Batch) *int { return &b.MaxExportBatchSize }),
		number("concurrent exports", "MaxConcurrentExports", own+"_MAX_CONCURRENT_EXPORTS", maxInFlight, defaults{"8", "16", "1", "1"},
			"requests in flight: 8 of 1,024 items at a round trip of 100 ms are 80,000 items/s; the SDK's own is 1",
			func(b *batchConfig) *setting[int] { return &b.maxConcurrentExports }, func(b *Batch) *int { return &b.MaxConcurrentExports }),
		typedRow[int]{
			rowInfo{
				name: what + " queue bytes", env: []string{own + "_MAX_QUEUE_BYTES"}, signals: []signal{s},
				defaults: defaults{"33554432", "268435456", "2097152", "8388608"},
				reason:   "memory of the items held, by estimate; the SDK's own is no limit",
			},
			count(1, maxBytes), func(c *config) *setting[int] { return &at(c).maxQueueBytes }, nil,
		},
		duration("schedule delay", "ScheduleDelay", "_SCHEDULE_DELAY", defaults{"3000", "1000", "15000", "200"},
			"how stale a dashboard may be; the SDK's own is "+sdkDelay,
			func(b *batchConfig) *setting[time.Duration] { return &b.scheduleDelay }, func(b *Batch) *time.Duration { return &b.ScheduleDelay }),
		duration("export timeout", "ExportTimeout", "_EXPORT_TIMEOUT", defaults{"30000", "30000", "60000", "5000"},
			"bounds all attempts to send one batch; the SDK's own is 30000",
			func(b *batchConfig) *setting[time.Duration] { return &b.exportTimeout }, func(b *Batch) *time.Duration { return &b.ExportTimeout }),
	}
}

// nonZero is nil for a zero field, which leaves the decision to the environment.
func nonZero[T comparable](p *T) *T {
	var zero T
	if *p == zero {
		return nil
	}
	return p
}

func limitRow(name string, s signal, env []string, d, reason string, field func(*config) *setting[int]) row {
	return typedRow[int]{
		rowInfo{name: name, env: env, defaults: always(d), signals: []signal{s}, reason: reason},
		limit(), field, nil,
	}
}

const (
	defaultValueLength = "32768"
	valueLengthReason  = "characters; one value of 1 MiB times a full queue would be 8 GiB. The SDK's own is no limit"
)

// The variables of the samplers' settings.
const (
	samplerArgVariable      = "OTEL_TRACES_SAMPLER_ARG"
	tracesPerSecondVariable = "TELEMETRY_TRACES_PER_SECOND"
	slowThresholdVariable   = "TELEMETRY_SLOW_THRESHOLD"
)

func traceRows() []row {
	rows := []row{
		typedRow[sampler]{
			rowInfo{
				name: "sampler", option: "WithSampler", env: []string{"OTEL_TRACES_SAMPLER"}, defaults: always(samplerAdaptive),
				signals: []signal{traces}, options: func(o *options) string { return o.sampler.option() },
				reason: "about 50 traces/s for each process, every error and every slow request besides (WithAdaptiveSampling); the SDK's own is parentbased_always_on",
			},
			samplerName(), func(c *config) *setting[sampler] { return &c.sampler },
			func(o *options) *sampler { return o.sampler },
		},
		typedRow[float64]{
			rowInfo{
				name: "sampler argument", env: []string{samplerArgVariable}, defaults: always("1"), signals: []signal{traces},
				reason: "the ratio of traceidratio and parentbased_traceidratio",
				reads:  func(env environment, _ string) bool { return !adaptiveByName(env) },
			},
			ratio(), func(c *config) *setting[float64] { return &c.samplerArg }, nil,
		},
		typedRow[float64]{
			rowInfo{
				name: "traces per second", option: "WithAdaptiveSampling(Sampling{TracesPerSecond})", env: []string{tracesPerSecondVariable, samplerArgVariable},
				defaults: always("50"), signals: []signal{traces},
				reason: "of the adaptive sampler, for each process; OTEL_TRACES_SAMPLER_ARG counts with OTEL_TRACES_SAMPLER=adaptive",
				reads:  func(env environment, name string) bool { return name != samplerArgVariable || adaptiveByName(env) },
			},
			tracesPerSecond(), func(c *config) *setting[float64] { return &c.tracesPerSecond },
			func(o *options) *float64 { s := o.adaptiveOption(); return nonZero(&s.TracesPerSecond) },
		},
		typedRow[time.Duration]{
			rowInfo{
				name: "slow threshold", option: "WithAdaptiveSampling(Sampling{SlowThreshold})", env: []string{slowThresholdVariable},
				defaults: always("1000"), signals: []signal{traces},
				reason: "of the adaptive sampler, in milliseconds: slower requests are kept whatever the rate",
			},
			slowThreshold(), func(c *config) *setting[time.Duration] { return &c.slowThreshold },
			func(o *options) *time.Duration { s := o.adaptiveOption(); return nonZero(&s.SlowThreshold) },
		},
	}
	rows = append(rows, batchRows(traces, "span", "WithSpanBatch", "OTEL_BSP", "5000",
		func(c *config) *batchConfig { return &c.spanBatch }, func(o *options) *Batch { return &o.spanBatch })...)
	return append(rows,
		limitRow("span attribute value length", traces, []string{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"},
			defaultValueLength, valueLengthReason, func(c *config) *setting[int] { return &c.spanLimits.attributeValueLength }),
		limitRow("span attributes", traces, []string{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"},
			"128", "the specification's", func(c *config) *setting[int] { return &c.spanLimits.attributeCount }),
		limitRow("span events", traces, []string{"OTEL_SPAN_EVENT_COUNT_LIMIT"},
			"128", "the specification's", func(c *config) *setting[int] { return &c.spanLimits.eventCount }),
		limitRow("span links", traces, []string{"OTEL_SPAN_LINK_COUNT_LIMIT"},
			"128", "the specification's", func(c *config) *setting[int] { return &c.spanLimits.linkCount }),
		limitRow("span event attributes", traces, []string{"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"},
			"128", "the specification's", func(c *config) *setting[int] { return &c.spanLimits.eventAttributeCount }),
		limitRow("span link attributes", traces, []string{"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"},
			"128", "the specification's", func(c *config) *setting[int] { return &c.spanLimits.linkAttributeCount }),
	)
}

func metricRows() []row {
	on := []signal{metrics}
	return []row{
		typedRow[time.Duration]{
			rowInfo{
				name: "metric interval", option: "WithMetricInterval", env: []string{"OTEL_METRIC_EXPORT_INTERVAL"},
				defaults: defaults{"60000", "30000", "60000", "5000"}, signals: on, reason: "the specification's and the SDK's own is 60000",
			},
			milliseconds(), func(c *config) *setting[time.Duration] { return &c.metricInterval },
			func(o *options) *time.Duration { return o.metricInterval },
		},
		typedRow[time.Duration]{
			rowInfo{
				name: "metric timeout", env: []string{"OTEL_METRIC_EXPORT_TIMEOUT"}, defaults: always("30000"), signals: on,
				reason: "bounds collecting and sending; the specification's and the SDK's",
			},
			milliseconds(), func(c *config) *setting[time.Duration] { return &c.metricTimeout }, nil,
		},
		typedRow[string]{
			rowInfo{
				name: "metric temporality", env: []string{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"},
				defaults: always(temporalityCumulative), signals: on, reason: "the specification's and the SDK's",
			},
			enum(temporalityCumulative, temporalityDelta, temporalityLowMemory), func(c *config) *setting[string] { return &c.temporality }, nil,
		},
		typedRow[string]{
			rowInfo{
				name: "histogram aggregation", env: []string{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"},
				defaults: always(histogramExplicit), signals: on, reason: "the specification's and the SDK's",
			},
			enum(histogramExplicit, histogramExponential), func(c *config) *setting[string] { return &c.histogramAggregation }, nil,
		},
		typedRow[string]{
			rowInfo{
				name: "exemplar filter", env: []string{"OTEL_METRICS_EXEMPLAR_FILTER"}, defaults: always(exemplarTraceBased), signals: on,
				reason: "the specification's and the SDK's",
			},
			enum(exemplarAlwaysOn, exemplarAlwaysOff, exemplarTraceBased), func(c *config) *setting[string] { return &c.exemplarFilter }, nil,
		},
		typedRow[int]{
			rowInfo{
				name: "metric cardinality limit", env: []string{"TELEMETRY_METRIC_CARDINALITY_LIMIT"}, defaults: always("2000"), signals: on,
				reason: "attribute sets of one instrument, the rest are summed as otel.metric.overflow; the specification's and the SDK's",
			},
			count(1, maxItems), func(c *config) *setting[int] { return &c.cardinalityLimit }, nil,
		},
		typedRow[bool]{
			rowInfo{
				name: "runtime metrics", option: "WithoutRuntimeMetrics", env: []string{"TELEMETRY_RUNTIME_METRICS"}, defaults: always("true"), signals: on,
				reason: "a dozen series that answer most questions about a Go process; the SDK's own is none",
			},
			boolean(), func(c *config) *setting[bool] { return &c.runtimeMetrics }, func(o *options) *bool { return o.runtimeMetrics },
		},
		typedRow[bool]{
			rowInfo{
				name: "self-metrics", env: []string{"TELEMETRY_SELF_METRICS"}, defaults: always("true"), signals: on,
				reason: "otel.sdk.*: what became of spans, log records and data points; the SDK's own is none",
			},
			boolean(), func(c *config) *setting[bool] { return &c.selfMetrics }, nil,
		},
	}
}

func logRows() []row {
	rows := []row{
		typedRow[slog.Leveler]{
			rowInfo{name: "console log level", option: "WithLogLevel", env: []string{"TELEMETRY_CONSOLE_LOG_LEVEL", "LOG_LEVEL"}, defaults: always("info")},
			logLevel(), func(c *config) *setting[slog.Leveler] { return &c.logLevel },
			func(o *options) *slog.Leveler { return o.logLevel },
		},
		typedRow[slog.Leveler]{
			rowInfo{
				name: "OTLP log level", option: "ForLogs(WithLogLevel)", env: []string{"TELEMETRY_OTLP_LOG_LEVEL", "LOG_LEVEL"}, defaults: always("info"),
				signals: []signal{logs}, reason: "follows WithLogLevel; without a level otelslog would send debug records too",
			},
			logLevel(), func(c *config) *setting[slog.Leveler] { return &c.otlpLevel },
			func(o *options) *slog.Leveler { return firstNonNil(o.otlpLogLevel, o.logLevel) },
		},
		typedRow[LogFormat]{
			rowInfo{
				name: "console log format", option: "WithLogFormat", env: []string{"TELEMETRY_LOG_FORMAT"},
				defaults: defaults{"json", "json", "json", "text"},
			},
			enum(LogFormatJSON, LogFormatText), func(c *config) *setting[LogFormat] { return &c.logFormat },
			func(o *options) *LogFormat { return o.logFormat },
		},
	}
	rows = append(rows, batchRows(logs, "log", "WithLogBatch", "OTEL_BLRP", "1000",
		func(c *config) *batchConfig { return &c.logBatch }, func(o *options) *Batch { return &o.logBatch })...)
	return append(rows,
		limitRow("log attribute value length", logs, []string{"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"},
			defaultValueLength, valueLengthReason, func(c *config) *setting[int] { return &c.logLimits.attributeValueLength }),
		limitRow("log attributes", logs, []string{"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"},
			"128", "the specification's", func(c *config) *setting[int] { return &c.logLimits.attributeCount }),
	)
}
