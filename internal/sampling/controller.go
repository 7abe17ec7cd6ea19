package sampling

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// tickInterval is how often a controller looks at the arrivals of every class.
const tickInterval = 200 * time.Millisecond

// minQuota is the number of expected samples after which a class's rate is looked at between ticks. Its rate is then
// known to 25 %, and a rise of 2× is taken for one by chance in less than 1 % of the blocks.
const minQuota = 16

// rise is the growth that a class or the whole must show between ticks to be acted on at once.
const rise = 2

// controller holds the kept traces per second at a target, by one threshold per class.
//
// Thresholds are a function of arrivals and of past decisions, never of the R of the trace they decide: that makes the
// adjusted counts unbiased, see the package's sources. The hot path reads no clock, takes no lock and allocates
// nothing; it looks at the clock when a class has seen as many arrivals as should have given quota samples.
type controller struct {
	now      func() time.Duration
	fairness float64

	kept      atomic.Uint64
	keptAlarm atomic.Uint64

	mu        sync.Mutex
	target    float64
	quota     float64
	classes   []*class // all that have ever been claimed, then overflow and newcomer
	table     table
	overflow  *class // arrivals of operations for which there is no room
	newcomer  *class // the first arrivals of all operations
	displace  candidates
	scale     float64 // applied to the classes that are not fresh, until the next tick
	keptStart uint64
	keptTime  time.Duration
	lastTick  time.Duration
	rates, p  []float64 // scratch of reallocate
}

// newController makes a controller for target kept traces per second. It tells up to sets·ways operations apart; with 0
// sets everything is one class.
func newController(target, fairness float64, sets int, now func() time.Duration) *controller {
	c := &controller{now: now, fairness: fairness, scale: 1, table: newTable(sets)}
	start := now()
	c.lastTick, c.keptTime = start, start
	c.setTarget(target)
	c.overflow = c.addClass("(other operations)", start)
	c.newcomer = c.overflow
	if sets > 0 {
		c.newcomer = c.addClass("(new operations)", start)
	}
	c.keptAlarm.Store(uint64(c.quota))
	return c
}

// setTarget needs the mutex, except before the first decision.
func (c *controller) setTarget(target float64) {
	c.target = target
	c.quota = max(minQuota, math.Ceil(0.3*target))
}

func (c *controller) addClass(name string, now time.Duration) *class {
	cl := &class{name: name, countedAt: now, lastSeen: now}
	cl.current.Store(gridPoint(0))
	cl.restart(0, now, c.quota)
	c.classes = append(c.classes, cl)
	c.rates = append(c.rates, 0)
	c.p = append(c.p, 0)
	return cl
}

// decide counts an arrival of the operation with this key and returns the point to decide it with. weight is how many
// arrivals it stands for. The name is kept for Snapshot.
func (c *controller) decide(key uint64, name string, r, weight uint64) *point {
	cl := c.table.find(key)
	if cl == nil {
		cl = c.admit(key, name)
	}
	if mask := cl.thinning.Load(); r&mask == 0 {
		if n := cl.arrivals.Add(weight * (mask + 1)); n >= cl.alarm.Load() {
			c.block(cl)
		}
	}
	pt := cl.current.Load()
	if r >= pt.threshold {
		if len(c.table.sets) > 0 {
			cl.kept.Add(1)
			if cl == c.overflow {
				c.propose(key, name)
			}
		}
		if c.kept.Add(1) >= c.keptAlarm.Load() {
			c.flood()
		}
	}
	return pt
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
		arrivals := cl.arrivals.Load()
		cl.name, cl.estimate, cl.fresh = name, estimate{}, false
		cl.counted, cl.countedAt, cl.lastSeen = arrivals, now, now
		cl.before = [2]uint64{arrivals, cl.kept.Load()}
		cl.current.Store(gridPoint(0))
		cl.thin()
		cl.restart(arrivals, now, c.quota)
	}
	way.key.Store(key)
}

// block looks at the clock because a class has seen as many arrivals as should have given quota samples. If they came
// more than twice as fast as estimated, the thresholds move now.
func (c *controller) block(cl *class) {
	if !c.mu.TryLock() {
		return // whoever holds it is moving thresholds
	}
	defer c.mu.Unlock()
	n := cl.arrivals.Load()
	if n < cl.alarm.Load() {
		return
	}
	now := c.now()
	count := float64(n-cl.blockStart) - cl.stride()
	seconds := max(now-cl.blockTime, time.Microsecond).Seconds()
	if count/seconds > rise*cl.estimate.rate() {
		cl.estimate.reset(count, seconds)
		cl.counted, cl.countedAt, cl.fresh = n, now, true
		cl.thin()
		c.reallocate()
	}
	cl.restart(n, now, c.quota)
}

// flood looks at the clock because quota traces have been kept. Operations that rise together are each too rare to be
// noticed by block; if the whole is at more than twice the target, all that have not been looked at are scaled down.
func (c *controller) flood() {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	n := c.kept.Load()
	if n < c.keptAlarm.Load() {
		return
	}
	now := c.now()
	rate := float64(n-c.keptStart) / max(now-c.keptTime, time.Microsecond).Seconds()
	if rate > rise*c.target {
		c.scale *= c.target / rate
		c.reallocate()
	}
	c.keptStart, c.keptTime = n, now
	c.keptAlarm.Store(n + uint64(c.quota))
}

// tick looks at what has arrived since the last one, in every class.
func (c *controller) tick(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now <= c.lastTick {
		return
	}
	c.lastTick = now
	for _, cl := range c.classes {
		n := cl.arrivals.Load()
		if n != cl.counted {
			cl.lastSeen = now
		}
		if since := now - cl.countedAt; since > 0 {
			cl.estimate.observe(float64(n-cl.counted), since.Seconds(), cl.stride())
		}
		cl.counted, cl.countedAt, cl.fresh = n, now, false
		cl.thin()
	}
	c.scale = 1
	c.makeRoom(now)
	c.reallocate()
	for _, cl := range c.classes {
		cl.restart(cl.counted, now, c.quota)
	}
	c.keptStart, c.keptTime = c.kept.Load(), now
	c.keptAlarm.Store(c.keptStart + uint64(c.quota))
}

// deadBand is how far, in steps of the grid, a probability may be from where it should be.
const deadBand = 0.75

// reallocate sets every class's threshold from the estimated rates.
func (c *controller) reallocate() {
	for i, cl := range c.classes {
		c.rates[i] = cl.estimate.rate()
	}
	allocate(c.rates, c.p, c.target, c.fairness)
	for i, cl := range c.classes {
		p := c.p[i]
		if !cl.fresh {
			p *= c.scale
		}
		if current := cl.current.Load(); math.Abs(-math.Log2(p)*gridSteps-float64(current.index)) > deadBand {
			cl.current.Store(pointFor(p))
		}
	}
}

// retarget changes the target from the next reallocation on.
func (c *controller) retarget(target float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setTarget(target)
}
