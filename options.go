package telemetry

import (
	"cmp"
	"io"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Option configures [Init]. Options only record what was asked for; Init resolves them against the environment
// (valid option > signal-specific variable > general variable > profile default) and reports every invalid one
// together.
//
// An option may be given twice, as by a platform team's preset ([WithOptions]) and by a service that uses it. Of single
// values the later one wins. What is a list adds up: redaction's keys and patterns, resource attributes, views, processors,
// detectors. Structs merge field by field: the later value that is not zero wins, so that a true of the preset stays true.
// Headers are credentials and belong to an endpoint: see [WithHeaders]. Each option's comment says its rule, and
// [Guard.Describe] where each part came from.
type Option interface {
	apply(*options)
}

// Protocol is the OTLP transport, in the values of OTEL_EXPORTER_OTLP_PROTOCOL.
type Protocol string

const (
	// ProtocolGRPC sends OTLP over gRPC; its default port is 4317.
	ProtocolGRPC Protocol = "grpc"
	// ProtocolHTTP sends OTLP as binary protobuf over HTTP; its default port is 4318. It is the default.
	ProtocolHTTP Protocol = "http/protobuf"
)

// Compression is how requests are compressed, in the values of OTEL_EXPORTER_OTLP_COMPRESSION.
type Compression string

const (
	// CompressionGzip is the default.
	CompressionGzip Compression = "gzip"
	// CompressionNone sends requests as they are, for a collector on the same host.
	CompressionNone Compression = "none"
)

// LogFormat is the form of the lines that the console branch of the log writes.
type LogFormat string

const (
	// LogFormatJSON writes one JSON object a line, as [slog.JSONHandler] does. It is the default.
	LogFormatJSON LogFormat = "json"
	// LogFormatText writes key=value pairs, as [slog.TextHandler] does. It is the default of [ProfileDevelopment].
	LogFormatText LogFormat = "text"
)

// Profile is a column of defaults for one kind of program. It changes defaults only: an option or a variable that
// is set wins over every profile.
type Profile string

const (
	// ProfileService is for request-serving processes and workers. It is the default.
	ProfileService Profile = "service"
	// ProfileHighThroughput trades memory for tens of thousands of spans per second.
	ProfileHighThroughput Profile = "high-throughput"
	// ProfileEdge is for agents with little memory and a slow or metered link.
	ProfileEdge Profile = "edge"
	// ProfileDevelopment is for a terminal: text logs, short delays, and everything on the console as long as no endpoint
	// is set. On a terminal that is the development view: log lines as they come, each trace as a tree when it has ended,
	// metrics when they change. In a pipe traces and metrics are JSON (TELEMETRY_CONSOLE_FORMAT: tree or json; default
	// auto). Trees and metrics go to standard output, log lines to standard error.
	ProfileDevelopment Profile = "development"
)

// Batch sets how spans or log records are gathered into requests. A zero field means that the environment decides,
// and after it the profile's default (the figures below are those of [ProfileService]).
type Batch struct {
	// MaxQueueSize is how many items may wait, at least 1 and at least MaxExportBatchSize
	// (OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BLRP_MAX_QUEUE_SIZE; default 8,192).
	MaxQueueSize int
	// MaxExportBatchSize is the most items of one request, at least 1
	// (OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE; default 1,024).
	MaxExportBatchSize int
	// MaxConcurrentExports is how many requests may be on their way at the same time, at least 1
	// (TELEMETRY_BSP_MAX_CONCURRENT_EXPORTS, TELEMETRY_BLRP_MAX_CONCURRENT_EXPORTS; default 8). With an exporter given
	// by option it is 1, as the SDK promises to exporters.
	MaxConcurrentExports int
	// ScheduleDelay is how long an item waits at most before its batch is sent, at least 1 ms
	// (OTEL_BSP_SCHEDULE_DELAY, OTEL_BLRP_SCHEDULE_DELAY, in milliseconds; default 3 s).
	ScheduleDelay time.Duration
	// ExportTimeout bounds all attempts to send one batch, at least 1 ms
	// (OTEL_BSP_EXPORT_TIMEOUT, OTEL_BLRP_EXPORT_TIMEOUT, in milliseconds; default 30 s).
	ExportTimeout time.Duration
}

// WithOptions bundles options into one, so that a platform team can publish its preset. The options of a service that come
// after it extend the preset as [Option] says. Given twice, both count.
func WithOptions(opts ...Option) Option { return bundle(opts) }

// WithProfile selects the column of defaults (TELEMETRY_PROFILE; default [ProfileService]).
// Given twice, the later one wins.
func WithProfile(p Profile) Option {
	return record(func(o *options) { o.profile = &p })
}

// WithServiceName sets the resource attribute service.name (OTEL_SERVICE_NAME, else service.name in
// OTEL_RESOURCE_ATTRIBUTES). Without any of them it is the name of the binary, and one warning says so. It wins over
// OTEL_SERVICE_NAME, and one line says so where they differ: leave it out where operators name services.
// Given twice, the later one wins.
func WithServiceName(name string) Option {
	return record(func(o *options) { o.serviceName = &name })
}

// WithServiceVersion sets the resource attribute service.version. The default is the main module's version from the
// build information, where it has one.
// Given twice, the later one wins.
func WithServiceVersion(version string) Option {
	return record(func(o *options) { o.serviceVersion = &version })
}

// WithServiceNamespace sets the resource attribute service.namespace.
// Given twice, the later one wins.
func WithServiceNamespace(namespace string) Option {
	return record(func(o *options) { o.serviceNamespace = &namespace })
}

// WithEnvironment sets the resource attribute deployment.environment.name, such as "production".
// Given twice, the later one wins.
func WithEnvironment(name string) Option {
	return record(func(o *options) { o.environment = &name })
}

// WithResourceAttributes adds attributes to the resource; they win over OTEL_RESOURCE_ATTRIBUTES and all detectors,
// and give way to the options that name one attribute. Several uses add up.
func WithResourceAttributes(attrs ...attribute.KeyValue) Option {
	return record(func(o *options) { o.resourceAttributes = append(o.resourceAttributes, attrs...) })
}

// WithResourceDetectors adds detectors, such as a cloud provider's. Each runs in its own goroutine for at most 2 s;
// one that fails, panics or takes longer is named in the log and the others' attributes are used. Their schema URLs
// are ignored, so that no conflict can stop the start-up. Several uses add up; nil is left out.
func WithResourceDetectors(detectors ...resource.Detector) Option {
	return record(func(o *options) { o.detectors = append(o.detectors, detectors...) })
}

// WithSpanExporter sends spans to exporter instead of OTLP, one export at a time.
// Given twice, the later one wins.
func WithSpanExporter(exporter sdktrace.SpanExporter) Option {
	return record(func(o *options) { o.spanExporter = &exporter })
}

// WithMetricReader lets reader collect the metrics instead of the periodic OTLP reader, such as a Prometheus exporter
// or a manual reader. [WithMetricInterval] does not apply to it.
// Given twice, the later one wins.
func WithMetricReader(reader sdkmetric.Reader) Option {
	return record(func(o *options) { o.metricReader = &reader })
}

// WithLogExporter sends log records to exporter instead of OTLP, one export at a time.
// Given twice, the later one wins.
func WithLogExporter(exporter sdklog.Exporter) Option {
	return record(func(o *options) { o.logExporter = &exporter })
}

// WithSpanProcessors adds span processors beside the batch processor, in order. Several uses add up; nil is left out.
// They are shut down with the guard, after the batch processor. With the adaptive sampler they see every recorded span,
// also those that turn out not to be kept: one that exports should check IsSampled, and misses what is kept for its error.
func WithSpanProcessors(processors ...sdktrace.SpanProcessor) Option {
	return record(func(o *options) { o.spanProcessors = append(o.spanProcessors, processors...) })
}

// WithViews adds metric views; several uses add up. Without a view that sets their aggregation, histograms in seconds (s)
// and in bytes (By) have bounds that fit, unless the instrument advises others: 1 ms to 5 min, and 0 to 1 GiB. Those whose
// name begins with http., rpc., messaging. or db.client. have the bounds of the semantic conventions, whatever they advise.
func WithViews(views ...sdkmetric.View) Option {
	return record(func(o *options) { o.views = append(o.views, views...) })
}

// WithIDGenerator sets how trace and span ids are made, for systems that need ids of a form of their own. The default
// is the SDK's, whose ids are random as W3C Trace Context level 2 asks.
// Given twice, the later one wins.
func WithIDGenerator(generator sdktrace.IDGenerator) Option {
	return record(func(o *options) { o.idGenerator = generator })
}

// WithErrorHandler receives what the library and the SDK have to report about themselves instead of the console log, from
// the level of a warning: each error as it happens, where the console log counts what repeats, and without secrets.
// It must be safe for concurrent use, must not block and must not log through OpenTelemetry.
// Given twice, the later one wins.
func WithErrorHandler(handler otel.ErrorHandler) Option {
	return record(func(o *options) { o.errorHandler = handler })
}

// WithSampler sets the sampler (OTEL_TRACES_SAMPLER with OTEL_TRACES_SAMPLER_ARG; default adaptive, see
// [WithAdaptiveSampling]). An [AdaptiveSampler] given here, itself and not wrapped, keeps errors as it does by default; closing it
// stays the caller's.
// Given twice, or beside WithAdaptiveSampling, the later one wins.
func WithSampler(s sdktrace.Sampler) Option {
	return record(func(o *options) { o.sampler = &sampler{given: &s} })
}

// WithAdaptiveSampling sets how the adaptive sampler samples. It is the default sampler: without this option, a process
// keeps about 50 traces per second, and all errors and slow requests besides. It takes the place of an earlier [WithSampler]
// and wins over OTEL_TRACES_SAMPLER. Fields that are zero are the environment's: TELEMETRY_TRACES_PER_SECOND (or
// OTEL_TRACES_SAMPLER=adaptive with OTEL_TRACES_SAMPLER_ARG) and TELEMETRY_SLOW_THRESHOLD, in milliseconds, -1 for none.
// Given twice, fields merge: of each field the later value that is not zero wins, and the later Rules are tried before the
// earlier ones. A true stays true.
func WithAdaptiveSampling(s Sampling) Option {
	return record(func(o *options) {
		o.sampling = merged(o.sampling, s)
		o.sampler = &sampler{name: samplerAdaptive, adaptive: o.sampling}
	})
}

// WithSpanBatch sets how spans are batched.
// Given twice, fields merge: of each field the later value that is not zero wins.
func WithSpanBatch(b Batch) Option {
	return record(func(o *options) { o.spanBatch = merged(o.spanBatch, b) })
}

// WithLogBatch sets how log records are batched.
// Given twice, fields merge: of each field the later value that is not zero wins.
func WithLogBatch(b Batch) Option {
	return record(func(o *options) { o.logBatch = merged(o.logBatch, b) })
}

// WithMetricInterval sets the time between two exports of metrics, at least 1 ms (OTEL_METRIC_EXPORT_INTERVAL in
// milliseconds; default 60 s).
// Given twice, the later one wins.
func WithMetricInterval(d time.Duration) Option {
	return record(func(o *options) { o.metricInterval = &d })
}

// WithLogLevel sets the least level that is logged, on the console and over OTLP (LOG_LEVEL: debug, info, warn or
// error; TELEMETRY_CONSOLE_LOG_LEVEL and TELEMETRY_OTLP_LOG_LEVEL for one branch; default info). With a
// [*slog.LevelVar] it can be changed while the service runs. Inside [ForLogs] it is the level of the OTLP branch alone.
// Given twice, the later one wins.
func WithLogLevel(level slog.Leveler) Option {
	return leveler{level}
}

// WithLogOutput sets where the console branch writes; the default is standard error. Writes are serialised. Traces and
// metrics of a console exporter go to standard output all the same.
// Given twice, the later one wins.
func WithLogOutput(w io.Writer) Option {
	return record(func(o *options) { o.logOutput = w })
}

// WithLogFormat sets the form of the console branch (TELEMETRY_LOG_FORMAT; default [LogFormatJSON]). Without it, lines
// have the form of the development view where that is on and they go to a terminal.
// Given twice, the later one wins.
func WithLogFormat(f LogFormat) Option {
	return record(func(o *options) { o.logFormat = &f })
}

// WithPropagators sets how context travels between processes (OTEL_PROPAGATORS: tracecontext, baggage or none; default
// tracecontext and baggage). Propagators of other formats, such as B3, are given here.
// Given twice, the later list wins.
func WithPropagators(propagators ...propagation.TextMapPropagator) Option {
	return record(func(o *options) { o.propagators = &propagators })
}

// WithShutdownTimeout bounds [Guard.Shutdown] when its context has no earlier deadline, at least 1 ms
// (TELEMETRY_SHUTDOWN_TIMEOUT in milliseconds; default 10 s, so that it fits into the 30 s that Kubernetes grants
// together with the draining of requests). Where no endpoint is set and nothing has ever listened at the default one,
// Shutdown takes 1 s of it.
// Given twice, the later one wins.
func WithShutdownTimeout(d time.Duration) Option {
	return record(func(o *options) { o.shutdownTimeout = &d })
}

// WithSpool keeps requests that cannot be delivered in files below dir, and sends them when the collector is back: by this
// process, or after a crash or kill -9 by the next one that uses the directory, with the endpoint and headers it has then
// (TELEMETRY_SPOOL_DIR; default: no spool). A request goes there when its first attempt fails in a way that may
// pass, when it is refused for the endpoint or the credential (401, 403, 404, 405, 407, redirects, web pages, Unauthenticated,
// PermissionDenied, Unimplemented, certificates), when it comes while the collector is down, and when [Guard.Shutdown] runs
// out of time. What is refused for its data (400, 413, InvalidArgument) does not. The directory is made if it is missing,
// files have mode 0600 and hold the telemetry alone, no header and no credential. Give each service its own directory;
// several processes of it may share one.
//
// maxBytes bounds the files of one process, at least 1; the oldest are removed for newer ones and counted as dropped,
// spool_full. 0 means that the environment decides (TELEMETRY_SPOOL_MAX_BYTES, in bytes; default 256 MiB, 1 GiB in
// [ProfileHighThroughput], 64 MiB in [ProfileEdge] and [ProfileDevelopment]).
//
// A directory or disk that cannot be written is no error: it is said once, counted in [SignalHealth], and requests are
// retried from memory. A request that is cut off on its way may arrive twice. It applies to OTLP, not to exporters given by
// option.
//
// Given twice, the later directory wins, and the later maxBytes that is not 0.
func WithSpool(dir string, maxBytes int64) Option {
	return record(func(o *options) { o.spoolDir, o.spoolBytes = &dir, cmp.Or(nonZero(&maxBytes), o.spoolBytes) })
}

// WithRedaction sets how secrets and payment data are masked before they leave the process (TELEMETRY_REDACTION,
// TELEMETRY_REDACTION_KEYS, TELEMETRY_REDACTION_ALLOW_KEYS; on by default). [Redaction] says what is masked and where. An
// invalid key or pattern is an error of Init; the others and the defaults stay on.
//
// Given twice, keys and patterns add up, and those of the variables are added to them. Off stays off.
func WithRedaction(r Redaction) Option {
	return record(func(o *options) { o.redaction = merged(o.redaction, r) })
}

// WithDisabled switches telemetry off if it is true, as OTEL_SDK_DISABLED=true does, for a service that has a setting of its own:
//
//	telemetry.WithDisabled(!settings.Telemetry)
//
// Nothing is exported, recorded or probed, and spans have no ids. The console log and its redaction stay, and so does the
// context that a caller sends: it goes on to the services that are called. WithDisabled(false) says nothing: an operator's
// OTEL_SDK_DISABLED=true still counts. Given twice, the later one counts.
func WithDisabled(disabled bool) Option {
	return record(func(o *options) { o.disabled = disabled })
}

// WithoutTraces switches traces off. Spans record nothing, but have ids, so that the log lines of a request can be found.
// The context of a caller goes on to the services that are called, unchanged. Of a trace that begins here nothing is sent,
// so that they decide for themselves.
//
// OTEL_TRACES_EXPORTER=none is something else: it concerns the exporter only. The sampler decides as ever, and its decision
// goes out. [WithDisabled] has neither ids nor decisions, as the specification has it.
// Off stays off: no later option switches it on again.
func WithoutTraces() Option { return without(traces) }

// WithoutMetrics switches metrics off (OTEL_METRICS_EXPORTER=none).
// Off stays off.
func WithoutMetrics() Option { return without(metrics) }

// WithoutLogs switches the OTLP branch of the log off; the console branch stays (OTEL_LOGS_EXPORTER=none).
// Off stays off.
func WithoutLogs() Option { return without(logs) }

// WithoutRuntimeMetrics leaves out the metrics of the Go runtime: memory, goroutines, scheduling
// (TELEMETRY_RUNTIME_METRICS=false).
// Off stays off.
func WithoutRuntimeMetrics() Option {
	return record(func(o *options) { off := false; o.runtimeMetrics = &off })
}

// WithoutGlobals leaves OpenTelemetry's and slog's globals alone; use the guard's providers and logger, and [WithGuard]
// for the middleware. Any number of such guards may live side by side.
// Once given it counts.
func WithoutGlobals() Option {
	return record(func(o *options) { o.withoutGlobals = true })
}
