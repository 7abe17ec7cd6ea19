package redact

import (
	"net/url"
	"strings"
)

// assignment is called at the = of a pair: in the query of a URL, a form, a connection string,
// logfmt, TOML or SQL. Spaces around it are allowed only before a quoted value.
func (p *pass) assignment(i int) int {
	keyEnd, from := i, i+1
	if i > 0 && p.s[i-1] == ' ' {
		keyEnd--
	}
	if from < len(p.s) && p.s[from] == ' ' {
		from++
	}
	quote := quoteAt(p.s, from)
	if quote == "" && (keyEnd != i || from != i+1) {
		return i + 1
	}
	key := p.keyBefore(keyEnd)
	if key == "" {
		return i + 1
	}
	before := at(p.s, keyEnd-len(key)-1)
	isURL := before == '?' || before == '&'
	isQuery := isURL || keyEnd == len(key) // url.query has no question mark
	v := p.keys.decide(unescaped(key))
	if v == inQuery && isQuery {
		v = mask
	}
	if v != mask && v != skip {
		return i + 1
	}
	if quote != "" {
		from += len(quote)
		return p.verdict(v, from, p.quotedEnd(from, quote))
	}
	to := p.bareValueEnd(from, isURL)
	if v == mask && !isQuery && p.isColumn(p.s[from:to]) {
		return to
	}
	return p.verdict(v, from, to)
}

// bareValueEnd is where the unquoted value that begins at s[from] ends. If it begins with the name
// of an authentication scheme, the credentials after it belong to it.
func (p *pass) bareValueEnd(from int, isURL bool) int {
	stops := " \t\r\n,;|&"
	if isURL {
		stops = " \t\r\n&#"
	}
	to := p.bareEnd(from, stops)
	if at(p.s, to) == ' ' && isScheme(p.s[from:to]) {
		to = p.bareEnd(to+1, stops)
	}
	return p.insideBrackets(from, to)
}

// bareEnd is the position of the first of the stops from s[i] on, or where the quotes or the tag
// around the pair end. A quote or bracket inside the value belongs to it.
func (p *pass) bareEnd(i int, stops string) int {
	for ; i < len(p.s) && strings.IndexByte(stops, p.s[i]) < 0; i++ {
		switch p.s[i] {
		case '"', '\'', '`':
			if endsAfterQuote(p.s, i+1) {
				return i
			}
		case '>':
			if endsAfterQuote(p.s, i+1) || p.isBehindTag(i) {
				return i
			}
		case '<':
			if isTag(p.s[i+1:]) {
				return i
			}
		case '\\':
			end, ends := p.backslashes(i)
			if ends {
				return i
			}
			i = end
		}
	}
	return min(i, len(p.s))
}

// backslashes is called at the first of a run of backslashes. It reports whether what they escape
// ends a value. If not, last is the last byte that is known to belong to the value.
func (p *pass) backslashes(i int) (last int, ends bool) {
	end := backslashesEnd(p.s, i)
	if c := at(p.s, end); c == '"' || c == '\'' {
		return end, endsAfterQuote(p.s, end+1)
	}
	return end - 1, p.isEscape(i, end)
}

// headerEnd is where the value of a header ends: with its line, or with the string that contains
// it. Parameters may have quotes of their own: Cookie: a="b"; c="d".
func (p *pass) headerEnd(i int) int {
	for ; i < len(p.s) && p.s[i] != '\r' && p.s[i] != '\n'; i++ {
		if p.s[i] != '"' && p.s[i] != '\\' {
			continue
		}
		end := backslashesEnd(p.s, i)
		quote := p.s[i:min(end+1, len(p.s))]
		isParameter := at(p.s, i-1) == '='
		switch {
		case at(p.s, end) != '"':
			if p.isEscape(i, end) {
				return i
			}
			i = end - 1
		case isParameter && (strings.HasPrefix(p.s[end+1:], quote+";") || strings.HasPrefix(p.s[end+1:], quote+",")):
			i = end + len(quote)
		case endsAfterQuote(p.s, end+1):
			return i
		case isParameter:
			if closing := quoteEnd(p.s, end+1, quote); closing < len(p.s) {
				end = closing + len(quote) - 1
			}
			i = end
		default:
			i = end
		}
	}
	return min(i, len(p.s))
}

// quotedEnd is where the quoted value that begins at s[from] ends. A quote with more of the value
// behind it is doubled, as in SQL, or should have been escaped.
func (p *pass) quotedEnd(from int, quote string) int {
	end := quoteEnd(p.s, from, quote)
	for end < len(p.s) {
		after := end + len(quote)
		if len(quote) == 1 && end > from && at(p.s, after) == quote[0] && !endsAfterQuote(p.s, after+1) {
			after++ // doubled
		} else if endsAfterQuote(p.s, after) {
			return end
		}
		next := quoteEnd(p.s, after, quote)
		if next == len(p.s) || strings.ContainsAny(p.s[after:next], "=:\r\n") {
			return p.bareEnd(after, " \t\r\n,;|&")
		}
		end = next
	}
	return end
}

