package otlptest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// The ports that are handed out lie below those that systems give to sockets without one of their
// own (Linux from 32768, others from 49152), so that no socket gets the port of a collector that is
// down.
const (
	firstPort = 10_000
	lastPort  = 30_000
)

// FreeAddress returns an address of the loopback interface at which nothing listens, and at which
// nothing will until the test ends unless the test does: no other test is given the same, in this
// process or another.
func FreeAddress(tb TB) string {
	tb.Helper()
	claimed, err := claim()
	if err != nil {
		tb.Fatalf("%v", err)
		return ""
	}
	tb.Cleanup(func() { _ = claimed.Close() })
	return claimed.LocalAddr().String()
}

// answersWithin is how long a server on this machine may take to accept a connection. The system
// accepts it, not the server's process. Windows needs 2 s to say that nothing listens.
const answersWithin = 100 * time.Millisecond

// claim returns a UDP socket at a port whose TCP port is free. As long as it is open, it tells all
// who claim, in whatever process, that the TCP port is taken, listening or not.
//
// It connects to find out whether the TCP port is free. If it listened there for a moment, a
// process that is started in that moment would hold the port until it runs its own program.
func claim() (net.PacketConn, error) {
	var failed error
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		claimed, err := net.ListenPacket("udp", address)
		if err != nil {
			failed = err
			continue
		}
		other, err := net.DialTimeout("tcp", address, answersWithin) // there are servers that do not claim
		if err != nil {
			return claimed, nil
		}
		failed = errors.Join(fmt.Errorf("%s is taken", address), other.Close(), claimed.Close())
	}
	return nil, fmt.Errorf("otlptest: no port between %d and %d is free: %w", firstPort, lastPort, failed)
}
