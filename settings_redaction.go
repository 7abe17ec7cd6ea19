package telemetry

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fleetotel/telemetry/internal/redact"
)

// redactionRows are the fields of Redaction.
func redactionRows() []row {
	return []row{
		typedRow[bool]{
			rowInfo{
				name: "redaction", option: "WithRedaction(Redaction{Off})", env: []string{"TELEMETRY_REDACTION"}, defaults: always("true"),
				reason: "masks secrets and payment data in spans, metrics and logs before they leave the process; the SDK has none",
			},
			boolean(), func(c *config) *setting[bool] { return &c.redaction },
			func(o *options) *bool {
				if !o.redaction.Off {
					return nil
				}
				on := false
				return &on
			},
		},
		typedRow[[]string]{
			rowInfo{
				name: "redacted keys", option: "WithRedaction(Redaction{Keys})", env: []string{"TELEMETRY_REDACTION_KEYS"},
				reason: "beside those of the list in the documentation of Redaction; option and variable add up",
			},
			keyList(), func(c *config) *setting[[]string] { return &c.redactedKeys },
			func(o *options) *[]string { return unlessEmpty(o.redaction.Keys) },
		},
		typedRow[[]string]{
			rowInfo{
				name: "keys without redaction", option: "WithRedaction(Redaction{AllowKeys})", env: []string{"TELEMETRY_REDACTION_ALLOW_KEYS"},
				reason: "their values are left alone, card numbers included; option and variable add up",
			},
			keyList(), func(c *config) *setting[[]string] { return &c.allowedKeys },
			func(o *options) *[]string { return unlessEmpty(o.redaction.AllowKeys) },
		},
		typedRow[[]*regexp.Regexp]{
			rowInfo{name: "redacted values", option: "WithRedaction(Redaction{Values})", reason: "regular expressions beside the built-in scanners; each costs a run over every text"},
			patternList(), func(c *config) *setting[[]*regexp.Regexp] { return &c.redactedValues },
			func(o *options) *[]*regexp.Regexp { return unlessEmpty(o.redaction.Values) },
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
		want: "must be a list of attribute keys of at most 48 letters and digits, in the environment separated by commas",
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

// patternList has no text form: expressions hold commas.
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

// withoutErrors keeps what is right: a slip in a service's list must not uncover what the list of a preset masks.
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
