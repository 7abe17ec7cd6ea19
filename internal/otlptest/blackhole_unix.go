//go:build unix

package otlptest

import (
	"net"
	"syscall"
	"time"
)

// BlackHole makes an address of this machine drop requests to connect, as a firewall does, until
// the test ends: they wait without an answer. It listens with a queue of connections that is full
// and never served. ok is false where the system's queue is never full, or the machine does not
// have the address. Port 0 means any.
func BlackHole(tb TB, at string) (address string, ok bool) {
	tb.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		return "", false
	}
	tb.Cleanup(func() { _ = l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err == nil {
		controlled := raw.Control(func(fd uintptr) {
			err = syscall.Listen(int(fd), 0) // again, with the shortest queue
		})
		if err == nil {
			err = controlled
		}
	}
	if err != nil {
		tb.Fatalf("otlptest: %v", err)
		return "", false
	}
	for range 64 {
		conn, err := net.DialTimeout("tcp", l.Addr().String(), 100*time.Millisecond)
		if err != nil {
			return l.Addr().String(), true
		}
		tb.Cleanup(func() { _ = conn.Close() })
	}
	return "", false
}
