package sampling

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// StartAttributes are the attributes that a request's span starts with. A server's instrumentation
// gives the first of them to the sampler, which gives them to the span, and starts the span with
// the rest. Otherwise the SDK would copy all of them for every span. It would copy them again, to
// twice the memory, when a recorded span gets its first attribute at the end: an empty slice grows
// to the number it needs, another one to twice its size if that is enough.
type StartAttributes struct {
	All   []attribute.KeyValue
	First int // how many of them the sampler gives to the span

	sampler *Sampler
}

// endAttributes is how many attributes a request's span usually gets at its end.
const endAttributes = 3

// FirstStartAttributes is how many of n attributes the sampler gives to a span, so that the SDK's
// slice has room for those of the end.
func FirstStartAttributes(n int) int { return min(n, (n+endAttributes+1)/2) }

// samplerOf maps a *sdktrace.TracerProvider to the *Sampler that alone decides its spans.
var samplerOf sync.Map

// Serve says that the provider's sampler is s itself, and not one that calls s. Call it at most
// once, before the provider makes spans.
func (s *Sampler) Serve(provider *sdktrace.TracerProvider) {
	s.provider = provider
	samplerOf.Store(provider, s)
}

// ServingSampler returns the sampler of the provider, or nil if it is not known.
func ServingSampler(provider trace.TracerProvider) *Sampler {
	if p, ok := provider.(*sdktrace.TracerProvider); ok {
		s, _ := samplerOf.Load(p)
		sampler, _ := s.(*Sampler)
		return sampler
	}
	return nil
}

// Give passes the attributes to the sampler of the span's provider. The next step must be to start
// the span, with the request in its context.
func (a *StartAttributes) Give(s *Sampler, r *Request) {
	a.sampler = s
	r.start = a
}

// takeStart completes the attributes of a starting span, and returns those that the span does not
// have yet.
func (s *Sampler) takeStart(p *sdktrace.SamplingParameters) []attribute.KeyValue {
	r, _ := p.ParentContext.Value(RequestKey{}).(*Request)
	if r == nil || r.start == nil || r.start.sampler != s {
		return nil
	}
	a := r.start
	r.start = nil
	p.Attributes = a.All
	return a.All[:a.First]
}
