package sampling

import (
	"slices"
	"time"
)

// pauseAfter is how long nothing must have begun for the sampler to stop ticking. By then every
// threshold is at its lowest and every budget at its highest, and what is remembered fades with
// time, not with ticks. So an idle process is not woken for it.
const pauseAfter = time.Minute

func (s *Sampler) run() {
	defer close(s.done)
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for quiet := time.Duration(0); ; {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.tick()
		}
		quiet += tickInterval
		if s.active.Swap(false) {
			quiet = 0
		}
		if quiet >= pauseAfter && !s.holdsTraces() {
			ticker.Stop()
			s.pause()
			ticker.Reset(tickInterval)
			quiet = 0
		}
	}
}

// pause waits for something to begin.
func (s *Sampler) pause() {
	select {
	case <-s.wake: // drains an earlier wake-up
	default:
	}
	if s.active.Load() {
		return
	}
	select {
	case <-s.stop:
	case <-s.wake:
		s.tick() // so that the next tick does not cover the whole pause
	}
}

// noteActivity notes that something has begun that needs ticks.
func (s *Sampler) noteActivity() {
	if s.active.Load() {
		return
	}
	s.active.Store(true)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// holdsTraces reports whether a tail holds any trace.
func (s *Sampler) holdsTraces() bool {
	return slices.ContainsFunc(s.currentTails(), func(t *tail) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return len(t.traces) > 0
	})
}

func (s *Sampler) currentTails() []*tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tails)
}

// tick is called every tickInterval.
func (s *Sampler) tick() {
	now := s.now()
	s.routes.tick(now) // first, since the head divides the target by its rates
	s.head.tick(now)
	for i := range s.rules.list {
		if limit := s.rules.list[i].limit; limit != nil {
			limit.tick(now)
		}
	}
	s.callers.tick(now)
	s.floor.tick(now)
	highest := uint64(0)
	for _, t := range s.currentTails() {
		highest = max(highest, t.tick(now))
	}
	s.floor.memory.Store(highest)
}
