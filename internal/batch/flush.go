package batch

import (
	"context"
	"fmt"
	"slices"
)

// LossError says how many items a flush or a shutdown did not deliver. It unwraps to the cause.
type LossError struct {
	Items int64 // failed, rejected, dropped, or (ForceFlush only) still waiting or in flight
	Cause error
}

func (l *LossError) Error() string {
	return fmt.Sprintf("%d items not delivered: %v", l.Items, l.Cause)
}

// Unwrap returns the cause.
func (l *LossError) Unwrap() error { return l.Cause }

// watch follows batches until each is settled, and sums up what they lose. The engine's lock guards
// it, except for all.
type watch struct {
	pending int
	lost    int64
	cause   error
	all     chan struct{} // closed when pending is zero
}

func (w *watch) lose(n int64, err error) {
	w.lost += n
	if n > 0 && w.cause == nil {
		w.cause = err
	}
}

func (w *watch) done() {
	if w.pending--; w.pending == 0 {
		close(w.all)
	}
}

func (w *watch) err() error {
	if w.lost == 0 {
		return nil
	}
	return &LossError{Items: w.lost, Cause: w.cause}
}

// batches returns the batches in flight and, if waiting is set, those that wait. The caller holds
// the lock.
func (e *Engine[T]) batches(waiting bool) []*batch[T] {
	all := slices.DeleteFunc(slices.Clone(e.slots), func(b *batch[T]) bool { return b == nil })
	if !waiting {
		return all
	}
	for b := e.ready.head; b != nil; b = b.next {
		all = append(all, b)
	}
	if e.filling != nil {
		all = append(all, e.filling)
	}
	return all
}

// watchBatches follows the batches in flight and, if waiting is set, those that wait. The caller
// holds the lock and keeps it until it has looked at pending.
func (e *Engine[T]) watchBatches(waiting bool) *watch {
	w := &watch{all: make(chan struct{})}
	for _, b := range e.batches(waiting) {
		w.pending++
		b.watches = append(b.watches, w)
	}
	if w.pending == 0 {
		close(w.all)
	}
	return w
}

// ForceFlush exports what was accepted before the call and returns when all of it is settled,
// including what was in flight already. It does not wait for items accepted later, except for those
// that share its last export because all slots were taken. The error is a [LossError], or nil if
// nothing was lost; when ctx ends first, the exports go on.
func (e *Engine[T]) ForceFlush(ctx context.Context) error {
	e.mu.Lock()
	if e.filling != nil {
		// Not sealed: a flush for each item, as after each event of a serverless function, must not
		// fill the queue with batches of one item while the endpoint is away.
		e.filling.due = true
	}
	e.dispatch()
	w := e.watchBatches(true)
	e.mu.Unlock()

	select {
	case <-w.all:
	case <-ctx.Done():
		return e.unfinished(ctx, w)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return w.err()
}

// unfinished returns the error of a flush that ran out of time. If the flush has finished after
// all, it returns the result. It removes w from the batches, because nothing waits for it any more.
func (e *Engine[T]) unfinished(ctx context.Context, w *watch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w.pending == 0 {
		return w.err()
	}
	left := w.lost
	for _, b := range e.batches(true) {
		if at := slices.Index(b.watches, w); at >= 0 {
			b.watches = slices.Delete(b.watches, at, at+1)
			left += b.unbooked()
		}
	}
	return &LossError{Items: left, Cause: context.Cause(ctx)}
}
