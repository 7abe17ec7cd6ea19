package logs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
)

type kind uint8

const (
	null kind = iota
	boolean
	signed
	unsigned
	float32s
	float64s
	literal // a number or string as its JSON was written; alt is the text of the string
	text
	binary
	instant
	duration
	list
	mapping
	object // a struct
)

// node is a value of a log record, detached from the service's own: it is a tree without cycles,
// within the budget of a record. It is written as JSON (MarshalJSON), as text (MarshalText), and
// over OTLP ([node.Value]). It does not change once it is made, so that branches and goroutines may
// share it.
type node struct {
	kind    kind
	hidden  bool   // an unexported field: not in JSON
	written bool   // key is as its JSON was written, with quotes and escapes
	bits    uint64 // of a number
	text    string
	key     string // within a mapping or an object
	alt     string // what its String method returned; "" if it has none. JSON does not show it.
	items   []node
}

// MarshalJSON writes the node as encoding/json would write the value. NaN and the infinities are
// strings.
func (n *node) MarshalJSON() ([]byte, error) { return n.appendJSON(nil, false), nil }

// AppendJSON is MarshalJSON into a buffer, but with no more escapes than JSON needs, so that the
// texts in it can be searched for what is sensitive.
func (n *node) AppendJSON(b []byte) []byte { return n.appendJSON(b, true) }

// MarshalText writes the node in the style of fmt's %+v.
func (n *node) MarshalText() ([]byte, error) { return n.appendText(nil), nil }

// String is the node as text.
func (n *node) String() string {
	l := linePool.Get().(*line)
	defer l.free()
	l.buf = n.appendText(l.buf)
	return string(l.buf)
}

func (n *node) appendJSON(b []byte, bare bool) []byte {
	switch n.kind {
	case null:
		return append(b, "null"...)
	case boolean:
		return strconv.AppendBool(b, n.bits != 0)
	case signed, duration:
		return strconv.AppendInt(b, int64(n.bits), 10)
	case unsigned:
		return strconv.AppendUint(b, n.bits, 10)
	case float32s, float64s:
		return n.appendFloat(b)
	case literal:
		if bare && n.alt != "" {
			return appendString(b, n.alt)
		}
		return append(b, n.text...)
	case binary:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, []byte(n.text))
		return append(b, '"')
	case list:
		b = append(b, '[')
		for i := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = n.items[i].appendJSON(b, bare)
		}
		return append(b, ']')
	case mapping, object:
		return n.appendMembers(b, bare)
	}
	return appendString(b, n.text)
}

func (n *node) appendMembers(b []byte, bare bool) []byte {
	b = append(b, '{')
	first := true
	for i := range n.items {
		item := &n.items[i]
		if item.hidden {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		switch {
		case !item.written:
			b = appendString(b, item.key)
		case bare:
			b = appendString(b, item.name())
		default:
			b = append(b, item.key...)
		}
		b = item.appendJSON(append(b, ':'), bare)
	}
	return append(b, '}')
}

// name returns the text of the key.
func (n *node) name() string {
	if !n.written {
		return n.key
	}
	var name string
	_ = json.Unmarshal([]byte(n.key), &name) // which a decoder has done before
	return name
}

// appendFloat adds a number of a node. JSON has no NaN and no infinities: they become strings.
func (n *node) appendFloat(b []byte) []byte {
	f := math.Float64frombits(n.bits)
	if isNoNumber(f) {
		return strconv.AppendQuote(b, strconv.FormatFloat(f, 'g', -1, 64))
	}
	if n.kind == float32s {
		return appendFloat(b, f, 32)
	}
	return appendFloat(b, f, 64)
}

// appendFloat follows encoding/json, which follows ECMAScript.
func appendFloat(b []byte, f float64, size int) []byte {
	format, abs := byte('f'), math.Abs(f)
	if size == 64 && abs != 0 && (abs < 1e-6 || abs >= 1e21) ||
		size == 32 && abs != 0 && (float32(abs) < 1e-6 || float32(abs) >= 1e21) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, f, format, -1, size)
	if end := len(b); format == 'e' && end >= 4 && b[end-4] == 'e' && b[end-3] == '-' && b[end-2] == '0' {
		b[end-2] = b[end-1] // e-09 is e-9
		b = b[:end-1]
	}
	return b
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false) // as slog does
	_ = encoder.Encode(s)        // a string always has an encoding
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})...)
}

