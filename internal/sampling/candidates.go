package sampling

import "time"

// candidates are operations without a class that may deserve one. They are found among the kept
// traces of the overflow class, where busy operations appear again and again. This is the
// Space-Saving sketch (Metwally, Agrawal, El Abbadi, 2005). The controller's mutex guards it.
type candidates struct {
	list  [16]candidate
	since time.Duration
}

type candidate struct {
	key   uint64
	name  string
	count uint64
	error uint64 // how much of count may belong to others
}

const (
	// candidateWindow is how long candidates are counted before they are compared.
	candidateWindow = 10 * time.Second
	// minSeen is how often a candidate must have been counted to replace another operation.
	minSeen = 3
)

// propose counts a kept trace of the overflow class.
func (c *controller) propose(key uint64, name string) {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	least := &c.candidates.list[0]
	for i := range c.candidates.list {
		cand := &c.candidates.list[i]
		if cand.key == key {
			cand.count++
			return
		}
		if cand.count < least.count {
			least = cand
		}
	}
	*least = candidate{key: key, name: label(name), count: least.count + 1, error: least.count}
}

// makeRoom frees the classes of operations that have not been seen for idleAfter, and gives classes
// of quiet operations to busy candidates.
func (c *controller) makeRoom(now time.Duration) {
	c.table.each(func(w *way, cl *class) {
		if now-cl.lastSeen > idleAfter {
			w.key.Store(0)
			cl.estimate = estimate{} // its arrivals no longer count
		}
	})
	if now-c.candidates.since < candidateWindow {
		return
	}
	seconds := (now - c.candidates.since).Seconds()
	p := c.overflow.current.Load().p
	for _, cand := range c.candidates.list {
		if cand.count-cand.error < minSeen {
			continue
		}
		rate := float64(cand.count-cand.error) / p / seconds
		if w := c.table.quietest(cand.key); w != nil && w.class.Load().estimate.average() < rate/2 {
			w.key.Store(0)
			c.claim(cand.key, cand.name)
		}
	}
	c.candidates = candidates{since: now}
}

// quietest returns the way with the lowest rate among those that key could take, or nil if key has
// one.
func (t *table) quietest(key uint64) (quiet *way) {
	if t.find(key) != nil {
		return nil
	}
	s := &t.sets[key&t.mask]
	for i := range s {
		if w := &s[i]; w.class.Load() != nil &&
			(quiet == nil || w.class.Load().estimate.average() < quiet.class.Load().estimate.average()) {
			quiet = w
		}
	}
	return quiet
}
