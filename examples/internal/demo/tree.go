package demo

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// barWidth is how many columns the whole of a trace takes.
const barWidth = 12

// PrintTree draws one trace: a line for each span with its service, kind and duration, and a bar that shows when in the
// trace it ran. The text of an error stands below its span. A trace of no spans draws nothing.
func PrintTree(out io.Writer, trace []otlptest.Span) {
	if len(trace) == 0 {
		return
	}
	t := tree{out: out, children: make(map[string][]otlptest.Span), begin: trace[0].Start, end: trace[0].End}
	arrived := make(map[string]bool, len(trace))
	for _, s := range trace {
		arrived[s.SpanID] = true
	}
	for _, s := range trace {
		parent := s.ParentSpanID
		if !arrived[parent] {
			parent = "" // draw it at the margin rather than not at all
		}
		t.children[parent] = append(t.children[parent], s)
		if s.Start.Before(t.begin) {
			t.begin = s.Start
		}
		if s.End.After(t.end) {
			t.end = s.End
		}
	}
	for _, siblings := range t.children {
		slices.SortFunc(siblings, func(a, b otlptest.Span) int {
			return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.SpanID, b.SpanID))
		})
	}
	t.row("SPAN", "SERVICE", "KIND", "MS", "")
	for _, root := range t.children[""] {
		t.draw(root, "", "")
	}
}

type tree struct {
	out        io.Writer
	children   map[string][]otlptest.Span // by the id of their parent
	begin, end time.Time
}

// draw prints s and all below it. The line of s begins with first, those below begin with rest.
func (t tree) draw(s otlptest.Span, first, rest string) {
	service, _ := s.Resource["service.name"].(string)
	t.row(first+s.Name, service, s.Kind,
		fmt.Sprintf("%.2f", float64(s.End.Sub(s.Start))/float64(time.Millisecond)), t.bar(s))
	below := t.children[s.SpanID]
	if s.Status.Code == "error" && s.Status.Message != "" {
		trunk := "   "
		if len(below) > 0 {
			trunk = "│  "
		}
		fmt.Fprintf(t.out, "  %s%serror: %s\n", rest, trunk, s.Status.Message)
	}
	for i, child := range below {
		if i < len(below)-1 {
			t.draw(child, rest+"├─ ", rest+"│  ")
		} else {
			t.draw(child, rest+"└─ ", rest+"   ")
		}
	}
}

func (t tree) row(name, service, kind, took, bar string) {
	line := fmt.Sprintf("  %s %-15s %-8s %6s  %s", pad(name, 31), service, kind, took, bar)
	fmt.Fprintln(t.out, strings.TrimRight(line, " "))
}

// bar is as long as the span's share of the trace, at least one column, and begins where the span does.
func (t tree) bar(s otlptest.Span) string {
	total := float64(max(t.end.Sub(t.begin), 1))
	from := min(int(float64(s.Start.Sub(t.begin))/total*barWidth), barWidth-1)
	to := max(int(float64(s.End.Sub(t.begin))/total*barWidth+0.5), from+1)
	return strings.Repeat(" ", from) + strings.Repeat("━", to-from)
}

// pad makes s n columns wide; fmt's %-*s would do, if it left the end of a name out that is too long.
func pad(s string, n int) string {
	if over := utf8.RuneCountInString(s) - n; over > 0 {
		return string([]rune(s)[:n-1]) + "…"
	} else {
		return s + strings.Repeat(" ", -over)
	}
}
