package telemetry

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/fleetotel/telemetry/internal/middleware"
	"github.com/fleetotel/telemetry/internal/sampling"
)

// maxLearnedMethods bounds the methods that no protobuf file of the program describes: a server that takes any method, as
// a proxy does, takes those that strangers make up.
const maxLearnedMethods = 1000

// maxMethodLength is how long one of them may be, in bytes: they are kept, and are series of metrics.
const maxMethodLength = 512

// methodHandler keeps a stranger from making span names and time series of methods that do not exist (semantic conventions,
// rpc.method), and ends the spans of such calls: gRPC tells the instrumentation of their beginning only.
type methodHandler struct {
	stats.Handler
	config  handlerConfig
	learned atomic.Int64
	known   sync.Map // full methods, of any number that the program's protobuf files have and of maxLearnedMethods others
}

// serverCall is a call between its first and last event.
type serverCall struct {
	method string // "" unless the span has another name
	state  atomic.Int32
	stop   func() bool
}

const (
	callWaits = iota
	callServed
	callRefused
)

type serverCallKey struct{}

// TagConn says where the connection's calls come from, by which the sampler tells callers apart: the instrumentation's
// spans do not say it at their start, as those of HTTP do.
func (h *methodHandler) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	ctx = h.Handler.TagConn(ctx, info)
	if info.RemoteAddr == nil {
		return ctx
	}
	host, _, err := net.SplitHostPort(info.RemoteAddr.String())
	if err != nil {
		return ctx // a Unix socket
	}
	return sampling.WithPeer(ctx, host)
}

func (h *methodHandler) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if h.config.excludes(info.FullMethodName) {
		return h.Handler.TagRPC(ctx, info)
	}
	call := &serverCall{}
	if !h.isKnown(info.FullMethodName) {
		call.method = info.FullMethodName
		info = &stats.RPCTagInfo{FullMethodName: "/" + middleware.OtherMethod, FailFast: info.FailFast}
	}
	begin := time.Now()
	stream := ctx
	ctx = context.WithValue(h.Handler.TagRPC(ctx, info), serverCallKey{}, call)
	call.stop = context.AfterFunc(stream, func() {
		if call.state.CompareAndSwap(callWaits, callRefused) {
			h.Handler.HandleRPC(ctx, &stats.End{BeginTime: begin, EndTime: time.Now(), Error: errUnknownMethod})
		}
	})
	return ctx
}

var errUnknownMethod = status.Error(codes.Unimplemented, "unknown service or method")

func (h *methodHandler) HandleRPC(ctx context.Context, event stats.RPCStats) {
	call, _ := ctx.Value(serverCallKey{}).(*serverCall)
	if call == nil {
		h.Handler.HandleRPC(ctx, event)
		return
	}
	if _, begins := event.(*stats.Begin); begins && call.state.CompareAndSwap(callWaits, callServed) {
		call.stop()
		if call.method != "" && h.learn(call.method) {
			name := strings.TrimPrefix(call.method, "/")
			span := trace.SpanFromContext(ctx)
			span.SetName(name)
			span.SetAttributes(semconv.RPCMethod(name))
		}
	}
	if call.state.Load() != callRefused {
		h.Handler.HandleRPC(ctx, event)
	}
}

// isKnown tells whether a method has been served, or is described by a protobuf file that is linked into the program.
func (h *methodHandler) isKnown(method string) bool {
	if _, known := h.known.Load(method); known {
		return true
	}
	path := strings.TrimPrefix(method, "/")
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return false
	}
	service, name := protoreflect.FullName(path[:slash]), protoreflect.Name(path[slash+1:])
	if !service.IsValid() || !name.IsValid() {
		return false
	}
	if found, err := protoregistry.GlobalFiles.FindDescriptorByName(service.Append(name)); err != nil || found.Parent().FullName() != service {
		return false
	} else if _, isMethod := found.(protoreflect.MethodDescriptor); !isMethod {
		return false
	}
	h.known.Store(strings.Clone(method), nil)
	return true
}

// learn remembers a method that is served without such a file, as long as there is room.
func (h *methodHandler) learn(method string) bool {
	if _, known := h.known.Load(method); known {
		return true
	}
	if len(method) > maxMethodLength {
		return false
	}
	if h.learned.Add(1) > maxLearnedMethods {
		h.learned.Add(-1)
		return false
	}
	_, raced := h.known.LoadOrStore(strings.Clone(method), nil)
	if raced {
		h.learned.Add(-1)
	}
	return true
}
