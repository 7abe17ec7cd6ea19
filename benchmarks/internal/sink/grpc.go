package sink

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // registers the decompressor
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/stats"

	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
)

var (
	readers = sync.Pool{New: func() any { return new(gzip.Reader) }}
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// decompress returns a buffer of the pool.
func decompress(encoding string, body []byte) (*bytes.Buffer, error) {
	plain, _ := buffers.Get().(*bytes.Buffer)
	plain.Reset()
	if encoding != "gzip" {
		plain.Write(body)
		return plain, nil
	}
	zr, _ := readers.Get().(*gzip.Reader)
	defer readers.Put(zr)
	if err := zr.Reset(bytes.NewReader(body)); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	_, err := io.Copy(plain, zr)
	return plain, err
}

func release(plain *bytes.Buffer) { buffers.Put(plain) }

func cpu() time.Duration { return usage.CPU() }

// rawCodec hands the bytes of a request over as they are, and answers with an empty message, which
// is OTLP's success.
type rawCodec struct{}

func (rawCodec) Marshal(any) (mem.BufferSlice, error) { return nil, nil }

func (rawCodec) Unmarshal(data mem.BufferSlice, to any) error {
	request, ok := to.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot read into %T", to)
	}
	*request = data.Materialize()
	return nil
}

func (rawCodec) Name() string { return "proto" }

// grpcServer implements OTLP/gRPC.
func (c *counters) grpcServer() *grpc.Server {
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.StatsHandler(wireSize{}))
	for _, name := range []string{"trace.v1.TraceService", "logs.v1.LogsService", "metrics.v1.MetricsService"} {
		server.RegisterService(&grpc.ServiceDesc{
			ServiceName: "opentelemetry.proto.collector." + name,
			Methods: []grpc.MethodDesc{{
				MethodName: "Export",
				Handler: func(
					_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor,
				) (any, error) {
					var request []byte
					if err := read(&request); err != nil {
						return nil, err
					}
					wire, _ := ctx.Value(wireSize{}).(*int64)
					c.add(name, countItems(request), *wire)
					c.answer(ctx)
					return struct{}{}, nil
				},
			}},
		}, nil)
	}
	return server
}

// wireSize learns how large a request was on the wire, which no handler is told. It is its own
// context key.
type wireSize struct{}

// TagRPC implements stats.Handler.
func (w wireSize) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, w, new(int64))
}

// HandleRPC implements stats.Handler.
func (w wireSize) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if payload, ok := event.(*stats.InPayload); ok {
		if size, ok := ctx.Value(w).(*int64); ok {
			*size = int64(payload.CompressedLength)
		}
	}
}

// TagConn implements stats.Handler.
func (wireSize) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (wireSize) HandleConn(context.Context, stats.ConnStats) {}
