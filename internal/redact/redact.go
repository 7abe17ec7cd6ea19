package redact

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
)

// Config is what differs from the defaults.
type Config struct {
	Keys      []string         // further sensitive keys, matched as those of the defaults are
	AllowKeys []string         // keys whose values are left alone; they win over Keys of the same length
	Patterns  []*regexp.Regexp // what else is sensitive in a text
}

// Redactor masks what is sensitive. It is safe for concurrent use.
type Redactor struct {
	keys     *keys
	patterns []*regexp.Regexp
}

// New returns a redactor. See [CheckKey] and [CheckPattern] for what it can be given.
func New(c Config) *Redactor {
	return &Redactor{keys: newKeys(c.Keys, c.AllowKeys), patterns: c.Patterns}
}

// CheckPattern tells what is wrong with a pattern.
func CheckPattern(p *regexp.Regexp) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("a pattern is not compiled")
		}
	}()
	if p == nil {
		return errors.New("a pattern is nil")
	}
	if p.MatchString("") {
		return fmt.Errorf("pattern %q matches the empty text", p)
	}
	return nil
}

// given masks what the patterns of the configuration find, between what is masked already. A text at which a pattern
// panics is masked as a whole.
func (r *Redactor) given(s string) (masked string, hits int) {
	defer func() {
		if recover() != nil {
			masked, hits = Marker, 1
		}
	}()
	for _, pattern := range r.patterns {
		if !pattern.MatchString(s) {
			continue
		}
		parts := strings.Split(s, Marker)
		for i, part := range parts {
			parts[i] = pattern.ReplaceAllStringFunc(part, func(match string) string {
				if match == "" {
					return ""
				}
				hits++
				return Marker
			})
		}
		s = strings.Join(parts, Marker)
	}
	return s, hits
}

// Attributes returns attrs with what is sensitive masked, in a new slice if there is anything, and how many values or
// parts of values that were. attrs itself never changes.
func (r *Redactor) Attributes(attrs []attribute.KeyValue) (masked []attribute.KeyValue, hits int) {
	return r.attributes("", attrs)
}

func (r *Redactor) attributes(parent string, attrs []attribute.KeyValue) (masked []attribute.KeyValue, hits int) {
	masked = attrs
	for i := range attrs {
		if r.isHarmless(parent, &attrs[i]) {
			continue
		}
		v, n := r.keyed(parent, string(attrs[i].Key), attrs[i].Value)
		if n == 0 {
			continue
		}
		if hits == 0 {
			masked = append([]attribute.KeyValue(nil), attrs...)
		}
		masked[i].Value = v
		hits += n
	}
	return masked, hits
}

// isHarmless spares most attributes the copies of values that a closer look takes.
func (r *Redactor) isHarmless(parent string, kv *attribute.KeyValue) bool {
	if parent != "" || len(r.patterns) > 0 || r.keys.of(string(kv.Key)) != scan {
		return false
	}
	switch kv.Value.Type() {
	case attribute.STRING:
		return isHarmless(kv.Value.AsString())
	case attribute.INT64:
		n := kv.Value.AsInt64()
		return n < leastCard || n > mostCard
	case attribute.FLOAT64:
		n := kv.Value.AsFloat64()
		return n < leastCard || n > mostCard
	case attribute.BOOL:
		return true
	}
	return false
}

// verdict decides by the key, and in a map by the key of the map before it: {"api": {"key": …}}.
func (r *Redactor) verdict(parent, key string) verdict {
	v := r.keys.of(key)
	if v == scan && parent != "" {
		v = r.keys.of(parent + "." + key)
	}
	return v
}

// keyed returns the value of a key, masked if n is above zero.
func (r *Redactor) keyed(parent, key string, value attribute.Value) (masked attribute.Value, n int) {
	switch r.verdict(parent, key) {
	case skip:
		return value, 0
	case mask:
		return r.hide(value)
	}
	return r.look(label{parent, key}, value)
}

// hide masks a value as a whole. A boolean tells no secret, and neither does a text that is empty or masked already.
func (r *Redactor) hide(value attribute.Value) (masked attribute.Value, n int) {
	switch value.Type() {
	case attribute.EMPTY, attribute.BOOL, attribute.BOOLSLICE:
		return value, 0
	case attribute.STRING:
		if text := value.AsString(); text == "" || text == Marker {
			return value, 0
		}
	case attribute.STRINGSLICE:
		return mapStrings(value, func(text string) (string, int) {
			if text == "" || text == Marker {
				return text, 0
			}
			return Marker, 1
		})
	}
	return attribute.StringValue(Marker), 1
}

// look masks what is sensitive inside the value of a key.
func (r *Redactor) look(l label, value attribute.Value) (masked attribute.Value, n int) {
	switch value.Type() {
	case attribute.STRING:
		if text, n := r.text(l, value.AsString()); n > 0 {
			return attribute.StringValue(text), n
		}
	case attribute.INT64:
		if isCardNumber(value.AsInt64()) && !l.namesIdentifier() {
			return attribute.StringValue(Marker), 1
		}
	case attribute.FLOAT64:
		if isCardFloat(value.AsFloat64()) && !l.namesIdentifier() {
			return attribute.StringValue(Marker), 1
		}
	case attribute.INT64SLICE:
		if slices.ContainsFunc(value.AsInt64Slice(), isCardNumber) && !l.namesIdentifier() {
			return attribute.StringValue(Marker), 1
		}
	case attribute.FLOAT64SLICE:
		if slices.ContainsFunc(value.AsFloat64Slice(), isCardFloat) && !l.namesIdentifier() {
			return attribute.StringValue(Marker), 1
		}
	case attribute.STRINGSLICE:
		return mapStrings(value, func(text string) (string, int) { return r.text(l, text) })
	case attribute.BYTESLICE:
		if text, n := r.text(l, string(value.AsByteSlice())); n > 0 {
			return attribute.ByteSliceValue([]byte(text)), n
		}
	case attribute.SLICE:
		items := value.AsSlice() // a copy
		for i := range items {
			v, hits := r.look(l, items[i])
			items[i] = v
			n += hits
		}
		if n > 0 {
			return attribute.SliceValue(items...), n
		}
	case attribute.MAP:
		if members, n := r.attributes(l.key, value.AsMap()); n > 0 {
			return attribute.MapValue(members...), n
		}
	}
	return value, 0
}

func mapStrings(value attribute.Value, f func(string) (string, int)) (masked attribute.Value, n int) {
	texts := value.AsStringSlice() // a copy
	for i, text := range texts {
		m, hits := f(text)
		texts[i] = m
		n += hits
	}
	if n == 0 {
		return value, 0
	}
	return attribute.StringSliceValue(texts), n
}

// leastCard and mostCard are the ends of all issuers' ranges with 15 and 16 digits.
const leastCard, mostCard = 34e13, 8299_9999_9999_9999

// isCardNumber is for whole numbers. Only the lengths that nearly all cards have count: database and message ids of 18 and
// 19 digits are everywhere.
func isCardNumber(n int64) bool {
	if n < leastCard || n > mostCard {
		return false
	}
	var buf [maxCard + 1]byte
	return isCard(strconv.AppendInt(buf[:0], n, 10))
}

// isCardFloat is for what encoding/json makes of every number. All cards of this length are exact in a float64.
func isCardFloat(f float64) bool {
	return f >= leastCard && f <= mostCard && f == math.Trunc(f) && isCardNumber(int64(f))
}
