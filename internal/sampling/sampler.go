package sampling

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// headSets is the size of the head's table. With four ways each, 512 operations have a threshold of
// their own.
const headSets = 128

// headBurst is the burst budget of the head, of the rules and of all callers together, in seconds
// of the target. At most 6 times the target is kept in a second: the budget, the target of that
// second, and what arrives before the use of the budget is noticed.
const headBurst = 4.25

// Sampler is the head sampler. It implements the SDK's Sampler. All methods are safe for concurrent
// use.
type Sampler struct {
	cfg          Config
	now          func() time.Duration
	hash         hasher
	rules        rules
	head         *controller
	routes       *controller // for operations that become known late; has a part of the head's target
	callers      *controller // for traces that callers have sampled
	floor        *floor
	inconsistent atomic.Uint64 // th of a caller that contradicts its R or claims too much
	dropped      atomic.Uint64 // by a rule
	ruleKept     atomic.Uint64
	followed     atomic.Uint64 // sampled because the caller was sampled
	refused      atomic.Uint64 // not sampled although the caller was sampled

	provider *sdktrace.TracerProvider // see Serve

	tailsOn atomic.Bool
	active  atomic.Bool   // something has begun since the last tick
	wake    chan struct{} // has room for one
	mu      sync.Mutex
	tails   []*tail
	retired TailCounts // of tails that have been shut down
	stop    chan struct{}
	done    chan struct{}
}

