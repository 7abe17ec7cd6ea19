package redact

import (
	"slices"
	"strings"
)

// A shop may number its orders, parcels and customers with as many digits as cards have. One in ten
// of the numbers in an issuer's range passes the check digit, so the text beside a number decides.
// The number is kept if it is written as one run of digits, and its key, its path segment or the
// words before it name an identifier. A number in card groups, such as 4111 1111 1111 1111, never
// counts as an identifier.

// label is the key of a value, and the keys of the groups and maps that hold it, outermost first.
type label struct {
	path []string
	key  string
}

// namesIdentifier reports whether values under this key are identifiers: order_id, order.number,
// trackingNumber.
func (l label) namesIdentifier() bool {
	key := l.key
	if len(l.path) > 0 {
		key = joined(l.path, key)
	}
	return role(key) == identifier
}

// isIdentifier reports whether the run of digits at s[i], a number that could be a card number, is
// an identifier.
func (p *pass) isIdentifier(i int) bool {
	switch role(wordsBefore(p.s, i)) {
	case identifier:
		return true
	case account:
		return false
	}
	if !p.listKnown {
		p.list, p.listKnown = p.label.namesIdentifier() && isListOfIdentifiers(p.s), true
	}
	return p.list
}

// isListOfIdentifiers reports whether a text holds nothing but identifiers, as
// "ORD-4111111111111111" or "17, 18" does. A sentence or an object under the key "order" may hold a
// card number too.
func isListOfIdentifiers(s string) bool {
	letters, spaces := false, false
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c) || strings.IndexByte("-_./#,;|[]", c) >= 0:
		case isAlnum(c):
			letters = true
		case c == ' ':
			spaces = true
		default:
			return false
		}
	}
	return !letters || !spaces
}

// maxBefore is how many bytes before a number are searched for words that name it.
const maxBefore = maxKey

// wordsBefore returns the words that name the number at s[i]: those of a pair, a member of a JSON
// object, a path, or a sentence. The text before a list in brackets names all of its numbers.
func wordsBefore(s string, i int) string {
	before := s[max(0, i-maxBefore):i]
	if strings.Contains(before, "%") {
		before = unescaped(before)
	}
	if list := strings.TrimRight(before, "0123456789,;| \"'"); strings.HasSuffix(list, "[") {
		before = list
	}
	before = strings.TrimRight(before, " \t\"'`\\:=#/-_.[(>")
	return before[strings.LastIndexAny(before, ",;&?|!(){}[]<>\"'`\n\r\t/@")+1:]
}

// naming is what words say about the number after them.
type naming uint8

const (
	unnamed naming = iota
	identifier
	account // the number of a card
)

// role reads words from the last to the first, until one of them decides.
func role(text string) naming {
	var w words
	w.split(text)
	numbered := unnamed // identifier if "id" was among the words
	for ; w.n > 0; w.dropLast() {
		switch last := string(w.from(w.n - 1)); {
		case slices.Contains(identifierWords, last):
			numbered = identifier
		case slices.Contains(numberWords, last):
		case slices.Contains(cardWords, last):
			return account
		case isNumbered(last):
			return identifier
		default:
			return numbered
		}
	}
	return numbered
}

// isNumbered reports whether a word is something that a shop numbers, possibly with the kind of
// number in the same word: orderid, parcelno.
func isNumbered(word string) bool {
	if numbered[word] {
		return true
	}
	for _, kinds := range [][]string{identifierWords, numberWords} {
		for _, kind := range kinds {
			if thing, found := strings.CutSuffix(word, kind); found && numbered[thing] {
				return true
			}
		}
	}
	return false
}
