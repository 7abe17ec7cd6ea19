package telemetry

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/redact"
)

// Describe returns the effective configuration for a person: where each signal goes or why it is off, what was wrong, the
// resource, every setting with its value, where that came from, and its default, and what options gave besides: each
// sampling rule in at most 120 characters, views, processors and detectors as counts. Header values are redacted. The
// order is stable and what differs by nature from one process to the next is left out, so that two descriptions can be
// compared.
//
// A guard that shares the one which holds the globals describes that one.
func (g *Guard) Describe() string {
	switch {
	case g != nil && g.owner != nil:
		return g.owner.Describe()
	case g == nil || g.cfg == nil:
		return "telemetry: this guard has no configuration of its own\n"
	}
	problems, remarks := append(errorLines(g.startErr), g.warnings...), slices.Clone(g.remarks)
	for _, lines := range [][]string{problems, remarks} {
		for i, line := range lines {
			lines[i] = g.mask.Text(line)
		}
	}
	return describeConfig(g.cfg, g.resource, problems, remarks)
}

// errorLines are the parts of a joined error.
func errorLines(err error) (lines []string) {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), "telemetry: "))
	}
	return lines
}

func describeConfig(cfg *config, res *resource.Resource, problems, remarks []string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "telemetry %s, profile %s%s\n", Version, cfg.profile.value, origins(cfg.profile.origin))
	fmt.Fprint(w, "\nsignals\n")
	for _, s := range allSignals() {
		fmt.Fprintf(w, "  %s\t%s\n", s, destination(cfg, s))
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

func describeResource(w *tabwriter.Writer, cfg *config, res *resource.Resource) {
	fmt.Fprint(w, "\nresource\tvalue\torigin\n")
	for _, kv := range res.Attributes() { // sorted by key
		value, origin := kv.Value.String(), identityOrigin(cfg, kv.Key)
		if origin == "" {
			origin = "detected"
			if kv.Key == semconv.ServiceInstanceIDKey || kv.Key == semconv.ProcessPIDKey {
				value = "(differs by process)"
			}
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", kv.Key, orDash(value), fullOrigin(cfg, kv.Key, origin))
	}
}

// describeSettings groups the table by signal.
func describeSettings(w *tabwriter.Writer, cfg *config) {
	for group := traces - 1; group < signalCount; group++ {
		title := "general"
		if group >= traces {
			title = group.String()
		}
		fmt.Fprintf(w, "\n%s\tvalue\torigin\tdefault\n", title)
		for _, row := range settings() {
			info := row.describe()
			if belongs := len(info.signals) != 1 && group < traces || len(info.signals) == 1 && info.signals[0] == group; !belongs {
				continue
			}
			value, origin := row.report(cfg)
			standard := row.standard(cfg.profile.value)
			if isDefaultOrigin(origin) {
				if standard == "" {
					value = "" // what is not set has no value, whatever its type makes of that
				}
				standard = value
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", info.name, orDash(value), orDash(row.sources(cfg)), orDash(standard))
		}
	}
}

func orDash(text string) string {
	if strings.TrimSpace(text) == "" {
		return "-"
	}
	return strings.Join(strings.Fields(text), " ") // a tab or a line break would upset the columns
}

// fullOrigin is the origin of a resource attribute in the words of the settings' tables, which tell a preset's option.
func fullOrigin(cfg *config, key attribute.Key, origin string) string {
	if !isOption(origin) {
		return origin
	}
	for _, row := range settings() {
		if _, by := row.report(cfg); row.describe().name == string(key) && by == origin {
			return row.sources(cfg)
		}
	}
	return cfg.opts.origin(origin, func(o *options) bool {
		return slices.ContainsFunc(o.resourceAttributes, func(kv attribute.KeyValue) bool { return kv.Key == key })
	})
}

// origin is an option and, where a preset gave it, the preset.
func (o *options) origin(option string, gives func(*options) bool) string {
	var names []string
	if o.preset != nil && gives(o.preset) {
		names = append(names, "WithOptions("+option+")")
	}
	if o.direct != nil && gives(o.direct) || names == nil {
		names = append(names, option)
	}
	return strings.Join(names, " and ")
}

// describeOptions shows what options gave that has no row in the table.
func describeOptions(w *tabwriter.Writer, cfg *config) {
	var lines []string
	add := func(name, value, origin string) {
		lines = append(lines, fmt.Sprintf("  %s\t%s\t%s\n", name, orDash(value), origin))
	}
	describeSampling(cfg, add)
	for _, given := range []struct {
		name, option string
		count        func(*options) int
		value        string // in the place of the count
	}{
		{"globals", "WithoutGlobals", func(o *options) int { return oneIf(o.withoutGlobals) }, "not set"},
		{"resource detectors", "WithResourceDetectors", func(o *options) int { return len(o.detectors) }, ""},
		{"span processors", "WithSpanProcessors", func(o *options) int { return len(o.spanProcessors) }, ""},
		{"views", "WithViews", func(o *options) int { return len(o.views) }, ""},
		{"id generator", "WithIDGenerator", func(o *options) int { return oneIf(!isNil(o.idGenerator)) }, exporterGiven},
		{"error handler", "WithErrorHandler", func(o *options) int { return oneIf(!isNil(o.errorHandler)) }, exporterGiven},
		{"log output", "WithLogOutput", func(o *options) int { return oneIf(!isNil(o.logOutput)) }, exporterGiven},
		{"traces header function", "WithHeaderFunc", func(o *options) int { return oneIf(o.headerFunc(traces) != nil) }, exporterGiven},
		{"metrics header function", "WithHeaderFunc", func(o *options) int { return oneIf(o.headerFunc(metrics) != nil) }, exporterGiven},
		{"logs header function", "WithHeaderFunc", func(o *options) int { return oneIf(o.headerFunc(logs) != nil) }, exporterGiven},
	} {
		if n := given.count(cfg.opts); n > 0 {
			value := given.value
			if value == "" {
				value = strconv.Itoa(n)
			}
			add(given.name, value, cfg.opts.origin(given.option, func(o *options) bool { return given.count(o) > 0 }))
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

// describeSampling adds the fields of Sampling that are set and have no row in the table, each rule on its own line.
func describeSampling(cfg *config, add func(name, value, origin string)) {
	if !cfg.sampler.value.isAdaptive() {
		return
	}
	s := reflect.ValueOf(cfg.sampler.value.adaptive)
	for i := range s.NumField() {
		field := s.Type().Field(i)
		origin := cfg.opts.origin("WithAdaptiveSampling", func(o *options) bool { return !reflect.ValueOf(o.sampling).Field(i).IsZero() })
		switch name := "Sampling." + field.Name; {
		case s.Field(i).IsZero(), field.Name == "TracesPerSecond", field.Name == "SlowThreshold":
		case field.Name == "Rules":
			describeRules(cfg, add)
		case s.Field(i).Kind() == reflect.Func:
			add(name, exporterGiven, origin)
		case s.Field(i).Kind() == reflect.Float64:
			add(name, strconv.FormatFloat(s.Field(i).Float(), 'f', -1, 64), origin)
		default:
			add(name, fmt.Sprint(s.Field(i)), origin)
		}
	}
}

// describeRules adds the rules in the order in which they are tried. What is sensitive in them is masked.
func describeRules(cfg *config, add func(name, value, origin string)) {
	const longest = 120 // characters
	secrets := redact.New(redact.Config{Keys: cfg.redactedKeys.value, AllowKeys: cfg.allowedKeys.value, Patterns: cfg.redactedValues.value})
	for i, rule := range cfg.sampler.value.adaptive.Rules {
		origin := cfg.opts.origin("WithAdaptiveSampling", func(o *options) bool {
			return slices.ContainsFunc(o.sampling.Rules, func(given Rule) bool { return reflect.DeepEqual(given, rule) })
		})
		if rule.Attribute.Valid() {
			masked, _ := secrets.Attributes([]attribute.KeyValue{rule.Attribute})
			rule.Attribute = masked[0]
		}
		text := []rune(rule.show())
		if len(text) > longest {
			text = append(text[:longest-1], '…')
		}
		add(fmt.Sprintf("Sampling.Rules[%d]", i), string(text), origin)
	}
}
