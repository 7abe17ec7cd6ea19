package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
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
	switch kind {
	case slog.KindString:
		if text, n := r.Text(a.Value.String()); n > 0 {
			return slog.String(a.Key, text)
		}
	case slog.KindInt64:
		if isCardNumber(a.Value.Int64()) {
			return slog.String(a.Key, Marker)
		}
	case slog.KindUint64:
		if n := a.Value.Uint64(); n <= math.MaxInt64 && isCardNumber(int64(n)) {
			return slog.String(a.Key, Marker)
		}
	case slog.KindAny:
		return r.slogAny(a, asJSON)
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
func (r *Redactor) slogAny(a slog.Attr, asJSON bool) (masked slog.Attr) {
	defer func() {
		if recover() != nil {
			masked = a
		}
	}()
	switch v := a.Value.Any().(type) {
	case slog.Level, *slog.Source, nil:
		return a
	case error:
		if text, n := r.Text(v.Error()); n > 0 {
			return slog.String(a.Key, text)
		}
		return a
	}
	if !asJSON {
		if text, n := r.Text(fmt.Sprintf("%+v", a.Value.Any())); n > 0 {
			return slog.String(a.Key, text)
		}
		return a
	}
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(a.Value.Any()) != nil {
		return a // the handler says what is wrong with it
	}
	text, n := r.Text(string(bytes.TrimSpace(buf.Bytes())))
	switch {
	case n == 0:
		return a
	case json.Valid([]byte(text)):
		return slog.Any(a.Key, json.RawMessage(text))
	}
	return slog.String(a.Key, text)
}