// backslashesEnd is where the run of backslashes at s[i] ends.
func backslashesEnd(s string, i int) int {
	for i < len(s) && s[i] == '\\' {
		i++
	}
	return i
}

// isBehindTag reports whether a tag may be open at s[i].
func (p *pass) isBehindTag(i int) bool {
	if !p.tagKnown {
		p.tag, p.tagKnown = strings.IndexByte(p.s, '<'), true
	}
	return p.tag >= 0 && p.tag < i
}

// isTag reports whether s, the text after a <, begins with a tag of HTML or XML.
func isTag(s string) bool {
	s = s[:min(len(s), maxParent)]
	name := strings.TrimPrefix(s, "/")
	return name != "" && (isAlnum(name[0]) || name[0] == '!') && strings.Contains(name, ">")
}

// isEscape reports whether the backslashes s[i:end] and the next byte are an escape in the string
// that is open there: for white space, or for a character that must be escaped in HTML. In a text
// without quotes, backslashes escape nothing.
func (p *pass) isEscape(i, end int) bool {
	if strings.IndexByte("nrtu", at(p.s, end)) < 0 || at(p.s, end) == 'u' && !strings.HasPrefix(p.s[end:], "u00") {
		return false
	}
	p.advance(i)
	if open := p.nesting.stringIn('"'); open != nil {
		size := open.escapes + 1
		return (end-i)%(2*size) == size
	}
	return false
}

// isColumn reports whether a value is a column of SQL, as in u.token=t.token.
func (p *pass) isColumn(value string) bool {
	return strings.Contains(value, ".") && allOf(value, isColumnByte) && p.keys.decide(value) == mask
}

// maxBrackets is how many closing brackets at the end of a value are left out.
const maxBrackets = 8

// insideBrackets returns the end of the value s[from:to] without the brackets that close around the
// pair.
func (p *pass) insideBrackets(from, to int) int {
	for least := max(from, to-maxBrackets); to > least && strings.IndexByte(")]}", p.s[to-1]) >= 0; to-- {
		if value := p.s[from:to]; isPlaceholder(value) || strings.HasSuffix(value, Marker) {
			break
		}
	}
	return to
}

// verdict masks s[from:to] if v is mask and the text is a value and not a placeholder. It returns
// the position at which the search continues.
func (p *pass) verdict(v verdict, from, to int) int {
	if v == mask && from >= p.done && !isPlaceholder(p.s[from:to]) {
		p.mask(from, to, Marker)
	}
	return max(to, from)
}

// percent is called at a %. The escape must not be read as a part of the number after it. It may be
// the = of a pair, in a URL that is a parameter of another URL: ?next=%2Fcart%3Ftoken%3Dabc.
func (p *pass) percent(i int) int {
	from := i + len("%XX")
	if at(p.s, i+1) == 'B' && at(p.s, digitsEnd(p.s, i+2, maxCard)) == '^' {
		return i + len("%B") // track 1 of a magnetic stripe
	}
	if !endsEscape(p.s, from) {
		return i + 1
	}
	key := p.keyBefore(i)
	if !strings.EqualFold(p.s[i:from], "%3D") || key == "" {
		return from
	}
	if v := p.keys.decide(unescaped(key)); v != mask && v != inQuery {
		return from
	}
	return p.verdict(mask, from, p.insideBrackets(from, p.escapedEnd(from)))
}

// escapedEnd is where the value of an escaped pair that begins at s[i] ends: with the URL, or
// before an escaped & or #.
func (p *pass) escapedEnd(i int) int {
	for {
		i = p.bareEnd(i, " \t\r\n&#%")
		if at(p.s, i) != '%' || strings.HasPrefix(p.s[i:], "%26") || strings.HasPrefix(p.s[i:], "%23") {
			return i
		}
		i++
	}
}

// endsEscape reports whether a %XX of a URL ends before s[i].
func endsEscape(s string, i int) bool {
	return i >= 3 && i <= len(s) && s[i-3] == '%' && isHex(s[i-2]) && isHex(s[i-1])
}

// unescaped undoes the escapes of a key in a URL: user%5Bpassword%5D.
func unescaped(key string) string {
	if plain, err := url.PathUnescape(key); err == nil {
		return plain
	}
	return key
}

// colon is called at the : of JSON, of a header, of %+v, or of a URL.
func (p *pass) colon(i int) int {
	if strings.HasPrefix(p.s[i+1:], "//") {
		return p.userinfo(i)
	}
	if end, quote := closingQuote(p.s, i); quote != "" {
		return p.member(end, i+1, quote)
	}
	if i == 0 || !isAlnum(p.s[i-1]) {
		return i + 1
	}
	key := p.keyBefore(i)
	if key == "" {
		return i + 1
	}
	v := p.keys.decide(key)
	if v == scan && p.isFieldOfDump(key, i) {
		v = p.nested(key, i-len(key))
	}
	switch v {
	case mask:
		return p.sensitiveField(key, i)
	case skip:
		return untilAny(p.s, i+1, " ,;\r\n\"}")
	}
	return i + 1
}

