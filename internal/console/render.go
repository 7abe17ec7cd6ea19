package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// The widths of the columns of a row. From right to left these are a bar, a duration and the kind
// of the span. The name has the rest.
const (
	kindColumns     = 9
	durationColumns = 9
	barWidth        = 60 // narrower terminals have no bars
)

// canvas collects the lines of one tree.
type canvas struct {
	lines     []line
	now       time.Time
	left, bar int
	from      time.Time
	total     time.Duration
}

// block returns the lines of the tree: a header with the full trace ID, the rows, and a note about
// what was left out. why is a further note, or empty.
func (tr *tree) block(now time.Time, width int, why string) []line {
	c := &canvas{now: now, from: tr.root.start}
	if width >= barWidth {
		c.bar = width / 5
	}
	c.left = width - kindColumns - durationColumns - c.bar - 1
	failed := tr.moreFailed
	tr.root.walk(func(n *node) {
		if n.live != nil {
			n.describe(n.unended())
		}
		if n.failed {
			failed++
		}
		c.total = max(c.total, n.until(now).Sub(c.from))
	})
	c.lines = append(c.lines, tr.header(failed, width))
	c.node(tr.root, "", "")
	for _, note := range []string{tr.cut(), why} {
		if note != "" {
			c.lines = append(c.lines, line{{"… " + note, yellow}}.cut(width))
		}
	}
	return c.lines
}

// header has the full trace ID, even if the terminal is too narrow for it.
func (tr *tree) header(failed, width int) line {
	label, notes := piece{"TRACE", cyan}, line{{"  " + count(tr.spans+tr.moreSpans, "span"), dim}}
	switch {
	case tr.late:
		label, notes = piece{"LATE ", yellow}, line{{"  after its root had ended", dim}}
	case failed > 0:
		notes = append(notes, piece{fmt.Sprintf(", %d failed", failed), red})
	}
	head := line{clock(tr.root.start), {text: " "}, label, {" " + tr.id.String(), bold}}
	if head.width()+notes.width() <= width {
		return append(head, notes...)
	}
	return head
}

// cut returns a note about the spans and events that were counted and not kept.
func (tr *tree) cut() string {
	var parts []string
	if tr.moreSpans > 0 {
		part := count(tr.moreSpans, "more span")
		if tr.moreFailed > 0 {
			part += fmt.Sprintf(", %d of them failed", tr.moreFailed)
		}
		parts = append(parts, part)
	}
	if tr.moreEvents > 0 {
		parts = append(parts, count(tr.moreEvents, "more log line or event"))
	}
	return strings.Join(parts, "; ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if before, after, ok := strings.Cut(what, " or "); ok {
		return fmt.Sprintf("%d %ss or %ss", n, before, after)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// until returns the end of the span, or now if it has not ended.
func (n *node) until(now time.Time) time.Time {
	if n.ended {
		return n.end
	}
	return now
}

// node adds the row of a span and, ordered by time, its children, log lines and events. lead is
// printed before its name, and below before everything under it.
func (c *canvas) node(n *node, lead, below string) {
	end := n.until(c.now)
	took := piece{fmt.Sprintf("%*s", durationColumns, duration(end.Sub(n.start))), plain}
	name := line{{c.prefix(lead), dim}}
	barStyle := cyan
	if n.failed {
		name = append(name, piece{"✗ ", red})
		barStyle = red
	}
	name = append(append(name, piece{n.name, plain}), n.details...)
	if n.parent.IsValid() && !n.tree.late {
		name = append(name, piece{" parent=" + shortSpan(n.parent.SpanID()), dim})
	}
	if !n.ended {
		name = append(name, piece{" unfinished", yellow})
		barStyle = yellow
	}
	row := name.fit(c.left)
	row = append(row, piece{" " + fmt.Sprintf("%-*s", kindColumns-1, kindName(n.kind)), dim}, took)
	c.lines = append(c.lines, append(row, c.drawBar(n.start, end, "━", barStyle)...))
	c.items(n, below)
}

// item is a child or an event.
type item struct {
	at    time.Time
	child *node
	text  line
}

func (c *canvas) items(n *node, below string) {
	events := n.events
	if n.live != nil {
		events = append(slices.Clip(events), spanEvents(n.unended(), c.now)...)
	}
	var items []item
	for _, e := range events {
		items = append(items, item{at: e.at, text: e.text})
	}
	for _, child := range n.children {
		items = append(items, item{at: child.start, child: child})
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.at.Compare(b.at) })
	for i, it := range items {
		branch, under := "├", "│  "
		if i == len(items)-1 {
			branch, under = "└", "   "
		}
		if it.child != nil {
			c.node(it.child, below+branch+"─ ", below+under)
			continue
		}
		c.event(it, below+branch+" ")
	}
}

// event adds a log line or a span event, with its time since the start of the tree.
func (c *canvas) event(it item, lead string) {
	row := append(line{{c.prefix(lead), dim}}, it.text...).fit(c.left + kindColumns)
	offset := "+" + duration(it.at.Sub(c.from))
	if it.at.Before(c.from) {
		offset = duration(it.at.Sub(c.from))
	}
	row = append(row, piece{fmt.Sprintf("%*s", durationColumns, offset), dim})
	c.lines = append(c.lines, append(row, c.drawBar(it.at, it.at, "·", dim)...))
}

// prefix shortens the lead of deep trees, so that at least half of the column is left for the name.
func (c *canvas) prefix(lead string) string {
	if most := c.left / 2; columns(lead) > most {
		return "…" + lastColumns(lead, most-1)
	}
	return lead
}

// drawBar returns a bar that shows when in the trace something happened.
func (c *canvas) drawBar(start, end time.Time, mark string, s style) line {
	if c.bar == 0 || c.total <= 0 {
		return nil
	}
	at := func(t time.Time) int {
		return min(max(int(float64(t.Sub(c.from))/float64(c.total)*float64(c.bar)+0.5), 0), c.bar)
	}
	from := min(at(start), c.bar-1)
	return line{{" " + strings.Repeat(" ", from), plain}, {strings.Repeat(mark, max(at(end)-from, 1)), s}}
}

func kindName(k trace.SpanKind) string {
	if k == trace.SpanKindInternal {
		return ""
	}
	return k.String()
}

// hanging returns the line about a local root that has not ended for a long time.
func (tr *tree) hanging(now time.Time, width int) []line {
	path := tr.root.openPath()
	message := short(path[0].unended().Name()) + " has been running for " + age(now.Sub(tr.root.seen))
	if len(path) > 1 {
		last := path[len(path)-1]
		message += ", now in " + short(last.unended().Name()) + " for " + age(now.Sub(last.seen))
	}
	var attrs []attr
	if others := tr.open - len(path); others > 0 {
		attrs = append(attrs, attr{"also_open", fmt.Sprint(others)})
	}
	return logBlock(now, piece{"WAIT ", yellow}, tr.id, message, attrs, width)
}

// shortID is enough to tell traces on one screen apart. The header of the tree has the full ID.
func shortID(id trace.TraceID) string { return id.String()[:8] }

func shortSpan(id trace.SpanID) string { return id.String()[:8] }
