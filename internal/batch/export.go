package batch

import (
	"context"
	"errors"
	"time"

	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/delivery"
)

// errExportTimeout is the cause of the end of an export that used up its time.
var errExportTimeout = errors.New("export timeout")

// work exports b and then whatever is ready, in one slot.
func (e *Engine[T]) work(slot int, b *batch[T]) {
	returned := false
	defer func() {
		if returned {
			return
		}
		// The exporter ended its goroutine (runtime.Goexit), as a test's FailNow does. The slot
		// continues with another one.
		e.bookRest(b, errors.New("the exporter ended its goroutine"))
		if b = e.finish(slot, b); b != nil {
			go e.work(slot, b)
		}
	}()
	for b != nil {
		e.export(slot, b)
		b = e.finish(slot, b)
	}
	returned = true
}

// export sends a batch within the export timeout, in parts if it is too large for the server, and
// books the parts.
func (e *Engine[T]) export(slot int, b *batch[T]) {
	ctx, cancel := context.WithTimeoutCause(e.base, e.cfg.ExportTimeout, errExportTimeout)
	defer cancel()
	send := e.exports[slot%len(e.exports)]
	delivery.Export{
		Items:  int64(len(b.items)),
		Spool:  e.cfg.Spool,
		Send:   func(ctx context.Context, from, to int64) error { return send(ctx, b.items[from:to]) },
		Settle: func(out *delivery.Outcome) { e.book(b, out) },
	}.Run(ctx)
}

// book settles the items of one export of b in the engine's books.
func (e *Engine[T]) book(b *batch[T], o *delivery.Outcome) {
	e.mu.Lock()
	if b.abandoned {
		// The items were booked as failed. Those that are on disk now have not failed.
		e.books.Failed -= o.Spooled
		e.books.Spooled += o.Spooled
		e.mu.Unlock()
		return
	}
	e.bookLocked(b, o)
	e.mu.Unlock()
	if o.Err != nil && o.Spooled < o.Items {
		e.report(o.Lost(), o.Err)
	}
}

// report hands an error to OnError, which may be a service's own code.
func (e *Engine[T]) report(lost int64, err error) {
	_ = contain.Catch(func() error {
		e.cfg.OnError(lost, err)
		return nil
	})
}

// bookRest books the items of b that are not booked yet as failed.
func (e *Engine[T]) bookRest(b *batch[T], err error) {
	e.mu.Lock()
	n := b.unbooked()
	e.mu.Unlock()
	e.book(b, &delivery.Outcome{Items: n, Failed: n, Err: err})
}

// bookLocked is book for a caller that holds the lock.
func (e *Engine[T]) bookLocked(b *batch[T], o *delivery.Outcome) {
	e.books.Settle(o, time.Now())
	b.booked += int(o.Items)
	e.inFlight -= int(o.Items)
	for _, w := range b.watches {
		w.lose(o.Lost(), o.Err)
	}
}

// finish settles a batch as a whole and returns the slot's next one, or nil after giving the slot
// back.
func (e *Engine[T]) finish(slot int, b *batch[T]) *batch[T] {
	e.mu.Lock()
	if b.abandoned {
		e.mu.Unlock()
		return nil // Shutdown has freed the slot
	}
	e.release(b)
	next := e.take()
	e.slots[slot] = next
	if next == nil {
		e.free = append(e.free, slot)
	}
	e.mu.Unlock()

	clear(b.items) // for the garbage collector
	clear(b.watches)
	*b = batch[T]{items: b.items[:0], watches: b.watches[:0]}
	e.recycle.Put(b)
	return next
}

// release frees what a settled batch held. The caller holds the lock.
func (e *Engine[T]) release(b *batch[T]) {
	e.held -= b.bytes
	e.updateLimits()
	for _, w := range b.watches {
		w.done()
	}
}
