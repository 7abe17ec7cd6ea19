package global

import (
	"slices"
	"sync"
	"sync/atomic"
)

// target is one real object of the SDK and the generation (the number of the Use call) it belongs to. It is immutable.
type target[T any] struct {
	value      T
	generation uint64
	err        error // what the SDK said when it made value
}

// slot lets one handed-out object follow its source: a tracer or a meter follows the provider in use, an instrument or a
// registration follows its meter. Reading is one atomic load.
//
// No lock is held while create runs. An SDK may block there for as long as somebody's metric callback hangs, and that
// must not stop a switch, which is part of every shutdown.
//
// All methods are safe for concurrent use.
type slot[S, T any] struct {
	source  *atomic.Pointer[target[S]]
	create  func(S) (T, error)
	current atomic.Pointer[target[T]]
}

// base lets generic code reach the slot inside a handle.
func (s *slot[S, T]) base() *slot[S, T] { return s }

// load returns the current real object; the slot must be ready.
func (s *slot[S, T]) load() T { return s.current.Load().value }

// ready makes the first target and costs one atomic load afterwards. It leaves a target that lags behind its source to
// the Use call under way: code that looks up an existing instrument inside a metric callback must not create one there,
// since the SDK deadlocks on that.
func (s *slot[S, T]) ready() error {
	if cur := s.current.Load(); cur != nil {
		return cur.err
	}
	return s.follow()
}

// follow brings the slot to the generation of its source and returns the error of its creation. Two goroutines may
// create at the same time: one of the two targets wins, which for all but registrations holds the SDK's same object, and
// a registration that did not win never fires.
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

// table holds what has been handed out, by identity, so that asking again costs a lookup and no memory. Entries are never
// removed: somebody may hold them in a package-level variable.
//
// All methods are safe for concurrent use. No foreign code runs under the lock.
type table[K comparable, V any] struct {
	mu      sync.RWMutex
	entries map[K]V
	order   []V // of creation, which the SDK keeps in what it exports
}

// get returns the entry of key, made by make (which must not call an SDK) if there is none.
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

// all returns the entries of this moment, oldest first. One that comes later finds the source stored before the call.
func (t *table[K, V]) all() []V {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.order)
}
