package telemetry_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// call makes one request with these headers.
type call func(t *testing.T, traceparent, tracestate string)

// dialFrom dials from a local address.
func dialFrom(ip string) func(context.Context, string, string) (net.Conn, error) {
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext
}

// serveHTTP serves with the library's handler and returns a caller at an address.
func serveHTTP(t *testing.T, g *telemetry.Guard) func(ip string) call {
	server := httptest.NewServer(telemetry.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), telemetry.WithGuard(g)))
	t.Cleanup(server.Close)
	return func(ip string) call {
		client := &http.Client{Transport: &http.Transport{DialContext: dialFrom(ip)}}
		t.Cleanup(client.CloseIdleConnections)
		return func(t *testing.T, traceparent, tracestate string) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			require.NoError(t, err)
			request.Header.Set("traceparent", traceparent)
			request.Header.Set("tracestate", tracestate)
			response, err := client.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
		}
	}
}

// serveGRPC is serveHTTP for gRPC.
func serveGRPC(t *testing.T, g *telemetry.Guard) func(ip string) call {
	address := grpcConn(t, &paymentServer{}, telemetry.ServerHandler(telemetry.WithGuard(g)), nil).Target()
	return func(ip string) call {
		dial := dialFrom(ip)
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "tcp", address) }))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		client := testpb.NewTestServiceClient(conn)
		return func(t *testing.T, traceparent, tracestate string) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", traceparent, "tracestate", tracestate)
			_, err := client.EmptyCall(ctx, &testpb.Empty{})
			require.NoError(t, err)
		}
	}
}

// TestCallersShareTheSamplersBudget has a caller that floods with traces that pass every threshold, and one at another
// address that asks for little.
func TestCallersShareTheSamplersBudget(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("no second loopback address: ", err)
	}
	require.NoError(t, listener.Close())
	for protocol, serve := range map[string]func(*testing.T, *telemetry.Guard) func(string) call{"HTTP": serveHTTP, "gRPC": serveGRPC} {
		t.Run(protocol, func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithAdaptiveSampling(telemetry.Sampling{RemoteTracesPerSecond: 100, HeadOnly: true}))
			caller := serve(t, guard)
			flood, good := caller("127.0.0.1"), caller("127.0.0.2")
			const floods, goods = 2000, 20
			for i := range floods {
				flood(t, fmt.Sprintf("00-aaaaaaaa%024x-1111111111111111-01", i+1), "ot=rv:ffffffffffffff;th:0")
			}
			for i := range goods {
				for j := range 20 {
					flood(t, fmt.Sprintf("00-aaaaaaaa%024x-1111111111111111-01", floods+20*i+j+1), "ot=rv:ffffffffffffff;th:0")
				}
				good(t, fmt.Sprintf("00-bbbbbbbb%024x-1111111111111111-01", 1<<i), "ot=th:0")
				time.Sleep(50 * time.Millisecond)
			}
			require.NoError(t, guard.Shutdown(t.Context()))
			followed := map[string]int{}
			for _, s := range c.Spans() {
				followed[strings.TrimRight(s.TraceID[:8], "0")]++
			}
			t.Log(followed)
			require.GreaterOrEqual(t, followed["bbbbbbbb"], goods*8/10, "the caller that asks for little is followed")
			require.Less(t, followed["aaaaaaaa"], (floods+20*goods)/2)
		})
	}
}
