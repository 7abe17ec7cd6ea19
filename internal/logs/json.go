package logs

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"
)

// jsonHandler writes the lines of [slog.JSONHandler], byte for byte, and the ids of the context's
// span at their root. slog's own handler encodes floats, levels and what ReplaceAttr returns with
// encoding/json. It cannot add attributes outside an open group, so the record would have to be
// taken apart. With masking that takes 1.6 times as long.
type jsonHandler struct {
	w       io.Writer // takes one Write at a time
	level   slog.Leveler
	replace func([]string, slog.Attr) slog.Attr // slog's ReplaceAttr; nil: nothing is replaced
	levels  [4][]byte                           // the attribute of each of slog's levels
	before  []byte                              // what WithAttrs added, in the first open groups
	groups  []string
	open    int // how many groups before leaves open
}

func newJSONHandler(w io.Writer, level slog.Leveler, replace func([]string, slog.Attr) slog.Attr) *jsonHandler {
	h := &jsonHandler{w: w, level: level, replace: replace}
	for i := range h.levels {
		l := line{replace: replace}
		l.attr(slog.Any(slog.LevelKey, levelAt(i)))
		h.levels[i] = l.buf
	}
	return h
}

// levelAt is the level at an index of levels: they are four apart.
func levelAt(i int) slog.Level { return slog.LevelDebug + slog.Level(4*i) }

func (h *jsonHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *jsonHandler) Handle(ctx context.Context, r slog.Record) error {
	l := linePool.Get().(*line)
	defer l.free()
	l.replace = h.replace
	l.buf = append(l.buf, '{')
	if !r.Time.IsZero() {
		l.attr(slog.Time(slog.TimeKey, r.Time))
	}
	l.level(h, r.Level)
	l.attr(slog.String(slog.MessageKey, r.Message))
	l.raw(h.before)
	open := h.open
	if r.NumAttrs() > 0 && l.inGroups(h, func() bool { return l.attrsOf(r) }) {
		open = len(h.groups)
	}
	for range open {
		l.buf = append(l.buf, '}')
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		l.span(sc)
	}
	l.buf = append(l.buf, '}', '\n')
	_, err := h.w.Write(l.buf)
	return err
}

// WithAttrs writes the attributes once, for all records.
func (h *jsonHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	l := line{buf: slices.Clip(h.before), replace: h.replace}
	if !l.inGroups(h, func() bool { return l.attrs(attrs) }) {
		return h
	}
	with := *h
	with.before, with.open = l.buf, len(h.groups)
	return &with
}

func (h *jsonHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.groups = append(slices.Clip(h.groups), name)
	return &with
}

// line is a line that is being written.
type line struct {
	buf     []byte
	groups  []string // that are open, for replace
	replace func([]string, slog.Attr) slog.Attr
}

var linePool = sync.Pool{New: func() any { return &line{buf: make([]byte, 0, 1024)} }}

// maxKept is how large a buffer may be that is used again.
const maxKept = 16 << 10

func (l *line) free() {
	if cap(l.buf) > maxKept {
		return
	}
	clear(l.groups)
	l.buf, l.groups, l.replace = l.buf[:0], l.groups[:0], nil
	linePool.Put(l)
}

// inGroups opens the handler's groups that are not open yet and lets write add attributes to the
// last one. A group without attributes is not written: if write returns false, all is as before.
func (l *line) inGroups(h *jsonHandler, write func() bool) bool {
	start := len(l.buf)
	for _, name := range h.groups[h.open:] {
		l.begin(name)
	}
	l.groups = append(l.groups, h.groups...)
	written := write()
	l.groups = l.groups[:0]
	if !written {
		l.buf = l.buf[:start]
	}
	return written
}

func (l *line) begin(group string) {
	l.key(group)
	l.buf = append(l.buf, '{')
}

// raw adds attributes that are written already.
func (l *line) raw(attrs []byte) {
	if len(attrs) > 0 && l.buf[len(l.buf)-1] == '{' {
		attrs = attrs[1:] // without their comma
	}
	l.buf = append(l.buf, attrs...)
}

