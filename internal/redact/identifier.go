package redact

import "strings"

// A shop numbers its orders, parcels and customers with as many digits as cards have. One in ten of the numbers in an
// issuer's range passes the check digit, so what stands beside a number decides: it stays if it is written as one run of
// digits and its key, its path segment or the words before it name an identifier. What stands in card groups, such as
// 4111 1111 1111 1111, is never taken for one.

// label is the key of a value, and the group or map that holds it.
type label struct{ parent, key string }

// namesIdentifier tells whether values under this key are identifiers: order_id, order.number, trackingNumber.
func (l label) namesIdentifier() bool {
	key := l.key
	if l.parent != "" {
		key = l.parent + "." + key
	}
	return role(key) == identifier
}

// isIdentifier tells whether the run of digits at s[i], a number that could be a card's, is an identifier. label is the
// key of all of s.
func (l label) isIdentifier(s string, i int) bool {
	switch role(wordsBefore(s, i)) {
	case identifier:
		return true
	case account:
		return false
	}
	return l.namesIdentifier() && isListOfIdentifiers(s)
}

// isListOfIdentifiers tells whether a text holds nothing but identifiers, as "ORD-4111111111111111" or "17, 18" does. A
// sentence or an object below the key "order" may hold a card's number, too.
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

// maxBefore is how many bytes before a number are looked at for what names it.
const maxBefore = maxKey

// wordsBefore returns the words that name the number at s[i]: of a pair, a member of a JSON object, a path, or a sentence. In a
// list in brackets, what stands before the bracket names all of its numbers.
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

// naming is what words say about the number that follows them.
type naming uint8

const (
	unnamed naming = iota
	identifier
	account // of a card
)

// role reads words from the last to the first, until one of them decides.
func role(text string) naming {
	var w words
	w.split(text)
	numbered := unnamed // identifier if "id" was among the words
	for ; w.n > 0; w.dropLast() {
		switch last := string(w.from(w.n - 1)); {
		case isOneOf(identifierWords, last):
			numbered = identifier
		case isOneOf(numberWords, last):
		case isOneOf(cardWords, last):
			return account
		case isNumbered(last):
			return identifier
		default:
			return numbered
		}
	}
	return numbered
}

// isNumbered tells whether a word is what a shop numbers, also with the kind of number in the same word: orderid, parcelno.
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

func isOneOf(list []string, word string) bool {
	for _, one := range list {
		if one == word {
			return true
		}
	}
	return false
}
