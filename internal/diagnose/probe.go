package diagnose

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Result is what the probe has found about one signal's endpoint.
type Result struct {
	Target  Target
	Finding *Finding // nil if the endpoint accepts requests, or if nothing is known
}

// Ask sends an empty request of the target's signal to u, as the exporter would, and returns why it
// was not accepted.
type Ask func(ctx context.Context, t Target, u *url.URL) error

// followUpTimeout bounds each request or connection that follows a failure.
const followUpTimeout = 2 * time.Second

// Probe finds out whether targets that share a connection accept requests. A finding is nil if they
// do, or if ctx ends first. Requests that follow a failure go to the same host and port; those in
// another protocol than the configured one carry no headers.
func Probe(ctx context.Context, targets []Target, ask Ask) []Result {
	var (
		results []Result
		common  *Finding
	)
	for _, t := range targets {
		f := common
		if f != nil {
			f = f.about(t)
		} else if f = t.probe(ctx, ask); f != nil && f.concernsConnection() {
			common = f
		}
		results = append(results, Result{t, f})
	}
	return results
}

func (t Target) probe(ctx context.Context, ask Ask) *Finding {
	err := ask(ctx, t, t.URL)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	f := &Finding{symptom: kindOf(err, t), known: factsOf(err)}
	f.Kind = f.symptom
	if proxy, _ := t.proxy(); proxy == "" { // a direct connection says nothing about one through a proxy
		f.Kind = t.investigate(ctx, f.symptom, &f.known, ask)
	}
	answer := (*delivery.Answer)(nil)
	answered := errors.As(err, &answer)
	if ctx.Err() != nil || answered && (f.Kind == Unknown || f.Kind == Broken) {
		return nil // the server refuses an empty request, and may still accept a real one
	}
	f.Text = t.sentence(f.Kind, f.known)
	return f
}

// investigate finds the cause of an error: which protocol the port speaks, which certificate it
// has, where OTLP is instead.
func (t Target) investigate(ctx context.Context, k Kind, known *facts, ask Ask) Kind {
	switch k {
	case Silent:
		if known.connects == nil {
			connects := t.connects(ctx)
			known.connects = &connects
		}
	case Authority, HostName, Expired:
		known.peer = withTimeout(ctx, t.handshake).peer
	case NotFound:
		t.findReceiver(ctx, known, ask)
	case TLSPort, Broken, GRPCPort, HTTPPort:
		return t.protocolOf(ctx, k, known)
	}
	return k
}

func withTimeout[T any](ctx context.Context, question func(context.Context) T) T {
	ctx, cancel := context.WithTimeout(ctx, followUpTimeout)
	defer cancel()
	return question(ctx)
}

func (t Target) connects(ctx context.Context) bool {
	return withTimeout(ctx, func(ctx context.Context) bool {
		conn, err := delivery.Dial(ctx, "tcp", t.Address)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

// protocolOf tells TLS, gRPC and HTTP apart at a port that did not answer in the configured
// protocol.
func (t Target) protocolOf(ctx context.Context, k Kind, known *facts) Kind {
	if !t.secure() && (k == TLSPort || k == Broken) && t.speaksTLS(ctx, known) {
		return TLSPort
	}
	switch {
	case k != Broken:
		return k
	case t.secure() && !t.hasClientCertificate() && withTimeout(ctx, t.handshake).asks:
		return ClientCertificate // the server's alert can be lost when it closes the connection
	case !t.GRPC && withTimeout(ctx, t.answersGRPC):
		return GRPCPort
	case t.GRPC && !t.secure() && withTimeout(ctx, t.answersHTTP):
		return HTTPPort
	}
	return k
}

// speaksTLS reports whether the port of an http:// endpoint speaks TLS, and if so notes its
// certificate and protocol.
func (t Target) speaksTLS(ctx context.Context, known *facts) bool {
	h := withTimeout(ctx, t.handshake)
	if !h.ok {
		return false
	}
	overTLS := t
	overTLS.URL = t.withScheme("https")
	grpc := h.http2 && withTimeout(ctx, overTLS.answersGRPC)
	known.peer, known.untrusted, known.grpcOverTLS = h.peer, h.untrusted, &grpc
	return true
}

// answersGRPC sends an empty trace request without headers. Any gRPC answer, an error too, proves
// that the server speaks gRPC.
func (t Target) answersGRPC(ctx context.Context) bool {
	creds := insecure.NewCredentials()
	if t.secure() {
		creds = credentials.NewTLS(&tls.Config{
			ServerName: t.serverName(), MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: true, // no data and no headers are sent
		})
	}
	conn, err := grpc.NewClient(t.Address, grpc.WithTransportCredentials(creds), grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), grpc.WithMaxHeaderListSize(delivery.MaxResponseHeader))
	if err != nil {
		return false
	}
	defer conn.Close()
	err = conn.Invoke(ctx, "/"+coltracepb.TraceService_ServiceDesc.ServiceName+"/Export",
		&coltracepb.ExportTraceServiceRequest{}, &coltracepb.ExportTraceServiceResponse{})
	switch s := status.Convert(err); s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return false
	default:
		return !containsAny(s.Message(), "unexpected HTTP status code", "unexpected content-type")
	}
}

// answersHTTP sends a request without a body and without headers.
func (t Target) answersHTTP(ctx context.Context) bool {
	u := t.withSignalPath()
	u.Host = t.Address
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), http.NoBody)
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	transport := delivery.New(delivery.Config{}).NewTransport(nil, 1)
	transport.Proxy, transport.DisableKeepAlives = nil, true
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(delivery.Watched(req))
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return true
}

// usualPaths are the paths under which receivers have /v1/<signal>: the Collector, Grafana and
// Loki, Prometheus and Mimir, VictoriaMetrics, Dynatrace, VictoriaLogs.
var usualPaths = []string{"", "/otlp", "/api/v1/otlp", "/opentelemetry", "/api/v2/otlp", "/insert/opentelemetry"}

// findReceiver sends the request to the usual paths of the same host and port, with the same
// headers, and then the other signals to the configured path.
func (t Target) findReceiver(ctx context.Context, known *facts, ask Ask) {
	accepts := func(path string) (*url.URL, bool) {
		u := *t.URL
		u.Path = path
		return &u, withTimeout(ctx, func(ctx context.Context) bool {
			err := ask(ctx, t, &u)
			return ctx.Err() == nil && (err == nil || kindOf(err, t) == Unauthorized)
		})
	}
	for _, prefix := range usualPaths {
		path := prefix + t.signalPath()
		if path == t.URL.Path {
			continue
		}
		if u, ok := accepts(path); ok {
			known.found = u
			return
		}
	}
	known.searched = true
	base, ok := strings.CutSuffix(t.URL.Path, t.signalPath())
	if !ok {
		return
	}
	for _, other := range signal.All() {
		if other == t.Signal {
			continue
		}
		if _, ok := accepts(base + "/v1/" + other.String()); ok {
			known.otherSignals = true
			return
		}
	}
}
