package delivery_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// h2server speaks HTTP/2 frame by frame: what a server made with a library does not send. It
// answers settings and pings, and each request as it is told.
type h2server struct {
	t      *testing.T
	addr   string
	answer func(s *h2stream)

	mu       sync.Mutex
	requests int
	conns    int
}

// h2stream is a request whose body has come.
type h2stream struct {
	*http2.Framer
	conn    net.Conn
	id      uint32
	request int // from 1, of all connections
	connNo  int // from 1
	closed  <-chan struct{}
}

// serveH2 serves until the test ends. With config it speaks TLS.
func serveH2(t *testing.T, config *tls.Config, answer func(s *h2stream)) *h2server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &h2server{t: t, addr: l.Addr().String(), answer: answer}
	var conns sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			number := s.conns
			s.mu.Unlock()
			if config != nil {
				conn = tls.Server(conn, config)
			}
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			conns.Go(func() {
				defer stop()
				defer conn.Close()
				s.serve(conn, number)
			})
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); conns.Wait() })
	return s
}

func (s *h2server) counts() (requests, conns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, s.conns
}

func (s *h2server) serve(conn net.Conn, number int) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	framer := http2.NewFramer(conn, conn)
	closed := make(chan struct{})
	defer close(closed)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = framer.WritePing(true, f.Data)
			}
		case *http2.DataFrame:
			if n := f.Header().Length; n > 0 {
				_ = framer.WriteWindowUpdate(0, n)
				_ = framer.WriteWindowUpdate(f.StreamID, n)
			}
			if f.StreamEnded() {
				s.mu.Lock()
				s.requests++
				request := s.requests
				s.mu.Unlock()
				s.answer(&h2stream{framer, conn, f.StreamID, request, number, closed})
			}
		}
	}
}

// headers sends a block of "name: value" fields.
func (s *h2stream) headers(end bool, fields ...string) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "= ")
		_ = encoder.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	const frame = 1 << 14
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: block.Next(frame),
		EndHeaders: block.Len() == 0, EndStream: end})
	for block.Len() > 0 {
		part := block.Next(frame)
		_ = s.WriteContinuation(s.id, block.Len() == 0, part)
	}
}

// data sends bytes in frames, as far as the client's first window goes.
func (s *h2stream) data(end bool, body []byte) {
	for len(body) > 1<<14 {
		_ = s.WriteData(s.id, false, body[:1<<14])
		body = body[1<<14:]
	}
	_ = s.WriteData(s.id, end, body)
}

func (s *h2stream) reset(code http2.ErrCode) { _ = s.WriteRSTStream(s.id, code) }

const grpcMedia = "content-type= application/grpc"

// grpcFrame is a gRPC message with the length that it says it has.
func grpcFrame(message []byte, length int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(length)), message...)
}

// ok answers a request with success, in either protocol.
func (s *h2stream) ok(protocol string) {
	if protocol == "grpc" {
		s.headers(false, ":status= 200", grpcMedia)
		s.data(false, grpcFrame(nil, 0))
		s.headers(true, "grpc-status= 0")
		return
	}
	s.headers(true, ":status= 200", "content-type= application/x-protobuf")
}

// sender sends a request of ten items of one signal to an HTTP/2 server.
type sender func(ctx context.Context, signal string) delivery.Outcome

// newSender connects as the library does: gRPC without TLS, HTTP/2 with it.
func newSender(t *testing.T, protocol string, cfg delivery.Config, answer func(s *h2stream)) (*h2server, sender) {
	t.Helper()
	e := delivery.New(cfg)
	if protocol == "grpc" {
		s := serveH2(t, nil, answer)
		return s, grpcSender(t, e, s.addr)
	}
	certificates, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	server := certificates.Server.Clone()
	server.NextProtos = []string{"h2"}
	s := serveH2(t, server, answer)
	return s, httpSender(t, e, "https://"+s.addr, certificates.ClientWithoutCert)
}

func grpcSender(t *testing.T, e *delivery.Endpoint, address string) sender {
	_, send := overGRPC(t, e, address, insecure.NewCredentials())
	return send
}

// overGRPC connects to an address. What it returns first closes the connection, which the end of
// the test does, too.
func overGRPC(t *testing.T, e *delivery.Endpoint, address string, creds credentials.TransportCredentials) (func(),
	sender) {
	t.Helper()
	conn, err := e.GRPCConn(address, creds)
	require.NoError(t, err)
	closing := func() { _ = conn.Close() }
	t.Cleanup(closing)
	methods := map[string]string{"traces": traceMethod, "metrics": metricsMethod, "logs": logsMethod}
	messages := map[string][2]proto.Message{
		"traces":  {&coltracepb.ExportTraceServiceRequest{}, &coltracepb.ExportTraceServiceResponse{}},
		"metrics": {&colmetricspb.ExportMetricsServiceRequest{}, &colmetricspb.ExportMetricsServiceResponse{}},
		"logs":    {&collogspb.ExportLogsServiceRequest{}, &collogspb.ExportLogsServiceResponse{}},
	}
	return closing, func(ctx context.Context, signal string) delivery.Outcome {
		out := delivery.Outcome{Items: 10}
		m := messages[signal]
		err := conn.Invoke(delivery.WithOutcome(ctx, &out), methods[signal], m[0], proto.Clone(m[1]))
		require.Equal(t, out.Exported > 0, err == nil, "%v; %v", err, out.Err)
		return out
	}
}

func httpSender(t *testing.T, e *delivery.Endpoint, base string, config *tls.Config) sender {
	_, send := overHTTP(t, e, base, config)
	return send
}

func overHTTP(t *testing.T, e *delivery.Endpoint, base string, config *tls.Config) (func(), sender) {
	t.Helper()
	pool := e.NewTransport(config, 8)
	t.Cleanup(pool.CloseIdleConnections)
	client := &http.Client{Transport: e.Transport(pool)}
	return pool.CloseIdleConnections, func(ctx context.Context, signal string) delivery.Outcome {
		out := delivery.Outcome{Items: 10}
		req, err := http.NewRequestWithContext(delivery.WithOutcome(ctx, &out), http.MethodPost, base+"/v1/"+signal,
			strings.NewReader("0123456789"))
		require.NoError(t, err)
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
		}
		return out
	}
}

// soon bounds what a busy machine may take.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
