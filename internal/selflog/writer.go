package selflog

import (
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/lines"
)

const (
	// maxWait is how long a caller waits until its line is written, so that what Init says is out
	// before a program exits.
	maxWait = 50 * time.Millisecond
	// maxQueued bounds the lines that wait for an output that blocks.
	maxQueued = 256
)

// writer writes lines to an output, or hands errors to a handler, that may block. One goroutine
// does so; it runs while there are lines. It is safe for concurrent use.
type writer struct {
	name string // of the output, in errors

	mu        sync.Mutex
	queue     []*queued
	dropped   int64         // lines that found the queue full since the last line that was not
	idle      chan struct{} // closed when the goroutine ends; nil while there is none
	writing   time.Time     // when the current write began
	blocked   bool          // a caller has waited for maxWait, and no line was written since
	callsBack chan struct{} // closed once the goroutine's handler is known to wait for Shutdown; nil until first used
}

// queued is a line that waits. write gets the number of lines that were dropped before it.
type queued struct {
	write func(dropped int64)
	done  chan struct{}
}

// put queues a line. Unless the output is known to block, it waits until the line is written, for
// 50 ms at most.
func (w *writer) put(write func(dropped int64)) {
	l := &queued{write, make(chan struct{})}
	w.mu.Lock()
	if len(w.queue) == maxQueued {
		w.dropped++
		w.mu.Unlock()
		return
	}
	w.queue = append(w.queue, l)
	if w.idle == nil {
		w.idle = make(chan struct{})
		go w.run()
	}
	blocked := w.blocked
	w.mu.Unlock()
	if blocked {
		return
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
		w.mu.Lock()
		defer w.mu.Unlock()
		select {
		case <-l.done: // meanwhile
		default:
			w.blocked = true
		}
	}
}

// run writes until the queue is empty. A handler may end the goroutine with runtime.Goexit, as a
// failing test does: then another one goes on.
func (w *writer) run() {
	ended := false
	defer func() {
		if !ended {
			go w.run()
		}
	}()
	for w.next() {
	}
	ended = true
}

// next writes a line, and reports whether there was one.
func (w *writer) next() (more bool) {
	w.mu.Lock()
	if len(w.queue) == 0 {
		close(w.idle)
		w.idle, w.callsBack = nil, nil
		w.mu.Unlock()
		return false
	}
	l, dropped := w.queue[0], w.dropped
	w.queue[0] = nil
	w.queue, w.dropped, w.writing = w.queue[1:], 0, time.Now()
	w.mu.Unlock()
	defer func() {
		_ = recover() // of a service's handler
		w.mu.Lock()
		defer w.mu.Unlock()
		w.blocked = false
		close(l.done)
	}()
	more = true // also after a panic
	l.write(dropped)
	return more
}

// drain waits until all lines are written, and returns an error if that takes longer than limit.
func (w *writer) drain(limit time.Duration) error {
	w.mu.Lock()
	idle, callsBack := w.idle, w.handlerCallsBack()
	w.mu.Unlock()
	if idle == nil {
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-idle:
		return nil
	case <-callsBack:
		return nil
	case <-timer.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle == nil {
		return nil
	}
	return lines.OutputBlocked(w.name, time.Since(w.writing).Round(time.Millisecond), int64(len(w.queue))+1)
}

// handlerCallsBack returns a channel that is closed once the goroutine's handler is known to wait
// for Shutdown. The caller holds the lock.
func (w *writer) handlerCallsBack() chan struct{} {
	if w.callsBack == nil {
		w.callsBack = make(chan struct{})
	}
	return w.callsBack
}

// shutdownBegins must be called on the goroutine of each Shutdown. If that is the writer's own, a
// handler has called Shutdown, and to drain would be to wait for itself.
func (w *writer) shutdownBegins() {
	if !onWriterGoroutine() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.handlerCallsBack():
	default:
		close(w.callsBack)
	}
}

// onWriterGoroutine reports whether the calling goroutine is that of a writer.
func onWriterGoroutine() bool {
	pcs := make([]uintptr, 256)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "/selflog.(*writer).run") {
			return true
		}
		if !more {
			return false
		}
	}
}
