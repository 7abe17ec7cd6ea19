package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/mask"
)

func logOutput(o *options) io.Writer {
	if isNil(o.logOutput) {
		return os.Stderr
	}
	return o.logOutput
}

// newSelfLog is where the library speaks about itself: the console branch, or the user's error handler. A guard without
// the globals is one of several in its process, so its lines say whose they are.
func newSelfLog(o *options, console slog.Handler, level slog.Level, secrets mask.Mask, res *resource.Resource) *diagnose.Log {
	if !isNil(o.errorHandler) {
		return diagnose.NewForwarding(o.errorHandler.Handle, level, secrets)
	}
	if name, ok := res.Set().Value(semconv.ServiceNameKey); ok && o.withoutGlobals {
		console = console.WithAttrs([]slog.Attr{slog.String(string(semconv.ServiceNameKey), name.String())})
	}
	return diagnose.New(diagnose.ToHandler(console), level, secrets)
}

// earlyLogger reports, once, a logger that was made from slog's default before Init. It runs under the lock of package log,
// which an error handler may want to use.
func (g *Guard) earlyLogger(place string) {
	g.earlyLoggerOnce.Do(func() {
		go g.selfLog.Say(slog.LevelWarn, fmt.Sprintf("a logger made from slog.Default() before Init is in use at %s: its records carry no "+
			"trace ids, and their attributes are read back from text; make it after Init, or from guard.Logger()", place))
	})
}

// startLine says what is on, where it goes, and who decided that. The identity stands alone, as a query wants it; beside
// the other values an origin that is not the default stands in brackets.
func startLine(cfg *config, res *resource.Resource) []any {
	var args []any
	for _, key := range []attribute.Key{semconv.ServiceNameKey, semconv.ServiceVersionKey, semconv.ServiceInstanceIDKey} {
		value, ok := res.Set().Value(key)
		if ok && (key != semconv.ServiceNameKey || !cfg.opts.withoutGlobals) { // there every line has it
			args = append(args, slog.String(string(key), value.String()))
		}
		if origin := identityOrigin(cfg, key); origin != "" {
			args = append(args, slog.String(string(key)+".origin", origin))
		}
	}
	for _, c := range plan(cfg) {
		args = append(args, slog.String(c.Name, c.Value))
	}
	return args
}

// plan is what the start line says besides the identity.
func plan(cfg *config) (choices []diagnose.Choice) {
	add := func(name, value string) { choices = append(choices, diagnose.Choice{Name: name, Value: value}) }
	for _, s := range allSignals() {
		add(s.String(), destination(cfg, s))
	}
	if cfg.signals[traces].on {
		add("sampler", samplerLine(cfg))
	}
	if cfg.spoolDir.value != "" && cfg.sendsOTLP() {
		add("spool", spoolLine(cfg))
	}
	add("profile", string(cfg.profile.value)+origins(cfg.profile.origin))
	return choices
}

// origins are those of a value that are not defaults, in brackets.
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

// destination is a signal in one phrase: where it goes, or why it is off.
func destination(cfg *config, s signal) string {
	sc := cfg.signals[s]
	switch {
	case sc.on && sc.sends(exporterNone):
		return "off: " + sc.off + "; spans have ids, and the sampler decides for the services that are called"
	case !sc.on:
		return "off: " + sc.off
	}
	var places []string
	for _, exporter := range sc.exporters.value {
		switch exporter {
		case exporterOTLP:
			exporter = fmt.Sprintf("%s %s%s", sc.protocol.value, sc.target.url, origins(sc.endpoint.origin, sc.protocol.origin))
		case exporterConsole:
			exporter += shownOnConsole(cfg, s)
		}
		places = append(places, exporter)
	}
	return strings.Join(places, " and ") + origins(sc.exporters.origin)
}

