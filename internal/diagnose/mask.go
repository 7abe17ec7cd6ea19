package diagnose

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Hidden stands where a secret was.
const Hidden = "<redacted>"

// MinSecret is the shortest text, in bytes, that is taken for a secret. Shorter ones would blank out common words, and
// hide nothing.
const MinSecret = 6

// Mask hides secrets in texts that come from elsewhere. The zero value knows those of URLs only.
type Mask struct{ secrets []string }

// NewMask hides the given texts, in the forms in which an error may quote them.
func NewMask(secrets []string) Mask {
	var m Mask
	for _, secret := range secrets {
		for _, form := range []string{secret, strings.Trim(strconv.Quote(secret), `"`)} {
			if len(secret) >= MinSecret && !slices.Contains(m.secrets, form) {
				m.secrets = append(m.secrets, form)
			}
		}
	}
	return m
}

// inURL finds the user of a URL, up to the last @ of the word, since a password may have one, or a slash, that should
// have been escaped; and the query.
var inURL = []*regexp.Regexp{
	regexp.MustCompile(`://([^\s"'<>]*)@`),
	regexp.MustCompile(`://[^\s"'<>?]*\?([^\s"'<>]+)`),
}

// Text returns text without the secrets, and without user and query of the URLs in it. All are looked for in the text as
// it is: one may overlap another.
func (m Mask) Text(text string) string {
	var hidden [][2]int
	for _, secret := range m.secrets {
		for from := 0; ; {
			i := strings.Index(text[from:], secret)
			if i < 0 {
				break
			}
			hidden = append(hidden, [2]int{from + i, from + i + len(secret)})
			from += i + 1
		}
	}
	for _, part := range inURL {
		for _, match := range part.FindAllStringSubmatchIndex(text, -1) {
			hidden = append(hidden, [2]int{match[2], match[3]})
		}
	}
	slices.SortFunc(hidden, func(a, b [2]int) int { return cmp.Compare(a[0], b[0]) })
	var b strings.Builder
	shown := 0 // all before it has been dealt with
	for _, h := range hidden {
		if h[1] <= shown {
			continue
		}
		if h[0] >= shown {
			b.WriteString(text[shown:h[0]] + Hidden)
		}
		shown = h[1]
	}
	return b.String() + text[shown:]
}

// Error returns err with its text masked. It unwraps to err, for those who classify errors.
func (m Mask) Error(err error) error {
	plain := TextOf(err)
	if text := m.Text(plain); text != plain {
		return &maskedError{text, err}
	}
	return err
}

type maskedError struct {
	text  string
	cause error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.cause }
