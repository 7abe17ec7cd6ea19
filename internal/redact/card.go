package redact

// maxCard is the most digits of a card number (ISO/IEC 7812).
const maxCard = 19

// isCard tells whether digits can be a card's: an issuer's range, a length that this issuer uses, and the check digit. One
// in ten numbers passes the check digit alone.
func isCard(digits []byte) bool { return issued(digits) && luhn(digits) }

// issued knows the ranges of the networks that shops accept, with the lengths that their published tables allow.
func issued(d []byte) bool {
	n := len(d)
	if n < 12 || n > maxCard {
		return false
	}
	first := func(k int) (prefix int) {
		for _, c := range d[:k] {
			prefix = 10*prefix + int(c-'0')
		}
		return prefix
	}
	two, three, four := first(2), first(3), first(4)
	switch {
	case d[0] == '4': // Visa
		return n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case two == 34, two == 37: // American Express
		return n == 15
	case two == 36, two == 38, two == 39, three >= 300 && three <= 305, four == 3095: // Diners Club
		return n == 14 || n >= 16
	case four >= 3528 && four <= 3589: // JCB
		return n >= 16
	case two == 62: // UnionPay
		return n >= 16
	case four == 6011, two == 65, three >= 644 && three <= 649: // Discover
		return n >= 16
	case four >= 2200 && four <= 2204: // Mir
		return n >= 16
	case two == 60, two == 81, two == 82: // RuPay
		return n == 16
	case two == 50, two >= 56 && two <= 58, two == 67, four == 6304, four == 6390: // Maestro
		return true
	}
	return false
}

