package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

const (
	// columns is where lines are broken, everywhere alike: it fits the narrowest terminal, and a log can be compared.
	columns = 80
	// margin is before each line, and once more before what continues it.
	margin = "  "
	// minText is how narrow a column may get for the sake of the one before it.
	minText = 30
)

// report is what an operator reads, section by section as it becomes known.
type report struct {
	out  io.Writer
	next bool // to the first section
}

func (r *report) section(title string) {
	if r.next {
		fmt.Fprintln(r.out)
	}
	r.next = true
	fmt.Fprintln(r.out, title)
}

// rows prints names and values in two columns; a value that is too long goes on in its column.
func (r *report) rows(rows []row) {
	first := 0
	for _, row := range rows {
		first = max(first, utf8.RuneCountInString(row.name))
	}
	indent := min(first+len(margin), columns-minText-len(margin))
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

// wrapped breaks a text between words. A word that is longer than a line, such as a URL, stays whole: it is to be copied.
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

func (r *report) settings(service diagnose.Description, warnings []string, wrong error) {
	r.section("A service started with this environment")
	r.rows(choices(service.Start))
	if len(service.Settings) > 0 {
		r.section("Settings that differ from the defaults")
		r.rows(choices(together(service.Settings)))
	}
	if wrong != nil {
		r.section("Wrong settings")
		r.paragraphs(problems(wrong))
	}
	if len(warnings) > 0 {
		r.section("Warnings")
		r.paragraphs(warnings)
	}
}

// problems are the errors that were joined.
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

func choices(all []diagnose.Choice) (rows []row) {
	for _, c := range all {
		value := cmp.Or(c.Value, "-")
		if c.Origin != "" {
			value += " (" + c.Origin + ")"
		}
		rows = append(rows, row{c.Name, value})
	}
	return rows
}

// together has one choice in the place of three that say the same of traces, metrics and logs.
func together(all []diagnose.Choice) (fewer []diagnose.Choice) {
	of := map[diagnose.Choice]int{}
	general := func(c diagnose.Choice) diagnose.Choice {
		for _, signal := range signals {
			c.Name = strings.TrimPrefix(c.Name, signal+" ")
		}
		return c
	}
	for _, c := range all {
		of[general(c)]++
	}
	for _, c := range all {
		g := general(c)
		switch {
		case of[g] < len(signals):
			fewer = append(fewer, c)
		case strings.HasPrefix(c.Name, signals[0]+" "):
			fewer = append(fewer, g)
		}
	}
	return fewer
}

// outcomes says of each signal whether it arrived, and why not.
func (r *report) outcomes(all []outcome) {
	var verdicts []row
	for _, o := range all {
		verdicts = append(verdicts, row{o.signal, o.verdict})
	}
	r.rows(verdicts)
	if reasons := reasons(all); len(reasons) > 0 {
		r.section("Why not?")
		r.paragraphs(reasons)
	}
}

// reasons has each once, with the signals that it is about.
func reasons(all []outcome) (texts []string) {
	about := map[string][]string{}
	var own, keys []string
	for _, o := range all {
		if o.reason == "" {
			continue
		}
		key := strings.ReplaceAll(o.reason, "/v1/"+o.signal, "/v1/*")
		if about[key] == nil {
			keys, own = append(keys, key), append(own, o.reason)
		}
		about[key] = append(about[key], o.signal)
	}
	for i, key := range keys {
		text := key
		if len(about[key]) == 1 {
			text = own[i]
		}
		texts = append(texts, diagnose.Listed(about[key])+": "+text)
	}
	return texts
}
