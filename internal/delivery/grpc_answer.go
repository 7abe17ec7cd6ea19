package delivery

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// grpcAnswer is what one attempt has seen of the server's answer. gRPC makes a status out of
// everything that can go wrong, so a status alone does not show whether the server has sent it.
// Only its trailers do.
type grpcAnswer struct {
	headers    atomic.Bool // gRPC's response headers have come: after them, a message
	trailers   atomic.Bool // the trailers have come, and with them the server's own status
	unreadable error       // why the message could not be decoded
}

type grpcAnswerKey struct{}

// receive returns the context and the options of a call whose answer a watches.
func (a *grpcAnswer) receive(ctx context.Context, opts []grpc.CallOption) (context.Context, []grpc.CallOption) {
	all := append([]grpc.CallOption{grpc.MaxCallRecvMsgSize(maxMessage)}, opts...)
	return context.WithValue(ctx, grpcAnswerKey{}, a), append(all, grpc.ForceCodecV2(answerCodec{a}))
}

// answerStats tells each call's [grpcAnswer] what has come.
type answerStats struct{}

func (answerStats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (answerStats) HandleRPC(ctx context.Context, event stats.RPCStats) {
	a, ok := ctx.Value(grpcAnswerKey{}).(*grpcAnswer)
	if !ok {
		return
	}
	switch event.(type) {
	case *stats.InHeader:
		a.headers.Store(true)
	case *stats.InTrailer:
		a.trailers.Store(true)
	}
}

func (answerStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (answerStats) HandleConn(context.Context, stats.ConnStats)                       {}

// answerCodec reads answers as protobuf and sends raw messages as they are. An answer that cannot
// be decoded is not an error of the call, so that gRPC reads the status after it.
type answerCodec struct{ answer *grpcAnswer }

// Name returns no subtype: the content type stays application/grpc.
func (answerCodec) Name() string { return "" }

func (answerCodec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.(rawMessage); ok {
		return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
	}
	return encoding.GetCodecV2("proto").Marshal(v)
}

func (c answerCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if err := encoding.GetCodecV2("proto").Unmarshal(data, v); err != nil {
		c.answer.unreadable = err
		if msg, ok := v.(proto.Message); ok {
			proto.Reset(msg)
		}
	}
	return nil
}

// origin is where a status comes from.
type origin int

const (
	fromServer  origin = iota // gRPC's trailers
	fromHTTP                  // the HTTP status of an answer that is not gRPC
	fromReading               // the server's answer has come, but cannot be read
	fromSending               // the request cannot be sent
	fromNowhere               // the transport: there is no status
)

// origin tells where the status of a failed call comes from. Only its text tells which status gRPC
// has made itself.
func (a *grpcAnswer) origin(s *status.Status) origin {
	msg := s.Message()
	switch {
	case msg == noMessage && a.trailers.Load(), a.headers.Load() && unread(s, a.trailers.Load()):
		return fromReading
	case a.trailers.Load():
		if s.Code() > codes.Unauthenticated || s.Code() == codes.Unknown && msg == "" ||
			strings.HasPrefix(msg, statusMismatch) {
			return fromNowhere
		}
		return fromServer
	case strings.HasPrefix(msg, httpStatus):
		return fromHTTP
	case strings.HasPrefix(msg, "trying to send message larger than max"),
		strings.HasPrefix(msg, "grpc: message too large"),
		strings.HasPrefix(msg, unencodable):
		return fromSending
	}
	return fromNowhere
}

// unread reports whether gRPC cannot read the message that follows the headers: it is too large,
// incomplete, or its compression is unknown or wrong. A server sends a message only with a success.
// If the trailers have come as well, the text could be the server's about the request, which a
// server sends without headers. About the size, the limit in the text tells them apart for certain.
func unread(s *status.Status, trailers bool) bool {
	msg := s.Message()
	switch s.Code() {
	case codes.ResourceExhausted:
		return strings.HasPrefix(msg, "grpc: ") &&
			(!trailers || strings.Contains(msg, maxMessageText) || strings.Contains(msg, "on current machine"))
	case codes.Internal:
		return strings.HasPrefix(msg, "grpc: ") || msg == twoMessages || msg == cutMessage && trailers
	}
	return false
}

// maxMessage bounds the message of an answer: with the 5 bytes before it, it is as large as an
// answer over HTTP may be.
const maxMessage = maxResponse - 5

var maxMessageText = strconv.Itoa(maxMessage)

// The texts of grpc-go's own errors.
const (
	noMessage      = "cardinality violation: received no response message from non-server-streaming RPC"
	twoMessages    = "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message"
	cutMessage     = "unexpected EOF"
	statusMismatch = "grpc-status-details-bin mismatch: "
	unencodable    = "grpc: error while " // marshaling, compressing
	httpStatus     = "unexpected HTTP status code received from server: "
)

// httpStatusOf returns the HTTP status in a message that begins with httpStatus.
func httpStatusOf(msg string) (code int) {
	_, _ = fmt.Sscanf(strings.TrimPrefix(msg, httpStatus), "%d", &code)
	return code
}
