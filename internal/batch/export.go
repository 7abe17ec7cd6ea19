package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/logs"
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
		// The exporter ended its goroutine (runtime.Goexit), as a test's FailNow
		// does. The slot goes on with another one.
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

// export sends a batch within its time.
func (e *Engine[T]) export(slot int, b *batch[T]) {
	ctx, cancel := context.WithTimeoutCause(e.base, e.cfg.ExportTimeout, errExportTimeout)
	defer cancel()
	e.exportPart(ctx, slot, b, b.items)
}

// spool hands items to an exporter whose transport puts them on disk. Their own
// time is over, but exporters must find some left, or they do not even ask.
func (e *Engine[T]) spool(slot int, items []T) delivery.Outcome {
	ctx, cancel := context.WithTimeout(delivery.SpoolOnly(context.Background()), e.cfg.ExportTimeout)
	defer cancel()
	out := delivery.Outcome{Items: int64(len(items))}
	_ = contain(delivery.WithOutcome(ctx, &out), e.exports[slot%len(e.exports)], items) // the outcome says it all
	return out
}

// exportPart sends items of b and books them. What is too large for the server
// it sends in parts, oldest first; a single item that is too large is dropped.
func (e *Engine[T]) exportPart(ctx context.Context, slot int, b *batch[T], items []T) {
	out := e.call(ctx, slot, items)
	if !out.TooLarge || len(items) == 1 {
		e.book(b, out)
		return
	}
	for part := range slices.Chunk(items, int(out.PartSize())) {
		e.exportPart(ctx, slot, b, part)
	}
}

// call makes one export and returns an outcome in which every item has a place.
func (e *Engine[T]) call(ctx context.Context, slot int, items []T) delivery.Outcome {
	n := int64(len(items))
	out := &delivery.Outcome{Items: n}
	err := contain(delivery.WithOutcome(ctx, out), e.exports[slot%len(e.exports)], items)
	if e.cfg.Spool && !out.Filled && ctx.Err() != nil {
		// The exporter saw the end of its time before delivery did.
		if spooled := e.spool(slot, items); spooled.Filled {
			return settled(spooled, n)
		}
	}
	switch {
	case out.Filled:
		return settled(*out, n)
	case err != nil:
		return delivery.Outcome{Items: n, Failed: n, Err: err}
	default:
		return delivery.Outcome{Items: n, Exported: n}
	}
}

// contain turns a panic of an exporter into an error.
func contain[T any](ctx context.Context, export Export[T], items []T) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the exporter panicked: %s", logs.Text(p))
		}
	}()
	return export(ctx, items)
}

// settled makes the parts of an outcome add up to n, no matter who filled it: what it
// names too often is cut, and what it does not name has failed.
func settled(o delivery.Outcome, n int64) delivery.Outcome {
	o.Items = n
	if o.TooLarge {
		o.Exported, o.Rejected, o.Spooled, o.Failed = 0, 0, 0, 0
		return o
	}
	rest := n
	for _, part := range []*int64{&o.Exported, &o.Rejected, &o.Spooled} {
		*part = min(max(*part, 0), rest)
		rest -= *part
	}
	o.Failed = rest
	if o.Failed+o.Rejected > 0 && o.Err == nil {
		o.Err = errors.New("the exporter gives no reason")
	}
	return o
}

// book settles the items of one export of b in the engine's books.
func (e *Engine[T]) book(b *batch[T], o delivery.Outcome) {
	e.mu.Lock()
	if b.abandoned {
		// The items have been booked as failed. What is on disk by now is not.
		e.books.failed -= o.Spooled
		e.books.spooled += o.Spooled
		e.mu.Unlock()
		return
	}
	e.bookLocked(b, o)
	e.mu.Unlock()
	if o.Err != nil && o.Spooled < o.Items {
		e.report(o.Lost(), o.Err)
	}
}

// report hands an error to OnError, which may lead into a service's own code.
func (e *Engine[T]) report(lost int64, err error) {
	defer func() { _ = recover() }()
	e.cfg.OnError(lost, err)
}

// bookRest books as failed what no export of b has named.
func (e *Engine[T]) bookRest(b *batch[T], err error) {
	e.mu.Lock()
	n := b.unbooked()
	e.mu.Unlock()
	e.book(b, delivery.Outcome{Items: n, Failed: n, Err: err})
}

// bookLocked is book for a caller that holds the lock.
func (e *Engine[T]) bookLocked(b *batch[T], o delivery.Outcome) {
	n := e.books.settle(o, time.Now())
	b.booked += int(n)
	e.inFlight -= int(n)
	for _, w := range b.watches {
		w.lose(o.Lost(), o.Err)
	}
}

// finish settles a batch as a whole and returns the slot's next one, or nil
// after giving the slot back.
func (e *Engine[T]) finish(slot int, b *batch[T]) *batch[T] {
	e.mu.Lock()
	if b.abandoned {
		e.mu.Unlock()
		return nil // the slot is gone, too
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

// release gives back what a settled batch held. The caller holds the lock.
func (e *Engine[T]) release(b *batch[T]) {
	e.held -= b.bytes
	e.setDoors()
	for _, w := range b.watches {
		w.done()
	}
}
