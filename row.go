package telemetry

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// row is one line of the settings table.
type row interface {
	describe() rowInfo
	resolve(*resolution)
	report(*config) (value, origin string)
	sources(*config) string  // the origin in full: which option of a preset, and what each source of a list gave
	standard(Profile) string // the default, as report would show it
}

// rowInfo is what docs/settings.md, Describe and the error messages say about a setting.
type rowInfo struct {
	name     string                // as a person would call it
	option   string                // the option that sets it, "" where only the environment does
	options  func(*options) string // the one that was used, where there are several
	env      []string              // the variables that set it, the most specific first
	defaults defaults
	signals  []signal // those it concerns; empty: all, or none in particular
	otlpOnly bool     // it means nothing to a signal that does not go out over OTLP
	strict   bool     // a wrong variable, unless it is an unknown name, switches these signals off: its fallback could send data astray
	reason   string   // why this default; the SDK's own beside it

	// reads tells whether one of the variables means this setting in this environment; nil: each does.
	reads func(env environment, name string) bool
}

// defaults are a setting's values by profile, as the environment would write them. Empty: not set.
type defaults struct{ service, highThroughput, edge, development string }

func always(text string) defaults { return defaults{text, text, text, text} }

func (d defaults) of(p Profile) string {
	switch p {
	case ProfileHighThroughput:
		return d.highThroughput
	case ProfileEdge:
		return d.edge
	case ProfileDevelopment:
		return d.development
	}
	return d.service
}

// typedRow is a row whose value is a T. given returns what the options say, nil where they say nothing.
type typedRow[T any] struct {
	rowInfo
	kind  kind[T]
	field func(*config) *setting[T]
	given func(*options) *T
}

func (t typedRow[T]) describe() rowInfo { return t.rowInfo }

func (t typedRow[T]) report(c *config) (value, origin string) {
	s := t.field(c)
	return t.kind.show(s.value), s.origin
}

func (t typedRow[T]) standard(p Profile) string {
	text := t.defaults.of(p)
	if text == "" {
		return ""
	}
	value, _ := t.kind.parse(text)
	return t.kind.show(value)
}

func (t typedRow[T]) optionUsed(o *options) string {
	if t.options != nil {
		return t.options(o)
	}
	return t.option
}

// resolve is the precedence of every setting: valid option > signal-specific variable > general variable > default.
// What a better source has settled is not looked at, so a mistake in it cannot do harm.
func (t typedRow[T]) resolve(r *resolution) {
	before := len(r.problems)
	t.decide(r)
	if t.otlpOnly && !r.sendsOTLP(t.signals[0]) {
		for i := before; i < len(r.problems); i++ {
			p := &r.problems[i]
			p.fatal, p.signals, p.outcome = false, nil, fmt.Sprintf("it is not used, since %s are not sent over OTLP", t.signals[0])
		}
	}
}

func (t typedRow[T]) decide(r *resolution) {
	field := t.field(r.cfg)
	given, isGiven := t.fromOptions(r)
	if isGiven && t.kind.add == nil {
		*field = setting[T]{given, t.optionUsed(r.opts)}
		return
	}
	value, name, isSet := t.fromVariables(r)
	switch {
	case isGiven && isSet:
		*field = setting[T]{t.kind.add(given, value), t.optionUsed(r.opts) + " and " + name}
		r.cfg.addVariable(t.name, name+": "+t.kind.show(value))
	case isGiven:
		*field = setting[T]{given, t.optionUsed(r.opts)}
	case isSet:
		*field = setting[T]{value, name}
	default:
		*field = t.fallback(r)
	}
}

// sources is the origin as Describe has it.
func (t typedRow[T]) sources(c *config) string {
	value, origin := t.report(c)
	if !isOption(origin) {
		return origin
	}
	option := t.optionUsed(c.opts)
	var parts, names []string
	from := func(o *options, name string) (text string, ok bool) {
		if o == nil || t.given(o) == nil {
			return "", false
		}
		text = t.kind.show(*t.given(o))
		parts, names = append(parts, name+": "+text), append(names, name)
		return text, true
	}
	preset, inPreset := from(c.opts.preset, "WithOptions("+option+")")
	direct, inDirect := from(c.opts.direct, option)
	if variable := c.addedVariables[t.name]; variable != "" {
		parts = append(parts, variable)
	}
	switch {
	case names == nil: // cmd/telemetry's argument
		return origin
	case t.kind.add != nil && len(parts) > 1:
		return strings.Join(parts, "; ")
	case inPreset && inDirect && direct == value:
		return option
	case inPreset && inDirect && preset == value:
		return names[0]
	}
	return strings.Join(names, " and ")
}

