package console

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// style is the parameter of an ANSI SGR sequence; plain text has none.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
)

// piece is text in one style. Its text is printable: text of the service goes through clean first.
type piece struct {
	text  string
	style style
}

// line is one line of a block, without its end.
type line []piece

func (l line) width() int {
	n := 0
	for _, p := range l {
		n += columns(p.text)
	}
	return n
}

// text returns the line without its styles.
func text(l line) string {
	var b strings.Builder
	for _, p := range l {
		b.WriteString(p.text)
	}
	return b.String()
}

// fit cuts the line to n columns, with an ellipsis as the last one, or fills it up with blanks.
func (l line) fit(n int) line {
	free := n - l.width()
	if free >= 0 {
		return append(l[:len(l):len(l)], piece{text: strings.Repeat(" ", free)})
	}
	return l.cut(n)
}

func (l line) cut(n int) line {
	if l.width() <= n {
		return l
	}
	var kept line
	left := n - 1 // for the ellipsis
	for _, p := range l {
		text := firstColumns(p.text, left)
		left -= columns(text)
		kept = append(kept, piece{text, p.style})
		if text != p.text {
			kept = append(kept, piece{"…", p.style})
			break
		}
	}
	return kept.fit(n) // a wide rune that did not fit leaves a column free
}

func (l line) render(b *strings.Builder, color bool) {
	var text strings.Builder
	for _, p := range l {
		switch {
		case p.text == "":
		case color && p.style != plain:
			fmt.Fprintf(&text, "\x1b[%sm%s\x1b[0m", p.style, p.text)
		default:
			text.WriteString(p.text)
		}
	}
	b.WriteString(strings.TrimRight(text.String(), " "))
	b.WriteByte('\n')
}

// columns returns how many columns of a terminal the text takes.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case r < utf8.RuneSelf:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func firstColumns(text string, n int) string {
	for i, r := range text {
		if n -= runeColumns(r); n < 0 {
			return text[:i]
		}
	}
	return text
}

// lastColumns returns the end of a text, at most n columns wide.
func lastColumns(text string, n int) string {
	for i := len(text); i > 0; {
		r, size := utf8.DecodeLastRuneInString(text[:i])
		if n -= runeColumns(r); n < 0 {
			return text[i:]
		}
		i -= size
	}
	return text
}

// maxText is how much of a service's text is shown in a tree or a table, in bytes. It bounds the
// memory, too.
const maxText = 300

// short is clean, cut to maxText.
func short(text string) string { return clean(clip(text)) }

// clip cuts to maxText. A text that it has cut is a copy.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// clean escapes characters that control the terminal, or that hide or reorder text: control
// characters, line ends, escape sequences, bidirectional overrides, invalid UTF-8. The result has
// no more than one line.
func clean(text string) string {
	if isPrintable(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

func isPrintable(text string) bool {
	for _, r := range text {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}
