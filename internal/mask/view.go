package mask

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// view is a text in one of the forms in which it may have a secret: as it is, or decoded.
type view struct {
	text []byte
	from []int // where each byte comes from; one more for the end
}

// views returns the text as it is, percent-decoded, unescaped, both in either order, and
// form-decoded, all folded. Views that are equal to another are omitted.
func views(text string) []view {
	plain := view{[]byte(text), make([]int, len(text)+1)}
	for i := range plain.from {
		plain.from[i] = i
	}
	all := []view{plain}
	grow := func(v view, decode func([]byte) (decoded []byte, used int)) view {
		d := v.decoded(decode)
		if len(d.text) < len(v.text) {
			all = append(all, d)
		}
		return d
	}
	if strings.ContainsAny(text, `%\`) {
		percent := grow(plain, percentDecoded)
		grow(percent, unescaped)
		escapes := grow(plain, unescaped)
		grow(escapes, percentDecoded)
		grow(escapes, unescaped) // a quotation in a quotation
		grow(percent, percentDecoded)
	}
	if strings.ContainsRune(text, '+') {
		all = append(all, plain.decoded(formDecoded))
	}
	for i := range all {
		all[i] = all[i].folded()
	}
	return all
}

// formDecoded decodes one byte of a query or form, where a plus is a space.
func formDecoded(text []byte) (decoded []byte, used int) {
	if text[0] == '+' {
		return []byte{' '}, 1
	}
	return percentDecoded(text)
}

// find adds the places of the secret, or of a prefix of it, in the text of which v is a view.
func (v view) find(secret, public string, found []span) []span {
	head := secret
	// a prefix with a space, such as "Bearer e", would match too much
	if len(secret) > minPrefix && !strings.ContainsFunc(secret, unicode.IsSpace) {
		head = secret[:minPrefix]
	}
	for i := 0; ; i++ {
		next := bytes.Index(v.text[i:], []byte(head))
		if next < 0 {
			return found
		}
		i += next
		length := len(head)
		for length < len(secret) && i+length < len(v.text) && v.text[i+length] == secret[length] {
			length++
		}
		match := string(v.text[i : i+length])
		switch {
		case len(secret) < minInside && !v.isWord(i, i+length):
			continue
		case length < len(secret) && (harmless[match] || strings.Contains(public, match)):
			continue
		}
		found = append(found, span{v.from[i], v.from[i+length]})
	}
}

// isWord reports whether no letter or digit is beside the text from i to j.
func (v view) isWord(i, j int) bool {
	before, _ := utf8.DecodeLastRune(v.text[:i])
	after, _ := utf8.DecodeRune(v.text[j:])
	return !isWordRune(before) && !isWordRune(after)
}

func isWordRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// decoded applies decode to each place of the text; used is 0 where there is nothing to decode.
func (v view) decoded(decode func([]byte) (decoded []byte, used int)) view {
	d := view{make([]byte, 0, len(v.text)), make([]int, 0, len(v.from))}
	for i := 0; i < len(v.text); {
		plain, used := decode(v.text[i:])
		if used == 0 {
			plain, used = v.text[i:i+1], 1
		}
		for range plain {
			d.from = append(d.from, v.from[i])
		}
		d.text = append(d.text, plain...)
		i += used
	}
	d.from = append(d.from, v.from[len(v.text)])
	return d
}

func (v view) folded() view {
	return v.decoded(func(text []byte) ([]byte, int) {
		r, size := utf8.DecodeRune(text) // an invalid byte becomes U+FFFD, as in most programs
		return utf8.AppendRune(nil, unicode.ToLower(r)), size
	})
}

func folded(text string) string {
	v := view{[]byte(text), make([]int, len(text)+1)}
	return string(v.folded().text)
}

// percentDecoded decodes one percent-encoded byte (RFC 3986, section 2.1).
func percentDecoded(text []byte) ([]byte, int) {
	if text[0] != '%' {
		return nil, 0
	}
	return number(text[1:], 2, 16, 3)
}

// unescaped decodes one escape of JSON, Go or C.
func unescaped(text []byte) ([]byte, int) {
	if text[0] != '\\' || len(text) < 2 {
		return nil, 0
	}
	switch c := text[1]; c {
	case '"', '\'', '\\', '/':
		return text[1:2], 2
	case 'a', 'b', 'f', 'n', 'r', 't', 'v':
		return []byte{"\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)]}, 2
	case 'x':
		return number(text[2:], 2, 16, 4)
	case 'u':
		return surrogates(text)
	case 'U':
		return character(text[2:], 8, 10)
	default:
		return number(text[1:], 3, 8, 4)
	}
}

// number decodes the byte that the first digits encode.
func number(text []byte, digits, base, used int) ([]byte, int) {
	if len(text) < digits {
		return nil, 0
	}
	n, err := strconv.ParseUint(string(text[:digits]), base, 8)
	if err != nil {
		return nil, 0
	}
	return []byte{byte(n)}, used
}

func character(text []byte, digits, used int) ([]byte, int) {
	if len(text) < digits {
		return nil, 0
	}
	n, err := strconv.ParseUint(string(text[:digits]), 16, 32)
	if err != nil {
		return nil, 0
	}
	return utf8.AppendRune(nil, rune(n)), used
}

// surrogates decodes \uXXXX, or two of them that are one character.
func surrogates(text []byte) ([]byte, int) {
	first, used := character(text[2:], 4, 6)
	if used == 0 || len(text) < 12 || text[6] != '\\' || text[7] != 'u' {
		return first, used
	}
	high, _ := strconv.ParseUint(string(text[2:6]), 16, 32)
	low, err := strconv.ParseUint(string(text[8:12]), 16, 32)
	if r := utf16.DecodeRune(rune(high), rune(low)); err == nil && r != utf8.RuneError {
		return utf8.AppendRune(nil, r), 12
	}
	return first, used
}
