package sampling

import (
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// The names that the specification reserves (trace/tracestate-handling.md).
const (
	memberKey     = "ot"
	thresholdKey  = "th"
	randomnessKey = "rv"
	// maxMemberLen is the longest value of a tracestate member, in bytes (W3C Trace Context,
	// "value").
	maxMemberLen = 256
)

// otState is what the ot member of a tracestate says about sampling.
type otState struct {
	threshold     uint64
	randomness    uint64
	hasThreshold  bool // and it is well-formed
	hasRandomness bool
	mentionsTh    bool // there is a th, well-formed or not
}

// readState parses the ot member. Malformed fields count as absent.
func readState(ts trace.TraceState) (s otState) {
	if ts.Len() == 0 {
		return s
	}
	for value := ts.Get(memberKey); value != ""; {
		var field string
		field, value, _ = strings.Cut(value, ";")
		key, text, _ := strings.Cut(field, ":")
		switch {
		case key == thresholdKey && !s.mentionsTh:
			s.mentionsTh = true
			s.threshold, s.hasThreshold = ParseThreshold(text)
		case key == randomnessKey && !s.hasRandomness:
			s.randomness, s.hasRandomness = parseRandomness(text)
		}
	}
	return s
}

// random is the R of a trace: the explicit one if there is one, else that of the trace ID.
func (s otState) random(id trace.TraceID) uint64 {
	if s.hasRandomness {
		return s.randomness
	}
	return randomness(id)
}

// withThreshold returns ts with th set. It preserves every other member and sub-key, except that a
// member that would grow beyond maxMemberLen loses its last unknown sub-keys.
func withThreshold(ts trace.TraceState, threshold uint64) trace.TraceState {
	if ts.Len() == 0 || ts.Len() == 1 && onlyThreshold(ts.Get(memberKey)) {
		return pointAt(threshold).state
	}
	return replaceFields(ts, thresholdKey+":"+FormatThreshold(threshold))
}

// onlyThreshold reports whether an ot member holds nothing but a th.
func onlyThreshold(value string) bool {
	return strings.HasPrefix(value, thresholdKey+":") && !strings.Contains(value, ";")
}

// withoutThreshold returns ts without th. If ts has no th, it returns ts unchanged.
func withoutThreshold(ts trace.TraceState) trace.TraceState {
	if !readState(ts).mentionsTh {
		return ts
	}
	return replaceFields(ts, "")
}

// replaceFields puts lead in front of the ot member and removes its th.
func replaceFields(ts trace.TraceState, lead string) trace.TraceState {
	var b strings.Builder
	b.WriteString(lead)
	// rv must stay whatever else has to be removed: without it, the decisions downstream would not
	// agree with ours.
	reserved := 0
	if readState(ts).hasRandomness {
		reserved = len(";") + len(randomnessKey) + len(":") + hexDigits
	}
	for old := ts.Get(memberKey); old != ""; {
		var field string
		field, old, _ = strings.Cut(old, ";")
		key, text, _ := strings.Cut(field, ":")
		if key == thresholdKey || field == "" || strings.HasSuffix(field, " ") { // no member may end in a space
			continue
		}
		if key == randomnessKey {
			if _, ok := parseRandomness(text); ok {
				reserved = 0
			}
		}
		if b.Len()+len(";")+len(field)+reserved > maxMemberLen {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		b.WriteString(field)
	}
	if b.Len() == 0 {
		return ts.Delete(memberKey)
	}
	replaced, err := ts.Insert(memberKey, b.String())
	if err != nil {
		return ts.Delete(memberKey)
	}
	return replaced
}

// withMember returns ts with value as its ot member.
func withMember(ts trace.TraceState, value string) trace.TraceState {
	replaced, err := ts.Insert(memberKey, value)
	if err != nil {
		return ts.Delete(memberKey)
	}
	return replaced
}

// AdjustedCount returns how many spans the span of sc represents: 2^56/(2^56−T), with T from the th
// of its tracestate. ok is false if the span is not sampled, has no valid th, or its th contradicts
// its randomness.
func AdjustedCount(sc trace.SpanContext) (count float64, ok bool) {
	state := readState(sc.TraceState())
	if !sc.IsSampled() || !state.hasThreshold || state.random(sc.TraceID()) < state.threshold {
		return 0, false
	}
	return adjustedCount(state.threshold), true
}
