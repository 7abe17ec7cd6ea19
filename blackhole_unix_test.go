//go:build unix

package telemetry_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func blackHoles() []deadEnd { return []deadEnd{{"black hole", blackHole}} }

// blackHole is a listener whose queue of connections is full and never served: the system drops further requests to
// connect, as a firewall does, so that they wait without an answer.
func blackHole(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		err = syscall.Listen(int(fd), 0) // again, with the shortest queue
	}))
	require.NoError(t, err)
	for range 64 {
		conn, err := net.DialTimeout("tcp", l.Addr().String(), 100*time.Millisecond)
		if err != nil {
			return l.Addr().String()
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("this system's queue of connections is never full")
	return ""
}
