package middleware

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// NewClientHandler returns the stats handler of telemetry.ClientHandler. It does not know the host
// of its connection, so with trusted hosts it trusts none.
func NewClientHandler(e Edge) stats.Handler {
	return &clientHandler{
		Edge: e, propagator: e.propagator(), silent: e.trusted != nil, calls: newClientCalls(e.meterProvider()),
	}
}

// clientHandler records a span and a measurement for each attempt at a call. Its caches are
// bounded.
type clientHandler struct {
	Edge
	propagator propagation.TextMapPropagator
	silent     bool // injects nothing
	tracers    tracerCache
	calls      *rpcMetrics
	methods    cache[string, *rpcMethod]
	addresses  rpcAddresses
}

// clientCall is one attempt at a call. It is the context of the attempt and the carrier that the
// propagator writes to.
type clientCall struct {
	context.Context // has the span
	method          *rpcMethod
	span            trace.Span
	address         atomic.Pointer[rpcAddress]

	pairs []string // keys and values, while the propagator writes
	room  [6]string
}

type clientCallKey struct{}

func (c *clientCall) Value(key any) any {
	if _, own := key.(clientCallKey); own {
		return c
	}
	return c.Context.Value(key)
}

func (h *clientHandler) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	call := &clientCall{method: h.methodOf(info.FullMethodName)}
	opts := call.method.options
	if link, ok := linkToCaller(ctx, trace.SpanContextFromContext(ctx)); ok {
		opts = append(opts[:len(opts):len(opts)], trace.WithLinks(link))
	}
	call.Context, call.span = h.tracers.of(h.provider(ctx)).Start(w3c.WithRandomRoot(ctx), call.method.name, opts...)
	if h.silent {
		call.withhold(h.propagator.Fields())
	} else {
		call.inject(h.propagator)
	}
	return call
}

func (h *clientHandler) methodOf(full string) *rpcMethod {
	if known, ok := h.methods.get(full); ok {
		return known
	}
	full = strings.Clone(full)
	made := newMethod(full, clientKind)
	made.cached = true
	if !h.methods.put(full, made) {
		made.cached = false
	}
	return made
}

// inject adds the propagator's fields to the metadata of the call. If there is no metadata yet, it
// appends them instead of copying and replacing.
func (c *clientCall) inject(propagator propagation.TextMapPropagator) {
	if md, ok := metadata.FromOutgoingContext(c.Context); ok {
		propagator.Inject(c.Context, w3c.Metadata(md))
		c.Context = metadata.NewOutgoingContext(c.Context, md)
		return
	}
	c.pairs = c.room[:0]
	propagator.Inject(c.Context, (*outgoing)(c))
	if len(c.pairs) > 0 {
		c.Context = metadata.AppendToOutgoingContext(c.Context, c.pairs...) // it copies them
	}
	c.pairs, c.room = nil, [len(c.room)]string{}
}

// withhold removes the propagator's fields from the metadata of the call. A proxy that forwards
// what it received may have put them there.
func (c *clientCall) withhold(fields []string) {
	md, ok := metadata.FromOutgoingContext(c.Context)
	if !ok {
		return
	}
	before := len(md)
	for _, field := range fields {
		md.Delete(field)
	}
	if len(md) < before {
		c.Context = metadata.NewOutgoingContext(c.Context, md)
	}
}

// outgoing is a call as a carrier.
type outgoing clientCall

func (c *outgoing) Set(key, value string) {
	key = strings.ToLower(key)
	if i := c.find(key); i >= 0 {
		c.pairs[i+1] = value
		return
	}
	c.pairs = append(c.pairs, key, value)
}

func (c *outgoing) Get(key string) string {
	if i := c.find(strings.ToLower(key)); i >= 0 {
		return c.pairs[i+1]
	}
	return ""
}

func (c *outgoing) Keys() (keys []string) {
	for i := 0; i < len(c.pairs); i += 2 {
		keys = append(keys, c.pairs[i])
	}
	return keys
}

// find returns the index of a key, or -1.
func (c *outgoing) find(key string) int {
	for i := 0; i < len(c.pairs); i += 2 {
		if c.pairs[i] == key {
			return i
		}
	}
	return -1
}

func (h *clientHandler) HandleRPC(ctx context.Context, event stats.RPCStats) {
	switch event := event.(type) {
	case *stats.OutHeader:
		if call, ok := ctx.Value(clientCallKey{}).(*clientCall); ok && event.RemoteAddr != nil {
			call.address.Store(h.addresses.of(event.RemoteAddr))
		}
	case *stats.InHeader: // a gRPC server inside Handler
		h.believe(ctx, event.Header[decisionKey])
	case *stats.InTrailer:
		h.believe(ctx, event.Trailer[decisionKey])
	case *stats.End:
		if call, ok := ctx.Value(clientCallKey{}).(*clientCall); ok {
			h.end(call, event)
		}
	}
}

// believe takes over the decision that a server returns in its header or trailer, if the server
// belongs to the fleet: on this machine, or at a private address. A stats handler does not know the
// target's name. The address is in ctx, since the event that has it may come after the response.
func (h *clientHandler) believe(ctx context.Context, values []string) {
	if len(values) == 0 || h.silent {
		return
	}
	call, isCall := ctx.Value(clientCallKey{}).(*clientCall)
	from, known := peer.FromContext(ctx)
	if !isCall || !known || from.Addr == nil || !isNearAddress(from.Addr) {
		return
	}
	if threshold, ok := readDecision(values, call.span.SpanContext().TraceID()); ok {
		sampling.Believe(call.span, from.Addr.String(), threshold)
	}
}

// isNearAddress reports whether an address is private, of a Unix socket, or of a connection in
// memory.
func isNearAddress(addr net.Addr) bool {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return isNear(tcp.AddrPort().Addr())
	}
	return slices.Contains([]string{"unix", "bufconn", "pipe"}, addr.Network())
}

// end ends a call. Every status but OK is an error.
func (h *clientHandler) end(call *clientCall, event *stats.End) {
	key := rpcKey{method: call.method, address: call.address.Load()}
	if event.Error != nil {
		s, _ := status.FromError(event.Error)
		key.code, key.failed = s.Code(), true
		call.span.SetStatus(codes.Error, s.Message())
	}
	h.calls.end(call.span, key, event, func() context.Context {
		if key.failed {
			return withDecision(call, call.span)
		}
		return call
	})
}

func (*clientHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (*clientHandler) HandleConn(context.Context, stats.ConnStats) {}
