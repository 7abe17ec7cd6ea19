package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// duration formats d with three significant digits, in one unit below a minute.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + duration(-max(d, -math.MaxInt64)) // the negative of the least value overflows
	case d < time.Microsecond:
		return fmt.Sprintf("%dns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fixed(float64(d)/float64(time.Millisecond)) + "ms"
	case d < time.Minute:
		return fixed(d.Seconds()) + "s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// age formats d in whole seconds.
func age(d time.Duration) string {
	if d = d.Round(time.Second); d < time.Minute {
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return duration(d)
}

// fixed formats a number from 1 to 1000 with three significant digits.
func fixed(v float64) string {
	decimals := 2
	for limit := 10.0; decimals > 0 && v >= limit; limit *= 10 {
		decimals--
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// digits rounds to three significant digits, without trailing zeros, and leaves whole numbers
// whole.
func digits(v float64) string {
	size := math.Abs(v)
	switch {
	case v == math.Trunc(v) || math.IsNaN(v) || size >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size < 0.1:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case v < 0:
		return "-" + digits(size)
	}
	text := fixed(v)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// quantity formats a value with the unit of its metric, as UCUM spells it.
func quantity(v float64, unit string) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return strconv.FormatFloat(v, 'f', -1, 64)
	case unit == "s" && math.Abs(v) < 1e9:
		return duration(time.Duration(v * float64(time.Second)))
	case unit == "ms" && math.Abs(v) < 1e12:
		return duration(time.Duration(v * float64(time.Millisecond)))
	case unit == "By":
		return byteCount(v)
	case unit == "" || unit == "1" || strings.HasPrefix(unit, "{"):
		return amount(v)
	}
	return amount(v) + " " + short(unit)
}

// amount formats a plain number. From 100 on it keeps two decimals, as for a sum of money.
func amount(v float64) string {
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case math.Abs(v) >= 1e15:
		return strconv.FormatFloat(v, 'g', 4, 64)
	case math.Abs(v) >= 100:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return digits(v)
}

func byteCount(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for math.Abs(v) >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return digits(v) + " " + units[i]
}

// clock formats the time of day. Each block of the view begins with it.
func clock(t time.Time) piece {
	return piece{t.Local().Format("15:04:05.000"), dim}
}
