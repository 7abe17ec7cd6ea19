package telemetry_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// TestAddressWithAZone delivers to an IPv6 address that says on which interface it is.
func TestAddressWithAZone(t *testing.T) {
	zone := loopbackInterface(t)
	for _, protocol := range []telemetry.Protocol{telemetry.ProtocolHTTP, telemetry.ProtocolGRPC} {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			_, port, err := net.SplitHostPort(forwardFrom(t, "[::1]:0", address(c.Endpoint(string(protocol)))))
			require.NoError(t, err)
			console := &syncBuffer{}
			guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithServiceName("x"), telemetry.WithLogOutput(console),
				telemetry.WithEndpoint("http://[::1%25"+zone+"]:"+port), telemetry.WithProtocol(protocol))
			require.NoError(t, err)
			record(t.Context(), guard, "x")
			require.NoError(t, guard.Shutdown(t.Context()))
			require.Equal(t, []string{"x"}, spanNames(c))
			require.Len(t, c.LogRecords(), 1)
			require.NotEmpty(t, c.Metrics())
			require.NotContains(t, console.String(), `"WARN"`)
		})
	}
}

func loopbackInterface(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range all {
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			if i.Flags&net.FlagLoopback != 0 && strings.HasPrefix(a.String(), "::1/") {
				return i.Name
			}
		}
	}
	t.Skip("there is no IPv6 here")
	return ""
}

// forwardFrom listens at an address and forwards every connection to another one.
func forwardFrom(t *testing.T, from, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", from)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			join := func(a, b net.Conn) {
				_, _ = io.Copy(a, b)
				_ = a.Close()
			}
			go join(near, far)
			go join(far, near)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}
