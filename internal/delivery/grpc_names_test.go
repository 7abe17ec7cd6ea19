package delivery_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// A collector that comes back at another address, or whose name is not known at first, is found as
// soon as its name says so. gRPC's own resolver looks again after 30 s, and after up to 2 minutes
// when there was no name: longer than a batch lives.
func TestGRPCFollowsTheName(t *testing.T) {
	for name, before := range map[string][]netip.Addr{
		"at another address": {netip.IPv6Loopback()}, // where the server does not listen
		"no such name":       nil,
	} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t, "grpc")
			srv.up()
			_, port, err := net.SplitHostPort(srv.addr)
			require.NoError(t, err)
			names := serveNames(t)
			names.Store(&before)

			conn, err := delivery.New(delivery.Config{}).GRPCConn("collector.test.:"+port, insecure.NewCredentials())
			require.NoError(t, err)
			defer conn.Close()
			out := delivery.Outcome{Items: 1}
			done := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			go func() {
				_, err := coltracepb.NewTraceServiceClient(conn).Export(delivery.WithOutcome(ctx, &out),
					&coltracepb.ExportTraceServiceRequest{})
				done <- err
			}()
			time.Sleep(time.Second)
			require.Empty(t, done)
			names.Store(&[]netip.Addr{netip.MustParseAddr("127.0.0.1")})
			require.NoError(t, <-done)
			require.EqualValues(t, 1, out.Exported)
		})
	}
}

// served are the addresses of all names of the process, nil as long as no test serves them. The
// resolver is set once and before every test: a lookup of an earlier test may still read
// net.DefaultResolver.
var served atomic.Pointer[atomic.Pointer[[]netip.Addr]]

func init() {
	net.DefaultResolver = &net.Resolver{PreferGo: true,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			addresses := served.Load()
			if addresses == nil {
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				var size [2]byte
				if _, err := io.ReadFull(server, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(server, query); err == nil {
					answer := answerDNS(query, *addresses.Load())
					_, _ = server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
				}
			}()
			return client, nil
		}}
}

// serveNames makes all names of the process have the addresses that are stored. There is no such
// name while there are none.
func serveNames(t *testing.T) *atomic.Pointer[[]netip.Addr] {
	addresses := new(atomic.Pointer[[]netip.Addr])
	addresses.Store(&[]netip.Addr{})
	served.Store(addresses)
	t.Cleanup(func() { served.Store(nil) })
	return addresses
}

// answerDNS answers a query for one name (RFC 1035, section 4.1).
func answerDNS(query []byte, addresses []netip.Addr) []byte {
	const header, typeA, typeAAAA, noSuchName = 12, 1, 28, 3
	question := query[header : header+bytes.IndexByte(query[header:], 0)+5]
	kind := binary.BigEndian.Uint16(question[len(question)-4:])
	var (
		answers []byte
		count   uint16
		code    byte
	)
	if len(addresses) == 0 {
		code = noSuchName
	}
	for _, address := range addresses {
		if kind == typeA && address.Is4() || kind == typeAAAA && address.Is6() {
			count++
			answers = append(answers, 0xc0, header, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(len(address.AsSlice())))
			answers = append(answers, address.AsSlice()...)
		}
	}
	answer := append([]byte{query[0], query[1], 0x81, 0x80 | code, 0, 1}, byte(count>>8), byte(count), 0, 0, 0, 0)
	return append(append(answer, question...), answers...)
}
