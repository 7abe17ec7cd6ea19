package redact

import (
	"encoding/base64"
	"strings"
)

// endsWithWord tells whether s ends with a word, in any case, that is not the end of a longer one.
func endsWithWord(s, word string) bool {
	before := len(s) - len(word)
	return before >= 0 && strings.EqualFold(s[before:], word) && !isAlnum(at(s, before-1))
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && s[1]|0x20 == prefix[1] && strings.EqualFold(s[:len(prefix)], prefix)
}

// isTokenByte is token68 of RFC 9110, section 11.2.
func isTokenByte(c byte) bool { return isAlnum(c) || strings.IndexByte("-._~+/=", c) >= 0 }

func isWebTokenByte(c byte) bool { return isAlnum(c) || c == '-' || c == '_' || c == '.' }

// isScheme tells whether a value is the name of a scheme, behind which the credentials are still to come.
func isScheme(value string) bool {
	switch strings.ToLower(value) {
	case "bearer", "basic", "token", "digest", "apikey", "negotiate":
		return true
	}
	return false
}

// isBasic tells whether a token is user:password in base64, and not the next word of a sentence.
func isBasic(token string) bool {
	if len(token) < 4 || len(token) > 4096 {
		return len(token) > 4096
	}
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(token, "="))
	return err == nil && strings.Contains(string(decoded), ":")
}

// isBearer tells a token from the next word of a sentence: it is long, has digits, capitals in it, or the dots of a JWT.
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

// isPlaceholder tells whether a value only stands for one: nothing, the parameters of SQL and format strings, and what
// others mask with. A boolean tells no secret.
func isPlaceholder(v string) bool {
	switch strings.ToLower(v) {
	case "", "?", "%s", "%v", "%q", "%d", "true", "false", "null", "nil", "none", "undefined", "redacted", "masked", "filtered":
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
