package settings

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/lines"
)

// unsupported are variables that operators know from other libraries, and what to use instead. A
// name that ends in _ stands for all names that begin with it.
var unsupported = []struct{ name, instead string }{
	{"OTEL_EXPORTER_JAEGER_", "Jaeger takes OTLP: set OTEL_EXPORTER_OTLP_ENDPOINT to its port 4318"},
	{"OTEL_EXPORTER_ZIPKIN_", "send OTLP to a collector that has a Zipkin exporter, or use WithSpanExporter"},
	{"OTEL_EXPORTER_PROMETHEUS_", "use WithMetricReader with a Prometheus reader"},
	{"OTEL_METRICS_PRODUCERS", "use WithMetricReader with a reader that has the producer"},
	{"OTEL_EXPORTER_OTLP_SPAN_INSECURE", "set OTEL_EXPORTER_OTLP_TRACES_INSECURE"},
	{"OTEL_EXPORTER_OTLP_METRIC_INSECURE", "set OTEL_EXPORTER_OTLP_METRICS_INSECURE"},
	{"OTEL_SERVICE_VERSION", "set OTEL_RESOURCE_ATTRIBUTES=service.version=…, or use WithServiceVersion"},
	{"OTEL_SERVICE_NAMESPACE", "set OTEL_RESOURCE_ATTRIBUTES=service.namespace=…, or use WithServiceNamespace"},
	{"OTEL_SERVICE_INSTANCE_ID", "set OTEL_RESOURCE_ATTRIBUTES=service.instance.id=…"},
	{"OTEL_DEPLOYMENT_ENVIRONMENT",
		"set OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=…, or use WithEnvironment"},
}

// elsewhere matches variables for another part of the process, for the SDK of another language, or
// for the configuration file (see rejectConfigFile).
var elsewhere = regexp.MustCompile(`^OTEL_(EXPORTER_OTLP_PROFILES|GO|EBPF|INJECTOR|COLLECTOR|LAMBDA|SEMCONV|ENTITIES|CONFIG|EXPERIMENTAL|INSTRUMENTATION|` +
	`JAVA|JAVAAGENT|JMX|RESOURCE_PROVIDERS|PYTHON|NODE|DOTNET|PHP|RUBY|RUST|CPP|SWIFT|ERLANG|ELIXIR|BROWSER)(_|$)` +
	// Kubernetes sets such variables for a service named otel or telemetry.
	`|_SERVICE_(HOST|PORT)(_|$)|_PORT(_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?$`)

// nearMisses warns of each unknown variable that looks like a known one, and of every unknown
// variable with the library's own prefix. The lines do not show values: they may be secrets.
func (r *Resolution) nearMisses() {
	known := knownVariables()
	for _, name := range slices.Sorted(maps.Keys(r.env)) {
		if slices.Contains(known, name) || strings.HasPrefix(name, "K8S_") {
			continue
		}
		instead, meant := insteadOf(name), closestVariable(name, known)
		if other, ours := strings.CutPrefix(name, ownPrefix); meant == "" && ours &&
			slices.Contains(known, "OTEL_"+other) {
			meant = "OTEL_" + other
		}
		switch {
		case instead != "":
			r.notice(lines.UnsupportedVariable(name, instead))
		case elsewhere.MatchString(name):
		case meant != "" || strings.HasPrefix(name, ownPrefix):
			r.notice(lines.UnknownVariable(name, meant))
		}
	}
}

// ownPrefix begins the library's own variables. An unknown variable with this prefix is a mistake.
const ownPrefix = "TELEMETRY_"

