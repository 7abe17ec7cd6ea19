package redact

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
)

// SlogJSON is the ReplaceAttr of a handler that writes JSON, SlogText that of one that writes text. Values of other types
// than slog's own are looked through as they will be written.
func (r *Redactor) SlogJSON(groups []string, a slog.Attr) slog.Attr { return r.slog(groups, a, true) }

// SlogText is for handlers that write text.
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
		if kind == slog.KindString && a.Value.String() == "" || kind == slog.KindAny && a.Value.Any() == nil {
			return a
		}
		return slog.String(a.Key, Marker)
	}
	l := label{key: a.Key}
	if len(groups) > 0 {
		l.parent = groups[len(groups)-1]
	}
	switch kind {
	case slog.KindString:
		if text, n := r.text(l, a.Value.String()); n > 0 {
			return slog.String(a.Key, text)
		}
	case slog.KindInt64:
		if isCardNumber(a.Value.Int64()) && !l.namesIdentifier() {
			return slog.String(a.Key, Marker)
		}
	case slog.KindUint64:
		if n := a.Value.Uint64(); n <= math.MaxInt64 && isCardNumber(int64(n)) && !l.namesIdentifier() {
			return slog.String(a.Key, Marker)
		}
	case slog.KindFloat64:
		if isCardFloat(a.Value.Float64()) && !l.namesIdentifier() {
			return slog.String(a.Key, Marker)
		}
	case slog.KindAny:
		return r.slogAny(l, a, asJSON)
	}
	return a
}

// grouped is the verdict on a key in groups, which count as the OTLP branch counts maps.
func (r *Redactor) grouped(groups []string, key string) verdict {
	for _, group := range groups {
		if v := r.keys.of(group); v == mask || v == skip {
			return v
		}
	}
	if len(groups) > 0 {
		return r.verdict(groups[len(groups)-1], key)
	}
	return r.verdict("", key)
}

// slogAny looks at a value as the handler is going to write it. One that panics is left to the handler, which contains it.
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
	if !asJSON {
		for _, form := range textForms(a.Value.Any()) {
			if text, n := r.text(l, form); n > 0 {
				return slog.String(a.Key, text)
			}
		}
		return a
	}
	_, marshals := a.Value.Any().(json.Marshaler)
	if !marshals {
		if err, isError := a.Value.Any().(error); isError {
			if text, n := r.text(l, err.Error()); n > 0 {
				return slog.String(a.Key, text)
			}
			return a
		}
		_, isText := a.Value.Any().(encoding.TextMarshaler)
		if raw, isBytes := byteSlice(a.Value.Any()); isBytes && !isText { // base64 in JSON
			if text, n := r.text(l, string(raw)); n > 0 {
				return slog.Any(a.Key, []byte(text))
			}
			return a
		}
	}
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(a.Value.Any()) != nil {
		return a // the handler says what is wrong with it
	}
	text, n := r.text(l, string(bytes.TrimSpace(buf.Bytes())))
	switch {
	case n == 0 && !marshals:
		return a
	case n == 0 || json.Valid([]byte(text)): // what is clean need not be encoded again
		return slog.Any(a.Key, json.RawMessage(text))
	}
	return slog.String(a.Key, text)
}

// textForms are the forms in which handlers that write text show a value: slog's own first, and what the development view
// shows of an error.
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

func byteSlice(value any) ([]byte, bool) {
	if v := reflect.ValueOf(value); v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		return v.Bytes(), true
	}
	return nil, false
}
