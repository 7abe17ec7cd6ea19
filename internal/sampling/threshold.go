package sampling

import (
	"encoding/binary"
	"math"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

const (
	// randomBits is the size of R and T (tracestate-probability-sampling.md, "Consistent sampling
	// decision approach").
	randomBits = 56
	// whole is 2^56: R and T are below it, and a threshold of whole would keep nothing.
	whole = uint64(1) << randomBits
	// hexDigits is the length of a full th or rv value.
	hexDigits = randomBits / 4
)

// randomness is R as the trace ID gives it: its last 56 bits. The specification tells samplers to
// presume that they are random, even if the trace flag for it is not set.
func randomness(id trace.TraceID) uint64 {
	return binary.BigEndian.Uint64(id[8:]) & (whole - 1)
}

// probability is the share of traces that threshold keeps.
func probability(threshold uint64) float64 {
	return float64(whole-threshold) / float64(whole)
}

// adjustedCount is how many spans a span that was kept at this threshold represents.
func adjustedCount(threshold uint64) float64 {
	return float64(whole) / float64(whole-threshold)
}

// thresholdFor returns the threshold of p, rounded to digits hexadecimal digits after the leading
// ones. The specification advises 4 digits, and one more for each leading f, which keep the
// relative error of p below 2^-12 down to 2^-40. The decision must use the rounded threshold; then
// the count that it implies is exact. p above 1 counts as 1. The result is at most the threshold of
// 2^-56.
func thresholdFor(p float64, digits int) uint64 {
	if !(p < 1) {
		return 0
	}
	rejected := math.Round((1 - p) * float64(whole))
	if p < 1.0/(1<<20) {
		// 1-p has lost the bits that matter here.
		rejected = float64(whole) - math.Max(1, math.Round(math.Max(p, 0)*float64(whole)))
	}
	threshold := min(uint64(rejected), whole-1)
	for shift := randomBits - 4; shift >= 0 && threshold>>shift&0xf == 0xf; shift -= 4 {
		digits++
	}
	if digits >= hexDigits {
		return threshold
	}
	unit := uint64(1) << (4 * (hexDigits - digits))
	rounded := (threshold + unit/2) / unit * unit
	if rounded >= whole {
		return threshold
	}
	return rounded
}

// standardDigits is the precision that the specification recommends for th.
const standardDigits = 4

// FormatThreshold returns threshold as a th value: hexadecimal, left-aligned, without trailing
// zeros.
func FormatThreshold(threshold uint64) string {
	if threshold == 0 {
		return "0"
	}
	return strings.TrimRight(encodeRandomness(threshold), "0")
}

// encodeRandomness writes 56 bits as 14 hexadecimal digits, the form of rv.
func encodeRandomness(r uint64) string {
	const digits = "0123456789abcdef"
	var buf [hexDigits]byte
	for i := range buf {
		buf[i] = digits[r>>(randomBits-4-4*i)&0xf]
	}
	return string(buf[:])
}

// ParseThreshold reads a th value: 1 to 14 lower-case hexadecimal digits, padded on the right with
// zeros. ok is false if the value is malformed.
func ParseThreshold(text string) (threshold uint64, ok bool) {
	if text == "" || len(text) > hexDigits {
		return 0, false
	}
	value, ok := parseHex(text)
	return value << (4 * (hexDigits - len(text))), ok
}

// parseRandomness reads an rv value: exactly 14 lower-case hexadecimal digits.
func parseRandomness(text string) (uint64, bool) {
	if len(text) != hexDigits {
		return 0, false
	}
	return parseHex(text)
}

func parseHex(text string) (value uint64, ok bool) {
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		value = value<<4 | uint64(c)
	}
	return value, true
}
