// Package console is the development view: log lines as they come, each trace as a tree when its
// local root ends, and metrics at the end or when they change, for a person who watches a terminal.
//
// [Traces] is a span processor beside the local tail, not behind it: it needs the start of spans,
// to show requests that hang, and shows each recorded trace, including those that the sampler would
// not export. A tree is printed when its local root has ended, or at most 100 ms later if children
// are open. Spans that are still open then become separate trees, marked LATE. What is held is
// bounded; the rest is only counted.
//
// It prints in the goroutine that ends the span, as a simple span processor does: if the terminal
// blocks, so does the service, and after a crash the screen shows everything that has ended. One
// lock for all files keeps blocks apart.
package console

import (
	"io"
	"os"
	"strings"
	"sync"

	"github.com/fleetotel/telemetry/internal/logs"
)

// The view adapts to widths within these bounds. In a wider view, names and durations would be too
// far apart.
const (
	minWidth = 40
	maxWidth = 140
)

// files is the lock of all screens that are files: standard output and standard error are usually
// one terminal, which all guards share. Any other writer has a separate lock, because it may do
// anything, even start spans.
var files sync.Mutex

// Screen is where blocks of lines are written, each with one Write. It is safe for concurrent use.
type Screen struct {
	mu    *sync.Mutex
	out   io.Writer
	color bool
	width func() int
}

// NewScreen returns a screen on out, which gets ANSI colors if color is set. width is its number of
// columns, asked for each block because a window may change its size.
func NewScreen(out io.Writer, color bool, width func() int) *Screen {
	mu := &sync.Mutex{}
	if _, ok := out.(*os.File); ok {
		mu = &files
	}
	return &Screen{mu: mu, out: logs.Locked(out), color: color, width: width}
}

// Write writes text that others have formatted, such as slog's handlers. It never interrupts a
// block of the view.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *Screen) columns() int {
	return min(max(s.width(), minWidth), maxWidth)
}

// print writes a block.
func (s *Screen) print(block []line) error {
	if len(block) == 0 {
		return nil
	}
	var b strings.Builder
	for _, l := range block {
		l.render(&b, s.color)
	}
	_, err := s.Write([]byte(b.String()))
	return err
}
