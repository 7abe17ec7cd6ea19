package middleware

import (
	"iter"
	"maps"
	"sync"
	"sync/atomic"
)

// maxCached bounds each cache of a handler. Values that no longer fit are made anew for each
// request.
const maxCached = 1000

// cache remembers one value for each key. Reads do not lock, because put replaces the whole map. It
// is safe for concurrent use.
type cache[K comparable, V any] struct {
	adding  sync.Mutex
	entries atomic.Pointer[map[K]V]
}

func (c *cache[K, V]) get(key K) (value V, ok bool) {
	if entries := c.entries.Load(); entries != nil {
		value, ok = (*entries)[key]
	}
	return value, ok
}

// values are those of all entries.
func (c *cache[K, V]) values() iter.Seq[V] {
	if entries := c.entries.Load(); entries != nil {
		return maps.Values(*entries)
	}
	return func(func(V) bool) {}
}

// put adds an entry and reports whether there was room. The key must not be a part of a larger
// string.
func (c *cache[K, V]) put(key K, value V) bool {
	c.adding.Lock()
	defer c.adding.Unlock()
	var entries map[K]V
	if before := c.entries.Load(); before != nil {
		if len(*before) >= maxCached {
			return false
		}
		entries = maps.Clone(*before)
	} else {
		entries = map[K]V{}
	}
	entries[key] = value
	c.entries.Store(&entries)
	return true
}
