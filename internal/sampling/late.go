package sampling

import (
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// LateRoute is a route that became known while its request was served.
type LateRoute struct {
	Span                  trace.Span // of the request
	StartName, StartRoute string     // at its start
	Path                  string     // url.path
	Name, Route           string     // from now on
}

// AwaitsRoute reports whether a late route may still count.
func (r *Request) AwaitsRoute() bool { return r.tail.Load() != nil }

// SetRoute applies the rules and the share of the operation for a late route, as far as they can
// still count: see "Late routes" in the package comment. It does nothing if no tail holds the span
// or the span has ended.
func (r *Request) SetRoute(l LateRoute) {
	if t := r.tail.Load(); t != nil {
		t.setRoute(r, &l)
	}
}

// setRoute changes what a held trace is decided by.
func (t *tail) setRoute(r *Request, l *LateRoute) {
	s := t.sampler
	before := request{name: l.StartName, kind: trace.SpanKindServer, route: l.StartRoute, path: l.Path}
	if span, ok := l.Span.(sdktrace.ReadOnlySpan); ok {
		before.kind = span.SpanKind()
		if s.rules.anyAttribute {
			before.attributes = span.Attributes()
		}
	}
	now := before
	now.name, now.route = l.Name, l.Route
	sc := l.Span.SpanContext()
	follows := r.remote && !s.hash.hasReplaced(sc) // a trusted caller
	was, rule := s.rules.match(&before), s.rules.match(&now)

	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.traces[sc.TraceID()]
	if h == nil || h.kept || !h.awaits(r) {
		return
	}
	r.slow = slowness(s.cfg.SlowThreshold)
	if rule != nil && rule.SlowThreshold != 0 {
		r.slow = slowness(rule.SlowThreshold)
	}
	h.setDropped(r, rule != nil && rule.Drop)
	if !follows {
		t.setRouteThreshold(h, r, decision{was, &before}, decision{rule, &now})
	}
}

// decision is what a route's threshold depends on.
type decision struct {
	rule *rule
	req  *request
}

// hasAction reports whether a rule decides, instead of the class of the operation.
func (d decision) hasAction() bool {
	return d.rule != nil && (d.rule.Drop || d.rule.fixed != nil || d.rule.limit != nil)
}

// setRouteThreshold sets the threshold that a late route gives a trace. Whether it does must not
// depend on R, except through the floor: a trace below the floor is not seen here unless the head
// has sampled it, and could not be kept.
func (t *tail) setRouteThreshold(h *heldTrace, r *Request, was, now decision) {
	if h.routedBy == (trace.SpanID{}) {
		h.routedBy = r.span
	}
	floor := t.highestFloor(h)
	if h.released || h.routedBy != r.span || h.random < floor {
		return
	}
	switch {
	case now.hasAction() && now.rule.fixed != nil:
		h.route = now.rule.fixed.threshold
	case h.charged: // its R has moved a threshold, so another decision would depend on R
	case now.hasAction() && (now.rule.Drop || now.rule == was.rule):
		h.route = whole
	default:
		h.route = t.chargeRoute(h, r, was, now, weightOf(floor))
	}
}

// chargeRoute counts a trace as an arrival of its late operation, or of the rule's limit, and
// returns its threshold. weight is how many arrivals it represents.
func (t *tail) chargeRoute(h *heldTrace, r *Request, was, now decision, weight uint64) uint64 {
	s := t.sampler
	c, key, name := s.routes, s.hash.key(now.req), now.req.name
	before := s.hash.key(was.req)
	switch {
	case now.hasAction():
		c, key, name = now.rule.limit, 0, ""
	case was.hasAction(): // the head has not counted its arrival
	case key == before:
		return whole
	}
	h.charged = true
	cl := c.classOf(key, name)
	if !now.hasAction() && !was.hasAction() {
		s.head.move(before, cl, h.random, weight)
	}
	var pt *point
	if r.remote {
		// The caller is not trusted, and may send many requests with a trace ID whose R is high.
		var chosen bool
		if pt, _, chosen = c.decideChosenIn(cl, key, name, h.random, weight); chosen {
			return whole
		}
	} else {
		pt = c.decideIn(cl, key, name, h.random, weight)
	}
	if c == s.routes && !h.sampled && h.random >= pt.threshold {
		s.head.kept.Add(1) // it uses the common target too
	}
	return pt.threshold
}

// awaits reports whether the span of r is open.
func (h *heldTrace) awaits(r *Request) bool { return h.requests.find(r.span) == r }

// setDropped notes whether a rule for the late route of a local root drops it.
func (h *heldTrace) setDropped(r *Request, dropped bool) {
	switch {
	case dropped && !r.dropped:
		h.eligible--
	case r.dropped && !dropped:
		h.eligible++
	}
	r.dropped = dropped
}

// slowFor is the duration at which a local root is slow.
func (h *heldTrace) slowFor(r *Request) slowness {
	switch {
	case r == nil:
		return h.slow
	case r.IsStream():
		return 0
	case r.slow == 0:
		return h.slow
	}
	return r.slow
}

// durationCounts reports whether an open local root may still be slow.
func (h *heldTrace) durationCounts() bool {
	n := 0
	for r := h.requests.first; r != nil; r = r.next {
		if h.slowFor(r) > 0 {
			return true
		}
		n++
	}
	return h.slow > 0 && n < max(h.openRoots, 1)
}
