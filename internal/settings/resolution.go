package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// Resolution is the result of one pass over the settings table.
type Resolution struct {
	Asked    *Asked
	env      Environment
	Config   *Config
	notices  []lines.Line // warnings
	remarks  []lines.Line // worth a line, but nothing is wrong
	Problems []problem
}

// Resolve decides every setting once. The configuration is always complete: signals with a fatal
// problem are off, and everything else has a usable value.
func Resolve(opts *Asked, env Environment) *Resolution {
	r := &Resolution{Asked: opts, env: env, Config: &Config{Asked: opts}}
	for _, row := range Rows() {
		row.resolve(r)
	}
	r.finishSampler()
	r.rejectConfigFile()
	r.rejectMisplaced()
	r.rejectGlobalPropagator()
	r.checkBatch("span", signal.Traces, &r.Config.SpanBatch)
	r.checkBatch("log", signal.Logs, &r.Config.LogBatch)
	for _, s := range signal.All() {
		r.finishSignal(s)
	}
	r.unreadArgument()
	r.unreadSampling()
	r.droppedCredentials()
	r.nameContradictions()
	r.nearMisses()
	return r
}

// finishSampler copies the values of the rows of the adaptive sampler into its settings.
func (r *Resolution) finishSampler() {
	if s := &r.Config.Sampler.Value; s.isAdaptive() {
		s.Adaptive.TracesPerSecond, s.Adaptive.SlowThreshold = r.Config.tracesPerSecond.Value,
			r.Config.slowThreshold.Value
	}
}

// droppedCredentials warns of credentials that are not sent because a later option changed the
// endpoint.
func (r *Resolution) droppedCredentials() {
	say := func(scope string, e Export) {
		for _, option := range e.dropped {
			if scope != "" {
				option = scope + "(" + option + ")"
			}
			r.notice(lines.CredentialsOfEarlierEndpoint(option))
		}
	}
	say("", r.Asked.Export)
	for _, s := range signal.All() {
		say("For"+title(s.String()), r.Asked.Signals[s])
	}
}

func (r *Resolution) add(p problem) { r.Problems = append(r.Problems, p) }

