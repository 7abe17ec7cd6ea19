package spanview

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

// barWidth is the number of columns for a whole trace. A short trace is 80 columns wide, a deep one
// up to 97.
const (
	barWidth     = 12
	minNameWidth = 31
	maxNameWidth = 48
)

// Tree draws a trace, or several that are linked: a line for each span with its service, kind and
// duration, and a bar that shows when it ran. The text of an error is below its span, and so are
// links to other spans.
func Tree(out io.Writer, spans []otlptest.Span) {
	if len(spans) == 0 {
		return
	}
	t := tree{
		out: out, children: make(map[string][]otlptest.Span), byID: make(map[string]otlptest.Span, len(spans)),
		begin: spans[0].Start, end: spans[0].End,
	}
	for _, s := range spans {
		t.byID[s.SpanID] = s
	}
	for _, s := range spans {
		parent := s.ParentSpanID
		if _, arrived := t.byID[parent]; !arrived {
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
	t.nameWidth = minNameWidth
	for _, root := range t.children[""] {
		t.nameWidth = max(t.nameWidth, t.widest(root, 0))
	}
	t.row("SPAN", "SERVICE", "KIND", "MS", "")
	for _, root := range t.children[""] {
		t.draw(root, "", "")
	}
}

// widest returns the number of columns that the names of s and its descendants take, indented by
// their depth.
func (t tree) widest(s otlptest.Span, depth int) int {
	widest := 3*depth + utf8.RuneCountInString(s.Name)
	for _, child := range t.children[s.SpanID] {
		widest = max(widest, t.widest(child, depth+1))
	}
	return min(widest, maxNameWidth)
}

type tree struct {
	out        io.Writer
	children   map[string][]otlptest.Span // by the id of their parent
	byID       map[string]otlptest.Span
	begin, end time.Time
	nameWidth  int
}

// draw prints s and its descendants. The line of s begins with first, the lines below begin with
// rest.
func (t tree) draw(s otlptest.Span, first, rest string) {
	t.row(first+s.Name, Service(s.Resource), s.Kind,
		fmt.Sprintf("%.2f", float64(s.End.Sub(s.Start))/float64(time.Millisecond)), t.bar(s))
	below := t.children[s.SpanID]
	trunk := "   "
	if len(below) > 0 {
		trunk = "│  "
	}
	if s.Status.Code == "error" && s.Status.Message != "" {
		fmt.Fprintf(t.out, "  %s%serror: %s\n", rest, trunk, s.Status.Message)
	}
	for _, link := range s.Links {
		fmt.Fprintf(t.out, "  %s%slinked to %s\n", rest, trunk, t.target(link))
	}
	for i, child := range below {
		if i < len(below)-1 {
			t.draw(child, rest+"├─ ", rest+"│  ")
		} else {
			t.draw(child, rest+"└─ ", rest+"   ")
		}
	}
}

// target names the span that a link points to, by its name if the drawing includes it.
func (t tree) target(link otlptest.Link) string {
	if s, ok := t.byID[link.SpanID]; ok && s.TraceID == link.TraceID {
		return s.Name
	}
	return fmt.Sprintf("span %s of trace %s", link.SpanID, link.TraceID)
}

func (t tree) row(name, service, kind, took, bar string) {
	line := fmt.Sprintf("  %s %-15s %-8s %6s  %s", pad(name, t.nameWidth), service, kind, took, bar)
	fmt.Fprintln(t.out, strings.TrimRight(line, " "))
}

// bar is as long as the span's share of the trace, at least one column, and begins at the span's
// start.
func (t tree) bar(s otlptest.Span) string {
	total := float64(max(t.end.Sub(t.begin), 1))
	from := min(int(float64(s.Start.Sub(t.begin))/total*barWidth), barWidth-1)
	to := max(int(float64(s.End.Sub(t.begin))/total*barWidth+0.5), from+1)
	return strings.Repeat(" ", from) + strings.Repeat("━", to-from)
}

// pad makes s n columns wide. Unlike fmt's %-*s, it truncates a name that is too long.
func pad(s string, n int) string {
	if over := utf8.RuneCountInString(s) - n; over > 0 {
		return string([]rune(s)[:n-1]) + "…"
	} else {
		return s + strings.Repeat(" ", -over)
	}
}