// luhn checks the last digit (ISO/IEC 7812-1, annex B).
func luhn(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		n := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

// groupings are how card numbers are written in groups; digits of each, a longer grouping before its beginning.
var groupings = [][]int{
	{4, 4, 4, 4, 3}, {4, 4, 4, 4, 2}, {4, 4, 4, 4, 1}, {4, 4, 4, 4}, {4, 4, 4, 3}, {4, 4, 4, 2}, {4, 4, 4, 1}, {4, 4, 4}, {4, 4, 5},
	{4, 6, 5}, {4, 6, 4}, {4, 5, 6}, {4, 3, 3, 3}, {6, 13},
}

const (
	maxGroups = 5
	// leastGrouped is how many digits a card's number has at least that stands beside further groups of digits.
	leastGrouped = 14
)

// cardAt finds a card number that begins at s[i], a digit that no other precedes; end is behind it. It is bare if it is one
// run of digits.
func cardAt(s string, i, runEnd int) (end int, bare, found bool) {
	if endsEscape(s, i) {
		end, bare, found = cardAt(s[i:], 0, runEnd-i)
		return i + end, bare, found
	}
	if n := runEnd - i; n >= 12 {
		found = n <= maxCard && standsAlone(s, i, runEnd) && isCard([]byte(s[i:runEnd])) // the copy does not escape
		return runEnd, true, found
	}
	if n := runEnd - i; n != 4 && n != 6 {
		return 0, false, false
	}
	end, found = groupedCard(s, i, runEnd)
	return end, false, found
}

// groupedCard is cardAt for groups with one separator between them.
func groupedCard(s string, i, runEnd int) (end int, found bool) {
	separator := separatorAt(s, runEnd)
	if separator == "" || i > 0 && isAlnum(s[i-1]) {
		return 0, false
	}
	before := i - len(separator)
	inLonger := before > 0 && s[before:i] == separator && isDigit(s[before-1]) // number
	if inLonger && separator == "-" {
		return 0, false
	}
	var (
		digits  [2 * maxCard]byte
		lengths [maxGroups]int
		ends    [maxGroups]int
		n       int
	)
	at := i
	for group := range maxGroups {
		to := digitsEnd(s, at, 14)
		if n+to-at > len(digits) {
			break
		}
		n += copy(digits[n:], s[at:to])
		lengths[group], ends[group] = to-at, to
		if at = to + len(separator); separatorAt(s, to) != separator {
			break
		}
	}
	for _, grouping := range groupings {
		if !startsWith(lengths[:], grouping) {
			continue
		}
		total := 0
		for _, length := range grouping {
			total += length
		}
		end := ends[len(grouping)-1]
		goesOn := separatorAt(s, end) == separator
		if end < len(s) && isAlnum(s[end]) || goesOn && separator == "-" || total < leastGrouped && (inLonger || goesOn) {
			continue
		}
		if isCard(digits[:total]) {
			return end, true
		}
	}
	return 0, false
}

func startsWith(lengths, grouping []int) bool {
	for i, length := range grouping {
		if lengths[i] != length {
			return false
		}
	}
	return true
}

// separators are what stands between two groups: a space, also as URLs write it and the ones that do not break, a dash, a dot.
var separators = []string{" ", "-", ".", "+", "%20", "_", "/", "\t", "\u00a0", "\u2009", "\u202f", "\u2011", "\u2013"}

// separatorAt returns what separates two groups at s[i], "" if nothing does.
func separatorAt(s string, i int) string {
	for _, separator := range separators {
		if end := i + len(separator); end < len(s) && isDigit(s[end]) && s[i:end] == separator {
			return separator
		}
	}
	return ""
}

func digitsEnd(s string, i, limit int) int {
	for most := min(len(s), i+limit); i < most && isDigit(s[i]); {
		i++
	}
	return i
}

// standsAlone tells whether the digits s[i:j] are a number of their own and not a part of an identifier, a fraction or a
// longer number. With 15 or 16 digits, which nearly all cards have, a word or a number with a dash may stand beside it.
func standsAlone(s string, i, j int) bool {
	before, after := at(s, i-1), at(s, j)
	if after == '^' {
		return true // track 1 of a magnetic stripe: %B4111111111111111^DOE/JOHN^…
	}
	if before == '.' && isDigit(at(s, i-2)) || after == '.' && isDigit(at(s, j+1)) {
		return false
	}
	if n := j - i; n != 15 && n != 16 {
		joined := func(c, next byte) bool { return isAlnum(c) || (c == '-' || c == '_' || c == '.') && isAlnum(next) }
		return !joined(before, at(s, i-2)) && !joined(after, at(s, j+1)) && before != '+'
	}
	if before == '+' && j-i == 15 {
		return false // a phone number has up to 15 digits (E.164)
	}
	if isAlnum(before) || isAlnum(after) {
		return !isHexToken(s, i, j)
	}
	return !(before == '-' && isHexTail(s, i-1)) && !(after == '-' && isHexHead(s, j+1))
}

// maxToken is how far a word beside a number is looked at.
const maxToken = 32

// isHexToken tells whether all letters of the word around s[i:j] are hexadecimal digits, as with 0x.
func isHexToken(s string, i, j int) bool {
	if at(s, i-1) == 'x' && at(s, i-2) == '0' {
		return true
	}
	for k := i - 1; k >= max(0, i-maxToken) && isAlnum(s[k]); k-- {
		if !isHex(s[k]) {
			return false
		}
	}
	for k := j; k < min(len(s), j+maxToken) && isAlnum(s[k]); k++ {
		if !isHex(s[k]) {
			return false
		}
	}
	return true
}

// isHexTail and isHexHead tell whether the word that ends before, or begins at, s[i] is hexadecimal with digits and letters,
// as a part of a UUID is.
func isHexTail(s string, i int) bool {
	k := i
	for k > max(0, i-maxToken) && isAlnum(s[k-1]) {
		k--
	}
	return isMixedHex(s[k:i])
}

func isHexHead(s string, i int) bool {
	k := i
	for k < min(len(s), i+maxToken) && isAlnum(s[k]) {
		k++
	}
	return isMixedHex(s[i:k])
}

func isMixedHex(word string) bool {
	digits, letters := 0, 0
	for i := range len(word) {
		switch {
		case isDigit(word[i]):
			digits++
		case isHex(word[i]):
			letters++
		default:
			return false
		}
	}
	return digits > 0 && letters > 0
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// at returns s[i], and a space outside of s.
func at(s string, i int) byte {
	if i < 0 || i >= len(s) {
		return ' '
	}
	return s[i]
}
