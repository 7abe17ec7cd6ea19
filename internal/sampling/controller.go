package sampling

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tickInterval is how often a controller reads the arrivals of every class.
const tickInterval = 200 * time.Millisecond

// controller keeps the number of kept traces per second at a target, with one threshold per class.
//
// It knows two rates of each class: the usual one, from the average of the last seconds and the
// busiest second of the last quarter of an hour, and the recent one, of the last second. The budget
// decides which of the two applies. While the target is not used up, a class has the higher of the
// two probabilities that follow, so that all of the target is used when the load falls. A burst is
// sampled at the usual probability until it has used the burst budget. After that it is a rise, and
// the lower probability applies.
//
// Thresholds depend on arrivals and past decisions, never on the R of the trace they decide. That
// makes the adjusted counts unbiased: see the sources in the package comment. The hot path does not
// lock or allocate, and reads the clock only when the budget may be at one of its limits.
type controller struct {
	now      func() time.Duration
	fairness float64
	keepAll  bool // while the target is not used up, everything is kept

	kept      atomic.Uint64
	nextCheck atomic.Uint64 // the number of kept traces at which to check the budget
	rise      atomic.Bool   // the budget is used up

	mu            sync.Mutex
	budget        budget
	total         estimate // of all classes together
	classes       []*class // all that have ever been claimed, then overflow and newOperations
	table         table
	overflow      *class // arrivals of operations for which there is no room
	newOperations *class // the first arrivals of all operations
	candidates    candidates
	lastTick      time.Duration
	rates, p      []float64 // scratch

	// routes has the classes of operations that become known late, and a part of the target. It may
	// be nil.
	routes       *controller
	routeRecents []float64     // the recent rates of its classes
	lastTurn     time.Duration // when busiest became fallback
}

// newController makes a controller for target kept traces per second. A burst may use burst seconds
// of it at once. The controller distinguishes up to sets·ways operations; with 0 sets, everything
// is one class.
func newController(target, burst, fairness float64, sets int, now func() time.Duration) *controller {
	start := now()
	c := &controller{now: now, fairness: fairness, lastTick: start, table: newTable(sets)}
	c.budget = budget{target: target, burst: burst, at: start}
	c.budget.surplus = -c.budget.saved()
	c.overflow = c.addClass("(other operations)", start)
	c.newOperations = c.overflow
	if sets > 0 {
		c.newOperations = c.addClass("(new operations)", start)
	}
	c.nextCheck.Store(c.budget.nextCheck())
	return c
}

func (c *controller) addClass(name string, now time.Duration) *class {
	cl := &class{}
	cl.begin(name, now)
	c.classes = append(c.classes, cl)
	return cl
}

// decide counts an arrival of the operation with this key, and returns the point that decides it.
// weight is how many arrivals it represents. The name is for Snapshot.
func (c *controller) decide(key uint64, name string, r, weight uint64) *point {
	return c.decideIn(c.classOf(key, name), key, name, r, weight)
}

// decideIn is decide for an arrival whose class is known.
func (c *controller) decideIn(cl *class, key uint64, name string, r, weight uint64) *point {
	if mask := cl.countMask.Load(); r&mask == 0 {
		cl.arrivals.Add(weight * (mask + 1))
	}
	pt := cl.current.Load()
	if r >= pt.threshold {
		c.keep(cl, key, name)
	}
	return pt
}

// classOf returns the class of an operation that arrives, with an up-to-date threshold.
func (c *controller) classOf(key uint64, name string) *class {
	c.update()
	if cl := c.table.find(key); cl != nil {
		return cl
	}
	return c.admit(key, name)
}

// update brings the thresholds up to date with what has been kept.
func (c *controller) update() {
	if c.kept.Load() >= c.nextCheck.Load() {
		c.checkBudget()
	}
}

// keep counts a kept trace. Thresholds are updated at the next arrival, because a trace must not
// change a threshold before its own tail has used it.
func (c *controller) keep(cl *class, key uint64, name string) {
	if len(c.table.sets) > 0 {
		cl.kept.Add(1)
		if cl == c.overflow {
			c.propose(key, name)
		}
	}
	c.kept.Add(1)
}

// move removes an arrival of the operation with this key from its class, because it belongs to a
// class of routes.
func (c *controller) move(key uint64, to *class, r, weight uint64) {
	cl := c.table.find(key)
	switch {
	case cl == nil:
		cl = c.overflow
	case cl.countMask.Load() == 0 && cl.own() == 0:
		cl = c.newOperations // it was the first arrival
	}
	cl.move(to, r, weight)
}

// admit finds the class for an operation that has none. The first arrival of each operation is
// charged to newOperations, so that a service that invents a name for every request stays within
// its target.
func (c *controller) admit(key uint64, name string) *class {
	if c.newOperations == c.overflow || !c.table.hasRoom(key) {
		return c.overflow
	}
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		c.claim(key, label(name))
	}
	return c.newOperations
}

// claim gives an operation a class of its own if there is room.
func (c *controller) claim(key uint64, name string) {
	way := c.table.free(key)
	if way == nil {
		return
	}
	now := c.now()
	cl := way.class.Load()
	if cl == nil {
		cl = c.addClass(name, now)
		way.class.Store(cl)
	} else {
		cl.begin(name, now)
	}
	way.key.Store(key)
}

