package redact

import (
	"encoding/base64"
	"strings"
)

// endsWithWord reports whether s ends with a whole word, in any case.
func endsWithWord(s, word string) bool {
	before := len(s) - len(word)
	return before >= 0 && strings.EqualFold(s[before:], word) && !isAlnum(at(s, before-1))
}

// hasPrefixFold is strings.HasPrefix without regard to case. prefix is in lower case and has two
// bytes or more.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && s[1]|0x20 == prefix[1] && strings.EqualFold(s[:len(prefix)], prefix)
}

// isTokenByte reports whether a byte can be a part of a token68 (RFC 9110, section 11.2).
func isTokenByte(c byte) bool { return isAlnum(c) || strings.IndexByte("-._~+/=", c) >= 0 }

func isWebTokenByte(c byte) bool { return isAlnum(c) || c == '-' || c == '_' || c == '.' }

// isScheme reports whether a value is the name of an authentication scheme, after which the
// credentials follow.
func isScheme(value string) bool {
	switch strings.ToLower(value) {
	case "bearer", "basic", "token", "digest", "apikey", "negotiate":
		return true
	}
	return false
}

// isBasic reports whether a token is user:password in base64, and not the next word of a sentence.
func isBasic(token string) bool {
	if len(token) < 4 || len(token) > 4096 {
		return len(token) > 4096
	}
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(token, "="))
	return err == nil && strings.Contains(string(decoded), ":")
}

// isBearer reports whether a text is a token, and not the next word of a sentence: it is long, or
// has digits, capitals inside a word, or the dots of a JWT.
func isBearer(token string) bool {
	token = strings.TrimRight(token, "=.")
	if strings.Contains(token, "=") {
		return false // a parameter of a challenge, such as realm=
	}
	digits, capitals, small := 0, 0, false
	for i := range len(token) {
		switch kinds[token[i]] {
		case digit:
			digits++
		case upper:
			if small {
				capitals++
			}
		case lower:
			small = true
		}
	}
	n := len(token)
	return n >= 20 || n >= 6 && digits > 0 || n >= 8 && capitals > 0 || strings.Count(token, ".") >= 2
}

// isPlaceholder reports whether a value is not a secret but a placeholder: the empty text,
// parameters of SQL and of format strings, and what other programs mask with. A boolean is not a
// secret either.
func isPlaceholder(v string) bool {
	switch strings.ToLower(v) {
	case "", "?", "%s", "%v", "%q", "%d", "true", "false", "null", "nil", "none", "undefined", "redacted", "masked",
		"filtered":
		return true
	}
	if strings.HasPrefix(v, Marker) || strings.Trim(v, "*") == "" || len(v) > 2 && strings.Trim(v, "xX") == "" {
		return true
	}
	last := v[len(v)-1]
	switch v[0] {
	case '<':
		return last == '>'
	case '{':
		return last == '}'
	case '[':
		return last == ']' && strings.EqualFold(v, "[filtered]")
	case '$':
		return strings.HasPrefix(v, "${") && last == '}' || allOf(v[1:], isDigit)
	case ':':
		return len(v) > 1 && allOf(v[1:], func(c byte) bool { return kinds[c] == lower || c == '_' })
	case '@':
		return len(v) > 2 && v[1] == 'p' && allOf(v[2:], isDigit)
	}
	return false
}

func allOf(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}
