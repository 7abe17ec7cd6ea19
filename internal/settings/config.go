package settings

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/encodable"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// Config holds every setting, resolved, validated and with its origin. Init builds everything from
// it.
type Config struct {
	profile         Setting[string]
	Disabled        Setting[bool]
	SelfLogLevel    Setting[slog.Level]
	ShutdownTimeout Setting[time.Duration]
	SpoolDir        Setting[string]
	SpoolBytes      Setting[int64]
	Probe           Setting[bool]

	Redaction      Setting[bool]
	RedactedKeys   Setting[[]string]
	AllowedKeys    Setting[[]string]
	RedactedValues Setting[[]*regexp.Regexp]

	ServiceName        Setting[string]
	ServiceVersion     Setting[string]
	ServiceNamespace   Setting[string]
	Environment        Setting[string]
	ResourceAttributes Setting[[]attribute.KeyValue]
	EnvAttributes      Setting[[]attribute.KeyValue]
	Kubernetes         [kubernetesCount]Setting[string]

	Signals     [signal.Count]SignalConfig
	Propagators Setting[propagators]
	HTTPMethods Setting[[]string]
	Sampler     Setting[Sampler]
	SamplerArg  Setting[float64]

	tracesPerSecond Setting[float64]       // of the adaptive sampler, like the next one
	slowThreshold   Setting[time.Duration] // negative: none

	SpanBatch  BatchConfig
	LogBatch   BatchConfig
	SpanLimits spanLimits
	LogLimits  logLimits

	MetricInterval       Setting[time.Duration]
	MetricTimeout        Setting[time.Duration]
	Temporality          Setting[string]
	HistogramAggregation Setting[string]
	ExemplarFilter       Setting[string]
	CardinalityLimit     Setting[int]
	RuntimeMetrics       Setting[bool]
	SelfMetrics          Setting[bool]

	LogLevel  Setting[slog.Leveler]
	OTLPLevel Setting[slog.Leveler]
	LogFormat Setting[string]

	ConsoleFormat  Setting[string]
	ConsoleTraces  Setting[[]string]
	ConsoleSlow    Setting[time.Duration]
	ConsoleMetrics Setting[string]
	ConsoleForm    string // how the console exporters write, tree or json; "" until it is known

	Asked          *Asked
	addedVariables map[string]string // by setting: the variable that adds to an option, and its value
}

func (c *Config) addVariable(setting, text string) {
	if c.addedVariables == nil {
		c.addedVariables = map[string]string{}
	}
	c.addedVariables[setting] = text
}

// SignalConfig holds where and how one signal is sent.
type SignalConfig struct {
	On        bool
	Off       string // why it is not on
	Exporters Setting[[]string]

	Endpoint    Setting[string]
	Target      target
	Protocol    Setting[string]
	Headers     Setting[map[string]string]
	tokenFile   Setting[string]
	HeaderFunc  *HeaderFunc // nil without one
	Compression Setting[string]
	Timeout     Setting[time.Duration]
	insecure    Setting[bool]

	Certificate       Setting[pemFile]
	ClientCertificate Setting[pemFile]
	ClientKey         Setting[pemFile]
	TLS               *tls.Config
	TLSSource         TLSSource
}

// Sends reports whether the signal is on and uses the exporter of this name.
func (s SignalConfig) Sends(exporter string) bool {
	return s.On && slices.Contains(s.Exporters.Value, exporter)
}

// BatchConfig sets how spans or log records are grouped into requests.
type BatchConfig struct {
	MaxQueueSize         Setting[int]
	MaxQueueBytes        Setting[int]
	MaxExportBatchSize   Setting[int]
	MaxConcurrentExports Setting[int]
	ScheduleDelay        Setting[time.Duration]
	ExportTimeout        Setting[time.Duration]
}

type spanLimits struct {
	attributeValueLength, attributeCount, eventCount, linkCount, eventAttributeCount, linkAttributeCount Setting[int]
}

