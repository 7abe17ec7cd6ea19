package delivery

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

const (
	// maxRequest is the most bytes of a request before compression, the default of the official
	// exporters. Any collector would refuse more, after it had cost several times its size in
	// memory here.
	maxRequest = 64 << 20
	// forgetAfter is how long a size that was refused is remembered. Then twice the size is tried.
	// It costs one request in ten minutes to notice that a server's limit was raised.
	forgetAfter = 10 * time.Minute
	// singlesInARow is how many requests of one item are refused for their size, one after the
	// other, before nothing more is sent for a while: a server that refuses each of them refuses
	// everything, and is asked again after tooLargeRest.
	singlesInARow = 16
	tooLargeRest  = time.Minute
)

// sizes learns how large requests to one URL or method may be, from what is accepted and what is
// refused as too large (413). Sizes are those before compression: collectors limit what they have
// to decode. The zero value has learned nothing. It is safe for concurrent use.
type sizes struct {
	mu        sync.Mutex
	refused   int64     // the smallest size that was refused, in bytes; 0 if none was
	refusedAt time.Time // when one was last refused
	accepted  int64     // the largest size below refused that was accepted since; 0 if none was
	singles   int       // requests of one item that were refused in a row
	rest      time.Time // nothing is sent before
	cause     error     // of the last refusal
	seeking   bool      // a request is under way that finds out what fits
	changed   chan struct{}
}

// turn is the permission to send a request of a size.
type turn struct {
	sizes       *sizes
	size, items int64
	seeks       bool
}

// enter returns the permission to send a request, or the reply that it would get. Requests that may
// or may not fit are sent one at a time, so that each learns from the one before it. items is 0 if
// their number is not known: such a request is sent whatever its size.
func (s *sizes) enter(ctx context.Context, size, items int64) (*turn, reply) {
	for {
		s.mu.Lock()
		t := &turn{sizes: s, size: size, items: items}
		if r, known := s.known(size, items, time.Now()); known {
			s.mu.Unlock()
			return nil, r
		}
		if items == 0 || !s.seeks(size, items) {
			s.mu.Unlock()
			return t, reply{}
		}
		if !s.seeking {
			s.seeking, t.seeks = true, true
			s.changed = make(chan struct{})
			s.mu.Unlock()
			return t, reply{}
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, reply{verdict: retry, notSent: true, err: errCutShort}
		}
	}
}

// known returns the reply to a request that need not be sent. The caller holds the lock.
func (s *sizes) known(size, items int64, now time.Time) (reply, bool) {
	switch {
	case items == 0:
		return reply{}, false
	case size > maxRequest:
		return reply{verdict: tooLarge, notSent: true, fits: fits(items, size, maxRequest),
				err: fmt.Errorf("a request of %d bytes is larger than the %d that this library sends", size,
					maxRequest)},
			true
	case now.Before(s.rest):
		return reply{verdict: refused, notSent: true, rejected: math.MaxInt64,
			err: fmt.Errorf("%w: %d requests of one item were refused in a row, so nothing is sent for a minute",
				s.cause, singlesInARow)}, true
	}
	// What cannot be split is sent, because it has no other chance.
	if s.refused > 0 && items > 1 && size >= s.limit(now) {
		return reply{verdict: tooLarge, notSent: true, fits: fits(items, size, s.target()), err: s.cause}, true
	}
	return reply{}, false
}

// seeks reports whether a request finds out what fits. The caller holds the lock.
func (s *sizes) seeks(size, items int64) bool {
	switch {
	case s.refused == 0 || size <= s.accepted:
		return false
	case size >= s.refused: // one item is sent in any case, and shows nothing new
		return items > 1 || s.accepted == 0
	}
	return !s.settled()
}

// settled reports whether at most an eighth lies between what was accepted and what was refused.
// The caller holds the lock.
func (s *sizes) settled() bool { return s.refused-s.accepted <= s.accepted/8 }

// limit is the size from which on requests are not worth sending. The caller holds the lock.
func (s *sizes) limit(now time.Time) int64 {
	doublings := min(now.Sub(s.refusedAt)/forgetAfter, 16)
	return min(s.refused<<doublings, 2*maxRequest)
}

// target is the size that parts should have: half-way between what was accepted and what was
// refused, until at most an eighth lies between them. The caller holds the lock.
func (s *sizes) target() int64 {
	if s.settled() {
		return s.accepted
	}
	return s.accepted + (s.refused-s.accepted)/2
}

// fits returns how many of the items of a request fit into a target size, at least 1.
func fits(items, size, target int64) int64 {
	return max(int64(float64(items)*(float64(target)/float64(size))), 1)
}

// leave lets the next request enter.
func (t *turn) leave() {
	if t.seeks {
		t.sizes.mu.Lock()
		defer t.sizes.mu.Unlock()
		t.sizes.seeking = false
		close(t.sizes.changed)
	}
}

// learn learns from the reply to the request, and returns it with how many items fit.
func (t *turn) learn(r reply) reply {
	s := t.sizes
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case t.items == 0:
	case r.verdict == accepted:
		s.singles = 0
		if s.refused > 0 && t.size >= s.refused {
			s.refused = 0 // the server accepts more than before
		}
		s.accepted = max(s.accepted, t.size)
	case r.verdict == tooLarge:
		s.refuse(t, r, time.Now())
		r.fits = fits(t.items, t.size, s.target())
	}
	return r
}

// refuse learns from a refusal. The caller holds the lock.
func (s *sizes) refuse(t *turn, r reply, now time.Time) {
	s.cause, s.refusedAt = r.err, now
	if s.refused == 0 || t.size < s.refused {
		s.refused = t.size
	}
	if t.size <= s.accepted {
		s.accepted = 0 // the server accepts less than before
	}
	if t.items > 1 {
		return
	}
	if s.singles++; s.singles >= singlesInARow {
		s.refused, s.accepted, s.singles, s.rest = 0, 0, 0, now.Add(tooLargeRest)
	}
}

// awaitRest returns when requests are sent again, or false if ctx ends before.
func (s *sizes) awaitRest(ctx context.Context) bool {
	s.mu.Lock()
	rest := time.Until(s.rest)
	s.mu.Unlock()
	return rest <= 0 || wait(ctx, rest) == nil
}
