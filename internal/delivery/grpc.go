package delivery

import (
	"bytes"
	"cmp"
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

	"github.com/fleetotel/telemetry/internal/signal"
)

const (
	// If the peer of a connection has vanished, pingAfter and pingTimeout make requests wait for 30
	// s until the connection is replaced; TCP needs 15 minutes. Pings are sent only while requests
	// wait, and each answer of a working server resets its count of early pings, so its keepalive
	// enforcement does not object.
	pingAfter   = 20 * time.Second
	pingTimeout = 10 * time.Second
)

// GRPCConn returns a connection to a host and port for OTLP/gRPC exporters, whose requests e
// delivers. It is dialed again for as long as requests are retried. The name is looked up at each
// dial, as over HTTP: gRPC's own resolver looks again 30 s after it had an answer, and up to 2
// minutes after it had none, so a collector that comes back at another address would be unreachable
// for that long. Give the exporters no retry, no timeout and no compressor, and close the
// connection.
//
// The compressor belongs to the connection and is not registered with package encoding, where it
// would replace the "gzip" of every other user of gRPC in the process.
func (e *Endpoint) GRPCConn(address string, creds credentials.TransportCredentials,
	more ...grpc.DialOption) (*grpc.ClientConn, error) {
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(trackingCredentials{creds, &e.dialer}),
		grpc.WithChainUnaryInterceptor(e.Interceptor()),
		grpc.WithStatsHandler(answerStats{}),
		grpc.WithDisableRetry(),
		grpc.WithMaxHeaderListSize(MaxResponseHeader),
		// gRPC's own back-off grows to two minutes between dials, during which every request fails
		// at once: an outage would last that much longer.
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
		//lint:ignore SA1019 Deprecated in favor of the registry, supported "throughout 1.x", and the only way to have
		// our own compressor under a standard name.
		opts = append(opts, grpc.WithCompressor(connCompressor{&e.gzip}))
	}
	//lint:ignore SA1019 Deprecated for those who set it here; whether TLS has named the server says nothing else.
	if ip, rest, zoned := strings.Cut(address, "%"); zoned && creds.Info().ServerName == "" {
		// A zone has a meaning only on this machine. Without it the peer gets "[fe80::1]:4317".
		if _, port, bracketed := strings.Cut(rest, "]"); bracketed {
			opts = append(opts, grpc.WithAuthority(ip+"]"+port))
		}
	}
	return grpc.NewClient(asWritten+strings.ReplaceAll(address, "%", "%25"), append(opts, more...)...)
}

// connCompressor is the gzip of one connection. It implements [grpc.Compressor]; it is safe for
// concurrent use.
type connCompressor struct{ pool *gzipPool }

func (c connCompressor) Do(w io.Writer, p []byte) error {
	_, err := c.pool.compress(w, bytes.NewReader(p), len(p))
	return err
}

func (connCompressor) Type() string { return "gzip" }

// otlpMethods is how the methods of OTLP's services begin.
const otlpMethods = "/opentelemetry.proto.collector."

// Interceptor returns the client interceptor that [Endpoint.GRPCConn] includes. Calls of services
// that are not OTLP's pass through untouched.
//
// When the context of a call carries an [Outcome], a partial success is removed from the response,
// so that it is reported once.
func (e *Endpoint) Interceptor() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, resp any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker,
		opts ...grpc.CallOption) error {
		if !strings.HasPrefix(method, otlpMethods) {
			return invoke(ctx, method, req, resp, cc, opts...)
		}
		var (
			where   = target(cc)
			of      = grpcSignal(method)
			sent, _ = metadata.FromOutgoingContext(ctx)
			encode  = func() (encoded, error) { return e.encodeMessage(req) }
			x       = grpcExchange{endpoint: e, sent: sent, resp: resp,
				secrets: append(secretsOf(sent), proxySecrets(&url.URL{Scheme: "https", Host: where})...),
				invoke: func(ctx context.Context, a *grpcAnswer) error {
					ctx, all := a.receive(ctx, opts)
					return invoke(ctx, method, req, resp, cc, all...)
				}}
		)
		r := e.deliver(ctx, call{
			gate:   e.gate(method, of),
			where:  where + " (" + cmp.Or(of.String(), strings.TrimPrefix(method, otlpMethods)) + ")",
			size:   messageSize(ctx, req),
			items:  itemsOf(ctx),
			try:    x.try,
			spool:  e.spooler(ctx, of, encode),
			unsent: unsent(ctx, of, encode),
		})
		if out := OutcomeFrom(ctx); out != nil {
			out.settle(r)
			clearPartial(resp)
		}
		if r.verdict == accepted || r.verdict == spooled {
			return nil // the outcome says that the request is spooled
		}
		return cmp.Or(x.err, r.err) // r.err if no attempt was made
	}
}

// grpcExchange makes the attempts of one call.
type grpcExchange struct {
	endpoint *Endpoint
	sent     metadata.MD
	resp     any
	secrets  []string // what a server must not make us log
	invoke   func(context.Context, *grpcAnswer) error
	err      error // of the last attempt
}

// try makes one attempt.
func (x *grpcExchange) try(ctx context.Context) reply {
	return x.endpoint.withHeaders(ctx, func(current map[string]string) reply {
		secrets := append(slices.Clip(x.secrets), secretValues(current)...)
		a := &grpcAnswer{}
		x.err = x.invoke(withMetadata(ctx, x.sent, current), a)
		return a.reply(ctx, x.err, x.resp, secrets, x.endpoint.cfg.AttemptTimeout)
	})
}

// withMetadata returns ctx with the current headers added to those that it sends.
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

// rejectedBy returns the partial success in an OTLP response, in the form that partialReply takes.
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

// grpcSignal is the signal of an OTLP method.
func grpcSignal(method string) signal.Signal {
	switch service, _, _ := strings.Cut(strings.TrimPrefix(method, otlpMethods), "."); service {
	case "trace":
		return signal.Traces
	case "metrics":
		return signal.Metrics
	case "logs":
		return signal.Logs
	}
	return signal.None
}

// asWritten is the scheme of targets whose name the dialer resolves.
const asWritten = "passthrough:///"

// target names the endpoint of a connection as the operator wrote it.
func target(cc *grpc.ClientConn) string {
	if cc == nil {
		return "the endpoint"
	}
	return strings.ReplaceAll(strings.TrimPrefix(cc.Target(), asWritten), "%25", "%")
}
