package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
)

// marshaled takes over the JSON that a value makes of itself.
func (w *walk) marshaled(value json.Marshaler) Node {
	raw, ok := called(func() (string, error) { b, err := value.MarshalJSON(); return string(b), err })
	if !ok {
		if n, ok := value.(interface{ Value() (float64, bool) }); ok { // metricdata.Extrema, which fails for NaN
			if f, _ := n.Value(); isNoNumber(f) {
				return Node{kind: float64s, bits: math.Float64bits(f)}
			}
		}
		return w.textNode(raw)
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(raw)))
	decoder.UseNumber()
	n, err := w.decoded(decoder, MaxDepth)
	if err == nil && !w.noted {
		if _, rest := decoder.Token(); !errors.Is(rest, io.EOF) {
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

func (w *walk) decoded(decoder *json.Decoder, levels int) (Node, error) {
	token, err := decoder.Token()
	if err != nil {
		return Node{}, err
	}
	switch token := token.(type) {
	case bool:
		n := Node{kind: boolean}
		if token {
			n.bits = 1
		}
		return n, nil
	case json.Number:
		return w.number(string(token)), nil
	case string:
		return w.textNode(token), nil
	case json.Delim:
		if levels == 0 {
			w.deep = true
			return Node{}, nil
		}
		return w.decodedItems(decoder, token == '{', levels-1)
	}
	return Node{}, nil
}

func (w *walk) decodedItems(decoder *json.Decoder, isObject bool, levels int) (Node, error) {
	n := Node{kind: list, items: []Node{}}
	if isObject {
		n.kind = mapping
	}
	for decoder.More() && !w.deep {
		if !w.take() {
			if w.mustNote(1) {
				n.items = append(n.items, Node{kind: text, key: cutKey, text: cutNote})
			}
			return n, nil
		}
		key := ""
		if isObject {
			token, err := decoder.Token()
			if err != nil {
				return n, err
			}
			key = w.text(token.(string))
		}
		item, err := w.decoded(decoder, levels)
		if err != nil {
			return n, err
		}
		item.key = key
		n.items = append(n.items, item)
		if w.noted {
			return n, nil
		}
	}
	if w.deep {
		return n, nil
	}
	_, err := decoder.Token()
	return n, err
}

// JSON is what encoding/json makes of a value that is no service's own, with texts for the numbers that JSON does not have.
func JSON(value any) []byte {
	w := walk{budget: budget{math.MaxInt, math.MaxInt}}
	n := w.value(reflect.ValueOf(value), MaxDepth, true)
	return n.appendJSON(nil)
}