func (l *line) level(h *jsonHandler, level slog.Level) {
	if i := int(level-slog.LevelDebug) / 4; i >= 0 && i < len(h.levels) && levelAt(i) == level {
		l.raw(h.levels[i])
		return
	}
	l.attr(slog.Any(slog.LevelKey, level))
}

// span adds the ids. They may be replaced as well, so they need to be strings, but one allocation
// has room for all of them.
func (l *line) span(sc trace.SpanContext) {
	var digits [50]byte
	id, span := sc.TraceID(), sc.SpanID()
	hex.Encode(digits[:32], id[:])
	hex.Encode(digits[32:48], span[:])
	hex.Encode(digits[48:], []byte{byte(sc.TraceFlags())})
	if l.replace == nil {
		l.digits(traceIDKey, digits[:32])
		l.digits(spanIDKey, digits[32:48])
		l.digits(traceFlagsKey, digits[48:])
		return
	}
	all := string(digits[:])
	l.attr(slog.String(traceIDKey, all[:32]))
	l.attr(slog.String(spanIDKey, all[32:48]))
	l.attr(slog.String(traceFlagsKey, all[48:]))
}

func (l *line) digits(key string, value []byte) {
	l.key(key)
	l.buf = append(append(append(l.buf, '"'), value...), '"')
}

func (l *line) attrs(attrs []slog.Attr) (written bool) {
	for _, a := range attrs {
		written = l.attr(a) || written
	}
	return written
}

func (l *line) attrsOf(r slog.Record) (written bool) {
	r.Attrs(func(a slog.Attr) bool {
		written = l.attr(a) || written
		return true
	})
	return written
}

// attr adds an attribute, and returns false if it is empty.
func (l *line) attr(a slog.Attr) bool {
	kind := a.Value.Kind()
	if kind == slog.KindLogValuer {
		a.Value = a.Value.Resolve()
		kind = a.Value.Kind()
	}
	if l.replace == nil || !masked(kind) {
		return l.replaced(a.Key, a.Value, kind)
	}
	replacement := l.replace(l.groups, a)
	return l.replaced(replacement.Key, replacement.Value, replacement.Value.Kind())
}

func (l *line) replaced(key string, v slog.Value, kind slog.Kind) bool {
	switch kind {
	case slog.KindLogValuer:
		v = v.Resolve()
		return l.replaced(key, v, v.Kind())
	case slog.KindAny:
		value := v.Any()
		if key == "" && value == nil {
			return false
		}
		if source, ok := value.(*slog.Source); ok {
			attrs := sourceAttrs(source)
			return len(attrs) > 0 && l.group(key, attrs)
		}
	case slog.KindGroup:
		return l.group(key, v.Group())
	}
	l.key(key)
	l.value(v, kind)
	return true
}

// masked reports whether masking may change values of a kind. The members of a group are checked
// one by one.
func masked(kind slog.Kind) bool {
	switch kind {
	case slog.KindGroup, slog.KindTime, slog.KindDuration, slog.KindBool:
		return false
	}
	return true
}

// group adds the members in a group, or without one if the key is empty. As in slog, a group that
// has no members is not written and does not count as empty; one whose members are all empty does.
func (l *line) group(key string, members []slog.Attr) bool {
	if len(members) == 0 {
		return true
	}
	if key == "" {
		return l.attrs(members)
	}
	start := len(l.buf)
	l.begin(key)
	l.groups = append(l.groups, key)
	written := l.attrs(members)
	l.groups = l.groups[:len(l.groups)-1]
	if !written {
		l.buf = l.buf[:start]
		return false
	}
	l.buf = append(l.buf, '}')
	return true
}

// sourceAttrs are the members of the group that slog makes of a source. It has none if it is empty.
func sourceAttrs(source *slog.Source) (attrs []slog.Attr) {
	if source == nil {
		return nil
	}
	if source.Function != "" {
		attrs = append(attrs, slog.String("function", source.Function))
	}
	if source.File != "" {
		attrs = append(attrs, slog.String("file", source.File))
	}
	if source.Line != 0 {
		attrs = append(attrs, slog.Int("line", source.Line))
	}
	return attrs
}

