// Package mask hides secrets in texts from other programs. Everything that a server says passes
// through [Mask.Said] before it is shown or kept: status lines, headers, bodies, gRPC messages, and
// the errors of TLS, proxies and DNS.
//
// What is hidden:
//   - a header's value as a whole, from 4 characters; below 8 only as a whole word;
//   - the credentials after a scheme such as Bearer, and the user and password that Basic encodes,
//     in the same way;
//   - the words of a value, from 6 characters;
//   - a prefix of each of these, from 8 characters: a server may cut what it repeats;
//   - user and query of a URL.
//
// Secrets are found in upper and lower case, percent-encoded, and escaped as in JSON, Go and C. Not
// hidden are harmless values, such as true and gzip, and parts of a value that the library shows
// anyway, such as the name of the service.
package mask

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hidden replaces a secret.
const Hidden = "<redacted>"

// The bounds, in bytes of a secret.
const (
	minValue  = 4
	minWord   = 6
	minInside = 8 // shorter ones are hidden only as a whole word
	minPrefix = 8
)

// maxSaid is how much of what a server says is kept, in bytes; of an error that quotes it, twice as
// much.
const maxSaid = 300

// maxRead is how much of what a server says is looked at, in bytes.
const maxRead = 16 << 10

// maxText is how much of any other text is looked at, and kept, in bytes.
const maxText = 64 << 10

// Mask hides secrets. The zero value hides those of URLs only. It is safe for concurrent use.
type Mask struct {
	secrets []string // folded
	public  string   // folded
}

// New hides the given header values. Texts in public are shown anyway: a value among them is not a
// secret, and such a part of a value is not hidden.
func New(values []string, public ...string) Mask {
	m := Mask{public: folded(strings.Join(public, " "))}
	for _, value := range values {
		m.add(strings.TrimSpace(value))
	}
	return m
}

func (m *Mask) add(value string) {
	m.hide(value, minValue)
	words := strings.Fields(value)
	for i := 1; i < len(words); i++ {
		scheme := strings.ToLower(strings.TrimRight(words[i-1], ":"))
		if scheme = scheme[strings.LastIndexAny(scheme, `=:"'`)+1:]; !schemes[scheme] {
			continue
		}
		credentials := strings.Trim(words[i], `"',;`)
		m.hide(credentials, minValue)
		if scheme == "basic" {
			m.hideBasic(credentials)
		}
	}
	for _, word := range strings.FieldsFunc(value,
		func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune(`;:="'@/?#&`, c) }) {
		m.hide(word, minWord)
	}
}

// hideBasic hides the user and password that are encoded (RFC 7617).
func (m *Mask) hideBasic(credentials string) {
	plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(credentials, "="))
	if err != nil {
		return
	}
	m.hide(string(plain), minValue)
	if user, password, ok := strings.Cut(string(plain), ":"); ok {
		m.hide(user, minValue)
		m.hide(password, minValue)
	}
}

// OfUser returns the header value that net/http makes of the user and password in a URL, or "" if
// there are none.
func OfUser(u *url.Userinfo) string {
	if u == nil {
		return ""
	}
	password, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))
}

func (m *Mask) hide(secret string, least int) {
	secret = folded(secret)
	if len(secret) < least || harmless[secret] || strings.Contains(m.public, secret) ||
		slices.Contains(m.secrets, secret) {
		return
	}
	m.secrets = append(m.secrets, secret)
}

// schemes come before the credentials in a header (RFC 9110, section 11.4, and what vendors use).
var schemes = set("basic", "bearer", "token", "apikey", "api-key", "api-token", "key", "digest", "negotiate", "splunk",
	"glsa")

// harmless are header values that are not secrets, and words that any message may contain.
var harmless = set(
	"true", "false", "none", "null", "default", "auto", "enabled", "disabled", "local", "localhost", "anonymous",
	"admin", "root", "user", "test", "demo", "guest", "public", "tenant", "dev", "prod", "stage", "staging",
	"production", "development", "main", "gzip", "deflate", "identity", "close", "keep-alive", "chunked", "trailers",
	"http", "https", "grpc", "json", "application", "application/json", "application/x-protobuf", "x-protobuf",
	"protobuf", "text/plain", "text/html", "utf-8", "traces", "metrics", "logs", "spans", "otlp", "opentelemetry",
	"telemetry", "collector", "header", "headers", "value", "values", "authorization", "basic", "bearer", "token",
	"apikey", "api-key", "api-token", "digest", "negotiate", "splunk", "error", "invalid", "missing", "request",
	"response", "refused", "timeout", "connection",
)

func set(names ...string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, name := range names {
		all[name] = true
	}
	return all
}

// Text returns text without the secrets, and without user and query of the URLs in it. Beyond 64
// KiB it is cut: a service's own exporter may return a page as its error.
func (m Mask) Text(text string) string {
	if len(text) <= maxText {
		return m.cut(text, len(text))
	}
	return strings.ToValidUTF8(m.cut(text[:maxText], maxText-minPrefix), "") + "…"
}

// Said returns a server's text in a form that can be shown and kept: without secrets, on one line,
// printable, and at most 300 bytes long.
func (m Mask) Said(text string) string { return m.said(text, maxSaid) }

// SaidError is the same for an error that quotes a server, in at most 600 bytes. [errors.Is] and
// [errors.As] work as for err, but its text and the texts of the errors that it wraps cannot be
// reached.
func (m Mask) SaidError(err error) error {
	if err == nil {
		return nil
	}
	return m.replaced(err, m.said(TextOf(err), 2*maxSaid))
}

func (m Mask) said(text string, most int) string {
	end := len(text)
	if end > maxRead {
		text = text[:maxRead]
		end = maxRead - minPrefix // a secret that is cut there is found by its prefix, or dropped
	}
	text = printable(m.cut(text, end))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// printable joins all lines to one and escapes characters that could move the cursor or reorder the
// line.
func printable(text string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(text, unicode.IsSpace) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		for i, r := range word {
			switch {
			case r == utf8.RuneError && !strings.HasPrefix(word[i:], string(utf8.RuneError)):
				fmt.Fprintf(&b, `\x%02x`, word[i])
			case unicode.IsPrint(r):
				b.WriteRune(r)
			case r < utf8.RuneSelf:
				fmt.Fprintf(&b, `\x%02x`, r)
			default:
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		}
	}
	return b.String()
}

// inURL finds the user of a URL, up to the last @ of the word, since a password may contain an
// unescaped @ or slash, and the query.
var inURL = []*regexp.Regexp{
	regexp.MustCompile(`://([^\s"'<>]*)@`),
	regexp.MustCompile(`://[^\s"'<>?]*\?([^\s"'<>]+)`),
}

// cut returns the masked text up to end. All secrets are searched for before any is replaced, since
// they may overlap.
func (m Mask) cut(text string, end int) string {
	var hidden []span
	if len(m.secrets) > 0 {
		for _, v := range views(text) {
			for _, secret := range m.secrets {
				hidden = v.find(secret, m.public, hidden)
			}
		}
	}
	for _, part := range inURL {
		for _, match := range part.FindAllStringSubmatchIndex(text, -1) {
			hidden = append(hidden, span{match[2], match[3]})
		}
	}
	slices.SortFunc(hidden, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	var b strings.Builder
	shown := 0 // all before it has been dealt with
	for _, h := range hidden {
		if h.to <= shown || h.from >= end {
			continue
		}
		if h.from >= shown {
			b.WriteString(text[shown:h.from] + Hidden)
		}
		shown = h.to
	}
	if shown < end {
		b.WriteString(text[shown:end])
	}
	return b.String()
}

type span struct{ from, to int }
