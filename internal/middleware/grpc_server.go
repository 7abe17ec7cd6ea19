package middleware

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"time"

	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// NewServerHandler returns the stats handler of telemetry.ServerHandler.
func NewServerHandler(c HandlerConfig) stats.Handler {
	return &serverHandler{
		propagator: c.propagator(), edge: c.Edge, methods: newServedMethods(c),
		calls: newServerCalls(c.Edge.meterProvider()),
	}
}

// serverHandler records a span and a measurement for each call. Its caches are bounded.
type serverHandler struct {
	edge       Edge
	propagator propagation.TextMapPropagator
	tracers    tracerCache
	calls      *rpcMetrics
	methods    *servedMethods
	addresses  rpcAddresses
}

// serverConnection is what the calls of a connection have in common.
type serverConnection struct {
	address *rpcAddress // the server's; nil: not known
	served  atomic.Pointer[[]*rpcMethod]
}

// maxServed limits the methods that a connection remembers.
const maxServed = 32

// serves reports whether this connection has served the method, which means that the server has it.
func (c *serverConnection) serves(method *rpcMethod) bool {
	if c == nil {
		return false
	}
	served := c.served.Load()
	return served != nil && slices.Contains(*served, method)
}

// remember adds a method that is served. Of several at the same time, only one is added.
func (c *serverConnection) remember(method *rpcMethod) {
	if c == nil || !method.cached || c.serves(method) {
		return
	}
	before := c.served.Load()
	var served []*rpcMethod
	if before != nil {
		served = *before
	}
	if len(served) < maxServed {
		served = append(served[:len(served):len(served)], method)
		c.served.CompareAndSwap(before, &served)
	}
}

type serverConnectionKey struct{}

// TagConn notes the address that the calls of the connection come from, by which the sampler
// distinguishes callers. HTTP spans have it at their start, gRPC spans do not.
func (h *serverHandler) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	connection := &serverConnection{}
	if info.LocalAddr != nil {
		connection.address = h.addresses.of(info.LocalAddr)
	}
	ctx = context.WithValue(ctx, serverConnectionKey{}, connection)
	if info.RemoteAddr == nil {
		return ctx
	}
	host, _, err := net.SplitHostPort(info.RemoteAddr.String())
	if err != nil {
		return ctx // a Unix socket
	}
	return sampling.WithPeer(ctx, host)
}

func (*serverHandler) HandleConn(context.Context, stats.ConnStats) {}

// serverCall is one call. It is the context that the method gets and the carrier that the
// propagator reads.
type serverCall struct {
	context.Context // has the span
	connection      *serverConnection
	address         atomic.Pointer[rpcAddress] // the server's; nil: not known
	method          *rpcMethod                 // servedMethods.other if it is unknown
	unknown         string                     // the full method if it is unknown, else ""
	span            trace.Span
	state           atomic.Int32
	stop            func() bool // stops waiting for a refusal; nil: the server has the method
	begin           time.Time
	sampled         sampling.Request
	parent          callParent
}

// callParent is the context that the span of a call starts in. It holds the request by which the
// call and the tail communicate.
type callParent struct {
	context.Context
	sampled *sampling.Request
}

func (p *callParent) Value(key any) any {
	if _, own := key.(sampling.RequestKey); own {
		return p.sampled
	}
	return p.Context.Value(key)
}

// The states of a call. It waits until gRPC reports that a method serves it, or its stream ends.
const (
	callWaits = iota
	callServed
	callRefused
)

type serverCallKey struct{}

func (c *serverCall) Value(key any) any {
	if _, own := key.(serverCallKey); own {
		return c
	}
	return c.Context.Value(key)
}