// New makes a sampler and starts its goroutine, which Close stops. The error names every value that
// is out of range.
func New(cfg Config) (*Sampler, error) {
	cfg, err := cfg.complete()
	now := cfg.now
	if now == nil {
		start := time.Now()
		now = func() time.Duration { return time.Since(start) }
	}
	compiled, rulesErr := compileRules(cfg.Rules, now)
	if err := errors.Join(err, rulesErr); err != nil {
		return nil, err
	}
	s := &Sampler{
		cfg:     cfg,
		now:     now,
		hash:    hasher{cfg.seed},
		rules:   compiled,
		head:    newController(cfg.TracesPerSecond, headBurst, defaultFairness, headSets, now),
		routes:  newController(cfg.TracesPerSecond, headBurst, defaultFairness, headSets, now),
		callers: newController(cfg.RemoteTracesPerSecond, headBurst, 1, callerSets, now),
		floor:   newFloor(cfg.RecordedSpansPerSecond, now),
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	s.head.routes = s.routes
	if cfg.now == nil {
		go s.run()
	} else {
		close(s.done)
	}
	return s, nil
}

// Description describes the sampler in the SDK's logs.
func (s *Sampler) Description() string {
	mode := "tail"
	if s.cfg.HeadOnly {
		mode = "head only"
	}
	return fmt.Sprintf("AdaptiveSampler{%v traces/s, %s}", s.cfg.TracesPerSecond, mode)
}

// Close stops the goroutine. From then on thresholds follow the load late, and held traces do not
// expire. Close is idempotent.
func (s *Sampler) Close() {
	s.mu.Lock()
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	samplerOf.Delete(s.provider)
	<-s.done
}

// ShouldSample implements the SDK's Sampler. It makes the decisions of ParentBased and its
// delegates in one place, because copying the parameters and the result from one sampler to the
// next is most of their cost.
func (s *Sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanFromContext(p.ParentContext)
	psc := parent.SpanContext()
	ts := psc.TraceState()
	var decision sdktrace.SamplingDecision
	var first []attribute.KeyValue
	if s.provider != nil && p.Kind == trace.SpanKindServer {
		first = s.takeStart(&p)
	}
	switch {
	case !psc.IsValid():
		decision, ts = s.root(&p, ts)
	case !psc.IsRemote():
		if p.Kind == trace.SpanKindServer {
			noticeServerSpan(p.ParentContext, psc.SpanID())
		}
		decision = s.child(parent, psc.IsSampled())
	case s.cfg.Untrusted != nil && s.cfg.Untrusted(p.ParentContext):
		decision, ts = s.untrustedCaller(&p, ts)
	case psc.IsSampled():
		decision, ts = s.sampledCaller(&p, ts)
	default:
		decision, ts = s.unsampledCaller(&p, ts)
	}
	return sdktrace.SamplingResult{Decision: decision, Attributes: first, Tracestate: ts}
}

// child follows its local parent. A parent that is recorded but not sampled is undecided.
func (s *Sampler) child(parent trace.Span, sampled bool) sdktrace.SamplingDecision {
	if sampled {
		return sdktrace.RecordAndSample
	}
	if s.tailsOn.Load() {
		// By its type, since IsRecording would lock the parent and is false after its end.
		if _, recording := parent.(sdktrace.ReadOnlySpan); recording {
			s.floor.record()
			return sdktrace.RecordOnly
		}
	}
	return sdktrace.Drop
}

// root decides a trace that begins here.
func (s *Sampler) root(
	p *sdktrace.SamplingParameters, ts trace.TraceState,
) (sdktrace.SamplingDecision, trace.TraceState) {
	if ts.Len() == 0 {
		r := randomness(p.TraceID)
		pt := s.point(p, r)
		switch {
		case pt == nil:
			return sdktrace.Drop, ts
		case r >= pt.threshold:
			return sdktrace.RecordAndSample, pt.state
		}
		return s.undecided(r, ts)
	}
	r := readState(ts).random(p.TraceID)
	pt := s.point(p, r)
	switch {
	case pt == nil:
		return sdktrace.Drop, withoutThreshold(ts)
	case r >= pt.threshold:
		return sdktrace.RecordAndSample, withThreshold(ts, pt.threshold)
	}
	return s.undecided(r, withoutThreshold(ts))
}

// point asks the rules and then the head for the threshold of a trace that this process decides. It
// returns nil if the trace is to be dropped.
func (s *Sampler) point(p *sdktrace.SamplingParameters, r uint64) *point {
	var req request
	req.read(p.Name, p.Kind, p.Attributes)
	rule := s.rules.match(&req)
	if rule != nil && rule.Drop {
		s.dropped.Add(1)
		return nil
	}
	s.noteActivity()
	var pt *point
	switch {
	case rule == nil || rule.fixed == nil && rule.limit == nil:
		return s.head.decide(s.hash.key(&req), req.name, r, 1)
	case rule.fixed != nil:
		pt = rule.fixed
	default:
		pt = rule.limit.decide(0, "", r, 1)
	}
	if r >= pt.threshold {
		s.ruleKept.Add(1)
	}
	return pt
}

// undecided records a trace that the head has not sampled, if there is a tail and R is not below
// the floor.
func (s *Sampler) undecided(r uint64, ts trace.TraceState) (sdktrace.SamplingDecision, trace.TraceState) {
	if s.tailsOn.Load() && s.floor.admits(r) {
		return sdktrace.RecordOnly, ts
	}
	return sdktrace.Drop, ts
}

// sampledCaller follows a trusted caller, within its share.
func (s *Sampler) sampledCaller(
	p *sdktrace.SamplingParameters, ts trace.TraceState,
) (sdktrace.SamplingDecision, trace.TraceState) {
	s.noteActivity()
	state := readState(ts)
	r := state.random(p.TraceID)
	exact := state.hasThreshold && r >= state.threshold && adjustedCount(state.threshold) <= maxAdjustedCount
	if state.mentionsTh && !exact {
		s.inconsistent.Add(1)
	}
	decision, ts := s.accept(p, ts, r, state.threshold, exact)
	if decision == sdktrace.RecordAndSample {
		s.followed.Add(1)
	}
	return decision, ts
}

// unsampledCaller follows a trusted caller that has not sampled, but lets the tail keep errors and
// slow requests.
func (s *Sampler) unsampledCaller(
	p *sdktrace.SamplingParameters, ts trace.TraceState,
) (sdktrace.SamplingDecision, trace.TraceState) {
	ts = withoutThreshold(ts)
	var req request
	req.read(p.Name, p.Kind, p.Attributes)
	if rule := s.rules.match(&req); rule != nil && rule.Drop {
		s.dropped.Add(1)
		return sdktrace.Drop, ts
	}
	return s.undecided(readState(ts).random(p.TraceID), ts)
}

// untrustedCaller decides a trace as if it began here. The caller's flag, th and R do not count.
func (s *Sampler) untrustedCaller(
	p *sdktrace.SamplingParameters, ts trace.TraceState,
) (sdktrace.SamplingDecision, trace.TraceState) {
	r, ts := s.hash.replaceRandomness(p.TraceID, ts)
	pt := s.point(p, r)
	switch {
	case pt == nil:
		return sdktrace.Drop, ts
	case r < pt.threshold:
		return s.undecided(r, ts)
	}
	// Requests with one trace ID share an R, so the head's threshold alone does not limit their
	// number.
	return s.accept(p, withThreshold(ts, pt.threshold), r, pt.threshold, true)
}
