package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Describe returns the effective configuration for a person: where each signal goes or why it is off, what was wrong, the
// resource, and every setting with its value, where that came from, and its default. Header values are redacted. The order
// is stable and what differs by nature from one process to the next is left out, so that two descriptions can be
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
	list("also given by option", cfg.opts.otherwiseGiven())
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
		fmt.Fprintf(w, "  %s\t%s\t%s\n", kv.Key, orDash(value), origin)
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

// otherwiseGiven are the options that have no row in the table.
func (o *options) otherwiseGiven() (given []string) {
	add := func(name string, n int, isSet bool) {
		switch {
		case n > 0:
			given = append(given, fmt.Sprintf("%s: %d", name, n))
		case isSet:
			given = append(given, name)
		}
	}
	add("WithoutGlobals", 0, o.withoutGlobals)
	add("WithResourceDetectors", len(o.detectors), false)
	add("WithSpanProcessors", len(o.spanProcessors), false)
	add("WithViews", len(o.views), false)
	add("WithIDGenerator", 0, !isNil(o.idGenerator))
	add("WithErrorHandler", 0, !isNil(o.errorHandler))
	add("WithLogOutput", 0, !isNil(o.logOutput))
	return given
}
