package lines

import (
	"regexp"
	"strconv"
	"strings"
)

// varying matches what differs from one occurrence of a problem to the next: memory addresses, IDs,
// ports, counts and durations.
var varying = regexp.MustCompile(`0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,})*\b|(?:[0-9][0-9.,:]*(?:ns|µs|ms|h|m|s)?)+`)

// attempts matches the note on the number of attempts, which a single attempt does not have.
var attempts = regexp.MustCompile(` \([0-9]+ attempts in [^)]*\)`)

// Cause returns a message without the parts that vary from one occurrence to the next.
func Cause(message string) string {
	return varying.ReplaceAllString(attempts.ReplaceAllString(message, ""), "#")
}

// Count returns a number with its noun, such as "1,482 times".
func Count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Thousands(n) + " " + many
}

// Thousands writes 1482 as 1,482.
func Thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Listed returns "a", "a and b" or "a, b and c".
func Listed(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
