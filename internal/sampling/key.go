package sampling

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// The attributes that the sampler reads at the start of a span, including a name from before
// semantic conventions 1.21.
const (
	routeKey     = attribute.Key("http.route")
	pathKey      = attribute.Key("url.path")
	oldTargetKey = attribute.Key("http.target")
)

// request is what the sampler looks at in a span that starts. route and path are "" if the span
// does not have them.
type request struct {
	name        string
	kind        trace.SpanKind
	attributes  []attribute.KeyValue
	route, path string
}

// read fills an empty request.
func (req *request) read(name string, kind trace.SpanKind, attributes []attribute.KeyValue) {
	req.name, req.kind, req.attributes = name, kind, attributes
	for i := range attributes {
		kv := &attributes[i]
		// Most keys differ in length, which is cheaper to compare.
		switch len(kv.Key) {
		case len(pathKey):
			if kv.Key == pathKey {
				req.path = kv.Value.AsString()
			}
		case len(routeKey):
			if kv.Key == routeKey {
				req.route = kv.Value.AsString()
			}
		case len(oldTargetKey):
			if kv.Key == oldTargetKey && req.path == "" {
				req.path = withoutQuery(kv.Value.AsString())
			}
		}
	}
}

func withoutQuery(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

// hasher turns an operation into a key. Its seed is secret, so that callers cannot aim at one set
// of the table.
type hasher struct{ seed uint64 }

// key identifies the operation of a request by its span name and kind. If the name is only a method
// ("GET", or "HTTP GET", with which otelhttp starts its spans), the route or the path without its
// identifiers counts too.
func (h hasher) key(req *request) uint64 {
	sum := h.text(h.seed^uint64(req.kind)*0x9e3779b97f4a7c15, req.name)
	if onlyMethod(req.name) {
		if req.route != "" {
			sum = h.text(sum, req.route)
		} else if req.path != "" {
			sum = h.path(sum, req.path)
		}
	}
	if sum == 0 {
		return 1 // 0 marks a free way in the table
	}
	return sum
}

// maxLabel limits the stored name of an operation, in bytes.
const maxLabel = 128

// label returns the stored form of a span's name. It is a copy, since the name may be a part of a
// request's buffer.
func label(name string) string {
	if len(name) <= maxLabel {
		return strings.Clone(name)
	}
	const ellipsis = "…"
	end := maxLabel - len(ellipsis)
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + ellipsis
}

// onlyMethod reports whether a name consists of upper-case words, as a method does.
func onlyMethod(name string) bool {
	if len(name) == 0 || len(name) > len("HTTP CONNECT") {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'A' || c > 'Z') && c != ' ' {
			return false
		}
	}
	return true
}

// maxSegments is how many segments of a path distinguish operations.
const maxSegments = 6

// path hashes a path segment by segment. A segment that looks like an identifier counts as a
// placeholder.
func (h hasher) path(sum uint64, path string) uint64 {
	segments := 0
	for start := 0; start < len(path) && segments < maxSegments; segments++ {
		end := start + 1
		for end < len(path) && path[end] != '/' {
			end++
		}
		if segment := path[start:end]; looksLikeID(segment) {
			sum = h.text(sum, "/{}")
		} else {
			sum = h.text(sum, segment)
		}
		start = end
	}
	return sum
}

// looksLikeID reports whether a segment, with its slash, has a digit or is too long for a word of a
// route. The version of an API, such as "/v2", is a word.
func looksLikeID(segment string) bool {
	if len(segment) > 32 {
		return true
	}
	for i := range len(segment) {
		if c := segment[i]; c >= '0' && c <= '9' {
			return len(segment) > len("/v1") || !strings.HasSuffix(segment[:len(segment)-1], "v")
		}
	}
	return false
}

// text mixes a text into sum, eight bytes at a time, by 128-bit products as wyhash does.
func (h hasher) text(sum uint64, text string) uint64 {
	const m1, m2 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db
	n := len(text)
	sum ^= uint64(n) * m1
	if n < 8 {
		var last uint64
		for i := range n {
			last = last<<8 | uint64(text[i])
		}
		return fold(sum^last, m1^h.seed)
	}
	for i := 0; i < n-8; i += 8 {
		sum = fold(sum^littleEndian(text[i:]), m2^h.seed)
	}
	return fold(sum^littleEndian(text[n-8:]), m1^h.seed)
}

func littleEndian(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// secretRandomness is an R that depends on the trace ID but cannot be chosen with it.
func (h hasher) secretRandomness(id trace.TraceID) uint64 {
	var in [8 + len(trace.TraceID{})]byte
	binary.LittleEndian.PutUint64(in[:8], h.seed)
	copy(in[8:], id[:])
	sum := sha256.Sum256(in[:])
	return binary.BigEndian.Uint64(sum[:]) & (whole - 1)
}
