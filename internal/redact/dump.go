package redact

import "strings"

// Go's own %+v of structs and maps: {Password:hunter2 Cookies:[a b]} and map[password:hunter2].
// Nothing in it is quoted.

// isDump reports whether the text may contain a dump. "GET token:17" does not contain one.
func (p *pass) isDump() bool {
	if !p.dumpKnown {
		p.dump, p.dumpKnown = strings.Contains(p.s, "{") || strings.Contains(p.s, "map["), true
	}
	return p.dump
}

// dumped is called at the value of a sensitive field. A value without an end is masked to the end
// of the text or, if it may be in a sentence, to the end of the word.
func (p *pass) dumped(from int, inSentence bool) int {
	if strings.HasPrefix(p.s[from:], Marker) {
		return from + len(Marker)
	}
	to, ended := p.fieldEnd(from)
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

// endless is a place in a text at which the last field without an end is still open. Later fields
// at the same depth of brackets have no end either, so that the text need not be read again for
// each.
type endless struct {
	at    int // 0: every field so far has an end
	depth int // of the brackets between the beginning of the field and s[at]
}

// fieldEnd is the function fieldEnd for a field of the text, in time that is linear for all fields
// together.
func (p *pass) fieldEnd(from int) (end int, ended bool) {
	if e := &p.endless; e.at > 0 {
		for ; e.at < from; e.at++ {
			switch p.s[e.at] {
			case '[', '{':
				e.depth++
			case ']', '}':
				e.depth--
			}
		}
		if e.depth == 0 {
			return len(p.s), false
		}
	}
	if end, ended = fieldEnd(p.s, from); !ended {
		p.endless = endless{at: from}
	}
	return end, ended
}

// fieldEnd is where the field's value that begins at s[i] ends: before the next field, or the
// bracket that closes all of them. A value that opens a bracket and does not close it has the rest
// of the text.
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

// isField reports whether a key with a colon begins at s[i].
func isField(s string, i int) bool {
	from := i
	for i < len(s) && i < from+maxKey && (isAlnum(s[i]) || s[i] == '_' || s[i] == '-' || s[i] == '.') {
		i++
	}
	return i > from && at(s, i) == ':'
}
