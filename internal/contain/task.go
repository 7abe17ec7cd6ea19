package contain

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetotel/telemetry/internal/lines"
)

const (
	// maxTime is how long a task may take, if half of the collection's time is not less: a scraper,
	// which sets no deadline here, gives up after 10 s itself.
	maxTime = 10 * time.Second
	// divisorWhileHung is the part of the collection's time that a task may take while another one
	// hangs: the cause, such as a database that is down, often makes several hang, and the export
	// still needs its time.
	divisorWhileHung = 8
	// grace is the time to return after the end of the context, also for what had nearly finished
	// when a shutdown canceled it.
	grace = 250 * time.Millisecond
	// minGrace lets callbacks that do not hang be called also when others have used up the time.
	minGrace = 10 * time.Millisecond
)

var (
	errExited    = errors.New("ended its goroutine")
	errAbandoned = errors.New("did not return in time: it was abandoned, and is called again after it has returned")
)

// task is a service's code that collections run: a callback or a producer. All methods are safe for
// concurrent use, since each reader collects at its own time.
type task struct {
	subject   string
	report    func(error)
	hung      *atomic.Int32 // runs of all tasks of the provider that were abandoned and have not returned yet
	abandoned atomic.Int32  // those of this task

	mu       sync.Mutex
	reported string // the cause reported last; empty after a run without one
}

// run is one call of a task.
type run struct {
	state atomic.Int32 // running, then returned or abandoned, for good

	mu   sync.Mutex
	over bool // the collection has gone on: observations do not count any more
}

const (
	running int32 = iota
	returned
	abandoned
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

// do runs f for a collection and reports what goes wrong. It returns false if f did not return:
// then f may still run, and use what it shares with the caller.
func (t *task) do(ctx context.Context, f func(context.Context, *run) error) bool {
	if t.abandoned.Load() > 0 {
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
			if !r.state.CompareAndSwap(running, returned) {
				t.countAbandoned(-1)
			}
			done <- err
		}()
		err = Catch(func() error { return f(limited, r) })
	}()
	err, inTime := wait(limited, done, min(grace, max(limit/2, minGrace)))
	if !inTime {
		t.countAbandoned(1)
		if r.state.CompareAndSwap(running, abandoned) {
			t.settle(errAbandoned)
			return false
		}
		t.countAbandoned(-1) // it has just returned
		err = <-done
	}
	r.end() // first of all, because goroutines that f started may still observe
	t.settle(err)
	return true
}

func (t *task) countAbandoned(n int32) {
	t.abandoned.Add(n)
	t.hung.Add(n)
}

func (t *task) timeFor(ctx context.Context) time.Duration {
	remaining := 2 * maxTime
	if deadline, ok := ctx.Deadline(); ok {
		remaining = min(remaining, time.Until(deadline))
	}
	if t.hung.Load() > 0 {
		return remaining / divisorWhileHung
	}
	return remaining / 2
}

func wait(ctx context.Context, done <-chan error, grace time.Duration) (err error, inTime bool) {
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

// settle reports the error of a run, unless the run before ended with the same.
func (t *task) settle(err error) {
	var cause string
	if err != nil {
		err = lines.CallbackFailed(t.subject, err)
		cause = err.Error()
	}
	t.mu.Lock()
	isNew := cause != "" && cause != t.reported
	t.reported = cause
	t.mu.Unlock()
	if !isNew {
		return
	}
	// The report has a goroutine and a time limit, because the SDK holds the lock of the collection
	// here: an error handler that creates an instrument waits for that lock.
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = Catch(func() error { // a panic of the error handler cannot be reported
			t.report(err)
			return nil
		})
	}()
	select {
	case <-done:
	case <-time.After(grace):
	}
}
