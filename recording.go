package telemetry

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"reflect"
	"slices"
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
	sampling           Sampling // of all WithAdaptiveSampling together
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

	list, lists int      // the list that is being recorded, such as a preset's, and how many there were
	direct      *options // those given to Init itself
	preset      *options // those given inside WithOptions
}

// record applies the options of Init to o, and remembers which of them came from a preset.
func (o *options) record(opts []Option) {
	var direct, preset []Option
	for _, opt := range opts {
		if inside, ok := opt.(bundle); ok {
			preset = append(preset, inside)
		} else {
			direct = append(direct, opt)
		}
	}
	bundle(opts).apply(o)
	o.direct, o.preset = &options{}, &options{}
	bundle(direct).apply(o.direct)
	bundle(preset).apply(o.preset)
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

	list        int      // the list that is being recorded
	credentials int      // the list in which credentials were given last
	dropped     []string // options whose credentials were for an earlier endpoint
}

// credential is an option that holds credentials, before its value is recorded.
func (e *exportOptions) credential(option string) {
	e.credentials = e.list
	e.dropped = slices.DeleteFunc(e.dropped, func(name string) bool { return name == option })
}

// changeEndpoint forgets credentials that were not meant for the endpoint that comes: those given for an earlier one, or in
// another list, such as a preset. In one list, the first endpoint may follow its headers.
func (e *exportOptions) changeEndpoint(url string) {
	if e.endpoint != nil || e.credentials != e.list {
		if e.headers != nil {
			e.dropped = append(e.dropped, "WithHeaders")
		}
		if e.tokenFile != nil {
			e.dropped = append(e.dropped, "WithTokenFile")
		}
		if e.headerFunc != nil && *e.headerFunc != nil {
			e.dropped = append(e.dropped, "WithHeaderFunc")
		}
		e.headers, e.tokenFile, e.headerFunc = nil, nil, nil
	}
	e.endpoint = &url
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

// merged is earlier with every field that later sets, in any of its fields that are not zero. What is a list in both adds
// up, the later one's items first.
func merged[T any](earlier, later T) T {
	result, from := reflect.ValueOf(&earlier).Elem(), reflect.ValueOf(later)
	for i := range from.NumField() {
		into, field := result.Field(i), from.Field(i)
		switch {
		case field.IsZero():
		case field.Kind() == reflect.Slice:
			both := reflect.AppendSlice(reflect.MakeSlice(field.Type(), 0, field.Len()+into.Len()), field)
			into.Set(reflect.AppendSlice(both, into))
		default:
			into.Set(field)
		}
	}
	return earlier
}

type record func(*options)

func (f record) apply(o *options) { f(o) }

type bundle []Option

func (b bundle) apply(o *options) {
	defer o.beginList()()
	for _, opt := range b {
		if opt != nil {
			opt.apply(o)
		}
	}
}

// beginList begins a list of options and returns what ends it.
func (o *options) beginList() (end func()) {
	outer := o.list
	o.lists++
	o.list = o.lists
	return func() { o.list = outer }
}

// recordExport is an option that can be scoped to one signal.
type recordExport func(*exportOptions)

func (f recordExport) apply(o *options) { f.record(&o.export, o.list) }

func (f recordExport) record(e *exportOptions, list int) {
	e.list = list
	f(e)
}

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
	defer o.beginList()()
	for _, opt := range s.opts {
		switch opt := opt.(type) {
		case nil:
		case recordExport:
			opt.record(&o.signals[s.signal], o.list)
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
