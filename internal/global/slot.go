package global

import (
	"slices"
	"sync"
	"sync/atomic"
)

// target is one real object of the SDK, and its generation: the number of the Use call. It is
// immutable.
type target[T any] struct {
	value      T
	generation uint64
	err        error // of the SDK, from creating value
}

// slot makes one handed-out object follow its source: a tracer or a meter follows the provider in
// use, and an instrument or a registration follows its meter. Reading it is one atomic load.
//
// No lock is held while create runs. An SDK may block there as long as a metric callback hangs, and
// that must not block Use, which is part of every shutdown.
//
// All methods are safe for concurrent use.
type slot[S, T any] struct {
	source  *atomic.Pointer[target[S]]
	create  func(S) (T, error)
	current atomic.Pointer[target[T]]
}

// base gives generic code access to the slot in a handle.
func (s *slot[S, T]) base() *slot[S, T] { return s }

// load returns the current real object; the slot must be ready.
func (s *slot[S, T]) load() T { return s.current.Load().value }

// ready creates the first target. After that it costs one atomic load. It does not update a target
// that is older than its source: the Use call in progress does. Code that looks up an existing
// instrument in a metric callback must not create one there, because the SDK would deadlock.
func (s *slot[S, T]) ready() error {
	if cur := s.current.Load(); cur != nil {
		return cur.err
	}
	return s.follow()
}

// follow brings the slot to the generation of its source and returns the error of the creation. Two
// goroutines may create at the same time, and one of the two targets wins. Both hold the same
// object of the SDK, except for registrations. The callback of a registration that did not win
// never runs.
func (s *slot[S, T]) follow() error {
	for {
		src, cur := s.source.Load(), s.current.Load()
		if cur != nil && cur.generation >= src.generation {
			return cur.err
		}
		value, err := s.create(src.value)
		s.current.CompareAndSwap(cur, &target[T]{value: value, generation: src.generation, err: err})
	}
}

// table holds what has been handed out, by identity, so asking again costs a lookup and no memory.
// Entries are never removed, because a package-level variable may hold them.
//
// All methods are safe for concurrent use. No code of others runs under the lock.
type table[K comparable, V any] struct {
	mu      sync.RWMutex
	entries map[K]V
	order   []V // of creation, which the SDK keeps in what it exports
}

// get returns the entry of key. If the key is new, it calls make, which must not call an SDK.
func (t *table[K, V]) get(key K, make func() V) V {
	t.mu.RLock()
	v, ok := t.entries[key]
	t.mu.RUnlock()
	if ok {
		return v
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if v, ok = t.entries[key]; ok {
		return v
	}
	if t.entries == nil {
		t.entries = map[K]V{}
	}
	v = make()
	t.entries[key] = v
	t.order = append(t.order, v)
	return v
}

// all returns the current entries, oldest first. Entries that are added later use the source that
// was stored before this call.
func (t *table[K, V]) all() []V {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.order)
}
