package settings

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/redact"
	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/version"
)

// Describe returns the whole configuration as text, for Guard.Describe.
func Describe(cfg *Config, res *resource.Resource, problems, remarks []string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "telemetry %s, profile %s%s\n", version.Version, cfg.profile.Value, origins(cfg.profile.Origin))
	fmt.Fprint(w, "\nsignals\n")
	for _, s := range signal.All() {
		fmt.Fprintf(w, "  %s\t%s\n", s, Destination(cfg, s))
	}
	list := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(w, "\n%s\n  %s\n", title, strings.Join(lines, "\n  "))
		}
	}
	list("problems", problems)
	list("remarks", remarks)
	describeResource(w, cfg, res)
	describeOptions(w, cfg)
	describeSettings(w, cfg)
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

func describeResource(w *tabwriter.Writer, cfg *Config, res *resource.Resource) {
	fmt.Fprint(w, "\nresource\tvalue\torigin\n")
	for _, kv := range res.Attributes() { // sorted by key
		value, origin := kv.Value.String(), IdentityOrigin(cfg, kv.Key)
		if origin == "" {
			origin = "detected"
			if kv.Key == semconv.ServiceInstanceIDKey || kv.Key == semconv.ProcessPIDKey {
				value = "(differs by process)"
			}
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", kv.Key, OrDash(value), fullOrigin(cfg, kv.Key, origin))
	}
}

// describeSettings writes the settings, grouped by signal.
func describeSettings(w *tabwriter.Writer, cfg *Config) {
	for _, group := range append([]signal.Signal{signal.None}, signal.All()...) {
		title := cmp.Or(group.String(), "general")
		fmt.Fprintf(w, "\n%s\tvalue\torigin\tdefault\n", title)
		for _, row := range Rows() {
			info := row.Describe()
			belongs := group == signal.None
			if len(info.Signals) == 1 {
				belongs = info.Signals[0] == group
			}
			if !belongs {
				continue
			}
			value, origin := row.Report(cfg)
			standard := row.standard(cfg.profile.Value)
			if isDefaultOrigin(origin) {
				if standard == "" {
					value = "" // a setting that is not set has no value, even if its type shows one
				}
				standard = value
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", info.Name, OrDash(value), OrDash(row.Sources(cfg)), OrDash(standard))
		}
	}
}

// OrDash returns text in a form that fits into a column, "-" if it is blank.
func OrDash(text string) string {
	if strings.TrimSpace(text) == "" {
		return "-"
	}
	return strings.Join(strings.Fields(text), " ") // a tab or a line break would break the columns
}

// fullOrigin returns the origin of a resource attribute as the tables of settings show it, with the
// preset that gave an option.
func fullOrigin(cfg *Config, key attribute.Key, origin string) string {
	if !lines.IsOption(origin) {
		return origin
	}
	for _, row := range Rows() {
		if _, by := row.Report(cfg); row.Describe().Name == string(key) && by == origin {
			return row.Sources(cfg)
		}
	}
	return cfg.Asked.origin(origin, func(o *Asked) bool {
		return slices.ContainsFunc(o.ResourceAttributes, func(kv attribute.KeyValue) bool { return kv.Key == key })
	})
}

// origin returns the name of an option and, if a preset gave it, of the preset.
func (o *Asked) origin(option string, gives func(*Asked) bool) string {
	var names []string
	if o.Preset != nil && gives(o.Preset) {
		names = append(names, "WithOptions("+option+")")
	}
	if o.Direct != nil && gives(o.Direct) || names == nil {
		names = append(names, option)
	}
	return strings.Join(names, " and ")
}

// describeOptions writes what options set that has no row in the table.
func describeOptions(w *tabwriter.Writer, cfg *Config) {
	var lines []string
	add := func(name, value, origin string) {
		lines = append(lines, fmt.Sprintf("  %s\t%s\t%s\n", name, OrDash(value), origin))
	}
	describeSampling(cfg, add)
	for _, given := range []struct {
		name, option string
		count        func(*Asked) int
		value        string // instead of the count
	}{
		{"globals", "WithoutGlobals", func(o *Asked) int { return oneIf(o.WithoutGlobals) }, "not set"},
		{"resource detectors", "WithResourceDetectors", func(o *Asked) int { return len(o.Detectors) }, ""},
		{"span processors", "WithSpanProcessors", func(o *Asked) int { return len(o.SpanProcessors) }, ""},
		{"views", "WithViews", func(o *Asked) int { return len(o.Views) }, ""},
		{"id generator", "WithIDGenerator", func(o *Asked) int { return oneIf(o.IDGenerator != nil) }, ExporterGiven},
		{"error handler", "WithErrorHandler", func(o *Asked) int { return oneIf(o.ErrorHandler != nil) },
			ExporterGiven},
		{"log output", "WithLogOutput", func(o *Asked) int { return oneIf(o.LogOutput != nil) }, ExporterGiven},
		{"traces header function", "WithHeaderFunc",
			func(o *Asked) int { return oneIf(o.HeaderFunc(signal.Traces) != nil) }, ExporterGiven},
		{"metrics header function", "WithHeaderFunc",
			func(o *Asked) int { return oneIf(o.HeaderFunc(signal.Metrics) != nil) }, ExporterGiven},
		{"logs header function", "WithHeaderFunc",
			func(o *Asked) int { return oneIf(o.HeaderFunc(signal.Logs) != nil) }, ExporterGiven},
	} {
		if n := given.count(cfg.Asked); n > 0 {
			value := given.value
			if value == "" {
				value = strconv.Itoa(n)
			}
			add(given.name, value, cfg.Asked.origin(given.option, func(o *Asked) bool { return given.count(o) > 0 }))
		}
	}
	if lines != nil {
		fmt.Fprintf(w, "\nalso given by option\tvalue\torigin\n%s", strings.Join(lines, ""))
	}
}

func oneIf(isSet bool) int {
	if isSet {
		return 1
	}
	return 0
}

// describeSampling adds the fields of Sampling that are set and have no row in the table. Each rule
// has its own line.
func describeSampling(cfg *Config, add func(name, value, origin string)) {
	if !cfg.Sampler.Value.isAdaptive() {
		return
	}
	s := reflect.ValueOf(cfg.Sampler.Value.Adaptive)
	for i := range s.NumField() {
		field := s.Type().Field(i)
		origin := cfg.Asked.origin("WithAdaptiveSampling",
			func(o *Asked) bool { return !reflect.ValueOf(o.Sampling).Field(i).IsZero() })
		switch name := "Sampling." + field.Name; {
		case s.Field(i).IsZero(), field.Name == "TracesPerSecond", field.Name == "SlowThreshold":
		case field.Name == "Rules":
			describeRules(cfg, add)
		case s.Field(i).Kind() == reflect.Func:
			add(name, ExporterGiven, origin)
		case s.Field(i).Kind() == reflect.Float64:
			add(name, strconv.FormatFloat(s.Field(i).Float(), 'f', -1, 64), origin)
		default:
			add(name, fmt.Sprint(s.Field(i)), origin)
		}
	}
}

// describeRules adds the rules in the order in which they are tried, with sensitive values masked.
func describeRules(cfg *Config, add func(name, value, origin string)) {
	const longest = 120 // characters
	secrets := redact.New(redact.Config{Keys: cfg.RedactedKeys.Value, AllowKeys: cfg.AllowedKeys.Value,
		Patterns: cfg.RedactedValues.Value})
	for i, rule := range cfg.Sampler.Value.Adaptive.Rules {
		origin := cfg.Asked.origin("WithAdaptiveSampling", func(o *Asked) bool {
			return slices.ContainsFunc(o.Sampling.Rules,
				func(given sampling.Rule) bool { return reflect.DeepEqual(given, rule) })
		})
		if rule.Attribute.Valid() {
			masked, _ := secrets.Attributes([]attribute.KeyValue{rule.Attribute})
			rule.Attribute = masked[0]
		}
		text := []rune(ruleText(rule))
		if len(text) > longest {
			text = append(text[:longest-1], '…')
		}
		add(fmt.Sprintf("Sampling.Rules[%d]", i), string(text), origin)
	}
}

// samplingText describes the adaptive sampler in a few words.
func samplingText(s sampling.Config) string {
	rate := s.TracesPerSecond
	if rate == 0 {
		rate = sampling.DefaultTracesPerSecond
	}
	text := SamplerAdaptive + " " + strconv.FormatFloat(rate, 'g', -1, 64) + "/s"
	if s.HeadOnly {
		text += ", head only"
	}
	return text
}

// ruleText describes a rule on one line: what happens to the traces, and which traces it matches.
func ruleText(r sampling.Rule) string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	action := "sample as usual"
	switch {
	case r.Drop:
		action = "drop"
	case r.Keep:
		action = "keep"
	case r.Ratio != 0:
		action = "keep a ratio of " + number(r.Ratio)
	case r.TracesPerSecond != 0:
		action = "keep " + number(r.TracesPerSecond) + "/s"
	}
	switch {
	case r.SlowThreshold < 0:
		action += ", slowness is no reason"
	case r.SlowThreshold > 0:
		action += ", slow from " + r.SlowThreshold.String()
	}
	var conditions []string
	for _, c := range []struct{ name, value string }{
		{"route", r.Route}, {"path prefix", r.PathPrefix}, {"span name", r.SpanName},
		{"attribute", string(r.Attribute.Key)},
	} {
		if c.value != "" {
			conditions = append(conditions, c.name+" "+c.value)
		}
	}
	if value := r.Attribute.Value.String(); r.Attribute.Valid() && value != "" {
		conditions[len(conditions)-1] += "=" + value
	}
	if r.Kind != trace.SpanKindUnspecified {
		conditions = append(conditions, "kind "+r.Kind.String())
	}
	if conditions == nil {
		conditions = []string{"everything"}
	}
	return action + ": " + strings.Join(conditions, ", ")
}
