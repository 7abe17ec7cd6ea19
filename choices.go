package telemetry

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The names of exporters in OTEL_{TRACES,METRICS,LOGS}_EXPORTER, and those that only options can choose.
const (
	exporterOTLP    = "otlp"
	exporterConsole = "console"
	exporterNone    = "none"
	exporterGiven   = "given by option"
	exporterNil     = "nil"
)

// absentExporters are names that the specification or other libraries have. A service that names one does not expect OTLP in its
// place.
var absentExporters = []string{"zipkin", "prometheus", "jaeger", "logging", "otlp/stdout"}

func exporterList() kind[[]string] {
	known := []string{exporterOTLP, exporterConsole, exporterNone}
	k := nameList(known...)
	checkNames := k.check
	k.check = func(names []string) error {
		switch {
		case slices.Equal(names, []string{exporterGiven}):
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
		return checkNames(names)
	}
	return k
}

// The forms of what the console exporters write.
const (
	consoleAuto = "auto"
	consoleTree = "tree"
	consoleJSON = "json"
)

// What the development view shows: which traces, and when metrics.
const (
	consoleAll    = "all"
	consoleErrors = "errors"
	consoleSlow   = "slow"

	consoleAtShutdown = "shutdown"
	consoleChanges    = "changes"
)

// exporters is what the options say about the exporter of a signal; nil where they say nothing.
func (o *options) exporters(s signal) *[]string {
	if o.signals[s].off {
		return &[]string{exporterNone}
	}
	var set, isNilValue bool
	switch s {
	case traces:
		set = o.spanExporter != nil
		isNilValue = set && isNil(*o.spanExporter)
	case metrics:
		set = o.metricReader != nil
		isNilValue = set && isNil(*o.metricReader)
	case logs:
		set = o.logExporter != nil
		isNilValue = set && isNil(*o.logExporter)
	}
	switch {
	case isNilValue:
		return &[]string{exporterNil}
	case set:
		return &[]string{exporterGiven}
	}
	return nil
}

// exporterOption is the option that exporters follows.
func (o *options) exporterOption(s signal) string {
	if o.signals[s].off {
		return "Without" + title(s.String())
	}
	return [...]string{"WithSpanExporter", "WithMetricReader", "WithLogExporter"}[s]
}

// The values of OTEL_TRACES_SAMPLER, and one of our own.
const (
	samplerAdaptive       = "adaptive"
	samplerAlwaysOn       = "always_on"
	samplerAlwaysOff      = "always_off"
	samplerRatio          = "traceidratio"
	samplerParentAlwaysOn = "parentbased_always_on"
	samplerParentOff      = "parentbased_always_off"
	samplerParentRatio    = "parentbased_traceidratio"
)

// sampler is a name, or what an option gave: settings of the adaptive sampler, or a sampler.
type sampler struct {
	name     string
	adaptive Sampling
	given    *sdktrace.Sampler
}

func samplerName() kind[sampler] {
	names := enum(samplerAdaptive, samplerAlwaysOn, samplerAlwaysOff, samplerRatio, samplerParentAlwaysOn, samplerParentOff, samplerParentRatio)
	return kind[sampler]{
		want: names.want + "; others are given with WithSampler",
		parse: func(text string) (sampler, error) {
			return sampler{name: strings.ToLower(text)}, nil
		},
		check: func(s sampler) error {
			switch {
			case s.isAdaptive():
				if err := s.adaptive.config().Validate(); err != nil {
					return complete{errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))}
				}
				return nil
			case s.given == nil:
				return names.check(s.name)
			case isNil(*s.given):
				return errNil
			}
			if p := panicOf(func() { _ = (*s.given).Description() }); p != nil { // such as that of ParentBased(nil)
				return complete{fmt.Errorf("its Description panics: %v", p)}
			}
			return nil
		},
		show: func(s sampler) string {
			switch {
			case s.isAdaptive():
				return s.adaptive.show()
			case s.given == nil:
				return s.name
			case isNil(*s.given):
				return "nil"
			}
			text := fmt.Sprintf("%T", *s.given)
			_ = panicOf(func() { text = (*s.given).Description() })
			return text
		},
	}
}

// isAdaptive tells whether the library makes the adaptive sampler, whose settings have rows of their own.
func (s sampler) isAdaptive() bool { return s.given == nil && s.name == samplerAdaptive }

// adaptiveByName tells whether the environment names the adaptive sampler: then OTEL_TRACES_SAMPLER_ARG is its rate.
func adaptiveByName(env environment) bool {
	return strings.EqualFold(env["OTEL_TRACES_SAMPLER"], samplerAdaptive)
}

// adaptiveOption is the Sampling that the options give, the zero one if they give none or a wrong one.
func (o *options) adaptiveOption() Sampling {
	if o.sampler == nil || !o.sampler.isAdaptive() || o.sampler.adaptive.config().Validate() != nil {
		return Sampling{}
	}
	return o.sampler.adaptive
}

// option is the one that gave it.
func (s sampler) option() string {
	if s.given == nil {
		return "WithAdaptiveSampling"
	}
	return "WithSampler"
}

// takesRatio tells whether OTEL_TRACES_SAMPLER_ARG means anything to it.
func (s sampler) takesRatio() bool {
	return s.given == nil && (s.name == samplerRatio || s.name == samplerParentRatio)
}

// build makes the SDK's sampler; ratio is the sampler's argument. An adaptive sampler comes back a second time, for its
// local tail and its figures; owned tells whether it is the guard's to close.
func (s sampler) build(ratio float64) (built sdktrace.Sampler, adaptive *AdaptiveSampler, owned bool, err error) {
	if s.given != nil {
		adaptive, _ = (*s.given).(*AdaptiveSampler)
		return *s.given, adaptive, false, nil
	}
	switch s.name {
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
		adaptive, err = NewAdaptiveSampler(s.adaptive)
		return adaptive, adaptive, true, err
	}
	return built, nil, false, nil
}

// propagators are names of OTEL_PROPAGATORS or propagators that an option gave.
type propagators struct {
	names []string
	given []propagation.TextMapPropagator
}

func propagatorList() kind[propagators] {
	names := nameList("tracecontext", "baggage", exporterNone)
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
				return complete{errors.New("must not contain nil")}
			}
			return nil
		},
		show: func(p propagators) string {
			switch {
			case p.given == nil:
				return strings.Join(p.names, ",")
			case p.holdsNil():
				return "nil"
			}
			return strings.Join(p.build().Fields(), ",")
		},
	}
}

func (p propagators) holdsNil() bool {
	return slices.ContainsFunc(p.given, func(one propagation.TextMapPropagator) bool {
		// An empty composite is a nil slice, and the natural way to say none.
		return isNil(one) && reflect.ValueOf(one).Kind() != reflect.Slice
	})
}

func (p propagators) build() propagation.TextMapPropagator {
	list := p.given
	for _, name := range p.names {
		switch name {
		case "tracecontext":
			list = append(list, traceContext{})
		case "baggage":
			list = append(list, propagation.Baggage{})
		}
	}
	return propagation.NewCompositeTextMapPropagator(list...)
}

// The values of the metric variables.
const (
	temporalityCumulative = "cumulative"
	temporalityDelta      = "delta"
	temporalityLowMemory  = "lowmemory"

	histogramExplicit    = "explicit_bucket_histogram"
	histogramExponential = "base2_exponential_bucket_histogram"

	exemplarAlwaysOn   = "always_on"
	exemplarAlwaysOff  = "always_off"
	exemplarTraceBased = "trace_based"
)

func title(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// panicOf returns what f panics with, or nil.
func panicOf(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}
