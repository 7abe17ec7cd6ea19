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
	number // a JSON number as it was written
	text
	binary
	instant
	duration
	list
	mapping
	object // a struct
)

// Node is a value of a log record, detached from the service's own: it is a tree without cycles, within the budget of a
// record. It is written as JSON (MarshalJSON), as text (MarshalText), and over OTLP ([Node.Value]). It does not change
// once it is made, so that branches and goroutines may share it.
type Node struct {
	kind   kind
	hidden bool   // an unexported field: not in JSON
	bits   uint64 // of a number
	text   string
	key    string // within a mapping or an object
	alt    string // what String says; "" without it. JSON does not show it.
	items  []Node
}

// MarshalJSON writes the node as encoding/json would write the value. NaN and the infinities are strings.
func (n *Node) MarshalJSON() ([]byte, error) { return n.appendJSON(nil), nil }

// MarshalText writes the node in the style of fmt's %+v.
func (n *Node) MarshalText() ([]byte, error) { return n.appendText(nil), nil }

// String is the node as text.
func (n *Node) String() string { return string(n.appendText(nil)) }

func (n *Node) appendJSON(b []byte) []byte {
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
	case number:
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
			b = n.items[i].appendJSON(b)
		}
		return append(b, ']')
	case mapping, object:
		return n.appendMembers(b)
	}
	return appendString(b, n.text)
}

func (n *Node) appendMembers(b []byte) []byte {
	b = append(b, '{')
	first := true
	for i := range n.items {
		if n.items[i].hidden {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, n.items[i].key), ':')
		b = n.items[i].appendJSON(b)
	}
	return append(b, '}')
}

// appendFloat follows encoding/json, which follows ECMAScript, save that JSON has no NaN.
func (n *Node) appendFloat(b []byte) []byte {
	f, size := math.Float64frombits(n.bits), 64
	if n.kind == float32s {
		size = 32
	}
	if isNoNumber(f) {
		return strconv.AppendQuote(b, strconv.FormatFloat(f, 'g', -1, 64))
	}
	format, abs := byte('f'), math.Abs(f)
	if abs != 0 && (abs < 1e-6 || abs >= 1e21) {
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
	encoder.SetEscapeHTML(false) // as slog has it
	_ = encoder.Encode(s)        // a string always has an encoding
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})...)
}

func (n *Node) appendText(b []byte) []byte {
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
	case boolean, signed, unsigned, number:
		return n.appendJSON(b)
	case list:
		return n.appendItems(b, "[", "]")
	case mapping:
		return n.appendItems(b, "map[", "]")
	case object:
		return n.appendItems(b, "{", "}")
	}
	return append(b, n.text...)
}

func (n *Node) appendItems(b []byte, begin, end string) []byte {
	b = append(b, begin...)
	for i := range n.items {
		if i > 0 {
			b = append(b, ' ')
		}
		if n.kind != list {
			b = append(append(b, n.items[i].key...), ':')
		}
		b = n.items[i].appendText(b)
	}
	return append(b, end...)
}

// Value is the node over OTLP, by the specification's mapping (common/attribute-type-mapping.md). Structs are text, as with
// otelslog alone.
func (n *Node) Value() attribute.Value {
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
		return Uint64(n.bits)
	case float32s, float64s:
		return attribute.Float64Value(math.Float64frombits(n.bits))
	case number:
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
			members[i] = attribute.KeyValue{Key: attribute.Key(n.items[i].key), Value: n.items[i].Value()}
		}
		return attribute.MapValue(members...)
	}
	return attribute.StringValue(n.text)
}

// Uint64 is a number over OTLP, whose integers are signed: one that does not fit is its decimal digits.
func Uint64(n uint64) attribute.Value {
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

// slog is the node as a value of a record: one of slog's own kinds where it has the same form on every branch.
func (n Node) slog() slog.Value {
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

// isNoNumber tells what JSON cannot write.
func isNoNumber(f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) }
