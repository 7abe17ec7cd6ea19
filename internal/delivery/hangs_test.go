package delivery

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Attempts in a row without an answer cost the connection, and those that ran side by side count as
// one, even if one of them ends after the connection was closed.
func TestConnectionsHangAfterAttemptsInARow(t *testing.T) {
	t.Parallel()
	type attempt struct {
		begin, end int // in seconds
		silent     bool
	}
	silent := func(begin, end int) attempt { return attempt{begin: begin, end: end, silent: true} }
	answered := func(begin, end int) attempt { return attempt{begin: begin, end: end} }
	tests := map[string]struct {
		attempts []attempt // in the order of their ends
		closed   []int     // when the connection was closed
	}{
		"one": {
			attempts: []attempt{silent(1, 2)},
		},
		"two in a row": {
			attempts: []attempt{silent(1, 2), silent(2, 3)},
			closed:   []int{3},
		},
		"two and a pause between": {
			attempts: []attempt{silent(1, 2), silent(9, 10)},
			closed:   []int{10},
		},
		"two and an answer between": {
			attempts: []attempt{silent(1, 2), answered(2, 3), silent(3, 4)},
		},
		"side by side": {
			attempts: []attempt{silent(1, 3), silent(1, 3), silent(2, 4)},
		},
		"side by side and one after them": {
			attempts: []attempt{silent(1, 3), silent(2, 4), silent(4, 5)},
			closed:   []int{5},
		},
		"one that ends after the connection was closed": {
			attempts: []attempt{silent(1, 2), silent(2, 3), silent(2, 4), silent(4, 5)},
			closed:   []int{3},
		},
		"one that ends after another got an answer": {
			attempts: []attempt{silent(1, 2), answered(2, 3), silent(1, 4), silent(4, 5)},
		},
		"the next connection, too": {
			attempts: []attempt{silent(1, 2), silent(2, 3), silent(3, 4), silent(4, 5)},
			closed:   []int{3, 5},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start, d := time.Now(), new(dialer)
				at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
				open := func() *conn {
					ours, theirs := net.Pipe()
					t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
					return d.track(ours)
				}
				current := open()
				var closed []int
				for _, a := range tt.attempts {
					time.Sleep(time.Until(at(a.end)))
					d.attempted(at(a.begin), a.silent)
					if current.hung.Load() {
						closed = append(closed, a.end)
						current = open()
					}
				}
				require.Equal(t, tt.closed, closed)
			})
		})
	}
}