// key begins an attribute. What precedes it ends in a brace if it is the first one of an object,
// and in something else otherwise: no value ends in an opening brace.
func (l *line) key(key string) {
	if n := len(l.buf); n == 0 || l.buf[n-1] != '{' {
		l.buf = append(l.buf, ',')
	}
	l.buf = append(appendQuoted(l.buf, key), ':')
}

func (l *line) value(v slog.Value, kind slog.Kind) {
	switch kind {
	case slog.KindString:
		l.buf = appendQuoted(l.buf, v.String())
	case slog.KindInt64:
		l.buf = strconv.AppendInt(l.buf, v.Int64(), 10)
	case slog.KindUint64:
		l.buf = strconv.AppendUint(l.buf, v.Uint64(), 10)
	case slog.KindDuration:
		l.buf = strconv.AppendInt(l.buf, int64(v.Duration()), 10)
	case slog.KindBool:
		l.buf = strconv.AppendBool(l.buf, v.Bool())
	case slog.KindTime:
		l.time(v.Time())
	case slog.KindFloat64:
		if f := v.Float64(); isNoNumber(f) {
			l.any(f)
		} else {
			l.buf = appendFloat(l.buf, f, 64)
		}
	default:
		l.any(v.Any())
	}
}

func (l *line) time(t time.Time) {
	if year := t.Year(); year < 0 || year > 9999 { // RFC 3339 has four digits
		l.buf = appendQuoted(l.buf, "!ERROR:time.Time year outside of range [0,9999]")
		return
	}
	l.buf = append(l.buf, '"')
	l.buf = t.AppendFormat(l.buf, time.RFC3339Nano)
	l.buf = append(l.buf, '"')
}

// any writes a value of slog.KindAny. Those that a [handler] makes need no encoding/json. Methods
// of others may panic.
func (l *line) any(value any) {
	switch value := value.(type) {
	case nil:
		l.buf = append(l.buf, "null"...)
		return
	case *node:
		l.buf = value.appendJSON(l.buf, false)
		return
	case *failure:
		l.buf = appendQuoted(l.buf, value.text)
		return
	}
	start := len(l.buf)
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		note := fmt.Sprintf("!PANIC: %v", p)
		if v := reflect.ValueOf(value); v.Kind() == reflect.Pointer && v.IsNil() {
			note = "<nil>"
		}
		l.buf = appendQuoted(l.buf[:start], note)
	}()
	_, isMarshaler := value.(json.Marshaler)
	if err, isError := value.(error); isError && !isMarshaler {
		l.buf = appendQuoted(l.buf, err.Error())
		return
	}
	encoded, err := encode(value)
	if err != nil {
		l.buf = appendQuoted(l.buf, fmt.Sprintf("!ERROR:%v", err))
		return
	}
	l.buf = append(l.buf, encoded...)
}

// encode is encoding/json without its escapes for HTML.
func encode(value any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), err
}

// verbatim has the bytes that need no escape in a JSON string.
var verbatim = func() (table [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

// appendQuoted adds a JSON string. It escapes what slog escapes, in the same form, which is not
// always that of encoding/json.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; ; {
		n := i
		for n < len(s) && verbatim[s[n]] {
			n++
		}
		b = append(b, s[i:n]...)
		if n == len(s) {
			return append(b, '"')
		}
		r, size := utf8.DecodeRuneInString(s[n:])
		b = appendRune(b, r, s[n:n+size])
		i = n + size
	}
}

// appendRune adds a character that may need an escape. text is its form without one.
func appendRune(b []byte, r rune, text string) []byte {
	switch {
	case r == '"' || r == '\\':
		return append(b, '\\', byte(r))
	case r == '\n':
		return append(b, '\\', 'n')
	case r == '\r':
		return append(b, '\\', 'r')
	case r == '\t':
		return append(b, '\\', 't')
	case r < ' ', r == '\u2028', r == '\u2029', r == utf8.RuneError && len(text) == 1:
		return fmt.Appendf(b, `\u%04x`, r)
	}
	return append(b, text...)
}
