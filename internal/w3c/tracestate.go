package w3c

import (
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// The limits of a tracestate (W3C Trace Context §3.3.1.1, §3.3.1.5). A received one may have
// maxMembers members. One that this package puts together has at most maxOutgoingBytes bytes, too.
const (
	maxMembers       = 32
	maxOutgoingBytes = 512
	largeMember      = 128 // larger members are removed first
)

// vendorKey is the key of OpenTelemetry's own member, which samplers write.
const vendorKey = "ot"

// Beside is the part of a received tracestate that [trace.TraceState] refuses, because it knows the
// keys of Level 1 only and Level 2 allows more. It is kept beside the span context, for the trace
// that it came with.
type Beside struct {
	traceID  trace.TraceID
	received []member // all members, in their order
}

type member struct {
	key, value string
	beside     bool
}

func (m member) len() int { return len(m.key) + len("=") + len(m.value) }

// SplitTraceState takes apart a list that trace.ParseTraceState refuses. If members have the same
// key, the first counts (§3.3.1.3.1 leaves the choice to the receiver). ok is false if the list
// breaks the grammar of Level 2 or has more than 32 members. beside is nil if all members fit into
// the state.
func SplitTraceState(list string, id trace.TraceID) (state trace.TraceState, beside *Beside, ok bool) {
	received, ok := members(list)
	if !ok {
		return trace.TraceState{}, nil, false
	}
	var known strings.Builder
	anyBeside := false
	for i := range received {
		m := &received[i]
		if _, err := trace.ParseTraceState(m.key + "=" + m.value); err != nil {
			m.beside, anyBeside = true, true
			continue
		}
		if known.Len() > 0 {
			known.WriteByte(',')
		}
		known.WriteString(m.key + "=" + m.value)
	}
	state, err := trace.ParseTraceState(known.String())
	if err != nil {
		return trace.TraceState{}, nil, false
	}
	if anyBeside {
		beside = &Beside{traceID: id, received: received}
	}
	return state, beside, true
}

// members returns the members of a list, each key once.
func members(list string) (all []member, ok bool) {
	count := 0
	for text := range strings.SplitSeq(list, ",") {
		text = trimOWS(text)
		if text == "" {
			continue
		}
		key, value, found := strings.Cut(text, "=")
		if count++; !found || count > maxMembers || !validKey(key) || !validValue(value) {
			return nil, false
		}
		if !slices.ContainsFunc(all, func(m member) bool { return m.key == key }) {
			all = append(all, member{key: key, value: value})
		}
	}
	return all, true
}

// validKey reports whether a key is valid in Level 2 (§3.3.1.3.1): key = ( lcalpha / DIGIT ) 0*255
// ( keychar ).
func validKey(key string) bool {
	if key == "" || len(key) > 256 || !isAlphanumeric(key[0]) {
		return false
	}
	return strings.IndexFunc(key, func(c rune) bool {
		return c > '~' || !isAlphanumeric(byte(c)) && !strings.ContainsRune("_-*/@", c)
	}) < 0
}

func isAlphanumeric(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// validValue reports whether a value is valid (§3.3.1.3.2). White space after it is removed before.
func validValue(value string) bool {
	return value != "" && len(value) <= 256 &&
		strings.IndexFunc(value, func(c rune) bool { return c < ' ' || c > '~' || c == ',' || c == '=' }) < 0
}

// Merged returns the tracestate to send with the span context sc: its own members, with those that
// were kept beside it at their old places, and OpenTelemetry's own in front. ok is false if nothing
// was kept for this trace.
func (b *Beside) Merged(sc trace.SpanContext) (list string, ok bool) {
	if b == nil || sc.TraceID() != b.traceID {
		return "", false
	}
	var all []member
	rest := b.received
	pass := func(upTo int) {
		for _, m := range rest[:upTo] {
			if m.beside {
				all = append(all, m)
			}
		}
		rest = rest[upTo:]
	}
	sc.TraceState().Walk(func(key, value string) bool {
		// New and changed members were put in front; the others are where they were.
		if i := slices.Index(rest, member{key: key, value: value}); i >= 0 {
			pass(i)
			rest = rest[1:]
		}
		all = append(all, member{key: key, value: value})
		return true
	})
	pass(len(rest))
	if i := slices.IndexFunc(all, func(m member) bool { return m.key == vendorKey }); i > 0 {
		all = slices.Insert(slices.Delete(slices.Clone(all), i, i+1), 0, all[i])
	}
	return written(bounded(all)), true
}

// bounded removes members as §3.3.1.5 asks: large ones first, then those at the end, which are the
// oldest. OpenTelemetry's own, in front, is removed last.
func bounded(all []member) []member {
	all = all[:min(len(all), maxMembers)]
	size := len(all) - 1
	for _, m := range all {
		size += m.len()
	}
	for size > maxOutgoingBytes {
		last := len(all) - 1
		for i := last; i >= 0; i-- {
			if all[i].len() > largeMember && all[i].key != vendorKey {
				last = i
				break
			}
		}
		size -= all[last].len() + len(",")
		all = slices.Delete(all, last, last+1)
	}
	return all
}

// written is the list as the header has it.
func written(all []member) string {
	var b strings.Builder
	for i, m := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(m.key)
		b.WriteByte('=')
		b.WriteString(m.value)
	}
	return b.String()
}
