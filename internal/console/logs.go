package console

import (
	"context"
	"encoding"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/logs"
)

// Logs is a slog handler that writes a compact line for each record and repeats it in the tree of
// its span. It is safe for concurrent use.
type Logs struct {
	screen *Screen
	next   slog.Handler // instead of screen
	traces *Traces
	level  slog.Leveler
	groups []string
	attrs  []attr
	// replace is slog's ReplaceAttr: it may change an attribute, and the message under slog's key
	// for it.
	replace func(groups []string, a slog.Attr) slog.Attr
}

// attr is an attribute as it is shown; its key has the groups.
type attr struct{ key, value string }

// NewLogs returns a handler that writes to the screen, and repeats the lines in the trees of
// traces, unless that is nil.
func NewLogs(screen *Screen, traces *Traces, level slog.Leveler) *Logs {
	return &Logs{screen: screen, traces: traces, level: level}
}

// NewLogsOver returns a handler that leaves the writing to next.
func NewLogsOver(next slog.Handler, traces *Traces, level slog.Leveler) *Logs {
	return &Logs{next: next, traces: traces, level: level}
}

// Replacing makes the handler show what replace, as in [slog.HandlerOptions], returns; nil changes
// nothing. The handler of NewLogsOver has a separate replacement.
func (h *Logs) Replacing(replace func(groups []string, a slog.Attr) slog.Attr) *Logs {
	with := *h
	with.replace = replace
	return &with
}

// Enabled reports whether a record of the level is written.
func (h *Logs) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

// Handle writes the record.
func (h *Logs) Handle(ctx context.Context, r slog.Record) error {
	attrs := slices.Clip(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		attrs = h.flatten(attrs, h.groups, a)
		return true
	})
	label, message := levelPiece(r.Level), clean(h.messageOf(r))
	sc := trace.SpanContextFromContext(ctx)
	if sc.IsValid() && h.traces != nil {
		at := r.Time
		if at.IsZero() { // slog allows it, and so does OpenTelemetry
			at = time.Now()
		}
		h.traces.note(sc, event{at, repeated(label, message, attrs)})
	}
	if h.next != nil {
		return h.next.Handle(ctx, r)
	}
	return h.screen.print(logBlock(r.Time, label, sc.TraceID(), message, attrs, h.screen.columns()))
}

// WithAttrs returns a handler that adds the attributes to each record.
func (h *Logs) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = slices.Clip(h.attrs)
	for _, a := range attrs {
		with.attrs = h.flatten(with.attrs, h.groups, a)
	}
	if h.next != nil {
		with.next = h.next.WithAttrs(attrs)
	}
	return &with
}

// WithGroup returns a handler that puts further attributes into the group.
func (h *Logs) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.groups = append(slices.Clip(h.groups), name)
	if h.next != nil {
		with.next = h.next.WithGroup(name)
	}
	return &with
}

// logBlock returns the lines of a record. What does not fit on one line continues on the next;
// nothing is cut.
func logBlock(at time.Time, label piece, id trace.TraceID, message string, attrs []attr, width int) []line {
	head := line{{text: " "}, label}
	if id.IsValid() {
		head = append(head, piece{" " + shortID(id), dim})
	}
	if !at.IsZero() { // slog: a record without a time is written without one
		head = append(line{clock(at)}, head...)
	}
	p := paragraph{lines: []line{append(head, piece{text: " "})}, width: width}
	for word := range strings.SplitAfterSeq(message, " ") {
		p.add("", piece{word, plain})
	}
	for _, a := range attrs {
		p.add("  ", piece{a.key + "=", dim}, piece{a.value, plain})
	}
	return p.lines
}

// paragraph breaks lines between the pieces that are added, never within one.
type paragraph struct {
	lines []line
	width int
}

func (p *paragraph) add(gap string, pieces ...piece) {
	const indent = len("15:04:05.000 LEVEL ")
	last := &p.lines[len(p.lines)-1]
	used, more := last.width(), columns(gap)+columns(strings.TrimRight(text(pieces), " "))
	if used+more > p.width && used > indent+len("01234567 ") {
		p.lines = append(p.lines, append(line{{text: strings.Repeat(" ", indent)}}, pieces...))
		return
	}
	*last = append(append(*last, piece{text: gap}), pieces...)
}

// repeated returns the line as a tree shows it, shortened.
func repeated(label piece, message string, attrs []attr) line {
	text := line{{strings.TrimSpace(label.text) + " ", label.style}, {clip(message), plain}}
	size := len(message)
	for _, a := range attrs {
		if size > maxText {
			break // further to the right than any terminal reaches
		}
		text = append(text, piece{clip(" " + a.key + "=" + a.value), dim})
		size += len(a.key) + len(a.value)
	}
	return text
}

func levelPiece(level slog.Level) piece {
	s := dim
	switch {
	case level >= slog.LevelError:
		s = red
	case level >= slog.LevelWarn:
		s = yellow
	case level >= slog.LevelInfo:
		s = green
	}
	return piece{fmt.Sprintf("%-5s", level), s}
}

func (h *Logs) messageOf(r slog.Record) string {
	if h.replace == nil {
		return r.Message
	}
	return h.replace(nil, slog.String(slog.MessageKey, r.Message)).Value.String()
}

// flatten appends the attribute, or the members of a group.
func (h *Logs) flatten(attrs []attr, groups []string, a slog.Attr) []attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			groups = append(slices.Clip(groups), a.Key)
		}
		for _, inner := range a.Value.Group() {
			attrs = h.flatten(attrs, groups, inner)
		}
		return attrs
	}
	if h.replace != nil {
		a = h.replace(groups, a)
	}
	if a.Equal(slog.Attr{}) {
		return attrs
	}
	var key strings.Builder
	for _, group := range groups {
		key.WriteString(clean(group) + ".")
	}
	key.WriteString(clean(a.Key))
	return append(attrs, attr{key.String(), quoted(clean(valueText(a.Value)))})
}

// valueText is a value as text, or a note if its method panics, as those of some nil pointers do.
func valueText(v slog.Value) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = "!PANIC: " + logs.Text(p)
		}
	}()
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		switch value := v.Any().(type) {
		case error:
			return value.Error()
		case encoding.TextMarshaler:
			if text, err := value.MarshalText(); err == nil {
				return string(text)
			}
		case []byte:
			return string(value)
		}
		return fmt.Sprintf("%+v", v.Any())
	}
	return v.String()
}

// quoted puts quotes around a value with blanks, to show where it begins and ends. The text must
// have passed clean.
func quoted(text string) string {
	if text == "" || strings.ContainsAny(text, ` "=`) {
		return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
	}
	return text
}
