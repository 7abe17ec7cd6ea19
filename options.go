package telemetry

import (
	"io"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Option configures [Init]. An option only records a value. Init resolves all options against the
// environment (valid option > signal-specific variable > general variable > profile default) and
// reports every invalid one in one error.
//
// An option may be given more than once, for example by a platform team's preset ([WithOptions])
// and by the service that uses it. For single values the last one wins. Lists add up: redaction
// keys and patterns, resource attributes, views, processors, detectors. Structs merge field by
// field: the last non-zero value wins, so a true in the preset stays true. Headers are credentials
// and belong to an endpoint: see [WithHeaders]. Each option's comment states its rule, and
// [Guard.Describe] shows where each part came from.
type Option interface {
	apply(*settings.Asked)
}

// LogFormat is the format of the lines on the console.
type LogFormat string

const (
	// LogFormatJSON writes one JSON object per line, like [slog.JSONHandler]. It is the default.
	LogFormatJSON LogFormat = "json"
	// LogFormatText writes key=value pairs, like [slog.TextHandler]. It is the default of
	// [ProfileDevelopment].
	LogFormatText LogFormat = "text"
)

// Profile is a set of defaults for one kind of program. It changes only defaults: an option or an
// environment variable always wins over the profile.
type Profile string

const (
	// ProfileService is for request-serving processes and workers. It is the default.
	ProfileService Profile = "service"
	// ProfileHighThroughput trades memory for tens of thousands of spans per second.
	ProfileHighThroughput Profile = "high-throughput"
	// ProfileEdge is for agents with little memory and a slow or metered link.
	ProfileEdge Profile = "edge"
	// ProfileDevelopment is for a terminal: text logs, short delays, and everything on the console
	// until an endpoint is set. A terminal gets the development view: log lines as they are
	// written, each trace as a tree when it ends, and metrics when they change. A pipe gets traces
	// and metrics as JSON. TELEMETRY_CONSOLE_FORMAT chooses between them (tree, json or auto;
	// default auto). Trees and metrics go to standard output, log lines to standard error.
	ProfileDevelopment Profile = "development"
)

// Batch sets how spans or log records are grouped into requests. If a field is zero, the
// environment variable applies, then the profile's default. The defaults below are those of
// [ProfileService].
type Batch struct {
	// MaxQueueSize is the maximum number of items that wait. It must be at least 1 and at least
	// MaxExportBatchSize (OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BLRP_MAX_QUEUE_SIZE; default 8,192).
	MaxQueueSize int
	// MaxExportBatchSize is the maximum number of items in one request, at least 1
	// (OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE; default 1,024).
	MaxExportBatchSize int
	// MaxConcurrentExports is the maximum number of requests in flight, at least 1
	// (TELEMETRY_BSP_MAX_CONCURRENT_EXPORTS, TELEMETRY_BLRP_MAX_CONCURRENT_EXPORTS; default 8). It
	// is 1 with an exporter given by option, because the SDK promises exporters one call at a time.
	MaxConcurrentExports int
	// ScheduleDelay is the longest time an item waits before its batch is sent, at least 1 ms
	// (OTEL_BSP_SCHEDULE_DELAY, OTEL_BLRP_SCHEDULE_DELAY, in milliseconds; default 3 s).
	ScheduleDelay time.Duration
	// ExportTimeout limits all attempts to send one batch together, at least 1 ms
	// (OTEL_BSP_EXPORT_TIMEOUT, OTEL_BLRP_EXPORT_TIMEOUT, in milliseconds; default 30 s).
	ExportTimeout time.Duration
}

// WithOptions combines options into one, so that a platform team can publish a preset. A service's
// options that come after the preset extend it, as described at [Option]. If the option is given
// twice, both apply.
func WithOptions(opts ...Option) Option { return bundle(opts) }

// WithProfile selects the profile of defaults (TELEMETRY_PROFILE; default [ProfileService]). If the
// option is given twice, the last one wins.
func WithProfile(p Profile) Option {
	return record(func(o *settings.Asked) { o.Profile = (*string)(&p) })
}

// WithServiceName sets the resource attribute service.name (OTEL_SERVICE_NAME, or service.name in
// OTEL_RESOURCE_ATTRIBUTES). If none of them is set, the name of the binary is used and a warning
// is logged. The option wins over OTEL_SERVICE_NAME, and a log line reports the difference. Leave
// the option out if operators name the services. If the option is given twice, the last one wins.
func WithServiceName(name string) Option {
	return record(func(o *settings.Asked) { o.ServiceName = &name })
}

// WithServiceVersion sets the resource attribute service.version. The default is the main module's
// version from the build information, if there is one. If the option is given twice, the last one
// wins.
func WithServiceVersion(version string) Option {
	return record(func(o *settings.Asked) { o.ServiceVersion = &version })
}

// WithServiceNamespace sets the resource attribute service.namespace. If the option is given twice,
// the last one wins.
func WithServiceNamespace(namespace string) Option {
	return record(func(o *settings.Asked) { o.ServiceNamespace = &namespace })
}

// WithEnvironment sets the resource attribute deployment.environment.name, for example
// "production". If the option is given twice, the last one wins.
func WithEnvironment(name string) Option {
	return record(func(o *settings.Asked) { o.Environment = &name })
}

// WithResourceAttributes adds attributes to the resource. They win over OTEL_RESOURCE_ATTRIBUTES
// and all detectors. An option for a single attribute, such as [WithServiceName], wins over them.
// An empty service.name or service.instance.id counts as not set. If the option is given twice,
// both apply.
func WithResourceAttributes(attrs ...attribute.KeyValue) Option {
	return record(func(o *settings.Asked) { o.ResourceAttributes = append(o.ResourceAttributes, attrs...) })
}

// WithResourceDetectors adds detectors, for example a cloud provider's. Each runs in its own
// goroutine for at most 2 s. If one fails, panics or takes longer, the log names it and the
// attributes of the others are used. Schema URLs are ignored, so a conflict cannot stop the
// start-up. Nil detectors are ignored. If the option is given twice, both apply.
func WithResourceDetectors(detectors ...resource.Detector) Option {
	return record(func(o *settings.Asked) { o.Detectors = append(o.Detectors, notNil(detectors)...) })
}

// WithSpanExporter sends spans to exporter instead of OTLP, one export at a time. If the option is
// given twice, the last one wins.
func WithSpanExporter(exporter sdktrace.SpanExporter) Option {
	return record(func(o *settings.Asked) { o.SpanExporter = &exporter })
}

// WithMetricReader collects metrics with reader, such as a Prometheus exporter or a manual reader,
// instead of the periodic OTLP reader. [WithMetricInterval] does not apply to it. If the option is
// given twice, the last one wins.
func WithMetricReader(reader sdkmetric.Reader) Option {
	return record(func(o *settings.Asked) { o.MetricReader = &reader })
}

// WithLogExporter sends log records to exporter instead of OTLP, one export at a time. If the
// option is given twice, the last one wins.
func WithLogExporter(exporter sdklog.Exporter) Option {
	return record(func(o *settings.Asked) { o.LogExporter = &exporter })
}

// WithSpanProcessors adds span processors next to the batch processor, in order. Nil processors are
// ignored. They are shut down with the guard, after the batch processor. With the adaptive sampler
// they see every recorded span, including spans that are not kept. A processor that exports should
// check IsSampled; it misses the spans that are kept only because of an error. If the option is
// given twice, both apply.
func WithSpanProcessors(processors ...sdktrace.SpanProcessor) Option {
	return record(func(o *settings.Asked) { o.SpanProcessors = append(o.SpanProcessors, notNil(processors)...) })
}

// WithViews adds metric views. Without a view that sets their aggregation, histograms in seconds
// (s) and in bytes (By) get suitable bounds unless the instrument advises its own: 1 ms to 5 min,
// and 0 to 1 GiB. Histograms whose name begins with http., rpc., messaging. or db.client. get the
// bounds of the semantic conventions, even if they advise others. If the option is given twice,
// both apply.
func WithViews(views ...sdkmetric.View) Option {
	return record(func(o *settings.Asked) { o.Views = append(o.Views, notNil(views)...) })
}

// WithIDGenerator sets how trace and span ids are made, for systems that need a special format. The
// default is the SDK's generator, whose ids are random as W3C Trace Context Level 2 requires. If
// the option is given twice, the last one wins.
func WithIDGenerator(generator sdktrace.IDGenerator) Option {
	return record(func(o *settings.Asked) { o.IDGenerator = orNil(generator) })
}

// WithErrorHandler receives the warnings and errors of the library and the SDK about themselves,
// instead of the console log. It gets each error as it happens, with secrets masked; the console
// log would count repeated ones. It must be safe for concurrent use, must not block and must not
// log through OpenTelemetry. If the option is given twice, the last one wins.
func WithErrorHandler(handler otel.ErrorHandler) Option {
	return record(func(o *settings.Asked) { o.ErrorHandler = orNil(handler) })
}

// WithSpanBatch sets how spans are batched. If the option is given twice, the fields merge: the
// last non-zero value of each field wins.
func WithSpanBatch(b Batch) Option {
	return record(func(o *settings.Asked) { o.SpanBatch = settings.Merge(o.SpanBatch, settings.Batch(b)) })
}

// WithLogBatch sets how log records are batched. If the option is given twice, the fields merge:
// the last non-zero value of each field wins.
func WithLogBatch(b Batch) Option {
	return record(func(o *settings.Asked) { o.LogBatch = settings.Merge(o.LogBatch, settings.Batch(b)) })
}

// WithMetricInterval sets the time between two metric exports, at least 1 ms
// (OTEL_METRIC_EXPORT_INTERVAL in milliseconds; default 60 s). If the option is given twice, the
// last one wins.
func WithMetricInterval(d time.Duration) Option {
	return record(func(o *settings.Asked) { o.MetricInterval = &d })
}

// WithLogLevel sets the minimum log level for the console and OTLP (LOG_LEVEL: debug, info, warn or
// error; default info). TELEMETRY_CONSOLE_LOG_LEVEL and TELEMETRY_OTLP_LOG_LEVEL set one of the
// two. With a [*slog.LevelVar] the level can be changed while the service runs. Inside [ForLogs]
// the option applies only to OTLP. If the option is given twice, the last one wins.
func WithLogLevel(level slog.Leveler) Option {
	return leveler{level}
}

// WithLogOutput sets where console log lines are written; the default is standard error. Writes are
// serialized. Traces and metrics of a console exporter still go to standard output. If the option
// is given twice, the last one wins.
func WithLogOutput(w io.Writer) Option {
	return record(func(o *settings.Asked) { o.LogOutput = orNil(w) })
}

// WithLogFormat sets the format of console log lines (TELEMETRY_LOG_FORMAT; default
// [LogFormatJSON]). Without it, lines on a terminal use the development view if that is on. If the
// option is given twice, the last one wins.
func WithLogFormat(f LogFormat) Option {
	return record(func(o *settings.Asked) { o.LogFormat = (*string)(&f) })
}

// WithPropagators sets how context travels between processes (OTEL_PROPAGATORS: tracecontext,
// baggage or none; default tracecontext and baggage). Use it for propagators of other formats, such
// as B3. Init returns an error for a nil propagator, also in a composite. If the option is given
// twice, the last list wins.
func WithPropagators(propagators ...propagation.TextMapPropagator) Option {
	return record(func(o *settings.Asked) { o.Propagators = &propagators })
}

// WithShutdownTimeout limits [Guard.Shutdown] if its context has no earlier deadline, at least 1 ms
// (TELEMETRY_SHUTDOWN_TIMEOUT in milliseconds; default 10 s). The default leaves time to drain
// requests within the 30 s that Kubernetes grants. If no endpoint is set and nothing has ever
// listened at the default endpoint, Shutdown waits only 1 s. If the option is given twice, the last
// one wins.
func WithShutdownTimeout(d time.Duration) Option {
	return record(func(o *settings.Asked) { o.ShutdownTimeout = &d })
}

// WithSpool stores requests that cannot be delivered in files below dir and sends them when the
// collector is back (TELEMETRY_SPOOL_DIR; default: no spool). After a crash or kill -9, the next
// process that uses the directory sends them, with its own endpoint and headers.
//
// A request is stored in these cases: its first attempt fails with a temporary error; the endpoint
// or the credential is wrong (401, 403, 404, 405, 407, redirects, web pages, Unauthenticated,
// PermissionDenied, Unimplemented, certificates); the collector is down; or [Guard.Shutdown] runs
// out of time. A request that is rejected because of its data (400, 413, InvalidArgument) is not
// stored. The directory is created if it is missing. Files have mode 0600 and contain only
// telemetry, no headers and no credentials. Give each service its own directory; several processes
// of one service may share it.
//
// maxBytes limits the files of one process, at least 1. The oldest files are removed for newer ones
// and counted as dropped (spool_full). If it is 0, the environment variable applies
// (TELEMETRY_SPOOL_MAX_BYTES, in bytes; default 256 MiB, 1 GiB in [ProfileHighThroughput], 64 MiB
// in [ProfileEdge] and [ProfileDevelopment]).
//
// If the directory or disk cannot be written, Init does not fail. The problem is logged once and
// counted in [SignalHealth], and requests are retried from memory. A request that was interrupted
// while it was sent may arrive twice. The spool applies to OTLP, not to exporters given by option.
//
// If the option is given twice, the last directory wins, and the last maxBytes that is not 0.
func WithSpool(dir string, maxBytes int64) Option {
	return record(func(o *settings.Asked) {
		o.SpoolDir = &dir
		if maxBytes != 0 {
			o.SpoolBytes = &maxBytes
		}
	})
}

// WithDisabled turns telemetry off if disabled is true, like OTEL_SDK_DISABLED=true. It is for a
// service with its own setting:
//
//	telemetry.WithDisabled(!settings.Telemetry)
//
// Nothing is exported, recorded or probed, and spans have no ids. The console log and its redaction
// stay on. The context from a caller is still passed to the services that this one calls.
// WithDisabled(false) has no effect on OTEL_SDK_DISABLED=true. If the option is given twice, the
// last one wins.
func WithDisabled(disabled bool) Option {
	return record(func(o *settings.Asked) { o.Disabled = disabled })
}

// WithoutTraces turns traces off. Spans record nothing but have ids, so that the log lines of a
// request can be found. The context from a caller is passed on unchanged to the services that this
// one calls. If a trace begins here, no context is sent, so those services decide for themselves.
//
// OTEL_TRACES_EXPORTER=none is different: it turns off only the exporter. The sampler still
// decides, and its decision is sent on. With [WithDisabled] there are no ids and no decisions, as
// the specification says. No later option turns traces on again.
func WithoutTraces() Option { return without(signal.Traces) }

// WithoutMetrics turns metrics off (OTEL_METRICS_EXPORTER=none). No later option turns them on
// again.
func WithoutMetrics() Option { return without(signal.Metrics) }

// WithoutLogs turns the export of logs over OTLP off; the console log stays on
// (OTEL_LOGS_EXPORTER=none). No later option turns it on again.
func WithoutLogs() Option { return without(signal.Logs) }

// WithoutRuntimeMetrics turns off the metrics of the Go runtime: memory, goroutines, scheduling
// (TELEMETRY_RUNTIME_METRICS=false). No later option turns them on again.
func WithoutRuntimeMetrics() Option {
	return record(func(o *settings.Asked) { off := false; o.RuntimeMetrics = &off })
}

// WithoutGlobals leaves OpenTelemetry's and slog's globals unchanged. Use the guard's providers and
// logger, and [WithGuard] for the middleware. A process may have any number of such guards. No
// later option undoes it.
func WithoutGlobals() Option {
	return record(func(o *settings.Asked) { o.WithoutGlobals = true })
}

// notNil removes nil values, including nil pointers in an interface.
func notNil[T any](list []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(item T) bool { return settings.IsNil(item) })
}

