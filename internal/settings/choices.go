package settings

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// The values of TELEMETRY_PROFILE, OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_COMPRESSION and
// TELEMETRY_LOG_FORMAT.
const (
	ProfileService        = "service"
	ProfileHighThroughput = "high-throughput"
	ProfileEdge           = "edge"
	ProfileDevelopment    = "development"

	ProtocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"

	CompressionGzip = "gzip"
	compressionNone = "none"

	logFormatJSON = "json"
	LogFormatText = "text"
)

// The names of exporters in OTEL_{TRACES,METRICS,LOGS}_EXPORTER, and those that only options can
// choose.
const (
	ExporterOTLP    = "otlp"
	ExporterConsole = "console"
	ExporterNone    = "none"
	ExporterGiven   = "given by option"
	exporterNil     = "nil"
)

// absentExporters are exporters of the specification or of other libraries. A service that names
// one does not expect OTLP instead.
var absentExporters = []string{"zipkin", "prometheus", "jaeger", "logging", "otlp/stdout"}

func exporterList() kind[[]string] {
	known := []string{ExporterOTLP, ExporterConsole, ExporterNone}
	k := nameList(known...)
	k.check = func(names []string) error {
		switch {
		case slices.Equal(names, []string{ExporterGiven}):
			return nil
		case slices.Equal(names, []string{exporterNil}):
			return errNil
		}
		for _, name := range names {
			if slices.Contains(absentExporters, name) {
				absent := newUnknownName(fmt.Sprintf("there is no exporter %q in this library", name), name, known)
				absent.exists = true
				return absent
			}
		}
		return checkNames(names, known)
	}
	return k
}

// The forms of what the console exporters write.
const (
	ConsoleAuto = "auto"
	ConsoleTree = "tree"
	ConsoleJSON = "json"
)

// What the development view shows: which traces, and when metrics.
const (
	ConsoleAll    = "all"
	ConsoleErrors = "errors"
	ConsoleSlow   = "slow"

	ConsoleAtShutdown = "shutdown"
	consoleChanges    = "changes"
)

// exporters returns the exporters that the options set for a signal, or nil if they set none.
func (o *Asked) exporters(s signal.Signal) *[]string {
	if o.Signals[s].Off {
		return &[]string{ExporterNone}
	}
	var set, isNilValue bool
	switch s {
	case signal.Traces:
		set = o.SpanExporter != nil
		isNilValue = set && IsNil(*o.SpanExporter)
	case signal.Metrics:
		set = o.MetricReader != nil
		isNilValue = set && IsNil(*o.MetricReader)
	case signal.Logs:
		set = o.LogExporter != nil
		isNilValue = set && IsNil(*o.LogExporter)
	}
	switch {
	case isNilValue:
		return &[]string{exporterNil}
	case set:
		return &[]string{ExporterGiven}
	}
	return nil
}

// exporterOption returns the option that sets what exporters returns.
func (o *Asked) exporterOption(s signal.Signal) string {
	if o.Signals[s].Off {
		return "Without" + title(s.String())
	}
	return [signal.Count]string{signal.Traces: "WithSpanExporter", signal.Metrics: "WithMetricReader",
		signal.Logs: "WithLogExporter"}[s]
}

// The values of OTEL_TRACES_SAMPLER, and adaptive, which is the library's own.
const (
	SamplerAdaptive       = "adaptive"
	samplerAlwaysOn       = "always_on"
	samplerAlwaysOff      = "always_off"
	samplerRatio          = "traceidratio"
	samplerParentAlwaysOn = "parentbased_always_on"
	samplerParentOff      = "parentbased_always_off"
	samplerParentRatio    = "parentbased_traceidratio"
)

// Sampler is the name of a sampler, with settings if it is the adaptive one, or a sampler that an
// option gave.
type Sampler struct {
	Name     string
	Adaptive sampling.Config
	Given    *sdktrace.Sampler
}

func samplerName() kind[Sampler] {
	names := enum(SamplerAdaptive, samplerAlwaysOn, samplerAlwaysOff, samplerRatio, samplerParentAlwaysOn,
		samplerParentOff, samplerParentRatio)
	return kind[Sampler]{
		want: names.want + "; others are given with WithSampler",
		parse: func(text string) (Sampler, error) {
			return Sampler{Name: strings.ToLower(text)}, nil
		},
		check: func(s Sampler) error {
			switch {
			case s.isAdaptive():
				if err := s.Adaptive.Validate(); err != nil {
					return selfExplained{errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))}
				}
				return nil
			case s.Given == nil:
				return names.check(s.Name)
			case IsNil(*s.Given):
				return errNil
			}
			_, err := description(*s.Given)
			return err
		},
		show: func(s Sampler) string {
			switch {
			case s.isAdaptive():
				return samplingText(s.Adaptive)
			case s.Given == nil:
				return s.Name
			case IsNil(*s.Given):
				return "nil"
			}
			if text, err := description(*s.Given); err == nil {
				return text
			}
			return fmt.Sprintf("%T", *s.Given)
		},
	}
}

// description returns the sampler's Description, or an error if that panics, as with
// ParentBased(nil).
func description(s sdktrace.Sampler) (text string, err error) {
	err = contain.Catch(func() error { text = s.Description(); return nil })
	if err != nil {
		err = selfExplained{fmt.Errorf("its Description fails: %w", err)}
	}
	return text, err
}

