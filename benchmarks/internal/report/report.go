// Package report prints results: Markdown tables, and the lists that command lines take.
package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetotel/telemetry"
)

// Table is a Markdown table whose columns are aligned, so that it can be read as it is.
type Table struct {
	rows [][]string
}

// Row adds a row; the first one is the head.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Write prints the table.
func (t *Table) Write(w io.Writer) {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 3)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, row := range t.rows {
		line(w, row, widths, " ")
		if i == 0 {
			dashes := make([]string, len(widths))
			for j, width := range widths {
				dashes[j] = strings.Repeat("-", width)
			}
			line(w, dashes, widths, " ")
		}
	}
}

func line(w io.Writer, cells []string, widths []int, pad string) {
	for i, cell := range cells {
		fmt.Fprintf(w, "| %s%s", cell, strings.Repeat(pad, widths[i]-utf8.RuneCountInString(cell)+1))
	}
	fmt.Fprintln(w, "|")
}

// Share prints a part of a whole in percent: 100 % only when nothing is missing.
func Share(part, whole int64) string {
	switch {
	case whole <= 0:
		return "-"
	case part == whole:
		return "100 %"
	}
	percent := 100 * float64(part) / float64(whole)
	if percent > 99.9 && part < whole {
		percent = 99.9
	}
	return strconv.FormatFloat(percent, 'f', 1, 64) + " %"
}

// Count prints a number with separators, as people write it.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// MiB prints a size.
func MiB(bytes int64) string { return strconv.FormatFloat(float64(bytes)/(1<<20), 'f', 1, 64) + " MiB" }

// Median returns the middle of the values, and 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Ints, Durations and Protocols read the comma-separated lists of a command line.

// Ints reads numbers.
func Ints(list string) ([]int, error) { return parse(list, strconv.Atoi) }

// Durations reads durations such as 20ms; a bare 0 is allowed.
func Durations(list string) ([]time.Duration, error) { return parse(list, time.ParseDuration) }

// Protocols reads http and grpc.
func Protocols(list string) ([]telemetry.Protocol, error) {
	return parse(list, func(name string) (telemetry.Protocol, error) {
		switch name {
		case "http":
			return telemetry.ProtocolHTTP, nil
		case "grpc":
			return telemetry.ProtocolGRPC, nil
		}
		return "", fmt.Errorf("protocol %q is neither http nor grpc", name)
	})
}

// Names reads words, each of which must be one of those allowed.
func Names(list string, allowed ...string) ([]string, error) {
	return parse(list, func(name string) (string, error) {
		if !slices.Contains(allowed, name) {
			return "", fmt.Errorf("%q is none of %s", name, strings.Join(allowed, ", "))
		}
		return name, nil
	})
}

func parse[T any](list string, one func(string) (T, error)) ([]T, error) {
	var all []T
	for part := range strings.SplitSeq(list, ",") {
		value, err := one(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		all = append(all, value)
	}
	return all, nil
}

// Short is a protocol in the words of the command line.
func Short(p telemetry.Protocol) string {
	if p == telemetry.ProtocolGRPC {
		return "grpc"
	}
	return "http"
}

// Identity returns an error if the books of a signal do not balance.
func Identity(signal string, h telemetry.SignalHealth) error {
	in, out := h.Accepted+h.Recovered, h.Exported+h.Dropped+h.Failed+h.Rejected+h.Queued+h.Spooled
	if in == out {
		return nil
	}
	return fmt.Errorf("%s: accepted %d + recovered %d is not exported %d + dropped %d + failed %d + rejected %d + "+
		"queued %d + spooled %d",
		signal, h.Accepted, h.Recovered, h.Exported, h.Dropped, h.Failed, h.Rejected, h.Queued, h.Spooled)
}
