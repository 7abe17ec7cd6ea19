package redact

// maxCard is the most digits of a card number (ISO/IEC 7812).
const maxCard = 19

// isCard reports whether digits can be a card number: by an issuer's range, a length that this
// issuer uses, and the check digit. One in ten numbers passes the check digit alone.
func isCard(digits []byte) bool { return issued(digits) && luhn(digits) }

// issued reports whether digits are in the range of a network that shops accept, with a length that
// the network's published table allows.
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

// groupings are the ways to write card numbers in groups, by the digits of each group. A longer
// grouping comes before one that is its prefix.
var groupings = [][]int{
	{4, 4, 4, 4, 3}, {4, 4, 4, 4, 2}, {4, 4, 4, 4, 1}, {4, 4, 4, 4}, {4, 4, 4, 3}, {4, 4, 4, 2}, {4, 4, 4, 1},
	{4, 4, 4}, {4, 4, 5},
	{4, 6, 5}, {4, 6, 4}, {4, 5, 6}, {4, 3, 3, 3}, {6, 13},
}

const (
	maxGroups = 5
	// leastGrouped is the least number of digits of a card's number that has further groups of
	// digits beside it.
	leastGrouped = 14
)

// cardAt finds a card number that begins at s[i], the first digit of a run that ends at s[runEnd].
// end is behind the number. It is bare if it is one run of digits.
func cardAt(s string, i, runEnd int) (end int, bare, found bool) {
	if endsEscape(s, i) {
		end, bare, found = cardAt(s[i:], 0, runEnd-i)
		return i + end, bare, found
	}
	switch n := runEnd - i; {
	case n >= leastDigits:
		// The copy does not escape.
		found = n <= maxCard && isSeparateNumber(s, i, runEnd) && isCard([]byte(s[i:runEnd]))
		return runEnd, true, found
	case n == 4 || n == 6:
		end, found = groupedCard(s, i, runEnd)
		return end, false, found
	}
	return 0, false, false
}

// groupedCard finds a card number in groups with one separator between them.
func groupedCard(s string, i, runEnd int) (end int, found bool) {
	separator := separatorAt(s, runEnd)
	if separator == "" || i > 0 && isAlnum(s[i-1]) {
		return 0, false
	}
	before := i - len(separator)
	groupBefore := before > 0 && s[before:i] == separator && isDigit(s[before-1])
	if groupBefore && separator == "-" {
		return 0, false
	}
	g := readGroups(s, i, separator)
	for _, grouping := range groupings {
		if !startsWith(g.lengths[:], grouping) {
			continue
		}
		total, end := sumOf(grouping), g.ends[len(grouping)-1]
		groupAfter := separatorAt(s, end) == separator
		isPart := end < len(s) && isAlnum(s[end]) || groupAfter && separator == "-" ||
			total < leastGrouped && (groupBefore || groupAfter)
		if !isPart && isCard(g.digits[:total]) {
			return end, true
		}
	}
	return 0, false
}

// digitGroups are up to maxGroups groups of digits in a text.
type digitGroups struct {
	digits        [2 * maxCard]byte
	lengths, ends [maxGroups]int // of each group, ends in the text
}

func readGroups(s string, at int, separator string) (g digitGroups) {
	n := 0
	for group := range maxGroups {
		to := digitsEnd(s, at, 14)
		if n+to-at > len(g.digits) {
			break
		}
		n += copy(g.digits[n:], s[at:to])
		g.lengths[group], g.ends[group] = to-at, to
		if at = to + len(separator); separatorAt(s, to) != separator {
			break
		}
	}
	return g
}

func sumOf(lengths []int) (total int) {
	for _, length := range lengths {
		total += length
	}
	return total
}

func startsWith(lengths, grouping []int) bool {
	for i, length := range grouping {
		if lengths[i] != length {
			return false
		}
	}
	return true
}

// separators are the texts between two groups: spaces (also in URLs, and those that do not break),
// dashes, dots and others.
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

// digitsEnd is where the digits that begin at s[i] end, of which there are at most limit.
func digitsEnd(s string, i, limit int) int {
	for most := min(len(s), i+limit); i < most && isDigit(s[i]); {
		i++
	}
	return i
}

// isSeparateNumber reports whether the digits s[i:j] are a number by themselves, not a part of an
// identifier, a fraction or a longer number. A number of 15 or 16 digits, which nearly all cards
// have, may have a word or a number with a dash beside it.
func isSeparateNumber(s string, i, j int) bool {
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

// maxToken bounds how much of a word beside a number is read.
const maxToken = 32

// isHexToken reports whether all letters of the word around s[i:j] are hexadecimal digits, as with
// 0x.
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

// isHexTail reports whether the word that ends before s[i] is hexadecimal with digits and letters,
// as a part of a UUID is.
func isHexTail(s string, i int) bool {
	k := i
	for k > max(0, i-maxToken) && isAlnum(s[k-1]) {
		k--
	}
	return isMixedHex(s[k:i])
}

// isHexHead is isHexTail for the word that begins at s[i].
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
