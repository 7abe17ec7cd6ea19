package redact

import "strings"

// Marker replaces what is masked as a whole. Not even the last four digits of a card number are
// shown, although PCI DSS would allow it.
const Marker = "[redacted]"

// The bytes at which something sensitive can begin, or that say what is beside them.
const (
	number  = 1 << iota // a card or an IBAN
	equals              // key=value
	colon               // JSON, a header, a URL with userinfo
	scheme              // the b of Bearer and Basic
	space               // follows them
	capital             // the J in the "eyJ" that begins every JSON Web Token
	atSign              // user:password@tcp(host)
	percent             // an escape of a URL
	plain   = 0
)

var marks = func() (table [256]uint8) {
	for c := '0'; c <= '9'; c++ {
		table[c] = number
	}
	table['='], table[':'], table['J'], table['@'], table['%'] = equals, colon, capital, atSign, percent
	table['b'], table['B'], table[' '] = scheme, scheme, space
	return table
}()

// leastDigits is the least number of digits in a text with a card number or an IBAN.
const leastDigits = 12

// isHarmless reports, in one pass, whether a text can hold nothing sensitive. Most attributes are
// harmless.
func isHarmless(s string) bool {
	if len(s) < 4 {
		return true
	}
	var seen, digits uint8
	for i := range len(s) {
		m := marks[s[i]]
		seen |= m
		if digits += m & number; digits >= leastDigits {
			return isPlainWord(s)
		}
	}
	if seen&scheme == 0 || seen&space == 0 {
		seen &^= scheme | space
	}
	return seen&^number == 0
}

// isPlainWord reports whether a text is one word of lower-case letters and digits without a long
// number. Nearly all hexadecimal ids are such words: of traces, spans, commits. Nothing sensitive
// is.
func isPlainWord(s string) bool {
	run := 0
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			if run++; run >= leastDigits {
				return false
			}
		case c >= 'a' && c <= 'z':
			run = 0
		default:
			return false
		}
	}
	return true
}

// maxPasses limits how often a text is searched: some parts are recognized only after the text
// beside them is masked.
const maxPasses = 4

// Text returns s with everything sensitive masked, and the number of masked parts. A text without
// any is returned as it is.
func (r *Redactor) Text(s string) (masked string, hits int) { return r.text(label{}, s) }

// text is Text for the value under a key.
func (r *Redactor) text(l label, s string) (masked string, hits int) {
	masked = s
	if !isHarmless(s) {
		masked, hits = r.found(l, s)
	}
	if len(r.patterns) > 0 {
		var n int
		masked, n = r.given(masked)
		hits += n
	}
	return masked, hits
}

// found masks what find finds. If that panics, the whole text is masked: it must neither be lost
// nor leak.
func (r *Redactor) found(l label, s string) (masked string, hits int) {
	defer func() {
		if recover() != nil {
			masked, hits = Marker, 1
		}
	}()
	return r.find(l, s)
}

// find searches the text until a pass finds nothing, at most maxPasses times.
func (r *Redactor) find(l label, s string) (masked string, hits int) {
	for range maxPasses {
		p := pass{keys: r.keys, label: l, s: s}
		p.run()
		if p.nesting != nil {
			p.nesting.free()
		}
		if p.hits == 0 {
			break
		}
		s = p.result()
		hits += p.hits
	}
	return s, hits
}

// pass is one search through a text, from left to right. It calls a method for each byte that marks
// lists: number at a digit, assignment at an equals sign, and so on. The method returns the
// position at which the search continues.
type pass struct {
	keys  *keys
	label label // of s
	s     string
	out   strings.Builder
	done  int // s[:done] is in out
	hits  int

	dump, dumpKnown bool // see isDump
	odd, oddKnown   bool // see isOdd
	tag             int  // where the first < is; below zero: nowhere
	tagKnown        bool
	list, listKnown bool     // see isListOfIdentifiers
	endless         endless  // see fieldEnd
	nesting         *nesting // nil before it is needed
}

func (p *pass) run() {
	for i := 0; i < len(p.s); {
		switch marks[p.s[i]] {
		case plain, space:
			i++
		case number:
			i = p.number(i)
		case equals:
			i = p.assignment(i)
		case colon:
			i = p.colon(i)
		case scheme:
			i = p.scheme(i)
		case capital:
			i = p.webToken(i)
		case atSign:
			i = p.address(i)
		case percent:
			i = p.percent(i)
		}
	}
}

