package sampling

import (
	"math/bits"
	"sync/atomic"
)

// ways is how many operations share a set of the table, which is set-associative like a CPU cache.
const ways = 4

// idleAfter is how long after its last arrival an operation loses its class.
const idleAfter = peakSlots * peakSlot

// table finds an operation's class. It has a fixed size. Readers take no lock; writers hold the
// controller's mutex. A reader that meets a way while it changes operations charges one arrival to
// the wrong one, which no weight depends on.
type table struct {
	sets []set
	mask uint64
}

type set [ways]way

type way struct {
	key   atomic.Uint64 // 0: free
	class atomic.Pointer[class]
}

// newTable makes a table of sets sets, rounded up to a power of two, or of none.
func newTable(sets int) table {
	if sets == 0 {
		return table{}
	}
	size := 1 << bits.Len(uint(sets-1))
	return table{sets: make([]set, size), mask: uint64(size - 1)}
}

// find returns the class of key, or nil.
func (t *table) find(key uint64) *class {
	if len(t.sets) == 0 {
		return nil
	}
	s := &t.sets[key&t.mask]
	for i := range s {
		if s[i].key.Load() == key {
			return s[i].class.Load()
		}
	}
	return nil
}

func (t *table) hasRoom(key uint64) bool { return t.unused(key) != nil }

// free returns an unused way for key. It returns nil if there is none or key has a way already.
func (t *table) free(key uint64) *way {
	if t.find(key) != nil {
		return nil
	}
	return t.unused(key)
}

// unused returns an unused way of key's set, or nil.
func (t *table) unused(key uint64) *way {
	s := &t.sets[key&t.mask]
	for i := range s {
		if s[i].key.Load() == 0 {
			return &s[i]
		}
	}
	return nil
}

// each calls f for every claimed way.
func (t *table) each(f func(*way, *class)) {
	for i := range t.sets {
		for j := range t.sets[i] {
			if w := &t.sets[i][j]; w.key.Load() != 0 {
				f(w, w.class.Load())
			}
		}
	}
}
