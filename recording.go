package telemetry

import (
	"context"
	"crypto/tls"
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

// options is what the caller asked for, before anything is resolved; a nil pointer means that he did not say.
type options struct {
	disabled           bool
	profile            *Profile
	serviceName        *string
	serviceVersion     *string
	serviceNamespace   *string
	environment        *string
	resourceAttributes []attribute.KeyValue
	detectors          []resource.Detector
	export             exportOptions
	signals            [signalCount]exportOptions
	spanExporter       *sdktrace.SpanExporter
	metricReader       *sdkmetric.Reader
	logExporter        *sdklog.Exporter
	spanProcessors     []sdktrace.SpanProcessor
	views              []sdkmetric.View
	idGenerator        sdktrace.IDGenerator
	errorHandler       otel.ErrorHandler
	sampler            *sampler
	spanBatch          Batch
	logBatch           Batch
	metricInterval     *time.Duration
	logLevel           *slog.Leveler
	otlpLogLevel       *slog.Leveler
	logOutput          io.Writer
	logFormat          *LogFormat
	propagators        *[]propagation.TextMapPropagator
	shutdownTimeout    *time.Duration
	spoolDir           *string
	spoolBytes         *int64
	redaction          Redaction
	runtimeMetrics     *bool
	withoutGlobals     bool
	endpointIsArgument bool // of cmd/telemetry, which has set it
	misplaced          []misplacedOption
}

// exportOptions are those that ForTraces, ForMetrics and ForLogs can scope.
type exportOptions struct {
	endpoint    *string
	protocol    *Protocol
	headers     *map[string]string
	tokenFile   *string
	headerFunc  *headerFunc  // to nil: none, whatever a wider scope says
	tls         **tls.Config // to nil: the default
	compression *Compression
	off         bool
}

// headerFunc returns the headers of the moment.
type headerFunc func(context.Context) (map[string]string, error)

// headerFunc is that of a signal, nil without one.
func (o *options) headerFunc(s signal) *headerFunc {
	f := firstNonNil(o.signals[s].headerFunc, o.export.headerFunc)
	if f == nil || *f == nil {
		return nil
	}
	return f
}

// tls is that of a signal, nil for the default.
func (o *options) tls(s signal) *tls.Config {
	if c := firstNonNil(o.signals[s].tls, o.export.tls); c != nil {
		return *c
	}
	return nil
}

// misplacedOption is an option inside ForTraces, ForMetrics or ForLogs that cannot be scoped to a signal.
type misplacedOption struct {
	scope  string
	signal signal
}

type record func(*options)

func (f record) apply(o *options) { f(o) }

type bundle []Option

func (b bundle) apply(o *options) {
	for _, opt := range b {
		if opt != nil {
			opt.apply(o)
		}
	}
}

// recordExport is an option that can be scoped to one signal.
type recordExport func(*exportOptions)

func (f recordExport) apply(o *options) { f(&o.export) }

type leveler struct{ level slog.Leveler }

func (l leveler) apply(o *options) { o.logLevel = &l.level }

func without(s signal) Option {
	return record(func(o *options) { o.signals[s].off = true })
}

type scope struct {
	name   string
	signal signal
	opts   []Option
}

func (s scope) apply(o *options) {
	for _, opt := range s.opts {
		switch opt := opt.(type) {
		case nil:
		case recordExport:
			opt(&o.signals[s.signal])
		case bundle:
			scope{s.name, s.signal, opt}.apply(o)
		case leveler:
			if s.signal != logs {
				o.misplaced = append(o.misplaced, misplacedOption{s.name, s.signal})
				continue
			}
			o.otlpLogLevel = &opt.level
		default:
			o.misplaced = append(o.misplaced, misplacedOption{s.name, s.signal})
		}
	}
}