// TagRPC starts the span. If the server does not have the method, the span ends with the stream:
// gRPC reports only the beginning of such calls.
func (h *serverHandler) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	method, excluded := h.methods.of(info.FullMethodName)
	call := &serverCall{Context: ctx, method: method}
	extracted := h.propagator.Extract(ctx, (*incoming)(call))
	if excluded {
		return extracted
	}
	if method == h.methods.other {
		call.unknown = info.FullMethodName
	}
	if call.connection, _ = ctx.Value(serverConnectionKey{}).(*serverConnection); call.connection != nil {
		call.address.Store(call.connection.address)
	}
	opts := method.options
	if h.methods.config.Public {
		if link, ok := linkToCaller(extracted, trace.SpanContextFromContext(extracted)); ok {
			opts = append(opts[:len(opts):len(opts)], trace.WithLinks(link))
		}
	}
	call.parent = callParent{w3c.WithRandomRoot(extracted), &call.sampled}
	call.Context, call.span = h.tracers.of(h.edge.provider(extracted)).Start(&call.parent, method.name, opts...)
	call.begin = time.Now()
	if call.connection.serves(method) {
		return call
	}
	call.stop = context.AfterFunc(ctx, func() {
		if call.state.CompareAndSwap(callWaits, callRefused) {
			h.end(call, &stats.End{BeginTime: call.begin, EndTime: time.Now(), Error: refusal(ctx)})
		}
	})
	return call
}

var errUnknownMethod = status.Error(codes.Unimplemented, "unknown service or method")

// refusal is the error of a call that was never served. The stream of an unknown method is canceled
// after its response; a deadline may pass before any method begins.
func refusal(ctx context.Context) error {
	if err := ctx.Err(); err == context.DeadlineExceeded {
		return status.FromContextError(err).Err()
	}
	return errUnknownMethod
}

func (h *serverHandler) HandleRPC(ctx context.Context, event stats.RPCStats) {
	switch event := event.(type) {
	case *stats.InHeader:
		h.inHeader(ctx, event)
	case *stats.Begin:
		if call, ok := ctx.Value(serverCallKey{}).(*serverCall); ok &&
			call.state.CompareAndSwap(callWaits, callServed) {
			h.begin(call)
		}
	case *stats.End:
		if call, ok := ctx.Value(serverCallKey{}).(*serverCall); ok && call.state.Load() != callRefused {
			h.end(call, event)
		}
	}
}

// inHeader notes the address of a gRPC server that runs inside another server, which owns the
// connection. The stream may end at the same time.
func (h *serverHandler) inHeader(ctx context.Context, event *stats.InHeader) {
	call, ok := ctx.Value(serverCallKey{}).(*serverCall)
	if ok && call.connection == nil && event.LocalAddr != nil {
		call.address.Store(h.addresses.of(event.LocalAddr))
	}
}

// begin is called when a method serves the call. If the method was unknown, its span gets its name
// now.
func (h *serverHandler) begin(call *serverCall) {
	if call.stop != nil {
		call.stop()
	}
	if call.unknown == "" {
		call.connection.remember(call.method)
		return
	}
	if learned := h.methods.learn(call.unknown); learned != nil {
		call.span.SetName(learned.name)
		call.span.SetAttributes(learned.attributes...)
	}
}

func (h *serverHandler) end(call *serverCall, event *stats.End) {
	key := rpcKey{method: call.method, address: call.address.Load()}
	if event.Error != nil {
		s, _ := status.FromError(event.Error)
		key.code, key.failed = s.Code(), isServerError(s.Code())
		if key.failed {
			call.span.SetStatus(otelcodes.Error, s.Message())
		}
	}
	h.calls.end(call.span, key, event, func() context.Context {
		if call.sampled.Kept() {
			return keptContext(call, call.span)
		}
		return call
	})
}

// isServerError reports whether a code is an error of the server, and not of the caller (semantic
// conventions, rpc/grpc.md).
func isServerError(code codes.Code) bool {
	switch code {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	}
	return false
}

// incoming is a call without a span yet, as a carrier for reading its metadata.
type incoming serverCall

func (c *incoming) Values(key string) []string {
	return metadata.ValueFromIncomingContext(c.Context, key)
}

func (c *incoming) Set(string, string) {}

func (c *incoming) Get(key string) string {
	if values := c.Values(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

func (c *incoming) Keys() []string {
	md, _ := metadata.FromIncomingContext(c.Context)
	return w3c.Metadata(md).Keys()
}
