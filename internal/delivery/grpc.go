package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

const (
	// pingAfter and pingTimeout replace a connection whose peer has vanished
	// while requests wait on it: in 30 s, where TCP needs 15 minutes. Pings are
	// sent only then, and each answer of a server that works clears its count of
	// early pings, so its keepalive enforcement does not object.
	pingAfter   = 20 * time.Second
	pingTimeout = 10 * time.Second
)

// GRPCConn returns the connection of OTLP/gRPC exporters to a host and port, under
// e. It is dialled as patiently as requests are retried. The name is looked up at
// each dial, as over HTTP: gRPC's own resolver looks again 30 s after it had an
// answer, and up to 2 minutes after it had none, and a collector that comes back at
// another address is away for that long. Give the exporters no retry, no timeout and
// no compressor, and close the connection.
//
// The compressor belongs to the connection and is not registered with package
// encoding, where it would replace the "gzip" of every other user of gRPC in the
// process.
func (e *Endpoint) GRPCConn(address string, creds credentials.TransportCredentials, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(trackingCredentials{creds, &e.dialer}),
		grpc.WithChainUnaryInterceptor(e.Interceptor()),
		grpc.WithStatsHandler(answerStats{}),
		grpc.WithDisableRetry(),
		grpc.WithMaxHeaderListSize(MaxResponseHeader),
		// gRPC's own patience grows to two minutes between dials, during which
		// every request fails at once: an outage would last that much longer.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: grpcbackoff.Config{
				BaseDelay:  firstBackoff,
				Multiplier: 1.6,
				Jitter:     0.2,
				MaxDelay:   maxBackoff / 2,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
	}
	opts = append(opts, grpc.WithContextDialer(e.dialer.dialGRPC))
	if e.cfg.Gzip {
		//lint:ignore SA1019 Deprecated in favour of the registry, supported "throughout 1.x", and the only way to have
		// a compressor of one's own under a standard name.
		opts = append(opts, grpc.WithCompressor(connCompressor{&e.gzip}))
	}
	//lint:ignore SA1019 Deprecated for those who set it here; whether TLS has named the server says nothing else.
	if ip, rest, zoned := strings.Cut(address, "%"); zoned && creds.Info().ServerName == "" {
		// A zone means something on this machine only. Without it the peer gets "[fe80::1]:4317".
		if _, port, bracketed := strings.Cut(rest, "]"); bracketed {
			opts = append(opts, grpc.WithAuthority(ip+"]"+port))
		}
	}
	return grpc.NewClient(asWritten+strings.ReplaceAll(address, "%", "%25"), append(opts, more...)...)
}

// connCompressor is the gzip of one connection. It implements
// [grpc.Compressor]; it is safe for concurrent use.
type connCompressor struct{ pool *gzipPool }

func (c connCompressor) Do(w io.Writer, p []byte) error {
	_, err := c.pool.compress(w, bytes.NewReader(p), len(p))
	return err
}

func (connCompressor) Type() string { return "gzip" }

// otlpMethods is how the methods of OTLP's services begin.
const otlpMethods = "/opentelemetry.proto.collector."