// mask replaces s[from:to] with the marker and returns to. Parts that are masked already stay as
// they are.
func (p *pass) mask(from, to int, marker string) int {
	p.out.WriteString(p.s[p.done:max(from, p.done)])
	p.out.WriteString(marker)
	p.done = to
	p.hits++
	return to
}

func (p *pass) result() string {
	p.out.WriteString(p.s[p.done:])
	return p.out.String()
}

// number is called at the first of a run of digits.
func (p *pass) number(i int) int {
	runEnd := digitsEnd(p.s, i, len(p.s))
	if i >= p.done+2 && kinds[p.s[i-1]] == upper && kinds[p.s[i-2]] == upper && runEnd-i >= 2 {
		if end, found := ibanAt(p.s, i-2); found {
			return p.mask(i-2, end, Marker)
		}
	}
	if end, bare, found := cardAt(p.s, i, runEnd); found && !(bare && p.isIdentifier(i)) {
		quote := "" // where JSON has a number, the marker has to be a string
		colon := i - 1
		if at(p.s, colon) == ' ' {
			colon--
		}
		if at(p.s, colon) == ':' {
			_, quote = closingQuote(p.s, colon)
		}
		return p.mask(i, end, quote+Marker+quote)
	}
	return runEnd
}

// scheme is called at a b. After "Bearer" or "Basic" there may be credentials (RFC 6750, RFC 7617).
func (p *pass) scheme(i int) int {
	basic := hasPrefixFold(p.s[i:], "basic ")
	if !basic && !hasPrefixFold(p.s[i:], "bearer ") || isAlnum(at(p.s, i-1)) {
		return i + 1
	}
	from := i + len("bearer ")
	if basic {
		from = i + len("basic ")
	}
	to := from
	for to < len(p.s) && isTokenByte(p.s[to]) {
		to++
	}
	token := p.s[from:to]
	if basic && isBasic(token) || !basic && isBearer(token) {
		return p.mask(from, to, Marker)
	}
	return from
}

// webToken is called at a J (RFC 7519: the header of a token is a JSON object, and {" is eyJ in
// base64url).
func (p *pass) webToken(i int) int {
	if i < p.done+2 || p.s[i-2:i] != "ey" || isWebTokenByte(at(p.s, i-3)) {
		return i + 1
	}
	dots, to := 0, i+1
	for to < len(p.s) && isWebTokenByte(p.s[to]) {
		if p.s[to] == '.' {
			dots++
		}
		to++
	}
	if dots < 2 || to-i < 16 {
		return i + 1
	}
	for p.s[to-1] == '.' {
		to--
	}
	return p.mask(i-2, to, Marker)
}

// userinfo is called at the colon of "://". It masks user and password, as the semantic conventions
// ask for url.full. A user alone is a secret in HTTP only, where tokens are passed that way.
func (p *pass) userinfo(i int) int {
	from := i + len("://")
	to, last := from, -1
	for to < len(p.s) && !strings.ContainsRune("/?#\"'`<>\\ \t\r\n", rune(p.s[to])) {
		if p.s[to] == '@' {
			last = to
		}
		to++
	}
	if last <= from {
		return from
	}
	user, password, both := strings.Cut(p.s[from:last], ":")
	isHTTP := endsWithWord(p.s[:i], "https") || endsWithWord(p.s[:i], "http")
	if both && isPlaceholder(password) || !both && (!isHTTP || isPlaceholder(user)) {
		return from
	}
	return p.mask(from, last, Marker)
}

// maxAddress is how many bytes before the @ of a database address are searched for the user.
const maxAddress = 128

// address is called at an @. MySQL's drivers have user:password before it.
func (p *pass) address(i int) int {
	if rest := p.s[i+1:]; !strings.HasPrefix(rest, "tcp(") && !strings.HasPrefix(rest, "unix(") &&
		!strings.HasPrefix(rest, "(") {
		return i + 1
	}
	from := max(p.done, i-maxAddress)
	from += strings.LastIndexAny(p.s[from:i], " \t\r\n\"'`") + 1
	user, password, found := strings.Cut(p.s[from:i], ":")
	if !found || isPlaceholder(password) {
		return i + 1
	}
	p.mask(from+len(user)+1, i, Marker)
	return i + 1
}