// orNil returns value, or nil if value is a nil pointer in an interface.
func orNil[T any](value T) T {
	if settings.IsNil(value) {
		var none T
		return none
	}
	return value
}

// collect applies the options to one record. It remembers which of them came from a preset.
func collect(opts []Option) *settings.Asked {
	var direct, preset []Option
	for _, opt := range opts {
		if inside, ok := opt.(bundle); ok {
			preset = append(preset, inside)
		} else {
			direct = append(direct, opt)
		}
	}
	o := &settings.Asked{Direct: &settings.Asked{}, Preset: &settings.Asked{}}
	bundle(opts).apply(o)
	bundle(direct).apply(o.Direct)
	bundle(preset).apply(o.Preset)
	return o
}

type record func(*settings.Asked)

func (f record) apply(o *settings.Asked) { f(o) }

type bundle []Option

func (b bundle) apply(o *settings.Asked) {
	defer o.BeginList()()
	for _, opt := range b {
		if opt != nil {
			opt.apply(o)
		}
	}
}

// recordExport is an option that can be limited to one signal.
type recordExport func(*settings.Export)

func (f recordExport) apply(o *settings.Asked) { f.record(&o.Export, o.List) }

func (f recordExport) record(e *settings.Export, list int) {
	e.List = list
	f(e)
}

type leveler struct{ level slog.Leveler }

func (l leveler) apply(o *settings.Asked) { o.LogLevel = &l.level }

func without(s signal.Signal) Option {
	return record(func(o *settings.Asked) { o.Signals[s].Off = true })
}

type scope struct {
	name   string
	signal signal.Signal
	opts   []Option
}

func (s scope) apply(o *settings.Asked) {
	defer o.BeginList()()
	for _, opt := range s.opts {
		switch opt := opt.(type) {
		case nil:
		case recordExport:
			opt.record(&o.Signals[s.signal], o.List)
		case bundle:
			scope{s.name, s.signal, opt}.apply(o)
		case leveler:
			if s.signal != signal.Logs {
				o.Misplaced = append(o.Misplaced, settings.Misplaced{Scope: s.name, Signal: s.signal})
				continue
			}
			o.OTLPLogLevel = &opt.level
		default:
			o.Misplaced = append(o.Misplaced, settings.Misplaced{Scope: s.name, Signal: s.signal})
		}
	}
}