// Interceptor returns the client interceptor that [Endpoint.GRPCConn] includes. Calls of other services than OTLP's pass through untouched.
//
// When the context of a call carries an [Outcome], a partial success is removed
// from the response, so that the exporter is told once.
func (e *Endpoint) Interceptor() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, resp any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if !strings.HasPrefix(method, otlpMethods) {
			return invoke(ctx, method, req, resp, cc, opts...)
		}
		var (
			callErr error
			where   = target(cc)
			signal  = grpcSignal(method)
			sent, _ = metadata.FromOutgoingContext(ctx)
			secrets = append(secretsOf(sent), proxySecrets(&url.URL{Scheme: "https", Host: where})...)
		)
		r := e.deliver(ctx, call{
			gate:   e.gate(method, signal),
			where:  where + " (" + signal + ")",
			size:   messageSize(ctx, req),
			items:  itemsOf(ctx),
			keep:   e.keeper(ctx, signal, func() (encoded, error) { return e.encodeMessage(req) }),
			unsent: unsent(ctx, signal, func() (encoded, error) { return e.encodeMessage(req) }),
			try: func(ctx context.Context) reply {
				return e.withHeaders(ctx, func(current map[string]string) reply {
					secrets := append(slices.Clip(secrets), secretValues(current)...)
					a := &grpcAnswer{}
					callCtx, callOpts := a.receive(withMetadata(ctx, sent, current), opts)
					callErr = invoke(callCtx, method, req, resp, cc, callOpts...)
					r := a.reply(ctx, callErr, resp, secrets, e.cfg.AttemptTimeout)
					if r.verdict == taken {
						callErr = nil
					}
					return r
				})
			},
		})
		if out := OutcomeFrom(ctx); out != nil {
			out.settle(r)
			clearPartial(resp)
		}
		if r.verdict == kept {
			return nil // taken care of, and the outcome says how
		}
		if r.verdict != taken && callErr == nil {
			return r.err // no attempt was made
		}
		return callErr
	}
}

// withMetadata returns ctx with the headers of the moment among those it sends.
func withMetadata(ctx context.Context, sent metadata.MD, current map[string]string) context.Context {
	if len(current) == 0 {
		return ctx
	}
	sent = sent.Copy()
	for name, value := range current {
		sent.Set(name, value)
	}
	return metadata.NewOutgoingContext(ctx, sent)
}

// messageSize returns how many bytes a request has before compression.
func messageSize(ctx context.Context, req any) int64 {
	if replay := replayOf(ctx); replay != nil {
		return replay.size
	}
	if msg, ok := req.(proto.Message); ok {
		return int64(proto.Size(msg))
	}
	return 0
}

// encodeMessage returns the request of a call as it goes to disk.
func (e *Endpoint) encodeMessage(req any) (encoded, error) {
	msg, ok := req.(proto.Message)
	if !ok {
		return encoded{}, fmt.Errorf("a request of type %T is not spooled", req)
	}
	plain, err := proto.Marshal(msg)
	if err != nil {
		return encoded{}, err
	}
	return e.gzip.compressed(plain)
}

// rejectedBy returns the partial success in an OTLP response, in the form that
// partialReply takes.
func rejectedBy(resp any, secrets []string) (rejected int64, message string, _ []string) {
	switch m := resp.(type) {
	case *coltracepb.ExportTraceServiceResponse:
		p := m.GetPartialSuccess()
		return p.GetRejectedSpans(), p.GetErrorMessage(), secrets
	case *colmetricspb.ExportMetricsServiceResponse:
		p := m.GetPartialSuccess()
		return p.GetRejectedDataPoints(), p.GetErrorMessage(), secrets
	case *collogspb.ExportLogsServiceResponse:
		p := m.GetPartialSuccess()
		return p.GetRejectedLogRecords(), p.GetErrorMessage(), secrets
	}
	return 0, "", secrets
}

// clearPartial removes the partial success from an OTLP response.
func clearPartial(resp any) {
	switch m := resp.(type) {
	case *coltracepb.ExportTraceServiceResponse:
		m.PartialSuccess = nil
	case *colmetricspb.ExportMetricsServiceResponse:
		m.PartialSuccess = nil
	case *collogspb.ExportLogsServiceResponse:
		m.PartialSuccess = nil
	}
}

// grpcSignal names the signal of an OTLP method.
func grpcSignal(method string) string {
	switch rest := strings.TrimPrefix(method, otlpMethods); {
	case strings.HasPrefix(rest, "trace."):
		return "traces"
	case strings.HasPrefix(rest, "metrics."):
		return "metrics"
	case strings.HasPrefix(rest, "logs."):
		return "logs"
	default:
		return rest
	}
}

// asWritten is the scheme of targets whose name is left to the dialer.
const asWritten = "passthrough:///"

// target names the endpoint of a connection as an operator wrote it.
func target(cc *grpc.ClientConn) string {
	if cc == nil {
		return "the endpoint"
	}
	return strings.ReplaceAll(strings.TrimPrefix(cc.Target(), asWritten), "%25", "%")
}
