package redact

import "strings"

// assignment is at the = of a pair in a text: the query of a URL, a form, a connection string, logfmt, TOML, SQL. Spaces
// around it are allowed before a quoted value only.
func (p *pass) assignment(i int) int {
	end, from := i, i+1
	if i > 0 && p.s[i-1] == ' ' {
		end--
	}
	if from < len(p.s) && p.s[from] == ' ' {
		from++
	}
	quote := quoteAt(p.s, from)
	if quote == "" && (end != i || from != i+1) {
		return i + 1
	}
	key := p.keyBefore(end)
	if key == "" {
		return i + 1
	}
	before := at(p.s, end-len(key)-1)
	query := before == '?' || before == '&' || end == len(key)
	v := p.keys.decide(key)
	if v == inQuery && query {
		v = mask
	}
	switch v {
	case mask, skip:
	default:
		return i + 1
	}
	if quote != "" {
		from += len(quote)
		to := quoteEnd(p.s, from, quote)
		return p.verdict(v, from, to)
	}
	stops := " \t\r\n,;|&\"'`<>\\"
	if before == '?' || before == '&' {
		stops = " \t\r\n&#\"'`<>\\"
	}
	to := untilAny(p.s, from, stops)
	for to > from && strings.IndexByte(")]}", p.s[to-1]) >= 0 && !isPlaceholder(p.s[from:to]) && !strings.HasSuffix(p.s[from:to], Marker) {
		to-- // what closes a bracket around the pair
	}
	if value := p.s[from:to]; v == mask && !query && strings.Contains(value, ".") && allOf(value, isColumnByte) && p.keys.decide(value) == mask {
		return to // a comparison of columns: u.token=t.token
	}
	return p.verdict(v, from, to)
}

// verdict masks s[from:to], if that is what v says and it is a value; it returns to.
func (p *pass) verdict(v verdict, from, to int) int {
	if v == mask && from >= p.done && !isPlaceholder(p.s[from:to]) {
		p.mask(from, to, Marker)
	}
	return max(to, from)
}

// colon is at a : of JSON, of a header, of %+v, or of a URL.
func (p *pass) colon(i int) int {
	if strings.HasPrefix(p.s[i+1:], "//") {
		return p.userinfo(i)
	}
	if quote := closingQuote(p.s, i); quote != "" {
		return p.member(i, quote)
	}
	if i == 0 || !isAlnum(p.s[i-1]) {
		return i + 1
	}
	key := p.keyBefore(i)
	if v := p.keys.decide(key); key == "" || v != mask && v != skip {
		return i + 1
	} else if v == skip {
		return untilAny(p.s, i+1, " ,;\r\n\"}")
	}
	before := at(p.s, i-len(key)-1)
	if isHeader(key, at(p.s, i+1)) {
		from := i + 1
		for at(p.s, from) == ' ' && from < len(p.s) {
			from++
		}
		return p.verdict(mask, from, untilAny(p.s, from, "\r\n\\\""))
	}
	from := i + 1
	structured := i == len(key) || strings.IndexByte("\n{[,(", before) >= 0
	if structured && at(p.s, from) == ' ' {
		from++
	}
	if quote := quoteAt(p.s, from); quote != "" {
		from += len(quote)
		return p.verdict(mask, from, quoteEnd(p.s, from, quote))
	}
	// {Password:hunter2 Cookies:[a b]} and map[password:hunter2]
	if from != i+1 || !(before == '{' || before == '[' || before == ' ' && p.isDump()) {
		return i + 1
	}
	if at(p.s, from) == '[' && !strings.HasPrefix(p.s[from:], Marker) {
		if from++; strings.HasPrefix(p.s[from:], Marker) {
			return from
		}
		return p.verdict(mask, from, untilAny(p.s, from, "]"))
	}
	if at(p.s, from) == '{' || strings.HasPrefix(p.s[from:], "map[") || strings.HasPrefix(p.s[from:], "&{") {
		return from
	}
	if strings.HasPrefix(p.s[from:], Marker) {
		return from + len(Marker)
	}
	return p.verdict(mask, from, untilAny(p.s, from, " \t\r\n,}])"))
}

// isDump tells whether Go's own %+v of a struct or map may be in the text. In "GET token:17" it is not.
func (p *pass) isDump() bool {
	if !p.dumpKnown {
		p.dump, p.dumpKnown = strings.Contains(p.s, "{") || strings.Contains(p.s, "map["), true
	}
	return p.dump
}

// isHeader tells whether a key is written as HTTP headers are. In "invalid token: unexpected end" it is not.
func isHeader(key string, next byte) bool {
	if next == '[' || next == '{' {
		return false
	}
	return strings.Contains(key, "-") || key == "Authorization" || key == "Cookie"
}

// member is at the colon of a member of a JSON object, whose key has this quote behind it; in a JSON string that holds
// JSON the quote is \".
func (p *pass) member(i int, quote string) int {
	end := i - len(quote)
	key := p.keyBefore(end)
	if key == "" || !strings.HasSuffix(p.s[:end-len(key)], quote) {
		return i + 1
	}
	v := p.keys.decide(key)
	if v != mask && v != skip {
		return i + 1
	}
	from := i + 1
	for from < len(p.s) && from < i+16 && strings.IndexByte(" \t\r\n", p.s[from]) >= 0 {
		from++
	}
	switch c := at(p.s, from); {
	case strings.HasPrefix(p.s[from:], quote):
		from += len(quote)
		return p.verdict(v, from, quoteEnd(p.s, from, quote))
	case c == '[' || c == '{':
		to := valueEnd(p.s, from)
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
	return i + 1
}

// valueEnd is the end of the JSON array or object that begins at s[i].
func valueEnd(s string, i int) int {
	depth, inString := 0, false
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && at(s, i+1) != '"':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// keyBefore is the key that ends before s[end], of which the last part may be all that matters.
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

// isKeyByte also takes the brackets of forms: card[number].
func isKeyByte(c byte) bool {
	return isAlnum(c) || c == '_' || c == '-' || c == '.' || c == '[' || c == ']'
}

func isColumnByte(c byte) bool { return kinds[c] == lower || isDigit(c) || c == '_' || c == '.' }

// quoteAt is the quote that stands at s[i], "" if none does.
func quoteAt(s string, i int) string {
	switch at(s, i) {
	case '"':
		return `"`
	case '\'':
		return `'`
	case '\\':
		if at(s, i+1) == '"' {
			return `\"`
		}
	}
	return ""
}

// closingQuote is the quote that ends before s[i].
func closingQuote(s string, i int) string {
	switch {
	case at(s, i-1) == '\'':
		return `'`
	case at(s, i-1) != '"':
		return ""
	case at(s, i-2) == '\\':
		return `\"`
	}
	return `"`
}

// quoteEnd is where the quoted value that begins at s[i] ends; without a closing quote it is the end of the text.
func quoteEnd(s string, i int, quote string) int {
	if len(quote) == 2 {
		if n := strings.Index(s[i:], quote); n >= 0 {
			return i + n
		}
		return len(s)
	}
	for ; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		} else if s[i] == quote[0] {
			return i
		}
	}
	return len(s)
}

func untilAny(s string, i int, stops string) int {
	for i < len(s) && strings.IndexByte(stops, s[i]) < 0 {
		i++
	}
	return min(i, len(s))
}
