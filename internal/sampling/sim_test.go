package sampling

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// clock is virtual time.
type clock struct{ now time.Duration }

func (c *clock) read() time.Duration { return c.now }

// newRandom uses ChaCha8: generators with related seeds must not be correlated, or errors of many
// runs would not average out.
func newRandom(seed uint64) *rand.Rand {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	copy(key[8:], "fleetotel sampling tests")
	return rand.New(rand.NewChaCha8(key))
}

// phase is a stretch of time with constant arrival rates, one per operation.
type phase struct {
	length time.Duration
	rates  []float64
}

// arrival is one request of a simulation.
type arrival struct {
	at time.Duration
	op int
	r  uint64
}

// run plays phases against step and calls tick every 200 ms of virtual time.
func run(random *rand.Rand, c *clock, tick func(), phases []phase, step func(arrival)) {
	nextTick := c.now + tickInterval
	for _, ph := range phases {
		end := c.now + ph.length
		cumulated := make([]float64, len(ph.rates))
		total := 0.0
		for i, rate := range ph.rates {
			total += rate
			cumulated[i] = total
		}
		for {
			at := end
			if total > 0 {
				at = c.now + time.Duration(random.ExpFloat64()/total*float64(time.Second))
			}
			for nextTick <= min(at, end) {
				c.now = nextTick
				tick()
				nextTick += tickInterval
			}
			if at >= end {
				c.now = end
				break
			}
			c.now = at
			op := sort.SearchFloat64s(cumulated, random.Float64()*total)
			step(arrival{at, min(op, len(ph.rates)-1), random.Uint64() & (whole - 1)})
		}
	}
}

// head is a controller in virtual time with operations to ask it about.
type head struct {
	*controller
	clock *clock
	keys  []uint64
	names []string
}

func newHead(seed uint64, target, fairness float64, operations int) *head {
	c := &clock{}
	h := &head{controller: newController(target, headBurst, fairness, headSets, c.read), clock: c}
	hash := hasher{seed}
	for i := range operations {
		req := request{name: fmt.Sprintf("operation %d", i)}
		h.keys = append(h.keys, hash.key(&req))
		h.names = append(h.names, req.name)
	}
	return h
}

// ask decides one arrival and returns the point that decided it.
func (h *head) ask(a arrival) (pt *point, kept bool) {
	pt = h.decide(h.keys[a.op], h.names[a.op], a.r, 1)
	return pt, a.r >= pt.threshold
}

func (h *head) tickNow() { h.tick(h.clock.now) }

// perSecond counts what is kept in each second.
type perSecond []float64

func (p *perSecond) add(at time.Duration) {
	second := int(at / time.Second)
	for len(*p) <= second {
		*p = append(*p, 0)
	}
	(*p)[second]++
}

func (p perSecond) mean(from, to int) float64 {
	sum := 0.0
	for s := from; s < to; s++ {
		if s < len(p) {
			sum += p[s]
		}
	}
	return sum / float64(to-from)
}

func (p perSecond) deviation(from, to int) float64 {
	mean, sum := p.mean(from, to), 0.0
	for s := from; s < to; s++ {
		sum += (p[s] - mean) * (p[s] - mean)
	}
	return math.Sqrt(sum / float64(to-from-1))
}

// stats accumulates the mean and its standard error.
type stats struct{ n, sum, squares float64 }

func (s *stats) add(x float64) { s.n++; s.sum += x; s.squares += x * x }

func (s *stats) mean() float64 { return s.sum / s.n }

func (s *stats) deviation() float64 {
	return math.Sqrt(max(0, s.squares/s.n-s.mean()*s.mean()) * s.n / (s.n - 1))
}

func (s *stats) standardError() float64 { return s.deviation() / math.Sqrt(s.n) }

// zipf gives n rates that sum to total and fall as rank^-exponent.
func zipf(n int, total, exponent float64) []float64 {
	rates, sum := make([]float64, n), 0.0
	for i := range rates {
		rates[i] = math.Pow(float64(i+1), -exponent)
		sum += rates[i]
	}
	for i := range rates {
		rates[i] *= total / sum
	}
	return rates
}

func uniform(n int, each float64) []float64 {
	rates := make([]float64, n)
	for i := range rates {
		rates[i] = each
	}
	return rates
}