// sensitiveField is called at the colon after a sensitive key without quotes: of %+v, of a header,
// or of a format such as YAML.
func (p *pass) sensitiveField(key string, i int) int {
	from := i + 1
	before := at(p.s, i-len(key)-1)
	quote := quoteAt(p.s, from)
	if quote == "" && p.isFieldOfDump(key, i) {
		return p.dumped(from, before == ' ')
	}
	if isHeader(key, p.s[from:]) {
		for from < len(p.s) && p.s[from] == ' ' {
			from++
		}
		return p.verdict(mask, from, p.headerEnd(from))
	}
	structured := i == len(key) || strings.IndexByte("\n{[,(", before) >= 0
	if structured && at(p.s, from) == ' ' {
		from++
		quote = quoteAt(p.s, from)
	}
	if quote == "" {
		return i + 1
	}
	from += len(quote)
	return p.verdict(mask, from, p.quotedEnd(from, quote))
}

// isFieldOfDump reports whether the key before the colon at s[i] may be that of a field in %+v.
func (p *pass) isFieldOfDump(key string, i int) bool {
	if at(p.s, i+1) == ' ' {
		return false
	}
	before := at(p.s, i-len(key)-1)
	return before == '{' || before == '[' || before == ' ' && p.isDump()
}

// isHeader reports whether a key is written like an HTTP header. In "invalid token: unexpected end"
// it is not. HTTP/2 has all names in lower case, but "cookie: none" is a sentence.
func isHeader(key, rest string) bool {
	if key == "cookie" {
		rest = strings.TrimLeft(rest[:min(len(rest), maxKey)], " ")
		name := strings.TrimLeftFunc(rest, func(r rune) bool { return r < 0x80 && isWebTokenByte(byte(r)) })
		return name != rest && strings.HasPrefix(name, "=")
	}
	return strings.Contains(key, "-") || key == "Authorization" || key == "Cookie"
}

// member is called at a member of a JSON object. The key and this quote end before s[end]; the
// value begins at s[from] or after white space.
func (p *pass) member(end, from int, quote string) int {
	end -= len(quote)
	key := p.keyBefore(end)
	if key == "" || !strings.HasSuffix(p.s[:end-len(key)], quote) {
		return from
	}
	v := p.nested(key, end-len(key)-len(quote))
	if v != mask && v != skip {
		return from
	}
	start := from
	from = skipBlanks(p.s, from)
	switch c := at(p.s, from); {
	case strings.HasPrefix(p.s[from:], quote):
		from += len(quote)
		return p.verdict(v, from, p.quotedEnd(from, quote))
	case c == '[' || c == '{':
		to := valueEnd(p.s, from, quote)
		if inner := strings.Trim(p.s[from:to], "[]{} "); v == mask && inner != "" && inner != quote+Marker+quote {
			p.mask(from, to, quote+Marker+quote)
		}
		return to
	case isDigit(c) || c == '-':
		to := untilAny(p.s, from, ",}] \t\r\n")
		if v == mask {
			p.mask(from, to, quote+Marker+quote)
		}
		return to
	}
	return start
}

// keyBefore returns the key that ends before s[end], or its last part.
func (p *pass) keyBefore(end int) string {
	from := end
	for from > max(p.done, end-maxKey) && isKeyByte(p.s[from-1]) {
		from--
	}
	key := p.s[from:end]
	if open := strings.LastIndexByte(key, '['); open > strings.LastIndexByte(key, ']') {
		key = key[open+1:] // map[key:value]
	}
	return strings.TrimLeft(key, "-]") // --key=value
}

// isKeyByte reports whether a byte can be a part of a key. It includes the brackets of forms,
// card[number], and their escapes in URLs.
func isKeyByte(c byte) bool {
	return isAlnum(c) || c == '_' || c == '-' || c == '.' || c == '[' || c == ']' || c == '%'
}

func isColumnByte(c byte) bool { return kinds[c] == lower || isDigit(c) || c == '_' || c == '.' }

// untilAny is the position of the first of the stops from s[i] on, or the end of s.
func untilAny(s string, i int, stops string) int {
	for i < len(s) && strings.IndexByte(stops, s[i]) < 0 {
		i++
	}
	return min(i, len(s))
}

// endsAfterQuote reports whether s[i], the byte after a quote, can follow the end of a quoted
// value.
func endsAfterQuote(s string, i int) bool {
	return i >= len(s) || strings.IndexByte(" \t\r\n,;:)]}>|&<\"'`\\", s[i]) >= 0
}