// isAdaptive reports whether the library creates the adaptive sampler, whose settings have their
// own rows.
func (s Sampler) isAdaptive() bool { return s.Given == nil && s.Name == SamplerAdaptive }

// adaptiveByName reports whether the environment names the adaptive sampler. Then
// OTEL_TRACES_SAMPLER_ARG is its rate.
func adaptiveByName(env Environment) bool {
	return strings.EqualFold(env["OTEL_TRACES_SAMPLER"], SamplerAdaptive)
}

// adaptiveOption returns the adaptive sampling that the options set, or the zero one if they set
// none or an invalid one.
func (o *Asked) adaptiveOption() sampling.Config {
	if o.Sampler == nil || !o.Sampler.isAdaptive() || o.Sampler.Adaptive.Validate() != nil {
		return sampling.Config{}
	}
	return o.Sampler.Adaptive
}

// option returns the option that set the sampler.
func (s Sampler) option() string {
	if s.Given == nil {
		return "WithAdaptiveSampling"
	}
	return "WithSampler"
}

// takesRatio reports whether OTEL_TRACES_SAMPLER_ARG is the ratio of the sampler.
func (s Sampler) takesRatio() bool {
	return s.Given == nil && (s.Name == samplerRatio || s.Name == samplerParentRatio)
}

// Build creates the SDK's sampler. ratio is the sampler's argument. An adaptive sampler is also
// returned as adaptive, for its local tail and its counts. owned reports whether the guard must
// close it.
func (s Sampler) Build(ratio float64) (built sdktrace.Sampler, adaptive *sampling.Sampler, owned bool, err error) {
	if s.Given != nil {
		adaptive, _ = (*s.Given).(*sampling.Sampler)
		return *s.Given, adaptive, false, nil
	}
	switch s.Name {
	case samplerAlwaysOn:
		built = sdktrace.AlwaysSample()
	case samplerAlwaysOff:
		built = sdktrace.NeverSample()
	case samplerRatio:
		built = sdktrace.TraceIDRatioBased(ratio)
	case samplerParentOff:
		built = sdktrace.ParentBased(sdktrace.NeverSample())
	case samplerParentRatio:
		built = sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))
	case samplerParentAlwaysOn:
		built = sdktrace.ParentBased(sdktrace.AlwaysSample())
	default:
		if adaptive, err = sampling.New(s.Adaptive); err != nil {
			return nil, nil, false, fmt.Errorf("sampling: %w", err)
		}
		return adaptive, adaptive, true, nil
	}
	return built, nil, false, nil
}

// propagators are the names of OTEL_PROPAGATORS, or the propagators that an option gave.
type propagators struct {
	names []string
	given []propagation.TextMapPropagator
}

func propagatorList() kind[propagators] {
	names := nameList("tracecontext", "baggage", ExporterNone)
	return kind[propagators]{
		want: names.want + "; other formats are given with WithPropagators",
		parse: func(text string) (propagators, error) {
			list, err := names.parse(text)
			return propagators{names: list}, err
		},
		check: func(p propagators) error {
			if p.given == nil {
				return names.check(p.names)
			}
			if p.holdsNil() {
				return selfExplained{errors.New("must not contain nil")}
			}
			_, err := p.fields()
			return err
		},
		show: func(p propagators) string {
			switch {
			case p.given == nil:
				return strings.Join(p.names, ",")
			case p.holdsNil():
				return "nil"
			}
			if fields, err := p.fields(); err == nil {
				return strings.Join(fields, ",")
			}
			return ExporterGiven
		},
	}
}

// fields returns the Fields of the propagators, or an error if that panics, as with a composite
// that contains nil.
func (p propagators) fields() (names []string, err error) {
	err = contain.Catch(func() error { names = p.Build().Fields(); return nil })
	if err != nil {
		err = selfExplained{fmt.Errorf("its Fields fails: %w", err)}
	}
	return names, err
}

func (p propagators) holdsNil() bool {
	return slices.ContainsFunc(p.given, func(one propagation.TextMapPropagator) bool {
		// An empty composite is a nil slice. It is the natural way to ask for no propagator.
		return IsNil(one) && reflect.ValueOf(one).Kind() != reflect.Slice
	})
}

// Build combines the propagators into one.
func (p propagators) Build() propagation.TextMapPropagator {
	list := p.given
	for _, name := range p.names {
		switch name {
		case "tracecontext":
			list = append(list, w3c.TraceContext{})
		case "baggage":
			list = append(list, propagation.Baggage{})
		}
	}
	return propagation.NewCompositeTextMapPropagator(list...)
}

// The values of the metric variables.
const (
	TemporalityCumulative = "cumulative"
	TemporalityDelta      = "delta"
	TemporalityLowMemory  = "lowmemory"

	histogramExplicit    = "explicit_bucket_histogram"
	HistogramExponential = "base2_exponential_bucket_histogram"

	ExemplarAlwaysOn   = "always_on"
	ExemplarAlwaysOff  = "always_off"
	exemplarTraceBased = "trace_based"
)

func title(word string) string { return strings.ToUpper(word[:1]) + word[1:] }
