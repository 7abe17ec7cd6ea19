package sampling

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// tickInterval is how often a controller looks at the arrivals of every class.
const tickInterval = 200 * time.Millisecond

// controller holds the kept traces per second at a target, by one threshold per class.
//
// It knows two rates of each class: the usual one, from the average of the last seconds and the busiest second of the last
// quarter of an hour, and the recent one of the last second. The budget says which of the two it goes by. While the target
// is not used up, a class has the higher of the two probabilities that follow, so that what is left is used when the load
// falls. A burst is sampled as usual until it has used the burst budget. From there on it is taken for a rise, and the
// lower probability counts.
//
// Thresholds are a function of arrivals and of past decisions, never of the R of the trace they decide: that makes the
// adjusted counts unbiased, see the package's sources. The hot path reads no clock, takes no lock and allocates
// nothing; it looks at the clock when so many traces have been kept that the budget may be at one of its limits.
type controller struct {
	now      func() time.Duration
	fairness float64
	whole    bool // what is left of the target is used to keep everything, not to keep more

	kept  atomic.Uint64
	alarm atomic.Uint64 // the number of kept traces at which to look at the budget
	rise  atomic.Bool   // the budget is used up

	mu       sync.Mutex
	budget   budget
	total    estimate // of all classes together
	classes  []*class // all that have ever been claimed, then overflow and newcomer
	table    table
	overflow *class // arrivals of operations for which there is no room
	newcomer *class // the first arrivals of all operations
	displace candidates
	lastTick time.Duration
	rates, p []float64 // scratch
}

// newController makes a controller for target kept traces per second, of which a burst may use so many seconds' worth.
// It tells up to sets·ways operations apart; with 0 sets everything is one class.
func newController(target, burst, fairness float64, sets int, now func() time.Duration) *controller {
	start := now()
	c := &controller{now: now, fairness: fairness, lastTick: start, table: newTable(sets)}
	c.budget = budget{target: target, burst: burst, at: start}
	c.budget.surplus = -c.budget.saved()
	c.overflow = c.addClass("(other operations)", start)
	c.newcomer = c.overflow
	if sets > 0 {
		c.newcomer = c.addClass("(new operations)", start)
	}
	c.alarm.Store(c.budget.alarm())
	return c
}

func (c *controller) addClass(name string, now time.Duration) *class {
	cl := &class{}
	cl.begin(name, now)
	c.classes = append(c.classes, cl)
	c.rates = append(c.rates, 0)
	c.p = append(c.p, 0)
	return cl
}

// decide counts an arrival of the operation with this key and returns the point to decide it with. weight is how many
// arrivals it stands for. The name is kept for Snapshot.
func (c *controller) decide(key uint64, name string, r, weight uint64) *point {
	return c.decideIn(c.classOf(key, name), key, name, r, weight)
}

// decideIn is decide for an arrival whose class is known.
func (c *controller) decideIn(cl *class, key uint64, name string, r, weight uint64) *point {
	if mask := cl.thinning.Load(); r&mask == 0 {
		cl.arrivals.Add(weight * (mask + 1))
	}
	pt := cl.current.Load()
	if r >= pt.threshold {
		c.keep(cl, key, name)
	}
	return pt
}

// classOf returns the class of an operation that arrives, with its threshold up to date.
func (c *controller) classOf(key uint64, name string) *class {
	c.update()
	if cl := c.table.find(key); cl != nil {
		return cl
	}
	return c.admit(key, name)
}

// update brings the thresholds up to date with what has been kept.
func (c *controller) update() {
	if c.kept.Load() >= c.alarm.Load() {
		c.look()
	}
}

// keep counts a kept trace. It is the next arrival that looks at what follows from it: a trace must not move the
// threshold that its own tail will go by.
func (c *controller) keep(cl *class, key uint64, name string) {
	if len(c.table.sets) > 0 {
		cl.kept.Add(1)
		if cl == c.overflow {
			c.propose(key, name)
		}
	}
	c.kept.Add(1)
}

// admit finds the class for an operation that has none: the first arrival of any is charged to newcomer, so that a
// service that makes up a name for every request stays within its target.
func (c *controller) admit(key uint64, name string) *class {
	if c.newcomer == c.overflow || !c.table.hasRoom(key) {
		return c.overflow
	}
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		c.claim(key, label(name))
	}
	return c.newcomer
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

// look is for when so many traces have been kept that the budget may be at one of its limits.
func (c *controller) look() {
	if !c.mu.TryLock() {
		return // whoever holds it is moving thresholds
	}
	defer c.mu.Unlock()
	if c.kept.Load() < c.alarm.Load() {
		return
	}
	now := c.now()
	if now-c.lastTick >= tickInterval { // it is late, or there is none: the sampler rests, or is closed
		c.observe(now)
	}
	c.reallocate(now)
}

// tick looks at what has arrived since the last one, in every class.
func (c *controller) tick(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now > c.lastTick {
		c.observe(now)
		c.reallocate(now)
	}
}

// observe takes what has arrived into the estimates, and works out what follows from them.
func (c *controller) observe(now time.Duration) {
	total := 0.0
	for _, cl := range c.classes {
		total += cl.observe(now)
		cl.fade()
	}
	c.total.observe(now, total, (now - c.lastTick).Seconds())
	c.lastTick = now
	c.makeRoom(now)

	// The rates of operations that burst at different times add up to more than the whole ever has.
	b := &c.budget
	sum := 0.0
	for i, cl := range c.classes {
		c.rates[i] = cl.estimate.usual(usualPart * b.burst)
		sum += c.rates[i]
	}
	target, together := b.target, max(c.total.usual(usualPart*b.burst), 1e-9)
	if together > target {
		target *= planned
	}
	allocate(c.rates, c.p, target*max(sum/together, 1), c.fairness)
	for i, cl := range c.classes {
		cl.usual = min(c.p[i], target/max(c.rates[i], 1e-9))
		c.rates[i] = cl.estimate.recent()
	}
	b.spend(now, c.kept.Load())
	allocate(c.rates, c.p, b.aim(), c.fairness)
	for i, cl := range c.classes {
		cl.recent = c.p[i]
	}
}

// deadBand is how far, in steps of the grid, a probability may be from where it should be.
const deadBand = 0.75

// reallocate sets every class's threshold by the state of the budget.
func (c *controller) reallocate(now time.Duration) {
	b := &c.budget
	b.spend(now, c.kept.Load())
	c.rise.Store(b.rise)
	if b.rise {
		for i, cl := range c.classes {
			c.rates[i] = cl.sudden(now)
		}
		allocate(c.rates, c.p, b.repay(), c.fairness)
	}
	for i, cl := range c.classes {
		p := cl.usual
		switch {
		case b.rise:
			// In steps, of a few kept traces each: the end of a burst that is a little larger than usual must not weigh as
			// much as all of it.
			p = min(p, max(c.p[i], cl.current.Load().p/4))
		case b.surplus < 0 && c.whole:
			p = 1
		case b.surplus < 0:
			p = max(p, cl.recent)
		}
		cl.account()
		if current := cl.current.Load(); math.Abs(-math.Log2(p)*gridSteps-float64(current.index)) > deadBand {
			cl.current.Store(pointFor(p))
		}
	}
	c.alarm.Store(b.alarm())
}

// retarget changes the target from the next reallocation on.
func (c *controller) retarget(target float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.budget.target = target
}
