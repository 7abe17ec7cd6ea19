package otlptest

import (
	"context"
	"math"
	"net/http"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // registers the decompressor
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// serveGRPC serves OTLP/gRPC until stop is called, after the listener's abort; stop returns when
// nothing runs any more.
func (c *Collector) serveGRPC(l *listener) (stop func()) {
	opts := []grpc.ServerOption{
		// exportGRPC applies the limit, which may change and must not hide the request
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.StatsHandler(payloadStats{}),
		grpc.WaitForHandlers(true),
	}
	if c.tls != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(c.tls.Clone())))
	}
	server := grpc.NewServer(opts...)
	for _, s := range services {
		server.RegisterService(&grpc.ServiceDesc{
			ServiceName: s.name,
			Methods: []grpc.MethodDesc{{
				MethodName: "Export",
				Handler: func(
					_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor,
				) (any, error) {
					return c.exportGRPC(ctx, l, s, read)
				},
			}},
		}, nil)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // the error only says that the listener was closed
	}()
	return func() {
		server.Stop()
		<-done
	}
}

func (c *Collector) exportGRPC(ctx context.Context, l *listener, s service, read func(any) error) (any, error) {
	request := &Request{Signal: s.signal, Protocol: protocolGRPC, Path: "/" + s.name + "/Export", Header: http.Header{},
		At: time.Now()}
	incoming, _ := metadata.FromIncomingContext(ctx)
	for key, values := range incoming {
		for _, value := range values {
			request.Header.Add(key, value)
		}
	}
	message := s.request()
	readErr := read(message)
	sent := payloadOf(ctx)
	request.Encoding, request.Bytes = sent.encoding, sent.compressed
	if readErr != nil {
		c.record(request)
		return nil, readErr
	}
	request.empty = proto.Size(message) == 0
	if limit, exceeded := c.tooLarge(int64(sent.size)); exceeded {
		c.record(request)
		// grpc-go's own words: clients know a message that is too large only by them.
		if sent.encoding != "" {
			return nil, status.Errorf(codes.ResourceExhausted,
				"grpc: received message after decompression larger than max %d", limit)
		}
		return nil, status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)",
			sent.size, limit)
	}
	f, err := c.receive(ctx, request, decode(message))
	switch {
	case err != nil:
		return nil, status.FromContextError(err).Err()
	case f.Cut:
		if client, ok := peer.FromContext(ctx); ok {
			l.cut(client.Addr.String())
		}
		return nil, status.Error(codes.Unavailable, "the connection is cut")
	case f.GRPCCode != codes.OK:
		return nil, f.grpcError()
	}
	return s.response(f), nil
}

func (f Fault) grpcError() error {
	message := f.Message
	if message == "" {
		message = f.GRPCCode.String()
	}
	st := status.New(f.GRPCCode, message)
	if f.RetryAfter > 0 {
		retry := &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)}
		if detailed, err := st.WithDetails(retry); err == nil {
			st = detailed
		}
	}
	return st.Err()
}

// payload is what only a stats.Handler learns of a request.
type payload struct {
	encoding         string // "" for none
	size, compressed int    // bytes
}

type payloadKey struct{}

func payloadOf(ctx context.Context) *payload {
	if p, ok := ctx.Value(payloadKey{}).(*payload); ok {
		return p
	}
	return &payload{}
}

// payloadStats keeps a payload in the context of each request. It is written before the handler
// reads it: the header when the request begins, the rest while the handler reads the message.
type payloadStats struct{}

// TagRPC implements stats.Handler.
func (payloadStats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, payloadKey{}, &payload{})
}

// HandleRPC implements stats.Handler.
func (payloadStats) HandleRPC(ctx context.Context, event stats.RPCStats) {
	switch e := event.(type) {
	case *stats.InHeader:
		payloadOf(ctx).encoding = encoding(e.Compression)
	case *stats.InPayload:
		p := payloadOf(ctx)
		p.size, p.compressed = e.Length, e.CompressedLength
	}
}

// TagConn implements stats.Handler.
func (payloadStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (payloadStats) HandleConn(context.Context, stats.ConnStats) {}
