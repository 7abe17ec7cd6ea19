// Package demo prints totals that must match, for the examples that demonstrate themselves.
package demo

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ErrDoesNotAddUp means that everything ran but what arrived differs from what was done.
var ErrDoesNotAddUp = errors.New("the totals do not add up")

// Total is a number that both the sender and the receiver know.
type Total struct {
	What          string
	Sent, Arrived int
	Show          func(int) string // nil: as a number
}

// PrintTotals prints a line for each total under two headings. It returns ErrDoesNotAddUp if the
// two numbers differ.
func PrintTotals(out io.Writer, sent, arrived string, totals []Total) error {
	fmt.Fprintf(out, "\n%-28s %12s %12s\n", "Totals", sent, arrived)
	var err error
	for _, t := range totals {
		show, verdict := t.Show, "ok"
		if show == nil {
			show = strconv.Itoa
		}
		if t.Sent != t.Arrived {
			verdict, err = "DIFFERS", ErrDoesNotAddUp
		}
		fmt.Fprintf(out, "  %-26s %12s %12s  %s\n", t.What, show(t.Sent), show(t.Arrived), verdict)
	}
	return err
}
