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

// Config adds to the defaults.
type Config struct {
	Keys      []string         // more sensitive keys, matched like the defaults
	AllowKeys []string         // keys whose values are never masked; they win over Keys of the same length
	Patterns  []*regexp.Regexp // more sensitive parts of texts
}

// Redactor masks sensitive data. It is safe for concurrent use.
type Redactor struct {
	keys     *keys
	patterns []*regexp.Regexp
}

// New returns a redactor. The keys and patterns must pass [CheckKey] and [CheckPattern].
func New(c Config) *Redactor {
	return &Redactor{keys: newKeys(c.Keys, c.AllowKeys), patterns: c.Patterns}
}

// CheckPattern returns an error for a pattern that cannot be used.
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

// given masks what the patterns of the configuration find, except inside markers. If a pattern
// panics, the whole text is masked.
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

// Attributes masks what is sensitive in attrs and returns the number of masked values and parts of
// values. If there are any, masked is a new slice. attrs itself never changes.
func (r *Redactor) Attributes(attrs []attribute.KeyValue) (masked []attribute.KeyValue, hits int) {
	return r.attributes(nil, attrs)
}

func (r *Redactor) attributes(path []string, attrs []attribute.KeyValue) (masked []attribute.KeyValue, hits int) {
	masked = attrs
	for i := range attrs {
		if r.isHarmless(path, &attrs[i]) {
			continue
		}
		v, n := r.keyed(path, string(attrs[i].Key), attrs[i].Value)
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

// isHarmless is a fast check that lets most attributes pass without a copy of their values.
func (r *Redactor) isHarmless(path []string, kv *attribute.KeyValue) bool {
	if len(path) > 0 || len(r.patterns) > 0 || r.keys.of(string(kv.Key)) != scan {
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

// verdict decides by the key and, in a map, by the keys of the maps around it: {"api": {"key": …}}.
func (r *Redactor) verdict(path []string, key string) verdict {
	v := r.keys.of(key)
	if v == scan && len(path) > 0 && r.keys.mayEnd(key) {
		v = r.keys.of(joined(path, key))
	}
	return v
}

// keyed returns the value under a key, masked if n is positive.
func (r *Redactor) keyed(path []string, key string, value attribute.Value) (masked attribute.Value, n int) {
	switch r.verdict(path, key) {
	case skip:
		return value, 0
	case mask:
		return r.hide(value)
	}
	return r.look(label{path, key}, value)
}

// hide masks a whole value. A boolean is not a secret, and an empty or masked text stays as it is.
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

// look masks what is sensitive inside the value under a key.
func (r *Redactor) look(l label, value attribute.Value) (masked attribute.Value, n int) {
	switch value.Type() {
	case attribute.STRING:
		if text, n := r.text(l, value.AsString()); n > 0 {
			return attribute.StringValue(text), n
		}
	case attribute.INT64, attribute.FLOAT64, attribute.INT64SLICE, attribute.FLOAT64SLICE:
		if holdsCardNumber(value) && !l.namesIdentifier() {
			return attribute.StringValue(Marker), 1
		}
	case attribute.STRINGSLICE:
		return mapStrings(value, func(text string) (string, int) { return r.text(l, text) })
	case attribute.BYTESLICE:
		if text, n := r.text(l, string(value.AsByteSlice())); n > 0 {
			return attribute.ByteSliceValue([]byte(text)), n
		}
	case attribute.SLICE:
		if items, n := r.items(l, value.AsSlice()); n > 0 { // a copy
			return attribute.SliceValue(items...), n
		}
	case attribute.MAP:
		if members, n := r.attributes(append(slices.Clip(l.path), l.key), value.AsMap()); n > 0 {
			return attribute.MapValue(members...), n
		}
	}
	return value, 0
}

// items masks values in place.
func (r *Redactor) items(l label, items []attribute.Value) (masked []attribute.Value, n int) {
	for i := range items {
		v, hits := r.look(l, items[i])
		items[i] = v
		n += hits
	}
	return items, n
}

// mapStrings applies f to the strings of a slice and adds up its counts.
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

// holdsCardNumber reports whether a number, or one in a slice, can be a card number.
func holdsCardNumber(value attribute.Value) bool {
	switch value.Type() {
	case attribute.INT64:
		return isCardNumber(value.AsInt64())
	case attribute.FLOAT64:
		return isCardFloat(value.AsFloat64())
	case attribute.INT64SLICE:
		return slices.ContainsFunc(value.AsInt64Slice(), isCardNumber)
	case attribute.FLOAT64SLICE:
		return slices.ContainsFunc(value.AsFloat64Slice(), isCardFloat)
	}
	return false
}

// leastCard and mostCard are the limits of all issuers' ranges with 15 and 16 digits.
const leastCard, mostCard = 34e13, 8299_9999_9999_9999

// isCardNumber checks whole numbers. It knows only the lengths that nearly all cards have: database
// and message ids of 18 and 19 digits are everywhere.
func isCardNumber(n int64) bool {
	if n < leastCard || n > mostCard {
		return false
	}
	var buf [maxCard + 1]byte
	return isCard(strconv.AppendInt(buf[:0], n, 10))
}

// isCardFloat checks a float64, the type to which encoding/json decodes every number. Card numbers
// of this length are exact in it.
func isCardFloat(f float64) bool {
	return f >= leastCard && f <= mostCard && f == math.Trunc(f) && isCardNumber(int64(f))
}