func (t typedRow[T]) fromVariables(r *resolution) (value T, name string, ok bool) {
	for _, name := range t.env {
		if t.reads != nil && !t.reads(r.env, name) {
			continue
		}
		if value, ok := t.fromEnvironment(r, name); ok {
			return value, name, true
		}
	}
	return value, "", false
}

func (t typedRow[T]) fallback(r *resolution) setting[T] {
	profile := r.cfg.profile.value
	text, origin := t.defaults.of(profile), originDefault
	if text != t.defaults.service {
		origin = "profile " + string(profile)
	}
	var value T
	if text != "" {
		value, _ = t.kind.parse(text) // a test parses every default
	}
	return setting[T]{value, origin}
}

func (t typedRow[T]) fromEnvironment(r *resolution, name string) (value T, ok bool) {
	text, set := r.env[name]
	if !set {
		return value, false
	}
	value, err := t.kind.parse(text)
	if partial := (partialError{}); errors.As(err, &partial) {
		r.add(problem{setting: t.name, origin: name, cause: partial.Error(), outcome: "it " + t.kind.want})
		err = nil
	}
	if err == nil {
		err = t.kind.check(value)
	}
	if err == nil {
		return value, true
	}
	p := problem{setting: t.name, origin: name, value: t.quote(text), cause: t.cause(err), outcome: "the variable is ignored"}
	if rest, ok := t.rest(value); ok {
		p.outcome = restCounts
		r.add(p)
		return rest, true
	}
	unknown := unknownName{}
	if t.strict && (!errors.As(err, &unknown) || unknown.exists) {
		p.fatal, p.signals, p.outcome = true, t.signals, t.offText()
	}
	r.add(p)
	return value, false
}

func (t typedRow[T]) fromOptions(r *resolution) (value T, ok bool) {
	if t.given == nil {
		return value, false
	}
	given := t.given(r.opts)
	if given == nil {
		return value, false
	}
	err := t.kind.check(*given)
	if err == nil {
		return *given, true
	}
	p := problem{
		setting: t.name, origin: t.optionUsed(r.opts), value: t.showWrong(*given), cause: t.cause(err),
		fatal: true, signals: t.signals, outcome: t.offText(),
	}
	if errors.As(err, new(complete)) {
		p.value = ""
	}
	if value, ok = t.rest(*given); ok {
		p.outcome = restCounts
	}
	r.add(p)
	return value, ok
}

const restCounts = "the others are used"

// rest is what of a wrong value is right.
func (t typedRow[T]) rest(value T) (rest T, ok bool) {
	if t.kind.rest == nil {
		return rest, false
	}
	return t.kind.rest(value)
}

func (t typedRow[T]) cause(err error) string {
	var unknown unknownName
	switch {
	case errors.As(err, new(complete)):
		return err.Error()
	case errors.Is(err, errOutOfRange), errors.As(err, new(*strconv.NumError)): // what is wanted says it all
		return t.kind.want
	case errors.As(err, &unknown):
		return fmt.Sprintf("%s; use %s%s", cmp.Or(err.Error(), "is unknown"), strings.TrimPrefix(t.kind.want, "must be "), unknown.hint)
	}
	return fmt.Sprintf("%v; it %s", err, t.kind.want)
}

func (t typedRow[T]) quote(text string) string {
	if t.kind.secret {
		return "<redacted>"
	}
	if t.kind.quote != nil {
		text = t.kind.quote(text)
	}
	return fmt.Sprintf("%q", text)
}

func (t typedRow[T]) showWrong(value T) string {
	if t.kind.secret || isNil(value) {
		return ""
	}
	if text := t.kind.show(value); text != "" {
		return fmt.Sprintf("%q", text)
	}
	return ""
}

func (t typedRow[T]) offText() string {
	switch len(t.signals) {
	case 0:
		return "the option is ignored"
	case 1:
		return t.signals[0].String() + " are off"
	}
	return "traces, metrics and logs are off"
}

// isNil also sees the nil pointer inside an interface.
func isNil(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan, reflect.Interface:
		return v.IsNil()
	}
	return false
}
