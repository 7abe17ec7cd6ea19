package middleware

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
)

func edgeOf(t *testing.T) (Edge, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	return Edge{Source: guard{tracing: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))}}, spans
}

// A client that calls methods and servers without end remembers a thousand of each.
func TestCachesOfAClientHandlerAreBounded(t *testing.T) {
	edge, spans := edgeOf(t)
	h := NewClientHandler(edge).(*clientHandler)
	for i := range maxCached + 1 {
		ctx := h.TagRPC(t.Context(), &stats.RPCTagInfo{FullMethodName: fmt.Sprintf("/proxied/M%d", i)})
		address := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}),
			443))
		h.HandleRPC(ctx, &stats.OutHeader{Client: true, RemoteAddr: address})
		h.HandleRPC(ctx, &stats.End{Client: true})
	}
	require.Len(t, *h.methods.entries.Load(), maxCached)
	require.Len(t, *h.addresses.known.entries.Load(), maxCached)
	require.Len(t, *h.calls.outcomes.entries.Load(), maxCached)
	last := spans.Ended()[maxCached]
	require.Equal(t, fmt.Sprintf("proxied/M%d", maxCached), last.Name(), "what has no room is made each time")
	require.Contains(t, fmt.Sprint(last.Attributes()), "10.0.3.232")
}

// serve makes calls on one connection to a server that has the methods, or to one that has none.
func serve(h *serverHandler, connection context.Context, serves bool, methods ...string) {
	for _, method := range methods {
		stream, cancel := context.WithCancel(connection)
		ctx := h.TagRPC(stream, &stats.RPCTagInfo{FullMethodName: method})
		if serves {
			h.HandleRPC(ctx, &stats.Begin{})
			h.HandleRPC(ctx, &stats.End{BeginTime: time.Now(), EndTime: time.Now()})
		}
		cancel()
	}
}

// A handler may be shared by servers with other services: what one has, another may not.
func TestARefusedCallEndsAlthoughAnotherServerHasTheMethod(t *testing.T) {
	edge, spans := edgeOf(t)
	h := NewServerHandler(HandlerConfig{Edge: edge}).(*serverHandler)
	has, hasNot := h.TagConn(t.Context(), &stats.ConnTagInfo{}), h.TagConn(t.Context(), &stats.ConnTagInfo{})
	const method = "/grpc.health.v1.Health/Check"
	serve(h, has, true, method, method)
	serve(h, hasNot, false, method)
	require.Eventually(t, func() bool { return len(spans.Ended()) == 3 }, 5*time.Second, time.Millisecond)
}

func TestMethodsThatAConnectionRemembersAreBounded(t *testing.T) {
	edge, spans := edgeOf(t)
	h := NewServerHandler(HandlerConfig{Edge: edge}).(*serverHandler)
	ctx := h.TagConn(t.Context(), &stats.ConnTagInfo{})
	connection := ctx.Value(serverConnectionKey{}).(*serverConnection)
	for i := range maxServed + 1 {
		method := fmt.Sprintf("/by.Hand/M%d", i)
		serve(h, ctx, true, method, method)
		require.Len(t, *connection.served.Load(), min(i+1, maxServed))
	}
	require.Len(t, spans.Ended(), 2*(maxServed+1))
}

// A proxy may put what it got into the metadata of its own call.
func TestMetadataOfACallThatHandsNothingOn(t *testing.T) {
	edge, _ := edgeOf(t)
	edge.Trust(NewTrustedHosts(nil))
	h := NewClientHandler(edge).(*clientHandler)
	h.propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	given := metadata.Pairs("traceparent", "00-1-2-01", "tracestate", "a=1", "baggage", "customer=4711", "x-order", "7")
	ctx := metadata.NewOutgoingContext(t.Context(), given)
	sent, _ := metadata.FromOutgoingContext(h.TagRPC(ctx, &stats.RPCTagInfo{FullMethodName: "/a/b"}))
	require.Equal(t, metadata.MD{"x-order": {"7"}}, sent)
	require.Len(t, given, 4, "the service's own is left as it is")
}

// A deadline may pass before the method begins.
func TestACallWhoseDeadlinePassesEarlyIsNotUnknown(t *testing.T) {
	edge, spans := edgeOf(t)
	h := NewServerHandler(HandlerConfig{Edge: edge}).(*serverHandler)
	ctx, cancel := context.WithDeadline(h.TagConn(t.Context(), &stats.ConnTagInfo{}), time.Now())
	defer cancel()
	h.TagRPC(ctx, &stats.RPCTagInfo{FullMethodName: "/grpc.health.v1.Health/Check"})
	require.Eventually(t, func() bool { return len(spans.Ended()) == 1 }, 5*time.Second, time.Millisecond)
	require.Contains(t, fmt.Sprint(spans.Ended()[0].Attributes()), "DEADLINE_EXCEEDED")
}

// A propagator may write more than there is room for, may write twice, and may look at what it has
// written.
func TestCarrierOfAClientCall(t *testing.T) {
	edge, _ := edgeOf(t)
	h := NewClientHandler(edge).(*clientHandler)
	h.propagator = manyHeaders{}
	md, _ := metadata.FromOutgoingContext(h.TagRPC(t.Context(), &stats.RPCTagInfo{FullMethodName: "/a/b"}))
	require.Len(t, md, 10)
	require.Equal(t, []string{"again"}, md["x-0"])
	require.Equal(t, []string{"9"}, md["x-9"])
}

type manyHeaders struct{ propagation.TextMapPropagator }

func (manyHeaders) Inject(_ context.Context, carrier propagation.TextMapCarrier) {
	for i := range 10 {
		carrier.Set(fmt.Sprintf("X-%d", i), fmt.Sprint(i))
	}
	if carrier.Get("X-0") == "0" && carrier.Get("x-10") == "" && len(carrier.Keys()) == 10 {
		carrier.Set("X-0", "again")
	}
}