func knownVariables() []string {
	var known []string
	for _, row := range Rows() {
		for _, name := range row.Describe().Env {
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

// normalizeName returns a variable's name in upper case and with underscores.
func normalizeName(name string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
}

// closestVariable returns the known variable that differs by one or two letters, or by one word
// that is missing, extra or misplaced. It returns "" if there is none.
func closestVariable(name string, known []string) string {
	name = normalizeName(name)
	best, least := "", 3
	for _, candidate := range known {
		if d := Distance([]rune(name), []rune(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best != "" {
		return best
	}
	words := strings.Split(name, "_")
	for _, candidate := range known {
		theirs := strings.Split(candidate, "_")
		sameWords := len(words) != len(theirs) ||
			slices.Equal(slices.Sorted(slices.Values(words)), slices.Sorted(slices.Values(theirs)))
		if len(theirs) > 2 && sameWords && Distance(words, theirs) == 1 {
			return candidate
		}
	}
	return ""
}

// closestName returns the valid value that was probably meant, or "". A part of a name counts, such
// as http for http/protobuf.
func closestName(text string, valid []string) string {
	text = strings.ToLower(strings.TrimSpace(text))
	best, least := "", min(3, len(text)/2)
	for _, candidate := range valid {
		if d := Distance([]rune(text), []rune(candidate)); d < least {
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
		if len(text) >= 4 && len(candidate) >= 4 &&
			(strings.Contains(candidate, text) || strings.Contains(text, candidate)) {
			return candidate
		}
	}
	return ""
}

// foreignNames are values that are valid in other libraries, with advice that the list of valid
// values does not give.
var foreignNames = map[string]string{
	"http/json":   "http/json is not supported: collectors take http/protobuf at the same endpoint",
	"jaeger":      "Jaeger takes otlp; the Jaeger propagator is given with WithPropagators",
	"zipkin":      "send otlp to a collector that has a Zipkin exporter, or use WithSpanExporter",
	"prometheus":  "use WithMetricReader with a Prometheus reader",
	"stdout":      "did you mean console?",
	"otlp/stdout": "console writes JSON to standard output, in another form",
	"logging":     "did you mean console?",
}

// unknownName is the error for a name that is not valid. If a variable has one, that is a warning
// and the default applies (configuration/common.md, "Enum"), unless the name exists elsewhere and
// means something that this library does not have.
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

// Distance returns the number of insertions, deletions, substitutions and swaps of neighbors that
// turn a into b (optimal string alignment).
func Distance[T comparable](a, b []T) int {
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

// unreadArgument warns of OTEL_TRACES_SAMPLER_ARG if the sampler has no argument, because the
// operator believes that the ratio is in force.
func (r *Resolution) unreadArgument() {
	s, isSet := r.Config.Sampler, r.env[samplerArgVariable] != ""
	ofAdaptive := adaptiveByName(r.env) && s.Value.isAdaptive()
	// An invalid variable has its own line.
	if !isSet || ofAdaptive || s.Value.takesRatio() || r.hasProblem(samplerArgVariable) ||
		!s.IsDefault() && !lines.IsOption(s.Origin) {
		return
	}
	origin := ""
	if !s.IsDefault() {
		origin = s.Origin
	}
	r.notice(lines.UnusedSamplerArg(samplerArgVariable, origin))
}

// unreadSampling does the same for the adaptive sampler's own variables.
func (r *Resolution) unreadSampling() {
	if r.Config.Sampler.Value.isAdaptive() {
		r.overriddenSampling()
		return
	}
	for _, name := range []string{tracesPerSecondVariable, slowThresholdVariable} {
		if r.env[name] != "" {
			r.notice(lines.UnusedSampling(name, r.Config.Sampler.Origin))
		}
	}
}

// overriddenSampling reports the variables of the adaptive sampler that an option overrides with
// another value.
func (r *Resolution) overriddenSampling() {
	say := func(origin, value string, same func(text string) bool, names ...string) {
		for _, name := range names {
			text := r.env[name]
			if !lines.IsOption(origin) || text == "" || same(text) {
				continue
			}
			winner := strings.TrimSuffix(origin, "})") + ": " + value + "})"
			r.remarks = append(r.remarks, lines.Overrides(winner, fmt.Sprintf("%s=%q", name, text), true))
			return
		}
	}
	rate, slow := r.Config.tracesPerSecond, r.Config.slowThreshold
	rateVariables := []string{tracesPerSecondVariable}
	if adaptiveByName(r.env) {
		rateVariables = append(rateVariables, samplerArgVariable)
	}
	say(rate.Origin, tracesPerSecond().show(rate.Value), func(text string) bool {
		value, err := tracesPerSecond().parse(text)
		return err == nil && value == rate.Value
	}, rateVariables...)
	say(slow.Origin, slowThreshold().show(slow.Value), func(text string) bool {
		value, err := slowThreshold().parse(text)
		return err == nil && value == slow.Value
	}, slowThresholdVariable)
}

func (r *Resolution) hasProblem(origin string) bool {
	return slices.ContainsFunc(r.Problems, func(p problem) bool { return p.Origin == origin })
}

// nameContradictions reports which name of the service wins if several sources set different ones.
// That is not a mistake: an operator may set OTEL_SERVICE_NAME for a service that names itself.
func (r *Resolution) nameContradictions() {
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
	c := r.Config
	if lines.IsOption(c.ServiceName.Origin) {
		add(c.ServiceName.Origin, c.ServiceName.Value)
	}
	add(c.ResourceAttributes.Origin, attribute(c.ResourceAttributes.Value))
	add("OTEL_SERVICE_NAME", r.env["OTEL_SERVICE_NAME"])
	add(c.EnvAttributes.Origin, attribute(c.EnvAttributes.Value))

	var others []string
	variable := false
	for _, s := range sources {
		if s.name != sources[0].name {
			others = append(others, s.String())
			variable = variable || !lines.IsOption(s.origin)
		}
	}
	if others != nil {
		r.remarks = append(r.remarks, lines.Overrides(sources[0].String(), lines.Listed(others), variable &&
			lines.IsOption(sources[0].origin)))
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