// shownOnConsole is what the console has of a signal, once that is known.
func shownOnConsole(cfg *config, s signal) string {
	switch {
	case cfg.consoleForm == "":
		return ""
	case s == logs:
		return ", from level " + logLevel().show(cfg.logLevel.value) + origins(cfg.logLevel.origin)
	case cfg.consoleForm == consoleJSON:
		return " as JSON"
	case s == metrics && cfg.consoleMetrics.value == consoleAtShutdown:
		return ", at shutdown" + origins(cfg.consoleMetrics.origin)
	case s == metrics:
		return ", what changes every " + cfg.metricInterval.value.String() + origins(cfg.consoleMetrics.origin, cfg.metricInterval.origin)
	}
	which := map[string]string{
		consoleErrors: "failed", consoleSlow: "took at least " + cfg.consoleSlow.value.String(),
	}
	var named []string
	for _, name := range cfg.consoleTraces.value {
		if which[name] == "" {
			return ", every recorded trace"
		}
		named = append(named, which[name])
	}
	return ", traces that " + strings.Join(named, " or ") + origins(cfg.consoleTraces.origin)
}

// samplerLine is the sampler with what it is set to.
func samplerLine(cfg *config) string {
	text, of := samplerName().show(cfg.sampler.value), []string{cfg.sampler.origin}
	if cfg.sampler.value.takesRatio() {
		text += " " + ratio().show(cfg.samplerArg.value)
		of = append(of, cfg.samplerArg.origin)
	}
	if cfg.sampler.value.isAdaptive() && !isOption(cfg.tracesPerSecond.origin) {
		of = append(of, cfg.tracesPerSecond.origin)
	}
	return text + origins(of...)
}

// identityOrigin is who gave the service its name, version or any other attribute; "" if it was detected or made up.
func identityOrigin(cfg *config, key attribute.Key) string {
	option := setting[string]{origin: originDefault}
	switch key {
	case semconv.ServiceNameKey:
		option = cfg.serviceName
	case semconv.ServiceVersionKey:
		option = cfg.serviceVersion
	case semconv.ServiceNamespaceKey:
		option = cfg.serviceNamespace
	case semconv.DeploymentEnvironmentNameKey:
		option = cfg.environment
	}
	given := func(attrs []attribute.KeyValue) bool {
		return slices.ContainsFunc(attrs, func(kv attribute.KeyValue) bool { return kv.Key == key })
	}
	switch {
	case isOption(option.origin):
		return option.origin
	case given(cfg.resourceAttributes.value):
		return cfg.resourceAttributes.origin
	case !option.isDefault():
		return option.origin
	case given(cfg.envAttributes.value):
		return cfg.envAttributes.origin
	}
	for i, v := range kubernetesVariables {
		if v.attribute == string(key) && !cfg.kubernetes[i].isDefault() {
			return cfg.kubernetes[i].origin
		}
	}
	return ""
}

// mask hides what no line may show, also where a line repeats what others have said: header values, well-formed or not, and credentials in an
// endpoint. What the library shows anyway, as a part of an endpoint or a name, is not a secret.
func (r *resolution) mask() mask.Mask {
	var secrets []string
	add := func(text string) { secrets = append(secrets, text) }
	addUser := func(endpoint string) {
		if u, err := url.Parse(endpoint); err == nil && u.User != nil {
			add(mask.OfUser(u.User))
		}
	}
	for _, given := range append([]exportOptions{r.opts.export}, r.opts.signals[:]...) {
		if given.headers != nil {
			for _, value := range *given.headers {
				add(value)
			}
		}
		if given.endpoint != nil {
			addUser(*given.endpoint)
		}
	}
	for name, text := range r.env {
		switch {
		case strings.Contains(spelt(name), "HEADER"): // also where it is misspelt
			for _, pair := range append(strings.Split(text, ","), text) {
				name, value, _ := strings.Cut(pair, "=")
				if plain, err := url.PathUnescape(value); err == nil {
					add(plain)
				}
				if strings.Trim(value, "= ") == "" || validHeader(strings.TrimSpace(name), "") != nil {
					value = pair
				}
				add(value)
			}
		case strings.Contains(spelt(name), "ENDPOINT") && redactURL(text) != text:
			add(text)
			addUser(text)
		}
	}
	public := []string{r.cfg.serviceName.value}
	for _, sc := range r.cfg.signals {
		if sc.target.url != nil {
			public = append(public, sc.target.url.String())
		}
	}
	return mask.New(secrets, public...)
}