// mergeProblems replaces equal problems with one. A general variable or option causes them for each
// signal, or for several settings of the same kind, such as the log levels of console and OTLP.
func (r *Resolution) mergeProblems() []problem {
	type shared struct {
		problem
		what    string
		signals []string
	}
	var all []shared
	for _, p := range r.Problems {
		name, what, _ := strings.Cut(p.Setting, " ")
		if what == "" {
			all = append(all, shared{problem: p})
			continue
		}
		same := slices.IndexFunc(all, func(q shared) bool {
			return q.what == what && q.Origin == p.Origin && q.value == p.value && q.cause == p.cause &&
				q.Fatal == p.Fatal
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
			p.Setting = lines.Listed(p.signals) + " " + p.what
			p.outcome = strings.Replace(p.outcome, p.signals[0], lines.Listed(p.signals), 1)
		}
		problems[i] = p.problem
	}
	return problems
}

// Err joins the problems that the caller of Init must know about. Warnings go to the log.
func (r *Resolution) Err() error {
	var errs []error
	for _, p := range r.mergeProblems() {
		if p.Fatal {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// Lines returns the lines for the log: first what is wrong but is not an error of Init, then
// remarks.
func (r *Resolution) Lines() []lines.Line {
	return slices.Concat(r.warnings(), r.remarks)
}

// Warnings returns the texts of the lines about something wrong.
func (r *Resolution) Warnings() []string { return texts(r.warnings()) }

// Remarks returns the texts of the other lines.
func (r *Resolution) Remarks() []string { return texts(r.remarks) }

func (r *Resolution) warnings() []lines.Line {
	var all []lines.Line
	for _, p := range r.mergeProblems() {
		if !p.Fatal {
			all = append(all, p.line())
		}
	}
	return append(all, r.notices...)
}

func texts(all []lines.Line) (texts []string) {
	for _, line := range all {
		texts = append(texts, line.Text())
	}
	return texts
}

// finishSignal decides what depends on several settings: whether the signal is on, where it goes,
// and its TLS.
func (r *Resolution) finishSignal(s signal.Signal) {
	sc := &r.Config.Signals[s]
	if r.staysOnConsole(s) {
		sc.Exporters = Setting[[]string]{[]string{ExporterConsole}, "profile " + ProfileDevelopment}
	}
	if r.sendsOTLP(s) {
		r.finishTarget(s, sc)
		r.finishTLS(s, sc)
		sc.HeaderFunc = r.Asked.HeaderFunc(s)
		r.warnPlainToken(s, sc)
	}
	sc.Off = r.whyOff(s)
	sc.On = sc.Off == "" || r.decidesOnly(s)
}

// decidesOnly reports whether the signal is traces that are not exported because a variable says
// none. The variable turns off only the exporter (configuration/sdk-environment-variables.md,
// "Exporter Selection"). The sampler still decides, for other services.
func (r *Resolution) decidesOnly(s signal.Signal) bool {
	exporters := r.Config.Signals[s].Exporters
	return s == signal.Traces && !r.Config.Disabled.Value && !r.isOff(s) &&
		slices.Contains(exporters.Value, ExporterNone) && !lines.IsOption(exporters.Origin)
}

// whyOff returns why a signal is off, or "" if it may run.
func (r *Resolution) whyOff(s signal.Signal) string {
	exporters := r.Config.Signals[s].Exporters
	switch {
	case r.Config.Disabled.Value && lines.IsOption(r.Config.Disabled.Origin):
		return r.Config.Disabled.Origin
	case r.Config.Disabled.Value:
		return r.Config.Disabled.Origin + " is true"
	case slices.Contains(exporters.Value, ExporterNone) && lines.IsOption(exporters.Origin):
		return exporters.Origin
	case slices.Contains(exporters.Value, ExporterNone):
		return exporters.Origin + "=none"
	}
	var wrong []string
	for _, p := range r.Problems {
		if p.Fatal && slices.Contains(p.signals, s) && !slices.Contains(wrong, p.Origin) {
			wrong = append(wrong, p.Origin)
		}
	}
	if wrong == nil {
		return ""
	}
	verb := " is invalid"
	if len(wrong) > 1 {
		verb = " are invalid"
	}
	return lines.Listed(wrong) + verb
}

// sendsOTLP reports whether the settings of OTLP apply to a signal. Its exporter must be resolved
// first.
func (r *Resolution) sendsOTLP(s signal.Signal) bool {
	return !r.Config.Disabled.Value && slices.Contains(r.Config.Signals[s].Exporters.Value, ExporterOTLP) &&
		!r.staysOnConsole(s)
}

// staysOnConsole reports whether the development profile keeps a signal on the console, because no
// endpoint is set, valid or not.
func (r *Resolution) staysOnConsole(s signal.Signal) bool {
	set := firstNonNil(r.Asked.Signals[s].Endpoint, r.Asked.Export.Endpoint) != nil ||
		slices.ContainsFunc(scopedEnv(s, "ENDPOINT"), func(name string) bool { return r.env[name] != "" })
	return r.Config.profile.Value == ProfileDevelopment && r.Config.Signals[s].Exporters.IsDefault() && !set
}

func (r *Resolution) isOff(s signal.Signal) bool {
	return slices.ContainsFunc(r.Problems, func(p problem) bool { return p.Fatal && slices.Contains(p.signals, s) })
}

// rejectConfigFile reports declarative configuration, which would replace all of this and is not
// supported. If it were ignored, the operator would believe that its settings are in force.
func (r *Resolution) rejectConfigFile() {
	for _, name := range []string{"OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"} {
		if file, ok := r.env[name]; ok {
			r.add(problem{
				Setting: "configuration file", Origin: name, value: fmt.Sprintf("%q", file), Fatal: true,
				cause:   "declarative configuration is not supported",
				outcome: "the file is not read: use the OTEL_* variables and the options instead, and unset it",
			})
		}
	}
}

func (r *Resolution) rejectMisplaced() {
	for _, m := range r.Asked.Misplaced {
		r.add(problem{
			Setting: "options", Origin: m.Scope, Fatal: true, signals: []signal.Signal{m.Signal},
			cause:   "holds an option that cannot be limited to one signal",
			outcome: fmt.Sprintf("give it to Init directly; %s are off", m.Signal),
		})
	}
}

// rejectGlobalPropagator rejects the global propagator as a part of the one that Init sets as the
// global one: the first request would make it call itself without end.
func (r *Resolution) rejectGlobalPropagator() {
	p := &r.Config.Propagators
	if r.Asked.WithoutGlobals || !slices.ContainsFunc(p.Value.given, w3c.IsGlobal) {
		return
	}
	r.add(problem{
		Setting: "propagators", Origin: p.Origin, Fatal: true,
		cause:   "must not contain OpenTelemetry's global propagator, which Init sets",
		outcome: "the option is ignored: give the formats themselves, such as propagation.TraceContext{}",
	})
	r.Asked.Propagators = nil
	for _, row := range Rows() {
		if row.Describe().Option == p.Origin {
			row.resolve(r)
		}
	}
}

// checkBatch limits the batch size to the queue size. It reports a batch size that was set to more.
func (r *Resolution) checkBatch(name string, s signal.Signal, b *BatchConfig) {
	if b.MaxExportBatchSize.Value <= b.MaxQueueSize.Value {
		return
	}
	if b.MaxExportBatchSize.IsDefault() {
		b.MaxExportBatchSize = Setting[int]{b.MaxQueueSize.Value, b.MaxQueueSize.Origin}
		return
	}
	p := problem{
		Setting: name + " batch size", Origin: b.MaxExportBatchSize.Origin,
		value: fmt.Sprint(b.MaxExportBatchSize.Value),
		cause: fmt.Sprintf("must be at most the queue size, %d (%s)", b.MaxQueueSize.Value, b.MaxQueueSize.Origin),
	}
	if lines.IsOption(b.MaxExportBatchSize.Origin) && lines.IsOption(b.MaxQueueSize.Origin) {
		p.Fatal, p.signals, p.outcome = true, []signal.Signal{s}, fmt.Sprintf("%s are off", s)
	} else {
		p.outcome = fmt.Sprintf("using %d", b.MaxQueueSize.Value)
	}
	b.MaxExportBatchSize.Value = b.MaxQueueSize.Value
	r.add(p)
}
