package redact

import (
	"slices"
	"strings"
	"sync"
)

// nesting follows the objects that are open at a place in a text, of JSON and of Go's %+v, so that
// a key is read together with the keys around it: {"api":{"key":"x"}}. It reads a text once, and
// only as far as needed. A string is a level too: JSON inside it has levels of its own, and a
// bracket inside it closes none outside.
type nesting struct {
	at       int // s[:at] has been read
	levels   []level
	strings  int     // one more than the index of the innermost string
	tooDeep  int     // brackets that are open beyond maxLevels
	opened   []place // the keys of the last objects, including closed ones
	odd      bool    // there is a bracket where %+v has none, so it belongs to a text
	valueAt  int     // where the value of valueKey begins
	valueKey place
}

type level struct {
	kind    levelKind
	quote   byte // of a string
	escapes int  // the backslashes before the quote
	outer   int  // of a string: nesting.strings outside of it
	key     place
}

type levelKind uint8

const (
	object levelKind = iota
	array
	str
)

// place is where a key is in the text. The first value of the text has the key of the label.
type place struct{ from, to int }

var ofLabel = place{-1, -1}

const (
	// maxLevels is how deep values may nest, as in encoding/json.
	maxLevels = 10_000
	// maxStrings is how many of the innermost open strings are looked at.
	maxStrings = 8
	// maxOpened is how many of the last objects are remembered.
	maxOpened = 16
	// maxPath is how many of the innermost levels are looked at: no term has so many words.
	maxPath = 64
	// maxParent is how long the key of an object may be, in bytes.
	maxParent = 4 * maxKey
)

// nested returns the verdict on a key that begins at s[from], including its quote.
func (p *pass) nested(key string, from int) verdict {
	v := p.keys.decide(key)
	if v != scan || !p.keys.mayEnd(key) {
		return v
	}
	p.advance(from)
	var room [8]string
	if path := p.nesting.path(p.s, p.label, room[:0]); len(path) > 0 {
		v = p.keys.decideIn(path, key)
	}
	if isBare := isKeyByte(at(p.s, from)); v == scan && isBare && p.belowAny(key) && p.isOdd() {
		return mask
	}
	return v
}

// decideIn decides by a key and the keys of the objects around it.
func (k *keys) decideIn(path []string, key string) verdict {
	var room [2 * maxKey]byte
	b := room[:0]
	for _, parent := range path[firstOf(path, key):] {
		b = append(append(b, parent[max(0, len(parent)-maxKey):]...), '.')
	}
	b = append(b, key...)
	return k.decide(string(b[max(0, len(b)-maxKey):]))
}

var nestings = sync.Pool{New: func() any { return &nesting{levels: make([]level, 0, 16)} }}

// free returns the nesting to the pool for another text.
func (n *nesting) free() {
	if cap(n.levels) <= maxPath {
		*n = nesting{levels: n.levels[:0], opened: n.opened[:0]}
		nestings.Put(n)
	}
}

// advance reads the text up to a position.
func (p *pass) advance(to int) {
	if p.nesting == nil {
		p.nesting = nestings.Get().(*nesting)
	}
	p.nesting.advance(p.s, to)
}

// isOdd reports whether brackets in the text do not match. In %+v, where texts are not quoted, they
// may belong to a text. Then no key is certain to be outside of an object.
func (p *pass) isOdd() bool {
	if !p.oddKnown {
		whole := nestings.Get().(*nesting)
		whole.advance(p.s, len(p.s))
		p.odd, p.oddKnown = whole.odd || len(whole.levels) > 0, true
		whole.free()
	}
	return p.odd
}

// belowAny reports whether a key is sensitive in any of the last objects.
func (p *pass) belowAny(key string) bool {
	for _, parent := range p.nesting.opened {
		if p.keys.decide(p.s[parent.from:parent.to]+"."+key) == mask {
			return true
		}
	}
	return false
}

// joined is a key after the keys of the objects around it, or as much of its end as decides.
func joined(path []string, key string) string {
	return strings.Join(path[firstOf(path, key):], ".") + "." + key
}

// firstOf is the index of the outermost key in the path that can decide: the keys from there on,
// and the key itself, have more than maxKey bytes, or it is 0.
func firstOf(path []string, key string) int {
	first, size := len(path), len(key)
	for first > 0 && size <= maxKey {
		first--
		size += len(path[first])
	}
	return first
}

// path appends the keys of the open objects, outermost first.
func (n *nesting) path(s string, l label, path []string) []string {
	start := len(path)
	for i := len(n.levels) - 1; i >= max(0, len(n.levels)-maxPath) && n.tooDeep == 0; i-- {
		level := &n.levels[i]
		if level.kind != object {
			continue
		}
		if level.key == ofLabel {
			path = append(path, l.key)
			for _, key := range slices.Backward(l.path) {
				path = append(path, key)
			}
		}
		if level.key.to <= 0 {
			break
		}
		path = append(path, s[level.key.from:level.key.to])
	}
	slices.Reverse(path[start:])
	return path
}

// nests marks the bytes that advance looks at.
var nests = func() (table [256]bool) {
	for _, c := range []byte("{}[]:=\"'") {
		table[c] = true
	}
	return table
}()

