package settings

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
)

// LogOutput returns where console log lines are written. The default is standard error.
func LogOutput(o *Asked) io.Writer {
	if o.LogOutput == nil {
		return os.Stderr
	}
	return o.LogOutput
}

// StartLine returns the line that says what is on, where it goes, and which setting decided that.
// Each value of the identity has an attribute without its origin, for queries. After the other
// values, origins that are not defaults are in parentheses.
func StartLine(cfg *Config, res *resource.Resource) lines.Line {
	var args []slog.Attr
	for _, key := range []attribute.Key{semconv.ServiceNameKey, semconv.ServiceVersionKey,
		semconv.ServiceInstanceIDKey} {
		value, ok := res.Set().Value(key)
		if ok && (key != semconv.ServiceNameKey || !cfg.Asked.WithoutGlobals) { // else every line has it
			args = append(args, slog.String(string(key), value.String()))
		}
		if origin := IdentityOrigin(cfg, key); origin != "" {
			args = append(args, slog.String(string(key)+".origin", origin))
		}
	}
	for _, c := range plan(cfg) {
		args = append(args, slog.String(c.Name, c.Value))
	}
	return lines.Started(args...)
}

// plan returns what the start line has besides the identity.
func plan(cfg *Config) (choices []Choice) {
	add := func(name, value string) { choices = append(choices, Choice{Name: name, Value: value}) }
	for _, s := range signal.All() {
		add(s.String(), Destination(cfg, s))
	}
	if cfg.Signals[signal.Traces].On {
		add("sampler", SamplerLine(cfg))
	}
	if cfg.SpoolDir.Value != "" && cfg.SendsOTLP() {
		add("spool", spoolLine(cfg))
	}
	add("profile", cfg.profile.Value+origins(cfg.profile.Origin))
	return choices
}

// origins returns the origins that are not defaults, in parentheses.
func origins(of ...string) string {
	var names []string
	for _, origin := range of {
		if !isDefaultOrigin(origin) && !slices.Contains(names, origin) {
			names = append(names, origin)
		}
	}
	if names == nil {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// Destination describes a signal in one phrase: where it goes, or why it is off.
func Destination(cfg *Config, s signal.Signal) string {
	sc := cfg.Signals[s]
	switch {
	case sc.On && sc.Sends(ExporterNone):
		return "off: " + sc.Off + "; spans have ids, and the sampler decides for the services that are called"
	case !sc.On:
		return "off: " + sc.Off
	}
	var places []string
	for _, exporter := range sc.Exporters.Value {
		switch exporter {
		case ExporterOTLP:
			exporter = fmt.Sprintf("%s %s%s", sc.Protocol.Value, sc.Target.URL,
				origins(sc.Endpoint.Origin, sc.Protocol.Origin))
		case ExporterConsole:
			exporter += shownOnConsole(cfg, s)
		}
		places = append(places, exporter)
	}
	return strings.Join(places, " and ") + origins(sc.Exporters.Origin)
}

// shownOnConsole describes what the console shows of a signal, once that is known.
func shownOnConsole(cfg *Config, s signal.Signal) string {
	switch {
	case cfg.ConsoleForm == "":
		return ""
	case s == signal.Logs:
		return ", from level " + logLevel().show(cfg.LogLevel.Value) + origins(cfg.LogLevel.Origin)
	case cfg.ConsoleForm == ConsoleJSON:
		return " as JSON"
	case s == signal.Metrics && cfg.ConsoleMetrics.Value == ConsoleAtShutdown:
		return ", at shutdown" + origins(cfg.ConsoleMetrics.Origin)
	case s == signal.Metrics:
		return ", what changes every " + cfg.MetricInterval.Value.String() + origins(cfg.ConsoleMetrics.Origin,
			cfg.MetricInterval.Origin)
	}
	which := map[string]string{
		ConsoleErrors: "failed", ConsoleSlow: "took at least " + cfg.ConsoleSlow.Value.String(),
	}
	var named []string
	for _, name := range cfg.ConsoleTraces.Value {
		if which[name] == "" {
			return ", every recorded trace"
		}
		named = append(named, which[name])
	}
	return ", traces that " + strings.Join(named, " or ") + origins(cfg.ConsoleTraces.Origin)
}

// SamplerLine describes the sampler and its settings.
func SamplerLine(cfg *Config) string {
	text, of := samplerName().show(cfg.Sampler.Value), []string{cfg.Sampler.Origin}
	if cfg.Sampler.Value.takesRatio() {
		text += " " + ratio().show(cfg.SamplerArg.Value)
		of = append(of, cfg.SamplerArg.Origin)
	}
	if cfg.Sampler.Value.isAdaptive() && !lines.IsOption(cfg.tracesPerSecond.Origin) {
		of = append(of, cfg.tracesPerSecond.Origin)
	}
	return text + origins(of...)
}

// EmptyIdentity reports whether kv is a service.name or service.instance.id without a value, as a
// template such as service.name=$(NAME) may leave it. It counts as not set.
func EmptyIdentity(kv attribute.KeyValue) bool {
	return (kv.Key == semconv.ServiceNameKey || kv.Key == semconv.ServiceInstanceIDKey) &&
		strings.TrimSpace(kv.Value.String()) == ""
}

// IdentityOrigin returns the option or variable that set an attribute of the resource, such as
// service.name. It returns "" if the attribute was detected or generated.
func IdentityOrigin(cfg *Config, key attribute.Key) string {
	option := Setting[string]{Origin: OriginDefault}
	switch key {
	case semconv.ServiceNameKey:
		option = cfg.ServiceName
	case semconv.ServiceVersionKey:
		option = cfg.ServiceVersion
	case semconv.ServiceNamespaceKey:
		option = cfg.ServiceNamespace
	case semconv.DeploymentEnvironmentNameKey:
		option = cfg.Environment
	}
	given := func(attrs []attribute.KeyValue) bool {
		return slices.ContainsFunc(attrs,
			func(kv attribute.KeyValue) bool { return kv.Key == key && !EmptyIdentity(kv) })
	}
	switch {
	case lines.IsOption(option.Origin):
		return option.Origin
	case given(cfg.ResourceAttributes.Value):
		return cfg.ResourceAttributes.Origin
	case !option.IsDefault():
		return option.Origin
	case given(cfg.EnvAttributes.Value):
		return cfg.EnvAttributes.Origin
	}
	for i, v := range KubernetesVariables {
		if v.Attribute == string(key) && !cfg.Kubernetes[i].IsDefault() {
			return cfg.Kubernetes[i].Origin
		}
	}
	return ""
}

// spoolLine describes the spool for the start line.
func spoolLine(cfg *Config) string {
	return fmt.Sprintf("%s, at most %d bytes%s", strings.TrimSpace(cfg.SpoolDir.Value), cfg.SpoolBytes.Value,
		origins(cfg.SpoolDir.Origin, cfg.SpoolBytes.Origin))
}
