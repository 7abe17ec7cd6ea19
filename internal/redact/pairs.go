package redact

import (
	"net/url"
	"strings"
)

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
	v := p.keys.decide(unescaped(key))
	if v == inQuery && query {
		v = mask
	}
	if v != mask && v != skip {
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
	if at(p.s, to) == ' ' && isScheme(p.s[from:to]) {
		to = untilAny(p.s, to+1, stops)
	}
	to = p.insideBrackets(from, to)
	if value := p.s[from:to]; v == mask && !query && strings.Contains(value, ".") && allOf(value, isColumnByte) && p.keys.decide(value) == mask {
		return to // a comparison of columns: u.token=t.token
	}
	return p.verdict(v, from, to)
}

// maxBrackets is how many brackets are looked at from behind.
const maxBrackets = 8

// insideBrackets leaves out of the value s[from:to] what closes brackets around the pair.
func (p *pass) insideBrackets(from, to int) int {
	for least := max(from, to-maxBrackets); to > least && strings.IndexByte(")]}", p.s[to-1]) >= 0; to-- {
		if value := p.s[from:to]; isPlaceholder(value) || strings.HasSuffix(value, Marker) {
			break
		}
	}
	return to
}

// verdict masks s[from:to], if that is what v says and it is a value; it returns to.
func (p *pass) verdict(v verdict, from, to int) int {
	if v == mask && from >= p.done && !isPlaceholder(p.s[from:to]) {
		p.mask(from, to, Marker)
	}
	return max(to, from)
}

// percent is at a %. In front of a digit it would be a part of the number, and the = of a pair may be written so, too: in
// the URL that a parameter of another one holds, ?next=%2Fcart%3Ftoken%3Dabc.
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
	to := from
	for to < len(p.s) && strings.IndexByte(" \t\r\n&#\"'`<>\\", p.s[to]) < 0 && !strings.HasPrefix(p.s[to:], "%26") && !strings.HasPrefix(p.s[to:], "%23") {
		to++
	}
	return p.verdict(mask, from, p.insideBrackets(from, to))
}

// endsEscape tells whether a %XX of a URL ends before s[i].
func endsEscape(s string, i int) bool {
	return i >= 3 && i <= len(s) && s[i-3] == '%' && isHex(s[i-2]) && isHex(s[i-1])
}

// unescaped is a key as it was before it was put into a URL: user%5Bpassword%5D.
func unescaped(key string) string {
	if plain, err := url.PathUnescape(key); err == nil {
		return plain
	}
	return key
}

// colon is at a : of JSON, of a header, of %+v, or of a URL.
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
	if v := p.keys.decide(key); key == "" || v != mask && v != skip {
		return i + 1
	} else if v == skip {
		return untilAny(p.s, i+1, " ,;\r\n\"}")
	}
	from, before := i+1, at(p.s, i-len(key)-1)
	quote := quoteAt(p.s, from)
	if quote == "" && at(p.s, from) != ' ' && (before == '{' || before == '[' || before == ' ' && p.isDump()) {
		return p.dumped(from, before == ' ')
	}
	if isHeader(key, p.s[from:]) {
		for at(p.s, from) == ' ' && from < len(p.s) {
			from++
		}
		return p.verdict(mask, from, untilAny(p.s, from, "\r\n\\\""))
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
	return p.verdict(mask, from, quoteEnd(p.s, from, quote))
}

// isHeader tells whether a key is written as HTTP headers are. In "invalid token: unexpected end" it is not. HTTP/2 has all
// names in lower case, but "cookie: none" is a sentence.
func isHeader(key, rest string) bool {
	if key == "cookie" {
		rest = strings.TrimLeft(rest[:min(len(rest), maxKey)], " ")
		name := strings.TrimLeftFunc(rest, func(r rune) bool { return r < 0x80 && isWebTokenByte(byte(r)) })
		return name != rest && strings.HasPrefix(name, "=")
	}
	return strings.Contains(key, "-") || key == "Authorization" || key == "Cookie"
}

// member is at a member of a JSON object: the key and this quote end before s[end], its value begins at s[from] or behind
// white space.
func (p *pass) member(end, from int, quote string) int {
	end -= len(quote)
	key := p.keyBefore(end)
	if key == "" || !strings.HasSuffix(p.s[:end-len(key)], quote) {
		return from
	}
	v := p.keys.decide(key)
	if v != mask && v != skip {
		return from
	}
	start := from
	for from < len(p.s) && from < start+maxBlanks && isBlank(p.s[from]) {
		from++
	}
	switch c := at(p.s, from); {
	case strings.HasPrefix(p.s[from:], quote):
		from += len(quote)
		return p.verdict(v, from, quoteEnd(p.s, from, quote))
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

// isKeyByte also takes the brackets of forms, card[number], and what URLs write for them.
func isKeyByte(c byte) bool {
	return isAlnum(c) || c == '_' || c == '-' || c == '.' || c == '[' || c == ']' || c == '%'
}

func isColumnByte(c byte) bool { return kinds[c] == lower || isDigit(c) || c == '_' || c == '.' }

func untilAny(s string, i int, stops string) int {
	for i < len(s) && strings.IndexByte(stops, s[i]) < 0 {
		i++
	}
	return min(i, len(s))
}
