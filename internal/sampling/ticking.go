package sampling

import (
	"slices"
	"time"
)

// restAfter is how long nothing must have begun for the sampler to rest: by then every threshold is at its lowest and
// every budget at its highest, and what is remembered fades by the time that passes, not by ticks. A process that does
// nothing is then not woken for it.
const restAfter = time.Minute

func (s *Sampler) run() {
	defer close(s.done)
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for quiet := time.Duration(0); ; {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.Tick()
		}
		quiet += tickInterval
		if s.stirred.Swap(false) {
			quiet = 0
		}
		if quiet >= restAfter && !s.holds() {
			ticker.Stop()
			s.rest()
			ticker.Reset(tickInterval)
			quiet = 0
		}
	}
}

// rest waits for something to begin.
func (s *Sampler) rest() {
	select {
	case <-s.wake: // from before
	default:
	}
	if s.stirred.Load() {
		return
	}
	select {
	case <-s.stop:
	case <-s.wake:
		s.Tick() // so that the next one looks at its own 200 ms and not at the rest
	}
}

// stir says that something has begun for which ticks are wanted.
func (s *Sampler) stir() {
	if s.stirred.Load() {
		return
	}
	s.stirred.Store(true)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// holds reports whether a tail holds anything.
func (s *Sampler) holds() bool {
	return slices.ContainsFunc(s.currentTails(), func(t *Tail) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return len(t.live) > 0
	})
}

func (s *Sampler) currentTails() []*Tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tails)
}

// Tick does what is due every 200 ms. Only a sampler with a Now of its own needs to be told.
func (s *Sampler) Tick() {
	now := s.now()
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
