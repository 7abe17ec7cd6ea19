package contain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetotel/telemetry/internal/logs"
)

const (
	// patience is how long foreign code may take, if half of what the collection has left is not less: a scraper, which
	// sets no deadline here, gives up after 10 s itself.
	patience = 10 * time.Second
	// hurry is the part of what is left that remains for one callback while another hangs: what made that hang, a database
	// that is gone, has a way of making several hang, and the export still needs its time.
	hurry = 8
	// grace is for what heeds the end of its context, and for what was nearly through when a shutdown cancelled it.
	grace = 250 * time.Millisecond
	// leastGrace lets callbacks that do not hang be called also when others have used up the time.
	leastGrace = 10 * time.Millisecond
)

var (
	errExited = errors.New("ended its goroutine")
	errBehind = errors.New("does not return: it was abandoned, and is called again after it has returned")
)

// task is foreign code that collections run: a callback or a producer. All methods are safe for concurrent use: each
// reader collects when it likes.
type task struct {
	subject string
	report  func(error)
	hung    *atomic.Int32 // runs of all tasks of the provider that were left behind and have not come back yet
	behind  atomic.Int32  // those of this task

	mu   sync.Mutex
	said string // the cause reported last; empty after a run without
}

// run is one call of a task.
type run struct {
	state atomic.Int32 // underway, then back or left, for good

	mu   sync.Mutex
	over bool // the collection has gone on: nothing counts any more
}

const (
	underway int32 = iota
	back
	left
)

// enter is true, and holds the lock, while observations count.
func (r *run) enter() bool {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return false
	}
	return true
}

func (r *run) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

// do runs f for a collection and reports what goes wrong. It returns false if f did not come back: then f may still be
// at work, on what it shares with the caller, too.
func (t *task) do(ctx context.Context, f func(context.Context, *run) error) bool {
	if t.behind.Load() > 0 {
		return false
	}
	limit := t.timeFor(ctx)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := &run{}
	defer r.end()
	done := make(chan error, 1)
	go func() {
		err := errExited // runtime.Goexit, as a test's FailNow calls it
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panicked: %s", logs.Text(p))
			}
			if !r.state.CompareAndSwap(underway, back) {
				t.leave(-1)
			}
			done <- err
		}()
		err = f(limited, r)
	}()
	err, came := wait(limited, done, min(grace, max(limit/2, leastGrace)))
	if !came {
		t.leave(1)
		if r.state.CompareAndSwap(underway, left) {
			t.settle(errBehind)
			return false
		}
		t.leave(-1) // it came back this moment
		err = <-done
	}
	r.end() // before anything else happens, in whatever goroutines f has left
	t.settle(err)
	return true
}

func (t *task) leave(n int32) {
	t.behind.Add(n)
	t.hung.Add(n)
}

func (t *task) timeFor(ctx context.Context) time.Duration {
	remaining := 2 * patience
	if deadline, ok := ctx.Deadline(); ok {
		remaining = min(remaining, time.Until(deadline))
	}
	if t.hung.Load() > 0 {
		return remaining / hurry
	}
	return remaining / 2
}

func wait(ctx context.Context, done <-chan error, grace time.Duration) (err error, came bool) {
	select {
	case err = <-done:
		return err, true
	case <-ctx.Done():
	}
	select {
	case err = <-done:
		return err, true
	case <-time.After(grace):
		return nil, false
	}
}

// settle reports the outcome of a run, unless it is what the run before has come to.
func (t *task) settle(err error) {
	var cause string
	if err != nil {
		err = fmt.Errorf("telemetry: %s: %w", t.subject, err)
		cause = err.Error()
	}
	t.mu.Lock()
	news := cause != "" && cause != t.said
	t.said = cause
	t.mu.Unlock()
	if !news {
		return
	}
	// In a goroutine of its own and not for long: the SDK holds the lock of the collection here, and an error handler
	// that creates an instrument would wait for that for ever.
	done := make(chan error, 1)
	go func() {
		defer func() {
			_ = recover() // there is nobody left to report to
			done <- nil
		}()
		t.report(err)
	}()
	select {
	case <-done:
	case <-time.After(grace):
	}
}
