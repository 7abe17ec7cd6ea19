package settings

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Row is one line of the settings table.
type Row interface {
	Describe() Info
	resolve(*Resolution)
	Report(*Config) (value, origin string)
	Sources(*Config) string         // the full origin: with the preset, and with what each source of a list added
	standard(profile string) string // the default, as Report would show it
}

// Info describes a setting for docs/settings.md, Describe and the error messages.
type Info struct {
	Name     string              // in words
	Option   string              // the option that sets it, "" if only the environment can
	options  func(*Asked) string // the option that was used, if there are several
	Env      []string            // the variables that set it, the most specific first
	Defaults Defaults
	Signals  []signal.Signal // those it applies to; empty: all, or none in particular
	otlpOnly bool            // it applies only to signals that are sent over OTLP
	// an invalid variable, unless it is an unknown name, turns these signals off: its fallback
	// could send data to an unintended place
	Strict bool
	Reason string // why this default, and the SDK's own

	// reads reports whether one of the variables sets this setting in this environment; nil: each
	// does.
	reads func(env Environment, name string) bool
}

// Defaults are a setting's values by profile, as in the environment. Empty: not set.
type Defaults struct{ Service, HighThroughput, Edge, Development string }

// Always returns a default that is the same in every profile.
func Always(text string) Defaults { return Defaults{text, text, text, text} }

func (d Defaults) of(profile string) string {
	switch profile {
	case ProfileHighThroughput:
		return d.HighThroughput
	case ProfileEdge:
		return d.Edge
	case ProfileDevelopment:
		return d.Development
	}
	return d.Service
}

// typedRow is a row with a value of type T. given returns the value that the options set, or nil if
// they set none.
type typedRow[T any] struct {
	Info
	kind  kind[T]
	field func(*Config) *Setting[T]
	given func(*Asked) *T
}

// Describe implements Row.
func (t typedRow[T]) Describe() Info { return t.Info }

// Report implements Row.
func (t typedRow[T]) Report(c *Config) (value, origin string) {
	s := t.field(c)
	return t.kind.show(s.Value), s.Origin
}

func (t typedRow[T]) standard(profile string) string {
	text := t.Defaults.of(profile)
	if text == "" {
		return ""
	}
	value, _ := t.kind.parse(text)
	return t.kind.show(value)
}

func (t typedRow[T]) optionUsed(o *Asked) string {
	if t.options != nil {
		return t.options(o)
	}
	return t.Option
}

// resolve applies the precedence of every setting: valid option > signal-specific variable >
// general variable > default. Sources below the one that decides are not read, so a mistake in them
// has no effect.
func (t typedRow[T]) resolve(r *Resolution) {
	before := len(r.Problems)
	t.decide(r)
	if t.otlpOnly && !r.sendsOTLP(t.Signals[0]) {
		for i := before; i < len(r.Problems); i++ {
			p := &r.Problems[i]
			p.Fatal, p.signals, p.outcome = false, nil, fmt.Sprintf("it is not used, since %s are not sent over OTLP",
				t.Signals[0])
		}
	}
}

func (t typedRow[T]) decide(r *Resolution) {
	field := t.field(r.Config)
	given, isGiven := t.fromOptions(r)
	if isGiven && t.kind.add == nil {
		*field = Setting[T]{given, t.optionUsed(r.Asked)}
		return
	}
	value, name, isSet := t.fromVariables(r)
	switch {
	case isGiven && isSet:
		*field = Setting[T]{t.kind.add(given, value), t.optionUsed(r.Asked) + " and " + name}
		r.Config.addVariable(t.Name, name+": "+t.kind.show(value))
	case isGiven:
		*field = Setting[T]{given, t.optionUsed(r.Asked)}
	case isSet:
		*field = Setting[T]{value, name}
	default:
		*field = t.fallback(r)
	}
}

