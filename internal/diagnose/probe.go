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
)

// Ask sends a request of the target's signal without items to u, as the exporter would send one, and returns why it was
// not taken.
type Ask func(ctx context.Context, t Target, u *url.URL) error

// closerLook bounds each question that follows a failure.
const closerLook = 2 * time.Second

// Probe finds out whether targets that share a connection would take what is sent to them. A finding is nil if so, or if
// ctx ends before there is one. Questions that follow a failure go to the same host and port; those in another protocol
// than the configured one carry no header.
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
	f := &Finding{sign: kindOf(err, t)}
	f.Kind = f.sign
	f.known = factsOf(err)
	if proxy, _ := t.proxy(); proxy == "" { // behind a proxy, what a direct connection shows is about another way
		f.Kind = t.lookCloser(ctx, f.sign, &f.known, ask)
	}
	answer := (*delivery.Answer)(nil)
	answered := errors.As(err, &answer)
	if ctx.Err() != nil || answered && (f.Kind == Unknown || f.Kind == Broken) {
		return nil // a server is there that refuses an empty request: what that means will be seen with a real one
	}
	f.Text = sentence(f.Kind, t, f.known)
	return f
}

// lookCloser finds what is behind an error: what speaks at the port, whose the certificate is, where OTLP is instead.
func (t Target) lookCloser(ctx context.Context, k Kind, known *facts, ask Ask) Kind {
	switch k {
	case Silent:
		if known.connects == nil {
			connects := t.connects(ctx)
			known.connects = &connects
		}
	case Authority, HostName, Expired:
		known.peer = withTimeout(ctx, t.handshake).peer
	case NotFound:
		t.lookAround(ctx, known, ask)
	case TLSPort, Broken, GRPCPort, HTTPPort:
		return t.whatSpeaks(ctx, k, known)
	}
	return k
}

func withTimeout[T any](ctx context.Context, question func(context.Context) T) T {
	ctx, cancel := context.WithTimeout(ctx, closerLook)
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

// whatSpeaks tells TLS, gRPC and HTTP apart at a port that did not answer as it was spoken to.
func (t Target) whatSpeaks(ctx context.Context, k Kind, known *facts) Kind {
	if t.secure() {
		if k == Broken && !t.hasClientCertificate() && withTimeout(ctx, t.handshake).asks {
			return ClientCertificate // the server's alert can be lost when it closes the connection
		}
		if k == Broken && !t.GRPC && withTimeout(ctx, t.answersGRPC) {
			return GRPCPort
		}
		return k
	}
	if k == TLSPort || k == Broken {
		if h := withTimeout(ctx, t.handshake); h.ok {
			known.peer, known.untrusted = h.peer, h.untrusted
			overTLS := t
			overTLS.URL = t.withScheme("https")
			grpc := h.http2 && withTimeout(ctx, overTLS.answersGRPC)
			known.otherGRPC = &grpc
			return TLSPort
		}
	}
	switch {
	case k == Broken && !t.GRPC && withTimeout(ctx, t.answersGRPC):
		return GRPCPort
	case k == Broken && t.GRPC && withTimeout(ctx, t.answersHTTP):
		return HTTPPort
	}
	return k
}

// answersGRPC sends an empty request of traces without headers. Whatever a gRPC server answers proves that it is one.
func (t Target) answersGRPC(ctx context.Context) bool {
	creds := insecure.NewCredentials()
	if t.secure() {
		creds = credentials.NewTLS(&tls.Config{
			ServerName: t.serverName(), MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: true, // nothing that matters is sent
		})
	}
	conn, err := grpc.NewClient(t.Address, grpc.WithTransportCredentials(creds), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithMaxHeaderListSize(delivery.MaxResponseHeader))
	if err != nil {
		return false
	}
	defer conn.Close()
	err = conn.Invoke(ctx, "/"+coltracepb.TraceService_ServiceDesc.ServiceName+"/Export", &coltracepb.ExportTraceServiceRequest{}, &coltracepb.ExportTraceServiceResponse{})
	switch s := status.Convert(err); s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return false
	default:
		return !containsAny(s.Message(), "unexpected HTTP status code", "unexpected content-type")
	}
}

// answersHTTP sends the same over HTTP.
func (t Target) answersHTTP(ctx context.Context) bool {
	u := *t.URL
	u.Host, u.Path = t.Address, t.signalPath()
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

// usualPaths are where receivers have OTLP/HTTP, before /v1/<signal>: the Collector, Grafana and Loki, Prometheus and
// Mimir, VictoriaMetrics, Dynatrace, VictoriaLogs.
var usualPaths = []string{"", "/otlp", "/api/v1/otlp", "/opentelemetry", "/api/v2/otlp", "/insert/opentelemetry"}

// lookAround asks at the usual paths of the same host and port, with the same headers.
func (t Target) lookAround(ctx context.Context, known *facts, ask Ask) {
	at := func(path string) *url.URL {
		u := *t.URL
		u.Path = path
		return &u
	}
	takes := func(u *url.URL) bool {
		return withTimeout(ctx, func(ctx context.Context) bool {
			err := ask(ctx, t, u)
			return ctx.Err() == nil && (err == nil || kindOf(err, t) == Unauthorized)
		})
	}
	for _, prefix := range usualPaths {
		if u := at(prefix + t.signalPath()); u.Path != t.URL.Path && takes(u) {
			known.found = u
			return
		}
	}
	known.lookedAround = true
	if base, ok := strings.CutSuffix(t.URL.Path, t.signalPath()); ok {
		for _, other := range []string{"traces", "metrics", "logs"} {
			if other != t.Signal && takes(at(base+"/v1/"+other)) {
				known.others = true
				return
			}
		}
	}
}
