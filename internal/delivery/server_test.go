package delivery_test

import (
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // the server's side of compression
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
)

func TestMain(m *testing.M) {
	// The tests against real servers wait rather than work.
	_ = flag.Set("test.parallel", "16")
	goleak.VerifyTestMain(m)
}

// fault is how a server answers one request. The zero value is success.
type fault struct {
	status     int           // HTTP
	code       codes.Code    // gRPC
	retryAfter time.Duration // both
	message    string
	rejected   int64         // of a partial success
	delay      time.Duration // before the answer
	cut        bool          // closes the connection instead of answering
}

// server is a trace collector on loopback that speaks one of the two protocols and can be stopped
// and started on its port.
type server struct {
	t        *testing.T
	protocol string
	addr     string
	maxBytes int // of a request; larger ones are refused as the protocol does

	mu       sync.Mutex
	stop     func()
	requests []time.Time
	spans    map[string]int // how often each span arrived, by its ID
	encoding []string
	answer   func(request int) fault
}

// newServer returns a server that is down.
func newServer(t *testing.T, protocol string) *server {
	t.Helper()
	s := &server{t: t, protocol: protocol, addr: otlptest.FreeAddress(t), spans: map[string]int{}}
	t.Cleanup(s.down)
	return s
}

// up starts serving. It is an error to call it twice.
func (s *server) up() {
	s.t.Helper()
	var l net.Listener
	require.Eventually(s.t, func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", s.addr)
		return err == nil
	}, 5*time.Second, time.Millisecond, "the port is taken")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.protocol == "http" {
		srv := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
		go func() { _ = srv.Serve(l) }()
		s.stop = func() { _ = srv.Close() }
		return
	}
	opts := []grpc.ServerOption{grpc.StatsHandler(encodings{s})}
	if s.maxBytes > 0 {
		opts = append(opts, grpc.MaxRecvMsgSize(s.maxBytes))
	}
	srv := grpc.NewServer(opts...)
	coltracepb.RegisterTraceServiceServer(srv, grpcService{server: s})
	go func() { _ = srv.Serve(l) }()
	s.stop = srv.Stop
}

// down cuts all connections and closes the port.
func (s *server) down() {
	s.mu.Lock()
	stop := s.stop
	s.stop = nil
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// take books a request and says how to answer it.
func (s *server) take() fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, time.Now())
	if s.answer == nil {
		return fault{}
	}
	return s.answer(len(s.requests) - 1)
}

func (s *server) sawEncoding(encoding string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.encoding = append(s.encoding, encoding)
}

// encodings sees how gRPC requests are compressed.
type encodings struct{ server *server }

func (encodings) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (e encodings) HandleRPC(_ context.Context, rpc stats.RPCStats) {
	if in, ok := rpc.(*stats.InHeader); ok {
		e.server.sawEncoding(in.Compression)
	}
}
func (encodings) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (encodings) HandleConn(context.Context, stats.ConnStats)                       {}

// keep books the spans of a request that is answered with success.
func (s *server) keep(req *coltracepb.ExportTraceServiceRequest, f fault) *coltracepb.ExportTraceServiceResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	skip := f.rejected
	for _, r := range req.GetResourceSpans() {
		for _, sc := range r.GetScopeSpans() {
			for _, span := range sc.GetSpans() {
				if skip--; skip >= 0 {
					continue
				}
				s.spans[string(span.GetSpanId())]++
			}
		}
	}
	resp := &coltracepb.ExportTraceServiceResponse{}
	if f.rejected > 0 || f.message != "" {
		resp.PartialSuccess = &coltracepb.ExportTracePartialSuccess{RejectedSpans: f.rejected, ErrorMessage: f.message}
	}
	return resp
}

// arrived returns how many spans arrived, and how many of them more than once.
func (s *server) arrived() (spans, twice int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.spans {
		if n > 1 {
			twice++
		}
	}
	return len(s.spans), twice
}

func (s *server) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.requests...)
}

// ServeHTTP is the OTLP/HTTP receiver.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		zr, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = zr
	}
	s.sawEncoding(r.Header.Get("Content-Encoding"))
	f := s.take()
	if f.cut {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
		return
	}
	plain, err := io.ReadAll(body)
	if err != nil {
		return // the client has gone
	}
	if s.maxBytes > 0 && len(plain) > s.maxBytes {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	select {
	case <-time.After(f.delay):
	case <-r.Context().Done():
		return
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.retryAfter.Seconds())))
	}
	if f.status != 0 {
		http.Error(w, f.message, f.status)
		return
	}
	var req coltracepb.ExportTraceServiceRequest
	if err := proto.Unmarshal(plain, &req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, _ := proto.Marshal(s.keep(&req, f))
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

// grpcService is the OTLP/gRPC receiver.
type grpcService struct {
	coltracepb.UnimplementedTraceServiceServer
	server *server
}

func (g grpcService) Export(ctx context.Context,
	req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	f := g.server.take()
	if f.cut {
		go g.server.down()
		<-ctx.Done()
		return nil, errors.New("cut")
	}
	select {
	case <-time.After(f.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.code != codes.OK {
		st := status.New(f.code, f.message)
		if f.retryAfter > 0 {
			st, _ = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(f.retryAfter)})
		}
		return nil, st.Err()
	}
	return g.server.keep(req, f), nil
}
