package diagnose

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	// patience is how long a caller waits for its line, so that what Init says is out before a program exits.
	patience = 50 * time.Millisecond
	// maxWaiting bounds the lines that wait for an output that blocks.
	maxWaiting = 256
)

// outlet carries lines to an output, or a handler, that may block, in one goroutine, which runs while there are lines.
// It is safe for concurrent use.
type outlet struct {
	called string // the output in an error

	mu      sync.Mutex
	waiting []*line
	missing int64         // lines that did not fit, and no other line has told
	idle    chan struct{} // closed when the goroutine ends; nil while there is none
	since   time.Time     // the write under way began
	blocks  bool          // a caller has waited in vain since the last line got through
	excused chan struct{} // closed when the goroutine is known to wait for a Shutdown; nil before
}

// line is one to write. write gets the number of lines that did not fit before it.
type line struct {
	write func(missing int64)
	done  chan struct{}
}

// put hands a line over, and waits for it as long as the output takes lines, for 50 ms at most.
func (o *outlet) put(write func(missing int64)) {
	l := &line{write, make(chan struct{})}
	o.mu.Lock()
	if len(o.waiting) == maxWaiting {
		o.missing++
		o.mu.Unlock()
		return
	}
	o.waiting = append(o.waiting, l)
	if o.idle == nil {
		o.idle = make(chan struct{})
		go o.run()
	}
	blocks := o.blocks
	o.mu.Unlock()
	if blocks {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
		o.mu.Lock()
		defer o.mu.Unlock()
		select {
		case <-l.done: // meanwhile
		default:
			o.blocks = true
		}
	}
}

// run writes until no line is left. A handler may end its goroutine, as a test does that fails.
func (o *outlet) run() {
	ended := false
	defer func() {
		if !ended {
			go o.run()
		}
	}()
	for o.next() {
	}
	ended = true
}

// next writes a line, and reports whether there was one.
func (o *outlet) next() (more bool) {
	o.mu.Lock()
	if len(o.waiting) == 0 {
		close(o.idle)
		o.idle, o.excused = nil, nil
		o.mu.Unlock()
		return false
	}
	l, missing := o.waiting[0], o.missing
	o.waiting[0] = nil
	o.waiting, o.missing, o.since = o.waiting[1:], 0, time.Now()
	o.mu.Unlock()
	defer func() {
		_ = recover() // a handler of the service's
		o.mu.Lock()
		defer o.mu.Unlock()
		o.blocks = false
		close(l.done)
	}()
	more = true // also after a panic
	l.write(missing)
	return more
}

// drain waits until all lines are written, and returns an error if that takes too long.
func (o *outlet) drain(limit time.Duration) error {
	o.mu.Lock()
	idle, excused := o.idle, o.excuse()
	o.mu.Unlock()
	if idle == nil {
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-idle:
		return nil
	case <-excused:
		return nil
	case <-timer.C:
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.idle == nil {
		return nil
	}
	return fmt.Errorf("%s has blocked for %s: its goroutine was abandoned with %s", o.called,
		time.Since(o.since).Round(time.Millisecond), Count(int64(len(o.waiting))+1, "line", "lines"))
}

// excuse is what is closed when the goroutine waits for a Shutdown. The caller holds the lock.
func (o *outlet) excuse() chan struct{} {
	if o.excused == nil {
		o.excused = make(chan struct{})
	}
	return o.excused
}

// calledBack is told that a Shutdown has begun. If the outlet's own goroutine has called it, waiting for the goroutine
// would be waiting for the Shutdown itself.
func (o *outlet) calledBack() {
	if !inOutlet() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.excuse():
	default:
		close(o.excused)
	}
}

// inOutlet reports whether the goroutine is that of an outlet.
func inOutlet() bool {
	pcs := make([]uintptr, 256)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "/diagnose.(*outlet).run") {
			return true
		}
		if !more {
			return false
		}
	}
}
