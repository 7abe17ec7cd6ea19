package telemetry

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/encodable"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// signal is one of the three kinds of telemetry; each can be off while the others run.
type signal int

const (
	traces signal = iota
	metrics
	logs
	signalCount
)

func (s signal) String() string { return [...]string{"traces", "metrics", "logs"}[s] }

// unit is what the signal counts.
func (s signal) unit() string { return [...]string{"spans", "data points", "log records"}[s] }

// one is a single unit.
func (s signal) one() string { return strings.TrimSuffix(s.unit(), "s") }

func allSignals() []signal { return []signal{traces, metrics, logs} }

// config is what Init builds from: every setting resolved, validated, and with its origin.
type config struct {
	profile         setting[Profile]
	disabled        setting[bool]
	selfLogLevel    setting[slog.Level]
	shutdownTimeout setting[time.Duration]
	spoolDir        setting[string]
	spoolBytes      setting[int64]
	probe           setting[bool]

	redaction      setting[bool]
	redactedKeys   setting[[]string]
	allowedKeys    setting[[]string]
	redactedValues setting[[]*regexp.Regexp]

	serviceName        setting[string]
	serviceVersion     setting[string]
	serviceNamespace   setting[string]
	environment        setting[string]
	resourceAttributes setting[[]attribute.KeyValue]
	envAttributes      setting[[]attribute.KeyValue]
	kubernetes         [kubernetesCount]setting[string]

	signals     [signalCount]signalConfig
	propagators setting[propagators]
	sampler     setting[sampler]
	samplerArg  setting[float64]

	tracesPerSecond setting[float64]       // of the adaptive sampler, as the next one
	slowThreshold   setting[time.Duration] // negative: none

	spanBatch  batchConfig
	logBatch   batchConfig
	spanLimits spanLimits
	logLimits  logLimits

	metricInterval       setting[time.Duration]
	metricTimeout        setting[time.Duration]
	temporality          setting[string]
	histogramAggregation setting[string]
	exemplarFilter       setting[string]
	cardinalityLimit     setting[int]
	runtimeMetrics       setting[bool]
	selfMetrics          setting[bool]

	logLevel  setting[slog.Leveler]
	otlpLevel setting[slog.Leveler]
	logFormat setting[LogFormat]

	consoleFormat  setting[string]
	consoleTraces  setting[[]string]
	consoleSlow    setting[time.Duration]
	consoleMetrics setting[string]
	consoleForm    string // how the console exporters write, tree or json; "" until it is known

	opts           *options
	addedVariables map[string]string // by setting: the variable that adds to an option, and its value
}

func (c *config) addVariable(setting, text string) {
	if c.addedVariables == nil {
		c.addedVariables = map[string]string{}
	}
	c.addedVariables[setting] = text
}

// signalConfig is where one signal goes and how.
type signalConfig struct {
	on        bool
	off       string // why it is not on
	exporters setting[[]string]

	endpoint    setting[string]
	target      target
	protocol    setting[Protocol]
	headers     setting[map[string]string]
	tokenFile   setting[string]
	headerFunc  *headerFunc // nil without one
	compression setting[Compression]
	timeout     setting[time.Duration]
	insecure    setting[bool]

	certificate       setting[pemFile]
	clientCertificate setting[pemFile]
	clientKey         setting[pemFile]
	tls               *tls.Config
	tlsSource         tlsSource
}

// sends reports whether the signal goes out through an exporter of this name.
func (s signalConfig) sends(exporter string) bool {
	return s.on && slices.Contains(s.exporters.value, exporter)
}

// idGenerator is what the options say; nil where they say nothing.
func (c *config) idGenerator() sdktrace.IDGenerator {
	if isNil(c.opts.idGenerator) {
		return nil
	}
	return c.opts.idGenerator
}

