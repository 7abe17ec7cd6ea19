package logs_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/logs"
)

// torn is a writer that tells whether two goroutines are in it.
type torn struct {
	bytes.Buffer
	inside sync.Mutex
	twice  bool
}

func (w *torn) Write(p []byte) (int, error) {
	if !w.inside.TryLock() {
		w.twice = true
		return 0, io.ErrShortWrite
	}
	defer w.inside.Unlock()
	runtime.Gosched()
	return w.Buffer.Write(p)
}

func TestWritersOfOneOutputShareALock(t *testing.T) {
	out := &torn{}
	var all sync.WaitGroup
	for range 8 {
		w := logs.Locked(out)
		all.Go(func() {
			for range 200 {
				_, err := fmt.Fprintln(w, "x")
				require.NoError(t, err)
			}
		})
	}
	all.Wait()
	require.False(t, out.twice)
	require.Equal(t, 8*200*2, out.Len())
	require.Same(t, logs.Locked(out), logs.Locked(logs.Locked(out)))
	require.NotSame(t, logs.Locked(out), logs.Locked(&torn{}))
}

// by value, and not to be compared
type several []io.Writer

func (s several) Write(p []byte) (int, error) { return io.MultiWriter(s...).Write(p) }

func TestAnyWriterCanBeLocked(t *testing.T) {
	var a, b bytes.Buffer
	_, err := io.WriteString(logs.Locked(several{&a, &b}), "x")
	require.NoError(t, err)
	require.Equal(t, "xx", a.String()+b.String())
}

// A writer that no log goes to any more is forgotten.
func TestLocksAreForgotten(t *testing.T) {
	freed := make(chan struct{})
	func() {
		out := &torn{}
		runtime.SetFinalizer(out, func(*torn) { close(freed) })
		_, _ = io.WriteString(logs.Locked(out), "x")
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		select {
		case <-freed:
			return true
		default:
			return false
		}
	}, 30*time.Second, time.Millisecond)
}
