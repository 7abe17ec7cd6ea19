package batch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Export sends items, and returns when they are settled. It must honor ctx, and must not keep the
// slice.
type Export[T any] func(ctx context.Context, items []T) error

// Engine is a bounded queue in front of concurrent exports. All methods are safe for concurrent
// use. It has goroutines only while exports are in flight.
type Engine[T any] struct {
	cfg     Config
	exports []Export[T]
	closers []func(context.Context) error // shut the exporters down
	recycle sync.Pool                     // of empty *batch[T]

	// limits has the limits that are reached, so an item can be refused without the lock. It
	// changes only under mu, and rarely.
	limits   atomic.Uint32
	refused  [reasons]atomic.Int64
	reported [reasons]atomic.Int64 // the part of refused that was reported
	_        [64]byte              // keeps producers that read limits off the cache line of mu

	mu       sync.Mutex
	filling  *batch[T]       // being filled; nil until its first item
	ready    fifo[T]         // full, waiting for a slot
	slots    []*batch[T]     // in flight, by slot; nil if free
	free     []int           // free slots
	waiting  int             // items in filling and ready
	inFlight int             // items in slots, not yet settled
	held     int64           // bytes in filling, ready and slots
	timer    *time.Timer     // runs while armed
	armed    bool            // for filling, or for an earlier batch
	halted   bool            // no further export starts
	stopping *stop           // set by the first Shutdown
	books    Stats           // of what was queued; Snapshot adds the gauges and what was refused
	base     context.Context // the parent of all exports, canceled by Shutdown
	cancel   context.CancelCauseFunc
}

// batch is what one export has. The engine's lock guards it, except that items belong to the export
// while it is in flight.
type batch[T any] struct {
	items     []T
	bytes     int64
	booked    int       // how many items are booked
	began     time.Time // when it got its first item
	due       bool      // leaves with the next free slot, full or not
	abandoned bool      // settled by Shutdown because its export ignored the context
	watches   []*watch
	next      *batch[T]
}

// unbooked returns how many items are not booked yet.
func (b *batch[T]) unbooked() int64 { return int64(len(b.items) - b.booked) }

// New returns an engine that spreads its exports over the given exporters. If there are at least
// MaxConcurrentExports exporters, each has one export at a time; if there are fewer, they must be
// safe for concurrent use. Without an exporter, New returns an error.
func New[T any](cfg Config, exports ...Export[T]) (*Engine[T], error) {
	if len(exports) == 0 {
		return nil, errNoExporter
	}
	cfg = cfg.withDefaults()
	e := &Engine[T]{
		cfg:     cfg,
		exports: exports,
		slots:   make([]*batch[T], cfg.MaxConcurrentExports),
		free:    make([]int, cfg.MaxConcurrentExports),
	}
	for i := range e.free {
		e.free[i] = len(e.free) - 1 - i // slot 0 first
	}
	e.base, e.cancel = context.WithCancelCause(context.Background())
	return e, nil
}

// Enqueue offers an item of the given size in bytes, by estimate, and reports whether it was
// queued. It never blocks on an export: when the queue is full the item is dropped and counted. The
// last eighth of the queue, in items and in bytes, is for items with priority.
func (e *Engine[T]) Enqueue(item T, size int, priority bool) bool {
	return !e.refusedAtOnce(priority) && e.admit(&item, size, priority)
}

// admit is Enqueue for an item that refusedAtOnce has let through. It takes a pointer because a log
// record has 584 bytes, and keeps a copy.
func (e *Engine[T]) admit(item *T, size int, priority bool) bool {
	bytes := int64(max(size, 1))
	e.mu.Lock()
	if reason, ok := e.admits(bytes, priority); !ok {
		e.mu.Unlock()
		e.refuse(reason)
		return false
	}
	b := e.filling
	if b != nil && b.bytes+bytes > e.cfg.MaxExportBatchBytes {
		e.seal()
		e.dispatch()
		b = nil
	}
	if b == nil {
		b = e.begin()
	}
	b.items = append(b.items, *item)
	b.bytes += bytes
	e.books.Accepted++
	e.waiting++
	e.held += bytes
	if len(b.items) >= e.cfg.MaxExportBatchSize || b.bytes >= e.cfg.MaxExportBatchBytes {
		e.seal()
		e.dispatch()
	}
	if e.waiting >= ordinary(e.cfg.MaxQueueSize) || e.held >= ordinary(e.cfg.MaxQueueBytes) {
		e.updateLimits()
	}
	e.mu.Unlock()
	return true
}

// begin starts a batch, and the timer that exports it in time. The caller holds the lock.
func (e *Engine[T]) begin() *batch[T] {
	b, _ := e.recycle.Get().(*batch[T])
	if b == nil {
		b = &batch[T]{items: make([]T, 0, e.firstCapacity())}
	}
	b.began = time.Now()
	e.filling = b
	if !e.armed {
		e.arm(e.cfg.ScheduleDelay)
	}
	return b
}

// firstCapacity is the capacity of a new batch: the whole batch for spans (16 bytes each), and a
// part of it for log records (584 bytes), of which most services send few.
func (e *Engine[T]) firstCapacity() int {
	const affordable = 32 << 10
	var item T
	return max(min(e.cfg.MaxExportBatchSize, affordable/int(max(unsafe.Sizeof(item), 1))), 1)
}

// arm lets onTimer run after d. The caller holds the lock.
func (e *Engine[T]) arm(d time.Duration) {
	e.armed = true
	if e.timer == nil {
		e.timer = time.AfterFunc(d, e.onTimer)
		return
	}
	e.timer.Reset(d)
}

// onTimer exports the batch being filled if its delay has passed. The timer is armed once per delay
// and not once per batch, so that it costs nothing under load.
func (e *Engine[T]) onTimer() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.armed = false
	b := e.filling
	if b == nil {
		return
	}
	if rest := e.cfg.ScheduleDelay - time.Since(b.began); rest > 0 {
		e.arm(rest)
		return
	}
	b.due = true
	e.dispatch()
}

// seal ends the filling of a batch. The caller holds the lock.
func (e *Engine[T]) seal() {
	e.ready.push(e.filling)
	e.filling = nil
}

// dispatch starts exports while there are batches and free slots. The caller holds the lock.
func (e *Engine[T]) dispatch() {
	for len(e.free) > 0 {
		b := e.take()
		if b == nil {
			return
		}
		slot := e.free[len(e.free)-1]
		e.free = e.free[:len(e.free)-1]
		e.slots[slot] = b
		go e.work(slot, b)
	}
}

// take removes the next batch from the queue, or returns nil. Until then, a batch that is due is
// still being filled, for fewer and larger exports. The caller holds the lock.
func (e *Engine[T]) take() *batch[T] {
	if e.halted {
		return nil
	}
	if e.ready.head == nil && e.filling != nil && e.filling.due {
		e.seal()
	}
	b := e.ready.pop()
	if b == nil {
		return nil
	}
	e.waiting -= len(b.items)
	e.inFlight += len(b.items)
	e.updateLimits()
	return b
}

// fifo is a queue of batches. The zero value is empty.
type fifo[T any] struct{ head, tail *batch[T] }

func (f *fifo[T]) push(b *batch[T]) {
	if f.tail == nil {
		f.head = b
	} else {
		f.tail.next = b
	}
	f.tail = b
}

func (f *fifo[T]) pop() *batch[T] {
	b := f.head
	if b == nil {
		return nil
	}
	f.head, b.next = b.next, nil
	if f.head == nil {
		f.tail = nil
	}
	return b
}
