package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// stop is the one shutdown of an engine.
type stop struct {
	done chan struct{}
	err  error // after done
}

// wait returns the result of the shutdown, or the cause of ctx's end if that
// comes first.
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

// Shutdown stops accepting, exports what is queued with all slots, and returns
// when everything is settled or ctx ends; then exports in flight are cancelled
// and what is left is dropped, or spooled. It is never later than ctx, except by up
// to 100 ms when exporters ignore the end of their contexts.
//
// The error includes a [LossError]: what this shutdown left undelivered and
// unspooled, and why. It is nil if nothing was lost and the exporters shut down
// well. Further calls wait for the first and return its error.
func (e *Engine[T]) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	if s := e.stopping; s != nil {
		e.mu.Unlock()
		return s.wait(ctx)
	}
	s := &stop{done: make(chan struct{})}
	e.stopping = s
	e.setDoors()
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
	// lead is how long before a deadline exports are cancelled, so that they can
	// say what became of their items before the deadline: at most, and a tenth of
	// the time that is left.
	lead = 100 * time.Millisecond
	// grace is how long cancelled exports have at least to return.
	grace = 50 * time.Millisecond
	// spoolLead is lead where a spool takes what is left: at most, and half of the
	// time. A queue of 8,192 spans is encoded, compressed and written in 0.1 s.
	spoolLead = time.Second
)

// drain returns when w is complete, which it makes sure of when ctx ends.
func (e *Engine[T]) drain(ctx context.Context, w *watch) {
	soft := ctx
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		before := min(left/10, lead)
		if e.cfg.Spool {
			before = min(left/2, spoolLead)
		}
		soft, cancel = context.WithDeadlineCause(ctx, deadline.Add(-before), context.DeadlineExceeded)
		defer cancel()
	}
	select {
	case <-w.all:
		return
	case <-soft.Done():
	}
	cause := fmt.Errorf("shutdown: %w", context.Cause(soft))

	// With a spool the queue goes on, to disk: base is over, so that exports find no
	// time and say so.
	e.mu.Lock()
	e.halted = !e.cfg.Spool
	flying := e.watchBatches(e.cfg.Spool)
	e.mu.Unlock()
	e.cancel(cause)

	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-flying.all:
	case <-patience.C:
		select {
		case <-flying.all:
		case <-ctx.Done():
		}
	}
	e.writeOff(cause)
}

// writeOff settles whatever is left: items of exports that do not return have
// failed, items that wait are dropped.
func (e *Engine[T]) writeOff(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.halted = true
	for slot, b := range e.slots {
		if b == nil {
			continue
		}
		n := b.unbooked()
		e.bookLocked(b, delivery.Outcome{Items: n, Failed: n, Err: fmt.Errorf("the exporter does not return: %w", cause)})
		b.abandoned = true
		e.slots[slot] = nil
		e.release(b)
	}
	for b := e.ready.pop(); b != nil; b = e.ready.pop() {
		n := int64(len(b.items))
		e.waiting -= len(b.items)
		e.books.dropped[shutdown] += n
		for _, w := range b.watches {
			w.lose(n, fmt.Errorf("not attempted: %w", cause))
		}
		e.release(b)
	}
}

// closeExporters shuts the exporters down, one after the other, and waits for
// them until ctx ends and a little longer.
func (e *Engine[T]) closeExporters(ctx context.Context) error {
	if len(e.closers) == 0 {
		return nil
	}
	closed := make(chan error, 1)
	go func() {
		var errs []error
		for _, closer := range e.closers {
			err := contain(ctx, func(ctx context.Context, _ []T) error { return closer(ctx) }, nil)
			// That the time is up is known, and what it cost is counted.
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
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case err := <-closed:
		return err
	case <-patience.C:
		return errors.New("the exporter does not shut down")
	}
}
