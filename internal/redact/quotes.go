package redact

// maxBlanks is how many bytes of white space are skipped around a colon of JSON.
const maxBlanks = 16

// quoteAt returns the quote at s[i], or "" if s[i] does not start one. A quote is ", ', or, in JSON
// within JSON strings, \" or \\\".
func quoteAt(s string, i int) string {
	if at(s, i) == '\'' {
		return s[i : i+1]
	}
	end := i
	for at(s, end) == '\\' && end < i+3 {
		end++
	}
	if at(s, end) != '"' || end == i+2 {
		return ""
	}
	return s[i : end+1]
}

// closingQuote returns the quote before the colon at s[i], and where it ends: JSON may have blanks
// in between.
func closingQuote(s string, i int) (end int, quote string) {
	end = i
	for end > 0 && end > i-maxBlanks && isBlank(s[end-1]) {
		end--
	}
	switch {
	case end == i && at(s, end-1) == '\'':
		return end, s[end-1 : end]
	case at(s, end-1) != '"':
		return end, ""
	}
	for _, escapes := range []int{3, 1} {
		if start := end - 1 - escapes; start >= 0 && s[start:end] == `\\\"`[3-escapes:] {
			return end, s[start:end]
		}
	}
	return end, s[end-1 : end]
}

// quoteEnd is where the quoted value that begins at s[i] ends. Without a closing quote it is the
// end of the text. At each level of JSON in JSON, one backslash becomes two, and a quote gets one
// more.
func quoteEnd(s string, i int, quote string) int {
	escapes, run := len(quote)-1, 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			run++
		case quote[escapes]:
			if run%(2*len(quote)) == escapes {
				return i - escapes
			}
			run = 0
		default:
			run = 0
		}
	}
	return len(s)
}

// valueEnd is the end of the JSON array or object that begins at s[i] and uses these quotes.
func valueEnd(s string, i int, quote string) int {
	for depth := 0; i < len(s); i++ {
		switch s[i] {
		case '\\', '"', '\'':
			if quoteAt(s, i) == quote {
				i = quoteEnd(s, i+len(quote), quote) + len(quote) - 1
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
