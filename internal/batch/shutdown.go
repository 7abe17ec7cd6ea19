package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/delivery"
)

// stop is the one shutdown of an engine.
type stop struct {
	done chan struct{}
	err  error // after done
}

// wait returns the result of the shutdown, or the cause of ctx's end if that comes first.
func (s *stop) wait(ctx context.Context) error {
	select {
	case <-s.done:
		return s.err
	default:
	}
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Shutdown stops accepting, exports what is queued with all slots, and returns when everything is
// settled or ctx ends; then exports in flight are canceled and what is left is dropped, or spooled.
// It returns no later than ctx ends, or up to 100 ms later if exporters ignore the end of their
// contexts.
//
// The error includes a [LossError]: what this shutdown neither delivered nor spooled, and why. It
// is nil if nothing was lost and the exporters shut down without an error. Further calls wait for
// the first and return its error.
func (e *Engine[T]) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	if s := e.stopping; s != nil {
		e.mu.Unlock()
		return s.wait(ctx)
	}
	s := &stop{done: make(chan struct{})}
	e.stopping = s
	e.updateLimits()
	if e.filling != nil {
		e.seal()
	}
	if e.timer != nil {
		e.timer.Stop()
	}
	e.dispatch()
	w := e.watchBatches(true)
	e.mu.Unlock()

	e.drain(ctx, w)
	e.cancel(nil)
	closing := e.closeExporters(ctx)
	e.ReportRefused()
	e.mu.Lock()
	s.err = errors.Join(w.err(), closing)
	e.mu.Unlock()
	close(s.done)
	return s.err
}

const (
	// lead is how long before a deadline exports are canceled, so that they can return what became
	// of their items before the deadline. It is at most a tenth of the time that is left. With a
	// spool it is [delivery.SpoolLead].
	lead = 100 * time.Millisecond
	// grace is how long canceled exports have at least to return.
	grace = 50 * time.Millisecond
)

// drain returns when every batch that w follows is settled. When ctx ends, it settles the rest
// itself.
func (e *Engine[T]) drain(ctx context.Context, w *watch) {
	soft := ctx
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		before := min(left/10, lead)
		if e.cfg.Spool {
			before = delivery.SpoolLead(left)
		}
		soft, cancel = context.WithDeadline(ctx, deadline.Add(-before))
		defer cancel()
	}
	select {
	case <-w.all:
		return
	case <-soft.Done():
	}
	cause := fmt.Errorf("shutdown: %w", context.Cause(soft))

	// With a spool, the batches in the queue are still exported: their context has ended, so their
	// items are spooled.
	e.mu.Lock()
	e.halted = !e.cfg.Spool
	rest := e.watchBatches(e.cfg.Spool)
	e.mu.Unlock()
	e.cancel(cause)

	atLeast := time.NewTimer(grace)
	defer atLeast.Stop()
	select {
	case <-rest.all:
	case <-atLeast.C:
		select {
		case <-rest.all:
		case <-ctx.Done():
		}
	}
	e.settleRest(cause)
}

// settleRest settles what is left: items of exports that do not return have failed, items that wait
// are dropped.
func (e *Engine[T]) settleRest(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.halted = true
	for slot, b := range e.slots {
		if b == nil {
			continue
		}
		n := b.unbooked()
		e.bookLocked(b, &delivery.Outcome{Items: n, Failed: n,
			Err: fmt.Errorf("the exporter did not return: %w", cause)})
		b.abandoned = true
		e.slots[slot] = nil
		e.release(b)
	}
	for b := e.ready.pop(); b != nil; b = e.ready.pop() {
		n := int64(len(b.items))
		e.waiting -= len(b.items)
		e.books.Dropped.Shutdown += n
		for _, w := range b.watches {
			w.lose(n, fmt.Errorf("not attempted: %w", cause))
		}
		e.release(b)
	}
}

// closeExporters shuts the exporters down, one after the other, and waits for them until grace
// after the end of ctx.
func (e *Engine[T]) closeExporters(ctx context.Context) error {
	if len(e.closers) == 0 {
		return nil
	}
	closed := make(chan error, 1)
	go func() {
		var errs []error
		for _, closer := range e.closers {
			err := contain.CatchIn("the exporter", func() error { return closer(ctx) })
			// The end of the time is not news, and the loss is counted.
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
				errs = append(errs, err)
			}
		}
		closed <- errors.Join(errs...)
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-closed:
		return err
	case <-time.After(grace):
		return errors.New("the exporter did not shut down in time")
	}
}
