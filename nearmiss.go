package telemetry

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

// unsupported are variables that operators know from elsewhere and that mean nothing here, with what does. A name that
// ends in _ stands for all that begin with it.
var unsupported = []struct{ name, instead string }{
	{"OTEL_EXPORTER_JAEGER_", "Jaeger takes OTLP: set OTEL_EXPORTER_OTLP_ENDPOINT to its port 4318"},
	{"OTEL_EXPORTER_ZIPKIN_", "send OTLP to a collector that has a Zipkin exporter, or use WithSpanExporter"},
	{"OTEL_EXPORTER_PROMETHEUS_", "give a Prometheus reader with WithMetricReader"},
	{"OTEL_METRICS_PRODUCERS", "give a reader with that producer with WithMetricReader"},
	{"OTEL_EXPORTER_OTLP_SPAN_INSECURE", "set OTEL_EXPORTER_OTLP_TRACES_INSECURE"},
	{"OTEL_EXPORTER_OTLP_METRIC_INSECURE", "set OTEL_EXPORTER_OTLP_METRICS_INSECURE"},
	{"OTEL_SERVICE_VERSION", "set OTEL_RESOURCE_ATTRIBUTES=service.version=…, or use WithServiceVersion"},
	{"OTEL_SERVICE_NAMESPACE", "set OTEL_RESOURCE_ATTRIBUTES=service.namespace=…, or use WithServiceNamespace"},
	{"OTEL_SERVICE_INSTANCE_ID", "set OTEL_RESOURCE_ATTRIBUTES=service.instance.id=…"},
	{"OTEL_DEPLOYMENT_ENVIRONMENT", "set OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=…, or use WithEnvironment"},
}

// elsewhere are variables that are right in their place, which is another part of the process, another language's SDK, or
// the configuration file, about which rejectConfigFile speaks.
var elsewhere = regexp.MustCompile(`^OTEL_(EXPORTER_OTLP_PROFILES|GO|EBPF|INJECTOR|COLLECTOR|LAMBDA|SEMCONV|ENTITIES|CONFIG|EXPERIMENTAL|INSTRUMENTATION|` +
	`JAVA|JAVAAGENT|JMX|RESOURCE_PROVIDERS|PYTHON|NODE|DOTNET|PHP|RUBY|RUST|CPP|SWIFT|ERLANG|ELIXIR|BROWSER)(_|$)` +
	// Kubernetes describes a service called otel or telemetry by variables of such names.
	`|_SERVICE_(HOST|PORT)(_|$)|_PORT(_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?$`)

// nearMisses says of each variable that nothing reads which one was meant, if there is one like it. An unknown variable of
// the library's own prefix has a line in any case. Values stay out of it: they may be secrets.
func (r *resolution) nearMisses() {
	known := knownVariables()
	for _, name := range slices.Sorted(maps.Keys(r.env)) {
		if slices.Contains(known, name) || strings.HasPrefix(name, "K8S_") {
			continue
		}
		instead, meant := insteadOf(name), closestVariable(name, known)
		if other, ours := strings.CutPrefix(name, ownPrefix); meant == "" && ours && slices.Contains(known, "OTEL_"+other) {
			meant = "OTEL_" + other
		}
		switch {
		case instead != "":
			r.notice(fmt.Sprintf("%s is not supported here: %s", name, instead))
		case elsewhere.MatchString(name):
		case meant != "":
			r.notice(fmt.Sprintf("%s is not a known variable and is ignored; did you mean %s?", name, meant))
		case strings.HasPrefix(name, ownPrefix):
			r.notice(name + " is not a known variable and is ignored")
		}
	}
}

// ownPrefix begins the library's own variables, of which an unknown one is a mistake.
const ownPrefix = "TELEMETRY_"

func knownVariables() []string {
	var known []string
	for _, row := range settings() {
		for _, name := range row.describe().env {
			if !slices.Contains(known, name) {
				known = append(known, name)
			}
		}
	}
	return known
}

