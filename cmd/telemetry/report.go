package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

const (
	// columns is the length of a line. It is fixed, so that outputs can be compared, and fits the
	// narrowest terminal.
	columns = 80
	// margin begins each line; a continuation line has it twice.
	margin = "  "
	// minText is the least width of the second column.
	minText = 30
)

// report prints section by section, as soon as the content of each is known.
type report struct {
	out     io.Writer
	started bool // a section has been printed
}

func (r *report) section(title string) {
	if r.started {
		fmt.Fprintln(r.out)
	}
	r.started = true
	fmt.Fprintln(r.out, title)
}

// rows prints names and values in two columns. A value that is too long continues in its column.
func (r *report) rows(rows []row) {
	longest := 0
	for _, row := range rows {
		longest = max(longest, utf8.RuneCountInString(row.name))
	}
	indent := min(longest+len(margin), columns-minText-len(margin))
	for _, row := range rows {
		lines := wrapped(row.value, columns-indent-len(margin))
		pad := max(indent-utf8.RuneCountInString(row.name), 1)
		fmt.Fprintf(r.out, "%s%s%s%s\n", margin, row.name, strings.Repeat(" ", pad), lines[0])
		for _, line := range lines[1:] {
			fmt.Fprintf(r.out, "%s%s%s\n", margin, strings.Repeat(" ", indent), line)
		}
	}
}

type row struct{ name, value string }

// paragraphs prints one text after the other.
func (r *report) paragraphs(texts []string) {
	for _, text := range texts {
		for i, line := range wrapped(text, columns-2*len(margin)) {
			if i > 0 {
				line = margin + line
			}
			fmt.Fprintf(r.out, "%s%s\n", margin, line)
		}
	}
}

// wrapped breaks a text between words. A word that is longer than a line, such as a URL, stays
// whole, so that it can be copied.
func wrapped(text string, width int) []string {
	lines := []string{""}
	for _, word := range strings.Fields(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case utf8.RuneCountInString(*last)+1+utf8.RuneCountInString(word) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}

func (r *report) settings(service settings.Description, warnings []string, invalid error) {
	r.section("A service started with this environment")
	r.rows(choices(service.Start))
	if len(service.Settings) > 0 {
		r.section("Settings that differ from the defaults")
		r.rows(choices(merged(service.Settings)))
	}
	if invalid != nil {
		r.section("Invalid settings")
		r.paragraphs(problems(invalid))
	}
	if len(warnings) > 0 {
		r.section("Warnings")
		r.paragraphs(warnings)
	}
}

// problems returns the texts of the errors that [errors.Join] joined.
func problems(err error) (texts []string) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{text(err)}
	}
	for _, one := range joined.Unwrap() {
		texts = append(texts, text(one))
	}
	return texts
}

func choices(all []settings.Choice) (rows []row) {
	for _, c := range all {
		value := cmp.Or(c.Value, "-")
		if c.Origin != "" {
			value += " (" + c.Origin + ")"
		}
		rows = append(rows, row{c.Name, value})
	}
	return rows
}

// merged replaces three choices that are the same for traces, metrics and logs with one.
func merged(all []settings.Choice) (fewer []settings.Choice) {
	count := map[settings.Choice]int{}
	withoutSignal := func(c settings.Choice) settings.Choice {
		for _, s := range signal.All() {
			c.Name = strings.TrimPrefix(c.Name, s.String()+" ")
		}
		return c
	}
	for _, c := range all {
		count[withoutSignal(c)]++
	}
	for _, c := range all {
		general := withoutSignal(c)
		switch {
		case count[general] < len(signal.All()):
			fewer = append(fewer, c)
		case strings.HasPrefix(c.Name, signal.Traces.String()+" "):
			fewer = append(fewer, general)
		}
	}
	return fewer
}

// outcomes prints for each signal whether it was delivered, and why not.
func (r *report) outcomes(all []outcome) {
	var verdicts []row
	for _, o := range all {
		verdicts = append(verdicts, row{o.signal.String(), o.verdict})
	}
	r.rows(verdicts)
	if reasons := reasons(all); len(reasons) > 0 {
		r.section("Why not?")
		r.paragraphs(reasons)
	}
}

// reasons returns the reasons of the failed signals, each once with its signals. Reasons that
// differ only in the path of the signal are equal.
func reasons(all []outcome) (texts []string) {
	signals := map[string][]string{}
	var own, keys []string
	for _, o := range all {
		if o.reason == "" {
			continue
		}
		key := strings.ReplaceAll(o.reason, "/v1/"+o.signal.String(), "/v1/*")
		if signals[key] == nil {
			keys, own = append(keys, key), append(own, o.reason)
		}
		signals[key] = append(signals[key], o.signal.String())
	}
	for i, key := range keys {
		text := key
		if len(signals[key]) == 1 {
			text = own[i]
		}
		texts = append(texts, lines.Listed(signals[key])+": "+text)
	}
	return texts
}
