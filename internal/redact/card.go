package redact

// maxCard is the most digits of a card number (ISO/IEC 7812).
const maxCard = 19

// isCard tells whether digits can be a card's: an issuer's range, a length that this issuer uses, and the check digit. One
// in ten numbers passes the check digit alone.
func isCard(digits []byte) bool { return issued(digits) && luhn(digits) }

// issued knows the ranges of the networks that shops accept (their published BIN tables).
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
	two, four := first(2), first(4)
	switch {
	case d[0] == '4': // Visa
		return n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case two == 34, two == 37: // American Express
		return n == 15
	case two == 36, two == 38, two == 39, four/10 >= 300 && four/10 <= 305: // Diners Club
		return n == 14
	case four >= 3528 && four <= 3589: // JCB
		return n == 16
	case two == 62: // UnionPay
		return n >= 16
	case four == 6011, two == 65, four/10 >= 644 && four/10 <= 649: // Discover
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

// isTradeItem tells whether digits are an article number with a valid check digit (GS1: UPC-12, EAN-13, ISBN-13, GTIN-14,
// SSCC-18). A shop's telemetry is full of them, and cards of these lengths are all but extinct.
func isTradeItem(digits []byte) bool {
	switch len(digits) {
	case 12, 13, 14, 18:
	default:
		return false
	}
	sum := 0
	for i, c := range digits {
		weight := 1
		if (len(digits)-i)%2 == 0 {
			weight = 3
		}
		sum += weight * int(c-'0')
	}
	return sum%10 == 0
}

// groupings are how card numbers are written in groups; digits of each.
var groupings = [][]int{
	{4, 4, 4, 4, 3}, {4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}, {4, 5, 6}, {4, 4, 4, 2}, {4, 4, 5}, {4, 3, 3, 3}, {6, 13},
}

const maxGroups = 5

// cardAt finds a card number that begins at s[i], a digit that no other precedes; end is behind it.
func cardAt(s string, i, runEnd int) (end int, found bool) {
	if endsEscape(s, i) {
		end, found = cardAt(s[i:], 0, runEnd-i)
		return i + end, found
	}
	if n := runEnd - i; n >= 12 {
		if n <= maxCard && standsAlone(s, i, runEnd) {
			digits := []byte(s[i:runEnd]) // does not escape
			return runEnd, isCard(digits) && !isTradeItem(digits)
		}
		return 0, false
	}
	if n := runEnd - i; n != 4 && n != 6 {
		return 0, false
	}
	return groupedCard(s, i, runEnd)
}

// groupedCard is cardAt for groups with one separator between them.
func groupedCard(s string, i, runEnd int) (end int, found bool) {
	separator := separatorAt(s, runEnd)
	if separator == "" || i > 0 && isAlnum(s[i-1]) {
		return 0, false
	}
	if separator == "-" && i > 1 && s[i-1] == '-' && isDigit(s[i-2]) {
		return 0, false // in a longer number
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
		if end < len(s) && (isAlnum(s[end]) || separator == "-" && separatorAt(s, end) == "-") {
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

// separatorAt returns what separates two groups at s[i], "" if nothing does: a space, also as URLs write it, a dash or a dot.
func separatorAt(s string, i int) string {
	length := 1
	switch {
	case i+1 >= len(s):
		return ""
	case s[i] == '%' && i+3 < len(s) && s[i+1:i+3] == "20":
		length = 3
	case s[i] != ' ' && s[i] != '-' && s[i] != '+' && s[i] != '.':
		return ""
	}
	if !isDigit(s[i+length]) {
		return ""
	}
	return s[i : i+length]
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
