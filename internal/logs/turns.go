package logs

import (
	"sync"
	"time"
)

// Turns makes changes of package log and of slog's default one after the other. Package log holds
// its lock while it writes a line, so a change waits as long as the output blocks. The zero value
// is ready, and safe for concurrent use.
type Turns struct {
	mu   sync.Mutex
	last chan struct{} // closed when the latest change is made; nil once it is
}

// Take makes a change when it is its turn, and reports whether that was done within limit. If not,
// it is made later.
func (t *Turns) Take(limit time.Duration, change func()) (done bool) {
	made := make(chan struct{})
	t.mu.Lock()
	before := t.last
	t.last = made
	t.mu.Unlock()
	go func() {
		if before != nil {
			<-before
		}
		change()
		t.mu.Lock()
		defer t.mu.Unlock()
		close(made)
		if t.last == made {
			t.last = nil
		}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-made:
		return true
	case <-timer.C:
		return false
	}
}
