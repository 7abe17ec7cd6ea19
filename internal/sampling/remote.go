package sampling

import (
	"context"
	"math/bits"
	"math/rand/v2"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// maxAdjustedCount is the largest count that a caller may claim for a span. Without a limit one request with
// th:ffffffffffffff would count 2^56.
const maxAdjustedCount = 1 << 20

// callerSets is the size of the table of callers: 256.
const callerSets = 64

// accept samples because the caller has, or because the sampler has for a caller whose trace IDs it does not believe,
// within the share of that caller. RemoteTracesPerSecond is shared out evenly: a caller that asks for less than its share
// is followed always. threshold is what the trace has been sampled at; with exact false there is none to go by.
func (s *Sampler) accept(p *sdktrace.SamplingParameters, ts trace.TraceState, r, threshold uint64, exact bool) (sdktrace.SamplingDecision, trace.TraceState) {
	var position uint64
	if exact {
		position = positionAbove(threshold, r)
	} else {
		position = fresh()
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

// decideChosen decides like decide, by a position that a caller may have chosen with its trace ID or rv. Where more
// positions pass than the threshold explains, chance decides instead: then a chosen R gains nothing, and what is kept has
// no threshold to say how many it stands for.
func (c *controller) decideChosen(key uint64, name string, position, weight uint64) (pt *point, kept, chosen bool) {
	cl := c.classOf(key, name)
	random := fresh()
	if mask := cl.thinning.Load(); random&mask == 0 {
		cl.arrivals.Add(weight * (mask + 1))
	}
	pt = cl.current.Load()
	if pt.threshold > 0 && position >= pt.threshold {
		cl.passed.Add(1)
	}
	if chosen = cl.chosen.Load(); chosen {
		position = random
	}
	if kept = position >= pt.threshold; kept {
		c.keep(cl, key, name)
	}
	return pt, kept, chosen
}

// positionAbove is where R is between threshold and 2^56, on the scale of R: random if R is.
func positionAbove(threshold, r uint64) uint64 {
	if threshold == 0 {
		return r
	}
	high, low := bits.Mul64(r-threshold, whole)
	position, _ := bits.Div64(high, low, whole-threshold)
	return position
}

// The attributes and the context value by which callers are told apart: the address that the connection comes from, never
// one that a header claims.
const (
	peerKey    = attribute.Key("network.peer.address")
	oldPeerKey = attribute.Key("net.sock.peer.addr")
)

type peerContextKey struct{}

// WithPeer returns a context that says where its requests come from, for instrumentations whose spans do not say it at
// their start.
func WithPeer(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, peerContextKey{}, address)
}

// caller identifies the caller of a request; those that cannot be told apart are one.
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

// fresh is randomness of its own, for a decision whose outcome the trace's R must not carry: a caller that sampled
// without saying how has used up an unknown part of R (opentelemetry-java-contrib #2007).
func fresh() uint64 { return rand.Uint64() & (whole - 1) }

// fromStranger replaces the R that an untrusted caller chose with one of ours. It travels on as rv, so that the services
// behind this one decide alike; the rest of the caller's ot member goes.
func (h hasher) fromStranger(id trace.TraceID, ts trace.TraceState) (uint64, trace.TraceState) {
	r := h.secretRandomness(id)
	return r, withMember(ts, randomnessKey+":"+encodeRandomness(r))
}