// checkBudget is called when the budget may be at one of its limits.
func (c *controller) checkBudget() {
	if !c.mu.TryLock() {
		return // another goroutine is updating the thresholds
	}
	defer c.mu.Unlock()
	if c.kept.Load() < c.nextCheck.Load() {
		return
	}
	now := c.now()
	if now-c.lastTick >= tickInterval { // the tick is late, or the sampler pauses or is closed
		c.observe(now)
	}
	c.reallocate(now)
}

// tick adds what has arrived in every class since the last tick, and updates the thresholds.
func (c *controller) tick(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now > c.lastTick {
		c.observe(now)
		c.reallocate(now)
	}
}

// observe adds what has arrived to the estimates, and computes the usual and the recent probability
// of each class.
func (c *controller) observe(now time.Duration) {
	total := 0.0
	for _, cl := range c.classes {
		total += cl.observe(now)
		cl.fade()
		if now-c.lastTurn >= memory {
			cl.turn()
		}
	}
	if now-c.lastTurn >= memory {
		c.lastTurn = now
	}
	c.total.observe(now, total, (now - c.lastTick).Seconds())
	c.lastTick = now
	c.makeRoom(now)

	// If operations burst at different times, the sum of their rates is more than all arrivals
	// together ever reach.
	b := &c.budget
	c.rates = c.rates[:0]
	for _, cl := range c.classes {
		c.rates = append(c.rates, cl.estimate.usual(usualPart*b.burst))
	}
	together := c.total.usual(usualPart * b.burst)
	if c.routes != nil {
		together += c.addRoutes()
	}
	sum := 0.0
	for _, rate := range c.rates {
		sum += rate
	}
	target := b.target
	if together > target {
		target *= planned
	}
	overlap := max(sum/max(together, 1e-9), 1)
	c.allocate(target * overlap)
	own := 0.0 // the part of the target that is not for routes
	for i, cl := range c.classes {
		cl.usual = min(c.p[i], target/max(c.rates[i], 1e-9), cl.mostUsual)
		own += min(c.p[i], cl.mostUsual) * c.rates[i] / overlap
		c.rates[i] = cl.estimate.recent()
	}
	if c.routes != nil {
		c.routes.retarget(max(b.target-own, (1-planned)*b.target))
		copy(c.rates[len(c.classes):], c.routeRecents)
	}
	b.spend(now, c.kept.Load())
	c.allocate(b.aim())
	for i, cl := range c.classes {
		cl.recent = min(c.p[i], cl.mostRecent)
	}
}

// allocate divides a target by c.rates.
func (c *controller) allocate(target float64) {
	c.p = slices.Grow(c.p[:0], len(c.rates))[:len(c.rates)]
	allocate(c.rates, c.p, target, c.fairness)
}

// addRoutes adds the usual rates of the classes of late routes to c.rates and notes their recent
// ones. It limits the classes that arrivals move from to the probabilities of those they move to.
// It returns the usual rate of all routes together.
func (c *controller) addRoutes() (together float64) {
	routes := c.routes
	routes.mu.Lock()
	defer routes.mu.Unlock()
	burst := usualPart * routes.budget.burst
	c.routeRecents = c.routeRecents[:0]
	for _, cl := range routes.classes {
		c.rates = append(c.rates, cl.estimate.usual(burst))
		c.routeRecents = append(c.routeRecents, cl.estimate.recent())
	}
	for _, cl := range c.classes {
		cl.mostUsual, cl.mostRecent = 1, 1
		cl.movesTo(func(to *class) {
			cl.mostUsual, cl.mostRecent = min(cl.mostUsual, to.usual), min(cl.mostRecent, to.recent)
		})
	}
	return routes.total.usual(burst)
}

// deadBand is how far a probability may be from its aim, in steps of the grid.
const deadBand = 0.75

// reallocate sets the threshold of every class by the state of the budget.
func (c *controller) reallocate(now time.Duration) {
	b := &c.budget
	b.spend(now, c.kept.Load())
	c.rise.Store(b.rise)
	if b.rise {
		c.rates = c.rates[:0]
		for _, cl := range c.classes {
			c.rates = append(c.rates, cl.latest(now))
		}
		c.rates = append(c.rates, c.routeRecents...)
		c.allocate(b.repay())
	}
	for i, cl := range c.classes {
		p := cl.usual
		switch {
		case b.rise:
			// The probability falls in steps of a few kept traces each: the end of a burst that is
			// slightly larger than usual must not weigh as much as all of it.
			p = min(p, max(c.p[i], cl.current.Load().p/4))
		case b.surplus < 0 && c.keepAll:
			p = 1
		case b.surplus < 0:
			p = max(p, cl.recent)
		}
		cl.movesTo(func(to *class) { p = min(p, to.current.Load().p) })
		cl.detectChosen()
		if current := cl.current.Load(); math.Abs(-math.Log2(p)*gridSteps-float64(current.index)) > deadBand {
			cl.current.Store(pointFor(p))
		}
	}
	c.nextCheck.Store(b.nextCheck())
}

// retarget changes the target. The next reallocation uses it.
func (c *controller) retarget(target float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.budget.target = target
}
