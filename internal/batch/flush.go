package batch

import (
	"context"
	"fmt"
)

// LossError says how many items a flush or a shutdown did not deliver. It
// unwraps to the cause.
type LossError struct {
	Items int64 // failed, rejected, dropped, or (ForceFlush only) still on their way
	Cause error
}

func (l *LossError) Error() string {
	return fmt.Sprintf("%d items not delivered: %v", l.Items, l.Cause)
}

// Unwrap returns the cause.
func (l *LossError) Unwrap() error { return l.Cause }

// watch follows batches until each is settled, and sums up what they lose. The
// engine's lock guards it, except for all.
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

// watchBatches follows the batches in flight and, if waiting is set, those that
// are ready. The caller holds the lock and keeps it until it has looked at
// pending.
func (e *Engine[T]) watchBatches(waiting bool) *watch {
	w := &watch{all: make(chan struct{})}
	follow := func(b *batch[T]) {
		w.pending++
		b.watches = append(b.watches, w)
	}
	for _, b := range e.slots {
		if b != nil && !b.abandoned {
			follow(b)
		}
	}
	for b := e.ready.head; waiting && b != nil; b = b.next {
		follow(b)
	}
	if w.pending == 0 {
		close(w.all)
	}
	return w
}

// ForceFlush exports what was accepted before the call and returns when all of
// it is settled, including what was in flight already. It does not wait for
// items accepted later. The error is a [LossError], or nil if nothing was lost;
// when ctx ends first, the exports go on.
func (e *Engine[T]) ForceFlush(ctx context.Context) error {
	e.mu.Lock()
	if e.filling != nil {
		e.seal()
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

// unfinished is the error of a flush that ran out of time, and nil if it has
// finished after all.
func (e *Engine[T]) unfinished(ctx context.Context, w *watch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := w.lost
	count := func(b *batch[T]) {
		for _, other := range b.watches {
			if other == w {
				left += int64(b.unbooked)
			}
		}
	}
	for _, b := range e.slots {
		if b != nil {
			count(b)
		}
	}
	for b := e.ready.head; b != nil; b = b.next {
		count(b)
	}
	if w.pending == 0 {
		return w.err()
	}
	return &LossError{Items: left, Cause: context.Cause(ctx)}
}