type batchConfig struct {
	maxQueueSize         setting[int]
	maxQueueBytes        setting[int]
	maxExportBatchSize   setting[int]
	maxConcurrentExports setting[int]
	scheduleDelay        setting[time.Duration]
	exportTimeout        setting[time.Duration]
}

type spanLimits struct {
	attributeValueLength, attributeCount, eventCount, linkCount, eventAttributeCount, linkAttributeCount setting[int]
}

func (l spanLimits) sdk() sdktrace.SpanLimits {
	return sdktrace.SpanLimits{
		AttributeValueLengthLimit:   l.attributeValueLength.value,
		AttributeCountLimit:         l.attributeCount.value,
		EventCountLimit:             l.eventCount.value,
		LinkCountLimit:              l.linkCount.value,
		AttributePerEventCountLimit: l.eventAttributeCount.value,
		AttributePerLinkCountLimit:  l.linkAttributeCount.value,
	}
}

// values are the limits of attributes' values, of metrics', too.
func (l spanLimits) values() encodable.Limits {
	return encodable.Limits{Length: l.attributeValueLength.value}
}

func (l logLimits) values() encodable.Limits {
	return encodable.Limits{Length: l.attributeValueLength.value}
}

type logLimits struct{ attributeValueLength, attributeCount setting[int] }

// setting is one resolved value and where it came from: an option, a variable, or the default.
type setting[T any] struct {
	value  T
	origin string
}

const originDefault = "default"

func (s setting[T]) isDefault() bool { return isDefaultOrigin(s.origin) }

func isDefaultOrigin(origin string) bool {
	return origin == originDefault || strings.HasPrefix(origin, "profile ")
}

// problem is a setting that cannot be used as it was given. It is an error of Init when an option is wrong or when a
// fallback would send data to a place that was not meant; else it is a warning.
type problem struct {
	setting string
	origin  string
	value   string // masked where it may hold a secret
	cause   string
	outcome string
	signals []signal // those that are off for it
	fatal   bool
}

// predicate is how a cause begins that goes on where the setting's name ends.
var predicate = regexp.MustCompile(`^(must|is|has|holds|cannot|does|needs) `)

func (p problem) Error() string {
	var b strings.Builder
	b.WriteString("telemetry: " + p.origin)
	switch {
	case p.value == "":
	case p.origin == string(diagnose.Argument):
		b.WriteString(" " + p.value)
	case !isOption(p.origin):
		b.WriteString("=" + p.value)
	case strings.HasSuffix(p.origin, ")"):
		b.WriteString(": " + p.value)
	default:
		b.WriteString("(" + p.value + ")")
	}
	if !predicate.MatchString(p.cause) {
		b.WriteByte(':')
	}
	b.WriteString(" " + p.cause)
	if p.outcome != "" {
		fmt.Fprintf(&b, "; %s", p.outcome)
	}
	return b.String()
}

// environment is a snapshot of the variables that concern telemetry; an empty variable counts as not set, as the
// specification asks (configuration/sdk-environment-variables.md, "Parsing empty value").
type environment map[string]string

// readEnvironment is the only place that reads the process environment, apart from ExtractEnv and its sibling.
func readEnvironment() environment {
	env := environment{}
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
	// Other spellings of the prefixes are there for nearMisses to find.
	prefix, _, _ := strings.Cut(spelt(name), "_")
	return distance([]rune(prefix), []rune("OTEL")) <= 1 || distance([]rune(prefix), []rune("TELEMETRY")) <= 2
}

// concernsSDK tells whether the SDK, which reads the environment once more whatever it is given, finds anything in it.
func (e environment) concernsSDK() bool {
	for name := range e {
		if strings.HasPrefix(name, "OTEL_") {
			return true
		}
	}
	return false
}

// under is what counts under ctx: this environment, or the one that telemetrytest has put into ctx.
func (e environment) under(ctx context.Context) environment {
	if variables, ok := testenv.From(ctx); ok {
		return variables
	}
	return e
}
