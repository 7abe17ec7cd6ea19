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
		quoted := strings.Trim(strconv.Quote(secret), `"`)
		for _, form := range []string{secret, quoted} {
			if len(secret) >= MinSecret && !slices.Contains(m.secrets, form) {
				m.secrets = append(m.secrets, form)
			}
		}
	}
	// The longest first: one may be a part of another.
	slices.SortStableFunc(m.secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return m
}

var (
	// userInfo goes to the last @ of the word: a password may have one, or a slash, that should have been escaped.
	userInfo = regexp.MustCompile(`://[^\s"'<>]*@`)
	urlQuery = regexp.MustCompile(`(://[^\s"'<>?]*)\?[^\s"'<>]+`)
)

// Text returns text without the secrets, and without user and query of the URLs in it.
func (m Mask) Text(text string) string {
	for _, secret := range m.secrets {
		text = strings.ReplaceAll(text, secret, Hidden)
	}
	if strings.Contains(text, "://") {
		text = userInfo.ReplaceAllString(text, "://"+Hidden+"@")
		text = urlQuery.ReplaceAllString(text, "$1?"+Hidden)
	}
	return text
}

// Error returns err with its text masked. It unwraps to err, for those who classify errors.
func (m Mask) Error(err error) error {
	if text := m.Text(err.Error()); text != err.Error() {
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
