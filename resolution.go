package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

// resolution is one pass over the settings table.
type resolution struct {
	opts     *options
	env      environment
	cfg      *config
	notices  []string // warnings
	remarks  []string // worth a line, and nothing is wrong
	problems []problem
}

// resolveConfig decides every setting once. The configuration is complete whatever the problems are: signals that a
// fatal problem concerns are off, everything else has a usable value.
func resolveConfig(opts *options, env environment) *resolution {
	r := &resolution{opts: opts, env: env, cfg: &config{opts: opts}}
	for _, row := range settings() {
		row.resolve(r)
	}
	r.finishSampler()
	r.rejectConfigFile()
	r.rejectMisplaced()
	r.rejectGlobalPropagator()
	r.checkBatch("span", traces, &r.cfg.spanBatch)
	r.checkBatch("log", logs, &r.cfg.logBatch)
	for _, s := range allSignals() {
		r.finishSignal(s)
	}
	r.unreadArgument()
	r.unreadSampling()
	r.droppedCredentials()
	r.nameContradictions()
	r.nearMisses()
	return r
}

// finishSampler gives the adaptive sampler what its own rows have decided.
func (r *resolution) finishSampler() {
	if s := &r.cfg.sampler.value; s.isAdaptive() {
		s.adaptive.TracesPerSecond, s.adaptive.SlowThreshold = r.cfg.tracesPerSecond.value, r.cfg.slowThreshold.value
	}
}

// droppedCredentials says what is not sent because an endpoint was given after it.
func (r *resolution) droppedCredentials() {
	say := func(scope string, e exportOptions) {
		for _, option := range e.dropped {
			if scope != "" {
				option = scope + "(" + option + ")"
			}
			r.notice(fmt.Sprintf("%s is not used: it was given for another endpoint than the later WithEndpoint; give it once more after that one", option))
		}
	}
	say("", r.opts.export)
	for _, s := range allSignals() {
		say("For"+title(s.String()), r.opts.signals[s])
	}
}

func (r *resolution) add(p problem) { r.problems = append(r.problems, p) }

// together has one problem in the place of those that a general variable or option makes for each signal, or for several
// settings of the same kind, such as the log levels of console and OTLP.
func (r *resolution) together() []problem {
	type shared struct {
		problem
		what    string
		signals []string
	}
	var all []shared
	for _, p := range r.problems {
		name, what, _ := strings.Cut(p.setting, " ")
		if what == "" {
			all = append(all, shared{problem: p})
			continue
		}
		same := slices.IndexFunc(all, func(q shared) bool {
			return q.what == what && q.origin == p.origin && q.value == p.value && q.cause == p.cause && q.fatal == p.fatal
		})
		if same < 0 {
			all = append(all, shared{p, what, []string{name}})
			continue
		}
		all[same].signals = append(all[same].signals, name)
	}
	problems := make([]problem, len(all))
	for i, p := range all {
		if len(p.signals) > 1 {
			p.setting = diagnose.Listed(p.signals) + " " + p.what
			p.outcome = strings.Replace(p.outcome, p.signals[0], diagnose.Listed(p.signals), 1)
		}
		problems[i] = p.problem
	}
	return problems
}

