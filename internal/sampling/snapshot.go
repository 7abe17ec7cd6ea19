package sampling

import (
	"cmp"
	"slices"
)

// TailCounts is what a tail has done with the traces it has held, since its start.
type TailCounts struct {
	Kept      uint64 // traces, because they were interesting
	Routed    uint64 // traces that the head has not sampled, because their operation became known late
	Discarded uint64 // traces that were neither interesting nor sampled
	Outbid    uint64 // interesting traces below a threshold; the weights of those kept account for them
	Evicted   uint64 // traces decided early because memory was short
	Late      uint64 // spans that ended after their trace was discarded
	Truncated uint64 // spans beyond the limit of one trace; no weight accounts for them
}

func (c *TailCounts) add(o TailCounts) {
	c.Kept += o.Kept
	c.Routed += o.Routed
	c.Discarded += o.Discarded
	c.Outbid += o.Outbid
	c.Evicted += o.Evicted
	c.Late += o.Late
	c.Truncated += o.Truncated
}

// Counts returns the counts so far.
func (t *tail) Counts() TailCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// Operation is one operation as the head sees it.
type Operation struct {
	Name        string
	Rate        float64 // arrivals per second
	Probability float64
	Threshold   string // as th
	Arrivals    uint64 // an estimate above 512 per second
	Kept        uint64
}

// Snapshot is the state of a sampler.
type Snapshot struct {
	Target       float64 // traces per second
	Arrivals     uint64  // traces that the head has decided; an estimate if an operation is busy
	Kept         uint64  // of those
	RuleKept     uint64  // traces kept by a rule
	RuleDropped  uint64  // spans dropped by a rule
	Followed     uint64  // traces sampled because the caller was sampled
	Inconsistent uint64  // callers whose th was not credible
	Refused      uint64  // sampled callers over their share

	HeldTraces  int
	HeldBytes   int64
	MemoryFloor float64 // the share of undecided traces that is not recorded because of HeldBytes
	CPUFloor    float64 // the share that is not recorded because of RecordedSpansPerSecond
	Recorded    uint64  // undecided spans recorded for the tail
	Tail        TailCounts
	Operations  []Operation // by rate, the busiest first
}

// Snapshot returns the current state. It takes some tens of microseconds.
func (s *Sampler) Snapshot() Snapshot {
	snap := Snapshot{
		Target:   s.cfg.TracesPerSecond,
		RuleKept: s.ruleKept.Load(), RuleDropped: s.dropped.Load(),
		Followed: s.followed.Load(), Inconsistent: s.inconsistent.Load(), Refused: s.refused.Load(),
		MemoryFloor: 1 - probability(min(s.floor.memory.Load(), whole)),
		Recorded:    s.floor.recorded.Load(),
	}
	if s.floor.cpuBinds.Load() {
		snap.CPUFloor = 1 - s.floor.cpu.overflow.current.Load().p
	}
	snap.Operations, snap.Arrivals, snap.Kept = s.head.operations()
	late, _, _ := s.routes.operations()
	snap.Operations = append(snap.Operations, late...)
	slices.SortStableFunc(snap.Operations, busier)
	s.mu.Lock()
	tails := slices.Clone(s.tails)
	snap.Tail = s.retired
	s.mu.Unlock()
	for _, t := range tails {
		t.mu.Lock()
		snap.HeldTraces += len(t.traces)
		snap.HeldBytes += t.bytes
		snap.Tail.add(t.counts)
		t.mu.Unlock()
	}
	return snap
}

// operations lists the classes that have seen any arrival.
func (c *controller) operations() (list []Operation, arrivals, kept uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cl := range c.classes {
		pt := cl.current.Load()
		op := Operation{
			Name: cl.name, Rate: cl.estimate.average(), Probability: pt.p, Threshold: FormatThreshold(pt.threshold),
			Kept: cl.kept.Load(),
		}
		op.Arrivals = max(cl.arrivals.Load(), op.Kept)
		arrivals += op.Arrivals
		kept += op.Kept
		moved := cl.moved.Load() >= cl.arrivals.Load() // all of them
		op.Arrivals -= cl.before[0]
		op.Kept -= cl.before[1]
		if op.Arrivals > 0 && !moved {
			list = append(list, op)
		}
	}
	slices.SortStableFunc(list, busier)
	return list, arrivals, kept
}

// busier orders operations by rate, the highest first.
func busier(a, b Operation) int { return cmp.Compare(b.Rate, a.Rate) }