func insteadOf(name string) string {
	for _, u := range unsupported {
		if name == u.name || strings.HasSuffix(u.name, "_") && strings.HasPrefix(name, u.name) {
			return u.instead
		}
	}
	return ""
}

// spelt is a variable's name in the case and with the separators of all others.
func spelt(name string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
}

// closestVariable finds the known variable that differs by one or two letters, or by a word that is missing, too many or
// out of place; "" if there is none.
func closestVariable(name string, known []string) string {
	name = spelt(name)
	best, least := "", 3
	for _, candidate := range known {
		if d := distance([]rune(name), []rune(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best != "" {
		return best
	}
	words := strings.Split(name, "_")
	for _, candidate := range known {
		theirs := strings.Split(candidate, "_")
		sameWords := len(words) != len(theirs) || slices.Equal(slices.Sorted(slices.Values(words)), slices.Sorted(slices.Values(theirs)))
		if len(theirs) > 2 && sameWords && distance(words, theirs) == 1 {
			return candidate
		}
	}
	return ""
}

// closestName finds the valid value that was meant, "" if there is none. Part of a name counts, as in http for
// http/protobuf.
func closestName(text string, valid []string) string {
	text = strings.ToLower(strings.TrimSpace(text))
	best, least := "", min(3, len(text)/2)
	for _, candidate := range valid {
		if d := distance([]rune(text), []rune(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best != "" {
		return best
	}
	for _, candidate := range valid {
		if len(text) >= 3 && strings.HasPrefix(candidate, text) { // such as dev for development
			return candidate
		}
	}
	for _, candidate := range valid {
		if len(text) >= 4 && len(candidate) >= 4 && (strings.Contains(candidate, text) || strings.Contains(text, candidate)) {
			return candidate
		}
	}
	return ""
}

// foreignNames are values that are right elsewhere, and what to do here where the list of valid ones does not say it.
var foreignNames = map[string]string{
	"http/json":   "http/json is not supported: collectors take http/protobuf at the same endpoint",
	"jaeger":      "Jaeger takes otlp; the Jaeger propagator is given with WithPropagators",
	"zipkin":      "send otlp to a collector that has a Zipkin exporter, or use WithSpanExporter",
	"prometheus":  "give a Prometheus reader with WithMetricReader",
	"stdout":      "did you mean console?",
	"otlp/stdout": "console writes JSON to standard output, in another form",
	"logging":     "did you mean console?",
}

// unknownName is the error of a value that is none of the valid ones. A variable with one warns and falls back
// (configuration/common.md, "Enum"), unless the name exists, and means something that this library does not have.
type unknownName struct {
	text, hint string
	exists     bool
}

func newUnknownName(text, name string, valid []string) unknownName {
	e := unknownName{text: text}
	if instead, ok := foreignNames[strings.ToLower(name)]; ok {
		e.hint = " (" + instead + ")"
	} else if meant := closestName(name, valid); meant != "" {
		e.hint = " (did you mean " + meant + "?)"
	}
	return e
}

func (e unknownName) Error() string { return e.text }

// distance is the number of insertions, deletions, substitutions and swaps of neighbours that turn a into b (optimal
// string alignment).
func distance[T comparable](a, b []T) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range b {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(last[j]+change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// unreadArgument speaks up about a ratio that an operator believes in force: without its sampler it means nothing.
func (r *resolution) unreadArgument() {
	s, isSet := r.cfg.sampler, r.env[samplerArgVariable] != ""
	ofAdaptive := adaptiveByName(r.env) && s.value.isAdaptive()
	// A variable that is wrong itself has its own line.
	if !isSet || ofAdaptive || s.value.takesRatio() || r.hasProblem(samplerArgVariable) || !s.isDefault() && !isOption(s.origin) {
		return
	}
	instead := "set OTEL_TRACES_SAMPLER=parentbased_traceidratio or adaptive too, or unset it"
	if !s.isDefault() {
		instead = s.origin + " is in force"
	}
	r.notice(fmt.Sprintf("%s applies only to the samplers adaptive, traceidratio and parentbased_traceidratio: %s", samplerArgVariable, instead))
}

// unreadSampling says the same of the adaptive sampler's own variables.
func (r *resolution) unreadSampling() {
	if r.cfg.sampler.value.isAdaptive() {
		r.overriddenSampling()
		return
	}
	for _, name := range []string{tracesPerSecondVariable, slowThresholdVariable} {
		if r.env[name] != "" {
			r.notice(fmt.Sprintf("%s applies only to the adaptive sampler: %s is in force", name, r.cfg.sampler.origin))
		}
	}
}

// overriddenSampling says which variables of the adaptive sampler an option overrides with another value.
func (r *resolution) overriddenSampling() {
	say := func(origin, value string, same func(text string) bool, names ...string) {
		for _, name := range names {
			text := r.env[name]
			if !isOption(origin) || text == "" || same(text) {
				continue
			}
			winner := strings.TrimSuffix(origin, "})") + ": " + value + "})"
			r.remarks = append(r.remarks, overrides(winner, fmt.Sprintf("%s=%q", name, text), true))
			return
		}
	}
	rate, slow := r.cfg.tracesPerSecond, r.cfg.slowThreshold
	rateVariables := []string{tracesPerSecondVariable}
	if adaptiveByName(r.env) {
		rateVariables = append(rateVariables, samplerArgVariable)
	}
	say(rate.origin, tracesPerSecond().show(rate.value), func(text string) bool {
		value, err := tracesPerSecond().parse(text)
		return err == nil && value == rate.value
	}, rateVariables...)
	say(slow.origin, slowThreshold().show(slow.value), func(text string) bool {
		value, err := slowThreshold().parse(text)
		return err == nil && value == slow.value
	}, slowThresholdVariable)
}

// overrides is the remark about a source that wins over others, of which some may be variables.
func overrides(winner, losers string, variable bool) string {
	line := winner + " overrides " + losers
	if variable {
		line += "; remove the option to let the environment decide"
	}
	return line
}

func (r *resolution) hasProblem(origin string) bool {
	return slices.ContainsFunc(r.problems, func(p problem) bool { return p.origin == origin })
}

// nameContradictions says who named the service when several did, and not alike. Nothing is wrong with that: an operator
// injects OTEL_SERVICE_NAME into services that name themselves.
func (r *resolution) nameContradictions() {
	var sources []nameSource
	add := func(origin, name string) {
		if name != "" {
			sources = append(sources, nameSource{origin, name})
		}
	}
	attribute := func(attrs []attribute.KeyValue) (name string) {
		for _, kv := range attrs {
			if kv.Key == semconv.ServiceNameKey {
				name = kv.Value.String()
			}
		}
		return name
	}
	c := r.cfg
	if isOption(c.serviceName.origin) {
		add(c.serviceName.origin, c.serviceName.value)
	}
	add(c.resourceAttributes.origin, attribute(c.resourceAttributes.value))
	add("OTEL_SERVICE_NAME", r.env["OTEL_SERVICE_NAME"])
	add(c.envAttributes.origin, attribute(c.envAttributes.value))

	var others []string
	variable := false
	for _, s := range sources {
		if s.name != sources[0].name {
			others = append(others, s.String())
			variable = variable || !isOption(s.origin)
		}
	}
	if others != nil {
		r.remarks = append(r.remarks, overrides(sources[0].String(), diagnose.Listed(others), variable && isOption(sources[0].origin)))
	}
}

// nameSource is an option or a variable that names the service.
type nameSource struct{ origin, name string }

func (s nameSource) String() string {
	switch s.origin {
	case "WithServiceName":
		return fmt.Sprintf("%s(%q)", s.origin, s.name)
	case "OTEL_SERVICE_NAME":
		return fmt.Sprintf("%s=%q", s.origin, s.name)
	}
	return fmt.Sprintf("service.name=%q in %s", s.name, s.origin)
}