// err joins what the caller of Init has to know; warnings are for the log.
func (r *resolution) err() error {
	var errs []error
	for _, p := range r.together() {
		if p.fatal {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

func (r *resolution) warnings() []string {
	var lines []string
	for _, p := range r.together() {
		if !p.fatal {
			lines = append(lines, strings.TrimPrefix(p.Error(), "telemetry: "))
		}
	}
	return append(lines, r.notices...)
}

// finishSignal decides what depends on several settings: whether the signal is on, where it goes, and its TLS.
func (r *resolution) finishSignal(s signal) {
	sc := &r.cfg.signals[s]
	if r.staysOnConsole(s) {
		sc.exporters = setting[[]string]{[]string{exporterConsole}, "profile " + string(ProfileDevelopment)}
	}
	if r.sendsOTLP(s) {
		r.finishTarget(s, sc)
		r.finishTLS(s, sc)
		sc.headerFunc = r.opts.headerFunc(s)
		r.warnPlainToken(s, sc)
	}
	sc.off = r.whyOff(s)
	sc.on = sc.off == "" || r.decidesOnly(s)
}

// decidesOnly tells traces of which nothing is exported because a variable says none. That concerns the exporter alone
// (configuration/sdk-environment-variables.md, "Exporter Selection"): the sampler decides as ever, for other services.
func (r *resolution) decidesOnly(s signal) bool {
	exporters := r.cfg.signals[s].exporters
	return s == traces && !r.cfg.disabled.value && !r.isOff(s) &&
		slices.Contains(exporters.value, exporterNone) && !isOption(exporters.origin)
}

// whyOff is "" for a signal that may run.
func (r *resolution) whyOff(s signal) string {
	exporters := r.cfg.signals[s].exporters
	switch {
	case r.cfg.disabled.value && isOption(r.cfg.disabled.origin):
		return r.cfg.disabled.origin
	case r.cfg.disabled.value:
		return r.cfg.disabled.origin + " is true"
	case slices.Contains(exporters.value, exporterNone) && isOption(exporters.origin):
		return exporters.origin
	case slices.Contains(exporters.value, exporterNone):
		return exporters.origin + "=none"
	}
	var wrong []string
	for _, p := range r.problems {
		if p.fatal && slices.Contains(p.signals, s) && !slices.Contains(wrong, p.origin) {
			wrong = append(wrong, p.origin)
		}
	}
	if wrong == nil {
		return ""
	}
	verb := " is invalid"
	if len(wrong) > 1 {
		verb = " are invalid"
	}
	return diagnose.Listed(wrong) + verb
}

// sendsOTLP tells whether the settings of OTLP matter to a signal. Its exporter is settled first.
func (r *resolution) sendsOTLP(s signal) bool {
	return !r.cfg.disabled.value && slices.Contains(r.cfg.signals[s].exporters.value, exporterOTLP) && !r.staysOnConsole(s)
}

// staysOnConsole tells whether the development profile decides where a signal goes: no endpoint is set, right or
// wrong.
func (r *resolution) staysOnConsole(s signal) bool {
	set := firstNonNil(r.opts.signals[s].endpoint, r.opts.export.endpoint) != nil ||
		slices.ContainsFunc(scopedEnv(s, "ENDPOINT"), func(name string) bool { return r.env[name] != "" })
	return r.cfg.profile.value == ProfileDevelopment && r.cfg.signals[s].exporters.isDefault() && !set
}

func (r *resolution) isOff(s signal) bool {
	return slices.ContainsFunc(r.problems, func(p problem) bool { return p.fatal && slices.Contains(p.signals, s) })
}

// rejectConfigFile speaks up about declarative configuration, which would replace all of this and is not supported:
// ignoring it would leave the operator with settings that he believes are in force.
func (r *resolution) rejectConfigFile() {
	for _, name := range []string{"OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"} {
		if file, ok := r.env[name]; ok {
			r.add(problem{
				setting: "configuration file", origin: name, value: fmt.Sprintf("%q", file), fatal: true,
				cause:   "declarative configuration is not supported",
				outcome: "the file is not read: use the OTEL_* variables and the options instead, and unset it",
			})
		}
	}
}

func (r *resolution) rejectMisplaced() {
	for _, m := range r.opts.misplaced {
		r.add(problem{
			setting: "options", origin: m.scope, fatal: true, signals: []signal{m.signal},
			cause:   "holds an option that cannot be limited to one signal",
			outcome: fmt.Sprintf("give it to Init directly; %s are off", m.signal),
		})
	}
}

// rejectGlobalPropagator refuses to make the global propagator a part of itself: the first request would not come back.
func (r *resolution) rejectGlobalPropagator() {
	p := &r.cfg.propagators
	if r.opts.withoutGlobals || !slices.ContainsFunc(p.value.given, isGlobalPropagator) {
		return
	}
	r.add(problem{
		setting: "propagators", origin: p.origin, fatal: true,
		cause:   "must not contain OpenTelemetry's global propagator, which Init sets",
		outcome: "the option is ignored: give the formats themselves, such as propagation.TraceContext{}",
	})
	r.opts.propagators = nil
	for _, row := range settings() {
		if row.describe().option == p.origin {
			row.resolve(r)
		}
	}
}

func isOption(origin string) bool {
	return strings.HasPrefix(origin, "With") || strings.HasPrefix(origin, "For")
}

// checkBatch keeps a batch within its queue. Whichever of the two was set stands; a queue and a batch that contradict
// each other are a mistake in the settings.
func (r *resolution) checkBatch(name string, s signal, b *batchConfig) {
	if b.maxExportBatchSize.value <= b.maxQueueSize.value {
		return
	}
	if b.maxExportBatchSize.isDefault() {
		b.maxExportBatchSize = setting[int]{b.maxQueueSize.value, b.maxQueueSize.origin}
		return
	}
	p := problem{
		setting: name + " batch size", origin: b.maxExportBatchSize.origin,
		value: fmt.Sprint(b.maxExportBatchSize.value),
		cause: fmt.Sprintf("must be at most the queue size, %d (%s)", b.maxQueueSize.value, b.maxQueueSize.origin),
	}
	if isOption(b.maxExportBatchSize.origin) && isOption(b.maxQueueSize.origin) {
		p.fatal, p.signals, p.outcome = true, []signal{s}, fmt.Sprintf("%s are off", s)
	} else {
		p.outcome = fmt.Sprintf("using %d", b.maxQueueSize.value)
	}
	b.maxExportBatchSize.value = b.maxQueueSize.value
	r.add(p)
}
