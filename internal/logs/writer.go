package logs

import (
	"io"
	"reflect"
	"runtime"
	"sync"
	"weak"
)

// writers has the lock of each writer that a log goes to. Several guards, at the same time or one
// after the other, may share a writer. A goroutine that an output has blocked is abandoned and may
// write later.
var writers = struct {
	sync.Mutex
	locked map[io.Writer]weak.Pointer[lockedWriter]
}{locked: map[io.Writer]weak.Pointer[lockedWriter]{}}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Locked returns a writer that writes to w, one Write at a time, with all others that write to w
// through this function.
func Locked(w io.Writer) io.Writer {
	if locked, ok := w.(*lockedWriter); ok {
		return locked
	}
	if !reflect.ValueOf(w).Comparable() { // it could not be found again
		return &lockedWriter{w: w}
	}
	writers.Lock()
	defer writers.Unlock()
	if known := writers.locked[w].Value(); known != nil {
		return known
	}
	locked := &lockedWriter{w: w}
	writers.locked[w] = weak.Make(locked)
	runtime.AddCleanup(locked, forgetWriter, w)
	return locked
}

func forgetWriter(w io.Writer) {
	writers.Lock()
	defer writers.Unlock()
	if writers.locked[w].Value() == nil {
		delete(writers.locked, w)
	}
}
