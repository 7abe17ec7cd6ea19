// Package batch collects items into batches and exports several batches at a
// time. It replaces the SDK's batch processors, which have one export in flight
// and do not say what they lose. It is generic over the item: spans
// ([SpanProcessor]) and log records ([LogProcessor]); it knows nothing of OTLP.
//
// Each item that is offered to an [Engine] is accepted, and each accepted item is
// booked exactly once: as queued until it is settled, then as exported, failed,
// rejected, spooled or dropped. What became of an export is read from the
// [delivery.Outcome] that the engine puts into the export's context.
package batch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Export sends items, and returns when they are settled. It must honour ctx, and
// must not keep the slice.
type Export[T any] func(ctx context.Context, items []T) error

// Engine is a bounded queue in front of concurrent exports. All methods are safe
// for concurrent use. It has goroutines only while exports are in flight.
type Engine[T any] struct {
	cfg     Config
	exports []Export[T]
	closers []func(context.Context) error // shut the exporters down
	recycle sync.Pool                     // of *batch[T]

	// doors is what an item need not take the lock for to be refused. It changes
	// only under mu, and rarely.
	doors   atomic.Uint32
	refused [reasons]atomic.Int64
	told    [reasons]atomic.Int64 // the part of refused that was reported
	_       [64]byte              // keeps producers that read doors off the line of mu

	mu       sync.Mutex
	filling  *batch[T]   // being filled; nil until its first item
	ready    fifo[T]     // full, waiting for a slot
	slots    []*batch[T] // in flight, by slot; nil if free
	free     []int       // free slots
	waiting  int         // items in filling and ready
	inFlight int         // items in slots, not yet settled
	held     int64       // bytes in filling, ready and slots
	timer    *time.Timer // runs while armed
	armed    bool        // for filling, or for an earlier batch
	halted   bool        // no further export starts
	stopping *stop       // set by the first Shutdown
	books    books
	base     context.Context // the parent of all exports, cancelled by Shutdown
	cancel   context.CancelCauseFunc
}

// batch is what one export has. The engine's lock guards it, except that items
// belong to the export while it is in flight.
type batch[T any] struct {
	items     []T
	bytes     int64
	booked    int       // items that a booking has named
	born      time.Time // of the first item
	due       bool      // leaves with the next free slot, full or not
	abandoned bool      // settled by Shutdown while its export ignores the context
	watches   []*watch
	next      *batch[T]
}

// unbooked is how many items no booking has named yet.
func (b *batch[T]) unbooked() int64 { return int64(len(b.items) - b.booked) }

// New returns an engine that spreads its exports over the given exporters: with
// as many as MaxConcurrentExports each serves one export at a time, with fewer
// they must be safe for concurrent use. The error is that there is none.
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

// Enqueue offers an item of the given size in bytes, by estimate, and reports
// whether it was queued. It never blocks on an export: when the queue is full the
// item is dropped and counted. The last eighth of the queue, in items and in
// bytes, is for items with priority.
func (e *Engine[T]) Enqueue(item T, size int, priority bool) bool {
	return e.open(priority) && e.admit(&item, size, priority)
}

// admit is Enqueue behind the door. It takes a pointer because a log record has
// 584 bytes, and keeps a copy.
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
	e.books.queued++
	e.waiting++
	e.held += bytes
	if len(b.items) >= e.cfg.MaxExportBatchSize || b.bytes >= e.cfg.MaxExportBatchBytes {
		e.seal()
		e.dispatch()
	}
	if e.waiting >= ordinary(e.cfg.MaxQueueSize) || e.held >= ordinary(e.cfg.MaxQueueBytes) {
		e.setDoors()
	}
	e.mu.Unlock()
	return true
}

// begin starts a batch and sees to it that the batch leaves in time.
func (e *Engine[T]) begin() *batch[T] {
	b, _ := e.recycle.Get().(*batch[T])
	if b == nil {
		b = &batch[T]{items: make([]T, 0, e.firstCapacity())}
	}
	b.born = time.Now()
	e.filling = b
	if !e.armed {
		e.arm(e.cfg.ScheduleDelay)
	}
	return b
}

// firstCapacity is the capacity of a new batch: all of it for spans (16 bytes
// each), a part for log records (584 bytes), of which most services send few.
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

// onTimer lets the batch being filled go if its delay has passed. It is armed once per
// delay, not once per batch, so under load it costs nothing.
func (e *Engine[T]) onTimer() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.armed = false
	b := e.filling
	if b == nil {
		return
	}
	if rest := e.cfg.ScheduleDelay - time.Since(b.born); rest > 0 {
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

// dispatch starts exports while there are batches and free slots. The caller
// holds the lock.
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

// take removes the next batch from the queue, or returns nil. A batch that is due
// goes on filling until then: fewer, larger exports. The caller holds the lock.
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
	e.setDoors()
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
