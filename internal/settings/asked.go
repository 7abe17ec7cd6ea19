package settings

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Asked holds what the options set, before anything is resolved. A nil pointer means that no option
// set the value.
type Asked struct {
	Disabled           bool
	Profile            *string
	ServiceName        *string
	ServiceVersion     *string
	ServiceNamespace   *string
	Environment        *string
	ResourceAttributes []attribute.KeyValue
	Detectors          []resource.Detector
	Export             Export
	Signals            [signal.Count]Export
	SpanExporter       *sdktrace.SpanExporter
	MetricReader       *sdkmetric.Reader
	LogExporter        *sdklog.Exporter
	SpanProcessors     []sdktrace.SpanProcessor
	Views              []sdkmetric.View
	IDGenerator        sdktrace.IDGenerator
	ErrorHandler       otel.ErrorHandler
	Sampler            *Sampler
	Sampling           sampling.Config // of all WithAdaptiveSampling together
	SpanBatch          Batch
	LogBatch           Batch
	MetricInterval     *time.Duration
	LogLevel           *slog.Leveler
	OTLPLogLevel       *slog.Leveler
	LogOutput          io.Writer
	LogFormat          *string
	Propagators        *[]propagation.TextMapPropagator
	ShutdownTimeout    *time.Duration
	SpoolDir           *string
	SpoolBytes         *int64
	Redaction          Redaction
	RuntimeMetrics     *bool
	WithoutGlobals     bool
	endpointIsArgument bool // the endpoint is the argument of cmd/telemetry
	Misplaced          []Misplaced

	List, lists int    // the option list that is being applied, such as a preset's, and how many there were
	Direct      *Asked // those given to Init itself
	Preset      *Asked // those given inside WithOptions
}

// Batch sets how spans or log records are batched. Zero fields are not set.
type Batch struct {
	MaxQueueSize         int
	MaxExportBatchSize   int
	MaxConcurrentExports int
	ScheduleDelay        time.Duration
	ExportTimeout        time.Duration
}

// Redaction holds what is masked in addition to the default, and what is never masked.
type Redaction struct {
	Keys      []string
	AllowKeys []string
	Values    []*regexp.Regexp
	Off       bool
}

// Export holds the options that ForTraces, ForMetrics and ForLogs can limit to one signal.
type Export struct {
	Endpoint    *string
	Protocol    *string
	Headers     *map[string]string
	TokenFile   *string
	HeaderFunc  *HeaderFunc  // points to nil: none, even if a wider scope has one
	TLS         **tls.Config // points to nil: the default
	Compression *string
	Off         bool

	List        int      // the option list that is being applied
	credentials int      // the list that set credentials last
	dropped     []string // options whose credentials were dropped, because they were for an earlier endpoint
}

// Credential must be called by an option that sets credentials, before it sets them.
func (e *Export) Credential(option string) {
	e.credentials = e.List
	e.dropped = slices.DeleteFunc(e.dropped, func(name string) bool { return name == option })
}

// ChangeEndpoint sets the endpoint. It drops credentials that were not meant for it: those given
// for an earlier endpoint, or in another list, such as a preset. Within one list, the first
// endpoint may come after its headers.
func (e *Export) ChangeEndpoint(url string) {
	if e.Endpoint != nil || e.credentials != e.List {
		if e.Headers != nil {
			e.dropped = append(e.dropped, "WithHeaders")
		}
		if e.TokenFile != nil {
			e.dropped = append(e.dropped, "WithTokenFile")
		}
		if e.HeaderFunc != nil && *e.HeaderFunc != nil {
			e.dropped = append(e.dropped, "WithHeaderFunc")
		}
		e.Headers, e.TokenFile, e.HeaderFunc = nil, nil, nil
	}
	e.Endpoint = &url
}

// HeaderFunc returns the current headers.
type HeaderFunc func(context.Context) (map[string]string, error)

// HeaderFunc returns the header function of a signal, or nil if none was set.
func (o *Asked) HeaderFunc(s signal.Signal) *HeaderFunc {
	f := firstNonNil(o.Signals[s].HeaderFunc, o.Export.HeaderFunc)
	if f == nil || *f == nil {
		return nil
	}
	return f
}

// TLS returns the TLS configuration of a signal, or nil for the default.
func (o *Asked) TLS(s signal.Signal) *tls.Config {
	if c := firstNonNil(o.Signals[s].TLS, o.Export.TLS); c != nil {
		return *c
	}
	return nil
}

// Misplaced is an option inside ForTraces, ForMetrics or ForLogs that cannot be limited to one
// signal.
type Misplaced struct {
	Scope  string
	Signal signal.Signal
}

// Merge returns earlier with every field that is not zero in later. Lists add up, with the items of
// later first.
func Merge[T any](earlier, later T) T {
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

// BeginList begins a list of options and returns the function that ends it.
func (o *Asked) BeginList() (end func()) {
	outer := o.List
	o.lists++
	o.List = o.lists
	return func() { o.List = outer }
}