func (n *node) appendText(b []byte) []byte {
	if n.alt != "" {
		return append(b, n.alt...)
	}
	switch n.kind {
	case null:
		return append(b, "<nil>"...)
	case float32s, float64s:
		size := 64
		if n.kind == float32s {
			size = 32
		}
		return strconv.AppendFloat(b, math.Float64frombits(n.bits), 'g', -1, size)
	case duration:
		return append(b, time.Duration(n.bits).String()...)
	case boolean, signed, unsigned, literal:
		return n.appendJSON(b, false)
	case list:
		return n.appendItems(b, "[", "]")
	case mapping:
		return n.appendItems(b, "map[", "]")
	case object:
		return n.appendItems(b, "{", "}")
	}
	return append(b, n.text...)
}

func (n *node) appendItems(b []byte, begin, end string) []byte {
	b = append(b, begin...)
	for i := range n.items {
		if i > 0 {
			b = append(b, ' ')
		}
		if n.kind != list {
			b = append(append(b, n.items[i].name()...), ':')
		}
		b = n.items[i].appendText(b)
	}
	return append(b, end...)
}

// Value is the node as a value of OTLP, by the specification's mapping
// (common/attribute-type-mapping.md). Structs are text, as with otelslog alone.
func (n *node) Value() attribute.Value {
	if n.alt != "" {
		return attribute.StringValue(n.alt)
	}
	switch n.kind {
	case null:
		return attribute.Value{}
	case boolean:
		return attribute.BoolValue(n.bits != 0)
	case signed, duration, instant:
		return attribute.Int64Value(int64(n.bits))
	case unsigned:
		return uint64Value(n.bits)
	case float32s, float64s:
		return attribute.Float64Value(math.Float64frombits(n.bits))
	case literal:
		return numberValue(n.text)
	case binary:
		return attribute.ByteSliceValue([]byte(n.text))
	case list:
		values := make([]attribute.Value, len(n.items))
		for i := range n.items {
			values[i] = n.items[i].Value()
		}
		return attribute.SliceValue(values...)
	case object:
		return attribute.StringValue(n.String())
	case mapping:
		members := make([]attribute.KeyValue, len(n.items))
		for i := range n.items {
			members[i] = attribute.KeyValue{Key: attribute.Key(n.items[i].name()), Value: n.items[i].Value()}
		}
		return attribute.MapValue(members...)
	}
	return attribute.StringValue(n.text)
}

// uint64Value is a number as a value of OTLP, whose integers are signed. One that does not fit
// becomes a string of its digits.
func uint64Value(n uint64) attribute.Value {
	if n > math.MaxInt64 {
		return attribute.StringValue(strconv.FormatUint(n, 10))
	}
	return attribute.Int64Value(int64(n))
}

func numberValue(s string) attribute.Value {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return attribute.Int64Value(n)
	}
	if strings.ContainsAny(s, ".eE") {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return attribute.Float64Value(f)
		}
	}
	return attribute.StringValue(s)
}

// slog returns the node as a value of a record. It has one of slog's own kinds if all branches
// write that kind in the same form.
func (n node) slog() slog.Value {
	switch {
	case n.kind == text && n.alt == "":
		return slog.StringValue(n.text)
	case n.kind == boolean && n.alt == "":
		return slog.BoolValue(n.bits != 0)
	case n.kind == signed && n.alt == "":
		return slog.Int64Value(int64(n.bits))
	case n.kind == float64s && n.alt == "" && !isNoNumber(math.Float64frombits(n.bits)):
		return slog.Float64Value(math.Float64frombits(n.bits))
	case n.kind == null:
		return slog.AnyValue(nil)
	case n.kind == binary:
		return slog.AnyValue([]byte(n.text))
	}
	return slog.AnyValue(&n)
}

// isNoNumber tells whether JSON has no number for f.
func isNoNumber(f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) }