// SDK returns the limits in the SDK's form.
func (l spanLimits) SDK() sdktrace.SpanLimits {
	return sdktrace.SpanLimits{
		AttributeValueLengthLimit:   l.attributeValueLength.Value,
		AttributeCountLimit:         l.attributeCount.Value,
		EventCountLimit:             l.eventCount.Value,
		LinkCountLimit:              l.linkCount.Value,
		AttributePerEventCountLimit: l.eventAttributeCount.Value,
		AttributePerLinkCountLimit:  l.linkAttributeCount.Value,
	}
}

// Values returns the limits of attribute values. They apply to metrics too.
func (l spanLimits) Values() encodable.Limits {
	return encodable.Limits{Length: l.attributeValueLength.Value}
}

// Values returns the limits of attribute values.
func (l logLimits) Values() encodable.Limits {
	return encodable.Limits{Length: l.AttributeValueLength.Value}
}

type logLimits struct{ AttributeValueLength, AttributeCount Setting[int] }

// Setting is a resolved value and its origin: an option, a variable, a profile or the default.
type Setting[T any] struct {
	Value  T
	Origin string
}

const OriginDefault = "default"

// IsDefault reports whether no option and no variable set the value.
func (s Setting[T]) IsDefault() bool { return isDefaultOrigin(s.Origin) }

func isDefaultOrigin(origin string) bool {
	return origin == OriginDefault || strings.HasPrefix(origin, "profile ")
}

// problem is a setting that cannot be used as given. It is an error of Init if an option is wrong,
// or if a fallback could send data to an unintended place. Otherwise it is a warning.
type problem struct {
	Setting string
	Origin  string
	value   string // masked if it may contain a secret
	cause   string
	outcome string
	signals []signal.Signal // those that are off because of it
	Fatal   bool
}

func (p problem) Error() string { return p.line().Error() }

func (p problem) line() lines.Line { return lines.Problem(p.Origin, p.value, p.cause, p.outcome) }

// Environment is a snapshot of the variables that concern telemetry. An empty variable counts as
// not set, as the specification requires (configuration/sdk-environment-variables.md, "Parsing
// empty value").
type Environment map[string]string

// ReadEnvironment reads the process environment. Nothing else reads it, except for ExtractEnv and
// InjectEnv.
func ReadEnvironment() Environment {
	env := Environment{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		value = strings.TrimSpace(value)
		if value != "" && concernsTelemetry(name) {
			env[name] = value
		}
	}
	return env
}

func concernsTelemetry(name string) bool {
	if strings.HasPrefix(name, "K8S_") || name == "LOG_LEVEL" || slices.Contains(terminalVariables, name) {
		return true
	}
	// Similar prefixes are included, so that nearMisses can report misspelled names.
	prefix, _, _ := strings.Cut(normalizeName(name), "_")
	return Distance([]rune(prefix), []rune("OTEL")) <= 1 || Distance([]rune(prefix), []rune("TELEMETRY")) <= 2
}

// ConcernsSDK reports whether the environment has a variable for the SDK, which reads the
// environment again, regardless of its options.
func (e Environment) ConcernsSDK() bool {
	for name := range e {
		if strings.HasPrefix(name, "OTEL_") {
			return true
		}
	}
	return false
}

// Under returns the environment that applies under ctx: the one that telemetrytest has put into
// ctx, or else e.
func (e Environment) Under(ctx context.Context) Environment {
	if variables, ok := testenv.From(ctx); ok {
		return variables
	}
	return e
}

// terminalVariables describe the terminal (no-color.org; POSIX, "Environment Variables").
var terminalVariables = []string{"NO_COLOR", "COLUMNS", "TERM"}

// SendsOTLP reports whether any signal is sent over OTLP.
func (c *Config) SendsOTLP() bool {
	for _, s := range c.Signals {
		if s.Sends(ExporterOTLP) {
			return true
		}
	}
	return false
}
