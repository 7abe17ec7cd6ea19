package redact

import "strings"

// Go's own %+v of structs and maps: {Password:hunter2 Cookies:[a b]} and map[password:hunter2]. Nothing in it is quoted.

// isDump tells whether a dump may be in the text. In "GET token:17" it is not.
func (p *pass) isDump() bool {
	if !p.dumpKnown {
		p.dump, p.dumpKnown = strings.Contains(p.s, "{") || strings.Contains(p.s, "map["), true
	}
	return p.dump
}

// dumped is at the value of a field. One that nothing ends is masked to the end of the text, or, if it may as well stand
// in a sentence, to the end of the word.
func (p *pass) dumped(from int, inSentence bool) int {
	if strings.HasPrefix(p.s[from:], Marker) {
		return from + len(Marker)
	}
	to, ended := fieldEnd(p.s, from)
	if !ended && inSentence {
		to = untilAny(p.s, from, " \t\r\n,}])")
	}
	value := p.s[from:to]
	switch {
	case value == "[]" || value == "{}" || value == "map[]":
		return to
	case strings.HasPrefix(value, "{"): // no placeholder here
		return p.mask(from, to, Marker)
	}
	return p.verdict(mask, from, to)
}

// fieldEnd is where the field's value that begins at s[i] ends: before the next field, or the bracket that closes all of
// them. A value that opens a bracket and does not close it has the rest of the text.
func fieldEnd(s string, i int) (end int, ended bool) {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '[', '{':
			depth++
		case ']', '}':
			if depth == 0 {
				return i, true
			}
			depth--
		case ' ', ',':
			if depth == 0 && isField(s, i+1) {
				return i, true
			}
		}
	}
	return i, depth > 0
}

func isField(s string, i int) bool {
	from := i
	for i < len(s) && i < from+maxKey && (isAlnum(s[i]) || s[i] == '_' || s[i] == '-' || s[i] == '.') {
		i++
	}
	return i > from && at(s, i) == ':'
}
