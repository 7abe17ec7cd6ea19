package logs

import (
	"fmt"
	"strings"
)

const (
	// maxDepth is how deep a value may nest. Maps, slices, structs, pointers, groups, and the
	// interfaces in between count one level each. A collector refuses a request that nests some
	// 3,000 levels.
	maxDepth = 64
	// maxElements is how many elements of maps, slices, structs and groups a record may have in all
	// its values together.
	maxElements = 10_000
	// maxBytes is how much text the maps, slices, structs, errors and other objects of a record may
	// have together. A collector takes 4 MiB over gRPC. Strings that are attributes themselves do
	// not count: they have their own limit.
	maxBytes = 1 << 20
	// maxValueElements and maxValueBytes are what one attribute may take of that, so that something
	// is left for the others.
	maxValueElements = 4_096
	maxValueBytes    = 128 << 10
)

// cutKey is the key of a note in a map or group that is cut.
const cutKey = "!CUT"

var (
	depthNote = fmt.Sprintf("!DEPTH: a value that holds itself or nests more than %d levels", maxDepth)
	cutNote   = fmt.Sprintf("!CUT: a value shows %d elements and %d bytes, a record %d and %d",
		maxValueElements, maxValueBytes, maxElements, maxBytes)
)

// budget is how many elements and bytes of text are left.
type budget struct{ elements, bytes int }

// take takes one element from the budget.
func (w *walk) take() bool {
	if w.elements <= 0 || w.bytes <= 0 {
		return false
	}
	w.elements--
	return true
}

// mustNote reports whether a container that leaves out n elements gets a note. Only the first such
// container of a value gets one.
func (w *walk) mustNote(n int) bool {
	if n == 0 || w.noted || w.deep {
		return false
	}
	w.noted = true
	return true
}

// text takes a text from the budget.
func (w *walk) text(s string) string {
	if len(s) > w.bytes {
		s = clipped(s, max(w.bytes, 0)) + "…"
		w.bytes = 0
		return s
	}
	w.bytes -= len(s)
	return s
}

func (w *walk) textNode(s string) node { return node{kind: text, text: w.text(s)} }

// number returns a JSON number, or a text if the number has to be cut.
func (w *walk) number(s string) node {
	if len(s) > w.bytes {
		return w.textNode(s)
	}
	return node{kind: literal, text: w.text(s)}
}

// clipped cuts a text between characters. The result is a copy, so that the whole text can be
// freed.
func clipped(s string, size int) string {
	for size > 0 && size < len(s) && s[size]&0xC0 == 0x80 {
		size--
	}
	return strings.Clone(s[:size])
}
