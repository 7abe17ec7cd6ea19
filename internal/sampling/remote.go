package sampling

import (
	"context"
	"math/bits"
	"math/rand/v2"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// maxAdjustedCount is the largest count that a caller may claim for a span. Without a limit one
// request with th:ffffffffffffff would count 2^56.
const maxAdjustedCount = 1 << 20

// callerSets is the size of the table of callers: 256.
const callerSets = 64

// accept samples a trace because its caller has, or because the sampler has chosen it and does not
// believe its trace ID. It does so within the caller's share. RemoteTracesPerSecond is divided
// evenly: a caller that asks for less than its share is always followed. threshold is what the
// trace has been sampled at; it counts only if exact.
func (s *Sampler) accept(
	p *sdktrace.SamplingParameters, ts trace.TraceState, r, threshold uint64, exact bool,
) (sdktrace.SamplingDecision, trace.TraceState) {
	var position uint64
	if exact {
		position = positionAbove(threshold, r)
	} else {
		position = newRandomness()
	}
	pt, kept, chosen := s.callers.decideChosen(s.hash.caller(p), p.Name, position, 1)
	if exact && !chosen && kept && pt.threshold > 0 {
		threshold = thresholdFor(probability(threshold)*pt.p, standardDigits)
		kept = r >= threshold
	}
	switch {
	case !kept:
		s.refused.Add(1)
		return s.undecided(r, withoutThreshold(ts))
	case !exact || chosen || adjustedCount(threshold) > maxAdjustedCount:
		ts = withoutThreshold(ts)
	case pt.threshold > 0:
		ts = withThreshold(ts, threshold)
	}
	return sdktrace.RecordAndSample, ts
}

// decideChosen is decide for a position that a caller may have chosen with its trace ID or rv. If
// more positions pass than the threshold explains, the decision is random instead. Then a chosen R
// gains nothing, and what is kept has no threshold to say how many it represents.
func (c *controller) decideChosen(key uint64, name string, position, weight uint64) (pt *point, kept, chosen bool) {
	return c.decideChosenIn(c.classOf(key, name), key, name, position, weight)
}

// decideChosenIn is decideChosen for an arrival whose class is known.
func (c *controller) decideChosenIn(
	cl *class, key uint64, name string, position, weight uint64,
) (pt *point, kept, chosen bool) {
	random := newRandomness()
	if mask := cl.countMask.Load(); random&mask == 0 {
		cl.arrivals.Add(weight * (mask + 1))
	}
	pt = cl.current.Load()
	if pt.threshold > 0 && position >= pt.threshold {
		cl.above.Add(1)
	}
	if chosen = cl.chosen.Load(); chosen {
		position = random
	}
	if kept = position >= pt.threshold; kept {
		c.keep(cl, key, name)
	}
	return pt, kept, chosen
}

// positionAbove is where R is between threshold and 2^56, on the scale of R. It is random if R is.
// R must not be below threshold.
func positionAbove(threshold, r uint64) uint64 {
	if threshold == 0 {
		return r
	}
	high, low := bits.Mul64(r-threshold, whole)
	position, _ := bits.Div64(high, low, whole-threshold)
	return position
}

// The attributes that distinguish callers: the address that the connection comes from, never one
// that a header claims.
const (
	peerKey    = attribute.Key("network.peer.address")
	oldPeerKey = attribute.Key("net.sock.peer.addr")
)

// peerContextKey is the context key of that address.
type peerContextKey struct{}

// WithPeer returns a context that says where its requests come from, for instrumentations whose
// spans do not say it at their start.
func WithPeer(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, peerContextKey{}, address)
}

// caller identifies the caller of a request. All callers without an address count as one.
func (h hasher) caller(p *sdktrace.SamplingParameters) uint64 {
	address := ""
	for i := range p.Attributes {
		if kv := &p.Attributes[i]; kv.Key == peerKey || kv.Key == oldPeerKey {
			address = kv.Value.AsString()
		}
	}
	if address == "" {
		address, _ = p.ParentContext.Value(peerContextKey{}).(string)
	}
	return max(h.text(h.seed, address), 1)
}

// newRandomness is independent of the trace. It is for decisions whose outcome must not depend on
// the trace's R: a caller that sampled without a threshold has used an unknown part of R
// (opentelemetry-java-contrib #2007).
func newRandomness() uint64 { return rand.Uint64() & (whole - 1) }

// replaceRandomness replaces the R that an untrusted caller chose with a secret one. It travels on
// as rv, so that the services behind this one decide alike. The rest of the caller's ot member is
// removed.
func (h hasher) replaceRandomness(id trace.TraceID, ts trace.TraceState) (uint64, trace.TraceState) {
	r := h.secretRandomness(id)
	return r, withMember(ts, randomnessKey+":"+encodeRandomness(r))
}

// hasReplaced reports whether replaceRandomness has given a span context its R, which means that
// the caller is untrusted.
func (h hasher) hasReplaced(sc trace.SpanContext) bool {
	state := readState(sc.TraceState())
	return state.hasRandomness && state.randomness == h.secretRandomness(sc.TraceID())
}
