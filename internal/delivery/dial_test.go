package delivery_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// holes are addresses of this machine that drop packets at a port. The first is of IPv6 if there is
// to be one.
func holes(t *testing.T, port string, n int, ipv6 bool) (dead []netip.Addr) {
	t.Helper()
	for i := range n {
		address := netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)})
		if ipv6 && i == 0 {
			address = netip.IPv6Loopback()
		}
		if _, ok := otlptest.BlackHole(t, net.JoinHostPort(address.String(), port)); !ok {
			t.Skipf("this system has no black hole at %v", address)
		}
		dead = append(dead, address)
	}
	return dead
}

// connect returns a sender to a name and a port, in either protocol.
func connect(t *testing.T, protocol string, cfg delivery.Config, host, port string) sender {
	t.Helper()
	address := net.JoinHostPort(host, port)
	if protocol == "grpc" {
		return grpcSender(t, delivery.New(cfg), address)
	}
	return httpSender(t, delivery.New(cfg), "http://"+address, nil)
}

// A name whose addresses drop packets, all but the last: each gets its turn.
func TestDeadAddresses(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("IPv6 %v", ipv6), func(t *testing.T) {
			servers := map[string]*server{}
			var all []netip.Addr
			for _, protocol := range []string{"grpc", "http"} {
				srv := newServer(t, protocol)
				srv.up()
				servers[protocol] = srv
				_, port, err := net.SplitHostPort(srv.addr)
				require.NoError(t, err)
				all = append(holes(t, port, 8, ipv6), netip.MustParseAddr("127.0.0.1"))
			}
			serveNames(t).Store(&all)
			for protocol, srv := range servers {
				t.Run(protocol, func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // of an export
					defer cancel()
					_, port, _ := net.SplitHostPort(srv.addr)
					out := connect(t, protocol, delivery.Config{}, "collector.test.", port)(ctx, "traces")
					require.Len(t, srv.times(), 1, "%v", out.Err)
				})
			}
		})
	}
}

// The address that is alive may be the one of IPv6.
func TestDeadAddressesBeforeIPv6(t *testing.T) {
	server, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Addr().String())
	all := append(holes(t, port, 6, false), netip.IPv6Loopback())
	serveNames(t).Store(&all)
	conn, err := delivery.Dial(t.Context(), "tcp", "collector.test.:"+port)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

// The message says how many addresses were tried, whether a dial has failed or the attempt's time
// has ended before.
func TestDeadAddressesAreCounted(t *testing.T) {
	_, port, err := net.SplitHostPort(otlptest.FreeAddress(t))
	require.NoError(t, err)
	dead := holes(t, port, 4, false)
	names := serveNames(t)
	names.Store(&dead)
	const tried = "4 of 4 addresses of collector.test. tried"
	// The addresses take 750 ms; the rest is for a busy machine.
	t.Run("dial", func(t *testing.T) {
		t.Parallel()
		_, err := delivery.Dial(expired(t, 4*time.Second), "tcp", "collector.test.:"+port)
		require.Regexp(t, `^dial tcp 127\.0\.0\.\d:`+port+`: i/o timeout \(`+tried+`\)$`, err.Error())
	})
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			out := connect(t, protocol, delivery.Config{AttemptTimeout: 4 * time.Second}, "collector.test.",
				port)(expired(t, 5*time.Second), "traces")
			require.EqualValues(t, 10, out.Failed)
			require.Regexp(t, `(no answer in time \(4s\): no connection yet, |i/o timeout \()`+tried, out.Err.Error(),
				"whichever notices first that the time is over")
		})
	}
}

// A dial whose time is over before it begins fails like any other.
func TestDialWithoutTime(t *testing.T) {
	for name, ctx := range map[string]context.Context{"cancelled": cancelled(t), "expired": expired(t, -1)} {
		for _, address := range []string{"127.0.0.1:1", "collector.test:1", "nonsense"} {
			conn, err := delivery.Dial(ctx, "tcp", address)
			require.Error(t, err, name)
			require.Nil(t, conn)
		}
	}
}

// Closed ports cost no time, and a closed port is told apart from silence.
func TestClosedPortsAreNotWaitedFor(t *testing.T) {
	_, port, err := net.SplitHostPort(otlptest.FreeAddress(t))
	require.NoError(t, err)
	var closed []netip.Addr
	for i := range 40 {
		closed = append(closed, netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}))
	}
	serveNames(t).Store(&closed)
	begin := time.Now()
	_, err = delivery.Dial(t.Context(), "tcp", "collector.test.:"+port)
	require.ErrorContains(t, err, "connection refused (40 of 40 addresses of collector.test. tried)")
	require.Less(t, time.Since(begin), 5*time.Second)
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
