// Package console is the development view: log lines as they come, each trace as a tree when its local root ends, and
// metrics at the end or when they change, for a person who watches a terminal.
//
// [Traces] is a span processor beside the local tail, not behind it: it needs the start of spans, to see what hangs, and
// shows each trace that is recorded, also those that the sampler would not export. A tree is printed when its local root
// has ended, 100 ms later at most if children are open; what is open then becomes a tree of its own, marked LATE. What is
// held is bounded, and beyond it counted.
//
// It prints in the goroutine that ends the span, as a simple span processor does: a terminal that is stopped stops the
// service, and what a crash leaves on the screen is complete. One lock for all files keeps blocks apart.
package console

import (
	"io"
	"os"
	"strings"
	"sync"
)

// The widths within which the view adapts; a wider terminal would tear names and durations apart.
const (
	minWidth = 40
	maxWidth = 140
)

// files is the lock of all screens that are files: standard output and standard error are usually one terminal, and
// guards beside each other share it. Another writer has a lock of its own, for it may be anything, also one that starts
// spans.
var files sync.Mutex

// Screen is where blocks of lines are written, each with one Write. It is safe for concurrent use.
type Screen struct {
	mu     *sync.Mutex
	out    io.Writer
	colour bool
	width  func() int
}

// NewScreen returns a screen on out, which gets ANSI colours if colour is set. width is its number of columns, asked for
// each block because a window may change its size.
func NewScreen(out io.Writer, colour bool, width func() int) *Screen {
	mu := &sync.Mutex{}
	if _, ok := out.(*os.File); ok {
		mu = &files
	}
	return &Screen{mu: mu, out: Locked(out), colour: colour, width: width}
}

// Write hands on what others have formatted, such as slog's own handlers, without tearing a block of the view's.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *Screen) columns() int {
	return min(max(s.width(), minWidth), maxWidth)
}

// print writes a block. A terminal that cannot be written to is no reason to trouble the service.
func (s *Screen) print(block []line) error {
	if len(block) == 0 {
		return nil
	}
	var b strings.Builder
	for _, l := range block {
		l.render(&b, s.colour)
	}
	_, err := s.Write([]byte(b.String()))
	return err
}
