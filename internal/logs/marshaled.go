package logs

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"
)

// marshaled takes over the JSON that a value makes of itself.
func (w *walk) marshaled(value json.Marshaler) node {
	raw, ok := called(func() (string, error) { b, err := value.MarshalJSON(); return string(b), err })
	if !ok {
		if n, ok := value.(interface{ Value() (float64, bool) }); ok { // metricdata.Extrema, which fails for NaN
			var f float64
			_, ok = called(func() (string, error) { f, _ = n.Value(); return "", nil })
			if ok && isNoNumber(f) {
				return node{kind: float64s, bits: math.Float64bits(f)}
			}
		}
		return w.textNode(raw)
	}
	r := &reader{json.NewDecoder(strings.NewReader(raw)), raw}
	r.UseNumber()
	n, err := w.decoded(r, maxDepth)
	if err == nil && !w.noted {
		if _, rest := r.Token(); !errors.Is(rest, io.EOF) {
			err = errors.New("more than one JSON value")
		}
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return w.textNode("!ERROR: MarshalJSON returned invalid JSON: " + err.Error())
	}
	return n
}

// reader reads the JSON that a value makes of itself.
type reader struct {
	*json.Decoder
	raw string
}

// next is the next token. If it is a string, written is its JSON.
func (r *reader) next() (token json.Token, written string, err error) {
	from := r.InputOffset()
	token, err = r.Token()
	if _, isString := token.(string); isString {
		written = r.raw[from:r.InputOffset()]
		written = written[strings.IndexByte(written, '"'):] // behind blanks, a comma or a colon
	}
	return token, written, err
}

// asWritten takes a string from the budget: its JSON if that has escapes and fits, or else the
// string. Characters that are invalid, or that some readers take for the end of a line, must be
// escaped.
func (w *walk) asWritten(s, written string) (taken string, isWritten bool) {
	isWritten = strings.IndexByte(written, '\\') >= 0 && len(written) <= w.bytes && utf8.ValidString(written) &&
		!strings.Contains(written, "\u2028") && !strings.Contains(written, "\u2029")
	if isWritten {
		s = written
	}
	return w.text(s), isWritten
}

func (w *walk) decoded(r *reader, levels int) (node, error) {
	token, written, err := r.next()
	if err != nil {
		return node{}, err
	}
	switch token := token.(type) {
	case bool:
		n := node{kind: boolean}
		if token {
			n.bits = 1
		}
		return n, nil
	case json.Number:
		return w.number(string(token)), nil
	case string:
		taken, isWritten := w.asWritten(token, written)
		if isWritten {
			return node{kind: literal, text: taken, alt: token}, nil
		}
		return node{kind: text, text: taken}, nil
	case json.Delim:
		if levels == 0 {
			w.deep = true
			return node{}, nil
		}
		return w.decodedItems(r, token == '{', levels-1)
	}
	return node{}, nil
}

func (w *walk) decodedItems(r *reader, isObject bool, levels int) (node, error) {
	n := node{kind: list, items: []node{}}
	if isObject {
		n.kind = mapping
	}
	for r.More() && !w.deep {
		if !w.take() {
			if w.mustNote(1) {
				n.items = append(n.items, node{kind: text, key: cutKey, text: cutNote})
			}
			return n, nil
		}
		item, err := w.decodedItem(r, isObject, levels)
		if err != nil {
			return n, err
		}
		n.items = append(n.items, item)
		if w.noted {
			return n, nil
		}
	}
	if w.deep {
		return n, nil
	}
	_, err := r.Token()
	return n, err
}

// decodedItem is the next value, with the key before it in an object.
func (w *walk) decodedItem(r *reader, isObject bool, levels int) (node, error) {
	key, isWritten := "", false
	if isObject {
		token, written, err := r.next()
		if err != nil {
			return node{}, err
		}
		key, isWritten = w.asWritten(token.(string), written)
	}
	item, err := w.decoded(r, levels)
	item.key, item.written = key, isWritten
	return item, err
}

// JSON encodes a value of the SDK as encoding/json does, except that numbers that JSON does not
// have become strings.
func JSON(value any) []byte {
	w := walk{budget: budget{math.MaxInt - 1, math.MaxInt}} // a list reserves one more
	n := w.value(reflect.ValueOf(value), maxDepth, true)
	return n.appendJSON(nil, false)
}
