package redact

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"sync"
)

// SlogJSON is the ReplaceAttr of a handler that writes JSON. Values of other types than slog's own
// are searched in the form in which the handler will write them.
func (r *Redactor) SlogJSON(groups []string, a slog.Attr) slog.Attr { return r.slog(groups, a, true) }

// SlogText is the ReplaceAttr of a handler that writes text.
func (r *Redactor) SlogText(groups []string, a slog.Attr) slog.Attr { return r.slog(groups, a, false) }

func (r *Redactor) slog(groups []string, a slog.Attr, asJSON bool) slog.Attr {
	kind := a.Value.Kind()
	if kind == slog.KindTime || kind == slog.KindBool || kind == slog.KindDuration {
		return a
	}
	switch r.grouped(groups, a.Key) {
	case skip:
		return a
	case mask:
		if isEmpty(a.Value) {
			return a
		}
		return slog.String(a.Key, Marker)
	}
	l := label{groups, a.Key}
	switch kind {
	case slog.KindString:
		if text, n := r.text(l, a.Value.String()); n > 0 {
			return slog.String(a.Key, text)
		}
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64:
		if isSlogCardNumber(a.Value) && !l.namesIdentifier() {
			return slog.String(a.Key, Marker)
		}
	case slog.KindAny:
		return r.slogAny(l, a, asJSON)
	}
	return a
}

func isEmpty(v slog.Value) bool {
	return v.Kind() == slog.KindString && v.String() == "" || v.Kind() == slog.KindAny && v.Any() == nil
}

func isSlogCardNumber(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindInt64:
		return isCardNumber(v.Int64())
	case slog.KindUint64:
		return v.Uint64() <= math.MaxInt64 && isCardNumber(int64(v.Uint64()))
	case slog.KindFloat64:
		return isCardFloat(v.Float64())
	}
	return false
}

// grouped is the verdict on a key in groups, which count like the maps around an attribute.
func (r *Redactor) grouped(groups []string, key string) verdict {
	for i, group := range groups {
		if v := r.verdict(groups[:i], group); v == mask || v == skip {
			return v
		}
	}
	return r.verdict(groups, key)
}

// slogAny searches a value in the form in which the handler is going to write it. If the value
// panics, it is left to the handler, which recovers.
func (r *Redactor) slogAny(l label, a slog.Attr, asJSON bool) (masked slog.Attr) {
	defer func() {
		if recover() != nil {
			masked = a
		}
	}()
	switch a.Value.Any().(type) {
	case slog.Level, *slog.Source, nil:
		return a
	}
	if asJSON {
		return r.slogInJSON(l, a)
	}
	return r.slogInText(l, a)
}

func (r *Redactor) slogInText(l label, a slog.Attr) (masked slog.Attr) {
	for _, form := range textForms(a.Value.Any()) {
		if text, n := r.text(l, form); n > 0 {
			return slog.String(a.Key, text)
		}
	}
	return a
}

func (r *Redactor) slogInJSON(l label, a slog.Attr) (masked slog.Attr) {
	switch v := a.Value.Any().(type) {
	case jsonAppender:
		return r.slogAppended(l, a, v)
	case json.Marshaler:
		return r.slogEncoded(l, a, true)
	case error:
		if text, n := r.text(l, v.Error()); n > 0 {
			return slog.String(a.Key, text)
		}
		return a
	case encoding.TextMarshaler:
		return r.slogEncoded(l, a, false)
	}
	raw, isBytes := byteSlice(a.Value.Any())
	if !isBytes {
		return r.slogEncoded(l, a, false)
	}
	if text, n := r.text(l, string(raw)); n > 0 { // the handler writes base64, in which nothing is found
		return slog.Any(a.Key, []byte(text))
	}
	return a
}

// jsonAppender is a value that writes its JSON fast, always in the same form and without blanks.
type jsonAppender interface {
	AppendJSON(b []byte) []byte
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxBuffer is the largest buffer that is reused, in bytes.
const maxBuffer = 16 << 10

// slogAppended returns the value itself if nothing in it is masked.
func (r *Redactor) slogAppended(l label, a slog.Attr, v jsonAppender) (masked slog.Attr) {
	buf := buffers.Get().(*[]byte)
	*buf = v.AppendJSON((*buf)[:0])
	text, n := r.text(l, string(*buf))
	if cap(*buf) <= maxBuffer {
		buffers.Put(buf)
	}
	switch {
	case n == 0:
		return a
	case json.Valid([]byte(text)):
		return slog.Any(a.Key, json.RawMessage(text))
	}
	return slog.String(a.Key, text)
}

// slogEncoded searches the JSON of a value. For a json.Marshaler it returns that JSON, since
// encoding the value again costs twice as much and may give something else.
func (r *Redactor) slogEncoded(l label, a slog.Attr, isMarshaler bool) (masked slog.Attr) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(a.Value.Any()) != nil {
		return a // the handler reports what is wrong with it
	}
	text, n := r.text(l, string(bytes.TrimSpace(buf.Bytes())))
	switch {
	case n == 0 && !isMarshaler:
		return a
	case n == 0 || json.Valid([]byte(text)):
		return slog.Any(a.Key, json.RawMessage(text))
	}
	return slog.String(a.Key, text)
}

// textForms are the forms in which text handlers show a value: slog's own first, then what the
// development view shows of an error.
func textForms(value any) (forms []string) {
	if v, ok := value.(encoding.TextMarshaler); ok {
		if text, err := v.MarshalText(); err == nil {
			forms = append(forms, string(text))
			if _, isError := value.(error); !isError {
				return forms
			}
		}
	}
	if raw, ok := byteSlice(value); ok {
		return append(forms, string(raw))
	}
	if err, ok := value.(error); ok {
		forms = append(forms, err.Error())
	}
	return append(forms, fmt.Sprintf("%+v", value))
}

// byteSlice returns the bytes of a slice of any byte type.
func byteSlice(value any) ([]byte, bool) {
	if v := reflect.ValueOf(value); v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		return v.Bytes(), true
	}
	return nil, false
}
