package settings

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fleetotel/telemetry/internal/redact"
)

// redactionRows are the fields of Redaction.
func redactionRows() []Row {
	return []Row{
		typedRow[bool]{
			Info{
				Name: "redaction", Option: "WithRedaction(Redaction{Off})", Env: []string{"TELEMETRY_REDACTION"},
				Defaults: Always("true"),
				Reason: "masks secrets and payment data in spans, metrics and logs before they leave the process; " +
					"the SDK has none",
			},
			boolean(), func(c *Config) *Setting[bool] { return &c.Redaction },
			func(o *Asked) *bool {
				if !o.Redaction.Off {
					return nil
				}
				on := false
				return &on
			},
		},
		typedRow[[]string]{
			Info{
				Name: "redacted keys", Option: "WithRedaction(Redaction{Keys})",
				Env:    []string{"TELEMETRY_REDACTION_KEYS"},
				Reason: "in addition to the list in the documentation of Redaction; option and variable add up",
			},
			keyList(), func(c *Config) *Setting[[]string] { return &c.RedactedKeys },
			func(o *Asked) *[]string { return unlessEmpty(o.Redaction.Keys) },
		},
		typedRow[[]string]{
			Info{
				Name: "keys without redaction", Option: "WithRedaction(Redaction{AllowKeys})",
				Env:    []string{"TELEMETRY_REDACTION_ALLOW_KEYS"},
				Reason: "their values are not masked, not even card numbers; option and variable add up",
			},
			keyList(), func(c *Config) *Setting[[]string] { return &c.AllowedKeys },
			func(o *Asked) *[]string { return unlessEmpty(o.Redaction.AllowKeys) },
		},
		typedRow[[]*regexp.Regexp]{
			Info{Name: "redacted values", Option: "WithRedaction(Redaction{Values})",
				Reason: "regular expressions in addition to the built-in scanners; each runs over every text"},
			patternList(), func(c *Config) *Setting[[]*regexp.Regexp] { return &c.RedactedValues },
			func(o *Asked) *[]*regexp.Regexp { return unlessEmpty(o.Redaction.Values) },
		},
	}
}

func unlessEmpty[T any](list []T) *[]T {
	if len(list) == 0 {
		return nil
	}
	return &list
}

// keyList is a comma-separated list of attribute keys.
func keyList() kind[[]string] {
	return kind[[]string]{
		want: "must be a list of attribute keys of at most 48 letters and digits, in the environment separated by " +
			"commas",
		parse: func(text string) ([]string, error) {
			var keys []string
			for key := range strings.SplitSeq(text, ",") {
				if key = strings.TrimSpace(key); key != "" {
					keys = append(keys, key)
				}
			}
			return keys, nil
		},
		check: func(keys []string) error { return firstError(keys, redact.CheckKey) },
		rest:  func(keys []string) ([]string, bool) { return withoutErrors(keys, redact.CheckKey) },
		show:  func(keys []string) string { return strings.Join(keys, ",") },
		add: func(option, variable []string) []string {
			sum := slices.Clone(option)
			for _, key := range variable {
				if !slices.Contains(sum, key) {
					sum = append(sum, key)
				}
			}
			return sum
		},
	}
}

// patternList has no text form, because expressions contain commas.
func patternList() kind[[]*regexp.Regexp] {
	return kind[[]*regexp.Regexp]{
		want:  "must be a list of compiled regular expressions that do not match the empty text",
		check: func(patterns []*regexp.Regexp) error { return firstError(patterns, redact.CheckPattern) },
		rest: func(patterns []*regexp.Regexp) ([]*regexp.Regexp, bool) {
			return withoutErrors(patterns, redact.CheckPattern)
		},
		show: func(patterns []*regexp.Regexp) string {
			var texts []string
			for _, p := range patterns {
				if p != nil {
					texts = append(texts, p.String())
				}
			}
			return strings.Join(texts, " ")
		},
		add: addItems[*regexp.Regexp],
	}
}

func addItems[T any](option, variable []T) []T { return slices.Concat(option, variable) }

// withoutErrors returns the valid items: a mistake in a service's list must not unmask what the
// list of a preset masks.
func withoutErrors[T any](list []T, check func(T) error) (right []T, some bool) {
	for _, item := range list {
		if check(item) == nil {
			right = append(right, item)
		}
	}
	return right, right != nil
}

func firstError[T any](list []T, check func(T) error) error {
	for _, item := range list {
		if err := check(item); err != nil {
			return err
		}
	}
	return nil
}