// advance reads s up to the position to, or slightly further.
func (n *nesting) advance(s string, to int) {
	if n.at == 0 {
		n.valueKey = ofLabel
		for isBlank(at(s, n.valueAt)) && n.valueAt < len(s) {
			n.valueAt++
		}
	}
	for n.at < to {
		i := n.at
		n.at++
		if !nests[s[i]] {
			continue
		}
		switch s[i] {
		case '{', '[':
			n.open(s, i)
		case '}', ']':
			n.close()
		case ':', '=':
			n.valueKey, n.valueAt = bareKey(s, i), i+1
			if at(s, i+1) == ' ' {
				n.valueAt++
			}
		default:
			n.quote(s, i)
		}
	}
}

func (n *nesting) open(s string, i int) {
	kind, from := object, i
	if s[i] == '[' {
		if kind = array; strings.HasSuffix(s[:i], "map") {
			kind, from = object, i-len("map")
		}
	}
	if at(s, from-1) == '&' {
		from--
	}
	if len(n.levels) >= maxLevels {
		n.tooDeep++
		return
	}
	key := n.keyOf(from)
	n.odd = n.odd || key == place{} && len(n.levels) > 0
	n.levels = append(n.levels, level{kind: kind, key: key})
	if key.to <= 0 {
		return
	}
	if len(n.opened) == maxOpened {
		n.opened = append(n.opened[:0], n.opened[maxOpened/2:]...)
	}
	n.opened = append(n.opened, key)
}

// keyOf is the key of the value that begins at a position. An array gives its key to its elements.
func (n *nesting) keyOf(from int) place {
	if from == n.valueAt {
		return n.valueKey
	}
	if last := len(n.levels) - 1; last >= 0 && n.levels[last].kind == array {
		return n.levels[last].key
	}
	return place{}
}

func (n *nesting) close() {
	last := len(n.levels) - 1
	n.odd = n.odd || last < 0
	switch {
	case n.tooDeep > 0:
		n.tooDeep--
	case last >= 0 && n.levels[last].kind != str:
		n.levels = n.levels[:last]
	}
}

// quote is called at a quote, which begins a key, or begins or ends a string.
func (n *nesting) quote(s string, i int) {
	from := i
	for from > 0 && s[from-1] == '\\' {
		from--
	}
	escapes, before := i-from, from
	for before > 0 && before > from-maxBlanks && isBlank(s[before-1]) {
		before--
	}
	opens := strings.IndexByte("{,", at(s, before-1)) >= 0
	if opens && before > 0 && n.member(s, from, i) || n.closeString(s, i, escapes) {
		return
	}
	if opens || before < from || before == 0 || strings.IndexByte("[(:=", at(s, before-1)) >= 0 {
		n.openString(s, from, i)
	}
}

// member reads a key whose quote is s[from:i+1]. It returns false if no key starts there.
func (n *nesting) member(s string, from, i int) bool {
	quote := quoteAt(s, from)
	if from+len(quote) != i+1 {
		return false
	}
	end := quoteEnd(s[:min(len(s), i+1+maxParent)], i+1, quote)
	if !strings.HasPrefix(s[end:], quote) {
		return false
	}
	value := skipBlanks(s, end+len(quote))
	if value >= len(s) || s[value] != ':' {
		return false
	}
	n.valueKey, n.valueAt = place{i + 1, end}, skipBlanks(s, value+1)
	n.at = n.valueAt
	if strings.HasPrefix(s[n.at:], quote) {
		n.openString(s, n.at, n.at+len(quote)-1)
	}
	return true
}

// skipBlanks is the position after the white space at s[i], of which it skips at most maxBlanks.
func skipBlanks(s string, i int) int {
	for most := i + maxBlanks; i < len(s) && i < most && isBlank(s[i]); {
		i++
	}
	return i
}

// openString opens the string whose quote, with its backslashes, is s[from:i+1].
func (n *nesting) openString(s string, from, i int) {
	if escapes := i - from; (escapes < 2 || escapes == 3) && len(n.levels) < maxLevels {
		key := n.keyOf(from)
		n.levels = append(n.levels, level{str, s[i], escapes, n.strings, key})
		n.strings = len(n.levels)
		n.valueKey, n.valueAt = key, i+1
	}
	n.at = i + 1
}

// closeString closes the innermost string that the quote at s[i] can end. It returns false if the
// quote does not end any.
func (n *nesting) closeString(s string, i, escapes int) bool {
	if s[i] == '\'' && !endsAfterQuote(s, i+1) {
		return false
	}
	looked := 0
	for at := n.strings; at > 0 && looked < maxStrings; looked++ {
		level := &n.levels[at-1]
		if expected := level.escapes; level.quote == s[i] && escapes%(2*(expected+1)) == expected {
			n.levels, n.tooDeep, n.strings = n.levels[:at-1], 0, level.outer
			return true
		}
		at = level.outer
	}
	return false
}

// stringIn returns the innermost open string in quotes of this kind, or nil.
func (n *nesting) stringIn(quote byte) *level {
	looked := 0
	for at := n.strings; at > 0 && looked < maxStrings; looked++ {
		level := &n.levels[at-1]
		if level.quote == quote {
			return level
		}
		at = level.outer
	}
	return nil
}

// bareKey is the key before the colon or equals sign at s[i].
func bareKey(s string, i int) place {
	end := i
	if from, quote := closingQuote(s, i); quote != "" {
		end = from - len(quote)
	}
	from := end
	for from > 0 && from > end-maxKey && isKeyByte(s[from-1]) && s[from-1] != '[' && s[from-1] != ']' {
		from--
	}
	return place{from, end}
}
