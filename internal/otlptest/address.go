package otlptest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports that are handed out lie below those that systems give to sockets without one of their own (Linux from 32768,
// others from 49152), so that nobody is given the port of a collector that is down.
const (
	firstPort = 10_000
	lastPort  = 30_000
)

// FreeAddress returns an address of the loopback interface at which nothing listens, and at which nothing will until the
// test ends unless the test does: no other test is given the same, in this process or another.
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

// claim returns a UDP socket at a port whose TCP port is free. As long as it is open, it tells all who claim, in whatever
// process, that the TCP port is taken, listening or not.
func claim() (net.PacketConn, error) {
	var failed error
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		claimed, err := net.ListenPacket("udp", address)
		if err != nil {
			failed = err
			continue
		}
		probe, err := net.Listen("tcp", address) // there are servers that do not claim
		if err != nil {
			failed = errors.Join(err, claimed.Close())
			continue
		}
		if failed = probe.Close(); failed == nil {
			return claimed, nil
		}
	}
	return nil, fmt.Errorf("otlptest: no port between %d and %d is free: %w", firstPort, lastPort, failed)
}