// Sources returns the origin as Describe shows it.
func (t typedRow[T]) Sources(c *Config) string {
	value, origin := t.Report(c)
	if !lines.IsOption(origin) {
		return origin
	}
	option := t.optionUsed(c.Asked)
	var parts, names []string
	from := func(o *Asked, name string) (text string, ok bool) {
		if o == nil || t.given(o) == nil {
			return "", false
		}
		text = t.kind.show(*t.given(o))
		parts, names = append(parts, name+": "+text), append(names, name)
		return text, true
	}
	preset, inPreset := from(c.Asked.Preset, "WithOptions("+option+")")
	direct, inDirect := from(c.Asked.Direct, option)
	if variable := c.addedVariables[t.Name]; variable != "" {
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

func (t typedRow[T]) fromVariables(r *Resolution) (value T, name string, ok bool) {
	for _, name := range t.Env {
		if t.reads != nil && !t.reads(r.env, name) {
			continue
		}
		if value, ok := t.fromEnvironment(r, name); ok {
			return value, name, true
		}
	}
	return value, "", false
}

func (t typedRow[T]) fallback(r *Resolution) Setting[T] {
	profile := r.Config.profile.Value
	text, origin := t.Defaults.of(profile), OriginDefault
	if text != t.Defaults.Service {
		origin = "profile " + profile
	}
	var value T
	if text != "" {
		value, _ = t.kind.parse(text) // a test parses every default
	}
	return Setting[T]{value, origin}
}

func (t typedRow[T]) fromEnvironment(r *Resolution, name string) (value T, ok bool) {
	text, set := r.env[name]
	if !set {
		return value, false
	}
	value, err := t.kind.parse(text)
	if partial := (partialError{}); errors.As(err, &partial) {
		r.add(problem{Setting: t.Name, Origin: name, cause: partial.Error(), outcome: "it " + t.kind.want})
		err = nil
	}
	if err == nil {
		err = t.kind.check(value)
	}
	if err == nil {
		return value, true
	}
	p := problem{Setting: t.Name, Origin: name, value: t.quote(text), cause: t.cause(err),
		outcome: "the variable is ignored"}
	if rest, ok := t.rest(value); ok {
		p.outcome = restCounts
		r.add(p)
		return rest, true
	}
	unknown := unknownName{}
	if t.Strict && (!errors.As(err, &unknown) || unknown.exists) {
		p.Fatal, p.signals, p.outcome = true, t.Signals, t.offText()
	}
	r.add(p)
	return value, false
}

func (t typedRow[T]) fromOptions(r *Resolution) (value T, ok bool) {
	if t.given == nil {
		return value, false
	}
	given := t.given(r.Asked)
	if given == nil {
		return value, false
	}
	err := t.kind.check(*given)
	if err == nil {
		return *given, true
	}
	p := problem{
		Setting: t.Name, Origin: t.optionUsed(r.Asked), value: t.showWrong(*given), cause: t.cause(err),
		Fatal: true, signals: t.Signals, outcome: t.offText(),
	}
	if errors.As(err, new(selfExplained)) {
		p.value = ""
	}
	if value, ok = t.rest(*given); ok {
		p.outcome = restCounts
	}
	r.add(p)
	return value, ok
}

const restCounts = "the others are used"

// rest returns the valid part of an invalid value.
func (t typedRow[T]) rest(value T) (rest T, ok bool) {
	if t.kind.rest == nil {
		return rest, false
	}
	return t.kind.rest(value)
}

func (t typedRow[T]) cause(err error) string {
	var unknown unknownName
	switch {
	case errors.As(err, new(selfExplained)):
		return err.Error()
	case errors.Is(err, errOutOfRange), errors.As(err, new(*strconv.NumError)): // what is wanted says it all
		return t.kind.want
	case errors.As(err, &unknown):
		return fmt.Sprintf("%s; use %s%s", cmp.Or(err.Error(), "is unknown"),
			strings.TrimPrefix(t.kind.want, "must be "), unknown.hint)
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
	if t.kind.secret || IsNil(value) {
		return ""
	}
	if text := t.kind.show(value); text != "" {
		return fmt.Sprintf("%q", text)
	}
	return ""
}

func (t typedRow[T]) offText() string {
	switch len(t.Signals) {
	case 0:
		return "the option is ignored"
	case 1:
		return t.Signals[0].String() + " are off"
	}
	return "traces, metrics and logs are off"
}

// IsNil reports whether value is nil, or a nil pointer, map, slice, function or channel in an
// interface.
func IsNil(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan, reflect.Interface:
		return v.IsNil()
	}
	return false
}
