package delivery_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// A walk sends spans to a server whose every answer is drawn at random, over the real clients and a
// network in memory, in virtual time. Whatever the answers are: the books balance, no goroutine is
// left (the end of the bubble), Shutdown keeps its budget, and what the server neither took nor
// refused arrives once it is well again.
var (
	walks    = flag.Int("walks", 100, "how many random walks")
	walkSeed = flag.Int("walk.seed", -1, "the one walk to take, as a failure names it")
)

func TestRandomWalk(t *testing.T) {
	t.Parallel()
	if *walkSeed >= 0 {
		takeWalk(t, *walkSeed)
		return
	}
	const workers = 4
	for worker := range workers {
		t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
			t.Parallel()
			for seed := worker; seed < *walks && !t.Failed(); seed += workers {
				takeWalk(t, seed)
			}
		})
	}
}

func takeWalk(t *testing.T, seed int) {
	defer func() {
		if t.Failed() {
			t.Logf("replay: go test ./internal/delivery -run TestRandomWalk -walk.seed=%d", seed)
		}
	}()
	// A goroutine that is left ends the process: this is then its last line.
	stuck := time.AfterFunc(2*time.Minute, func() { fmt.Fprintf(os.Stderr, "random walk %d does not end\n", seed) })
	defer stuck.Stop()
	t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { newWalk(t, seed).run() })
	})
}

// walk is one random walk.
type walk struct {
	*pipeline
	t    *testing.T
	mu   sync.Mutex
	rand *rand.Rand
	well bool
	// By span: the server says that it took it; it refused what was sent, or itself or the
	// credential is wrong.
	took, refused, misplaced map[string]bool

	network pipeNetwork
	store   *spool.Store
	replay  *delivery.Replayer
	closers []func()
	losses  []string
}

func newWalk(t *testing.T, seed int) *walk {
	w := &walk{t: t, rand: rand.New(rand.NewPCG(uint64(seed), 1)), took: map[string]bool{}, refused: map[string]bool{},
		misplaced: map[string]bool{}}
	w.network = pipeNetwork{incoming: make(chan net.Conn), closed: make(chan struct{})}
	cfg := delivery.Config{AttemptTimeout: 300 * time.Millisecond, Gzip: w.one(2)}
	if w.one(3) {
		store, err := spool.Open(spool.Config{Dir: t.TempDir(), MaxBytes: 1 << 20})
		require.NoError(t, err)
		w.store, cfg.Spool = store, store
	}
	endpoint := delivery.New(cfg)
	var (
		client otlptrace.Client
		send   delivery.Sender
	)
	if seed%2 == 0 {
		client, send = w.overHTTP(endpoint, cfg.Gzip)
	} else {
		client, send = w.overGRPC(endpoint)
	}
	exporter, err := otlptrace.New(t.Context(), client)
	require.NoError(t, err)
	p, err := batch.NewSpanProcessor(batch.Config{
		MaxExportBatchSize: 1 + w.upTo(40), MaxConcurrentExports: 1 + w.upTo(7), ScheduleDelay: 10 * time.Millisecond,
		ExportTimeout: 3 * time.Hour, Spool: w.store != nil,
		OnError: func(lost int64, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.losses = append(w.losses, fmt.Sprintf("%d: %.150v", lost, err))
		},
	}, exporter)
	require.NoError(t, err)
	w.pipeline = &pipeline{SpanProcessor: p, t: t, endpoint: endpoint,
		provider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))}
	if w.store != nil {
		w.replay = delivery.Replay(w.store, signal.Traces, send)
	}
	return w
}

func (w *walk) overHTTP(endpoint *delivery.Endpoint, compress bool) (otlptrace.Client, delivery.Sender) {
	go w.network.serve(w.serveHTTP)
	pool := endpoint.NewTransport(nil, 8)
	pool.DialContext = w.network.dial
	w.closers = append(w.closers, pool.CloseIdleConnections)
	client := &http.Client{Transport: endpoint.Transport(pool)}
	const at = "http://collector:4318/v1/traces"
	return otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(at), otlptracehttp.WithHTTPClient(client),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{})), delivery.HTTPSender(client, at, nil, compress)
}

func (w *walk) overGRPC(endpoint *delivery.Endpoint) (otlptrace.Client, delivery.Sender) {
	srv := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(srv, walkService{walk: w})
	go func() { _ = srv.Serve(unfriendly{&w.network, w}) }()
	conn, err := endpoint.GRPCConn("collector:4317", insecure.NewCredentials(), grpc.WithContextDialer(
		func(ctx context.Context, address string) (net.Conn, error) {
			return w.network.dial(ctx, "tcp", address)
		}))
	require.NoError(w.t, err)
	w.closers = append(w.closers, func() { _ = conn.Close() }, srv.Stop)
	return otlptracegrpc.NewClient(otlptracegrpc.WithGRPCConn(conn), otlptracegrpc.WithTimeout(0),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{})), delivery.GRPCSender(conn, nil)
}

func (w *walk) run() {
	defer w.leave()
	for range 2 + w.upTo(8) {
		w.send(1 + w.upTo(30))
		time.Sleep(time.Duration(w.upTo(2000)) * time.Millisecond)
	}
	if w.one(2) {
		w.shutDown(time.Duration(1+w.upTo(4)) * time.Second)
		return
	}
	w.mu.Lock()
	w.well = true
	w.mu.Unlock()
	w.send(1)
	time.Sleep(20 * time.Minute) // the longest rest of a replayer, twice, and the longest Retry-After besides
	before := w.Snapshot()
	require.Zero(w.t, before.Queued)
	w.flush(50)
	after := w.Snapshot()
	require.EqualValues(w.t, 50, after.Exported-before.Exported, "all is well again: %v", after.LastError)
	w.shutDown(10 * time.Second)
	if w.store != nil {
		require.Zero(w.t, w.store.Snapshot(signal.Traces).Held)
	}
	reached := maps.Clone(w.took)
	maps.Copy(reached, w.refused)
	if w.store == nil {
		maps.Copy(reached, w.misplaced)
	}
	if int(after.Accepted) != len(reached) {
		w.t.Logf("%+v took %d refused %d misplaced %d, store %v", after, len(w.took), len(w.refused), len(w.misplaced),
			w.store != nil)
	}
	require.EqualValues(w.t, after.Accepted, len(reached), "what was neither taken nor refused has arrived: %s",
		strings.Join(w.losses, "\n"))
}

// shutDown checks the budget, and the books after it.
func (w *walk) shutDown(budget time.Duration) {
	start := time.Now()
	stats, _ := w.close(budget)
	require.LessOrEqual(w.t, time.Since(start), budget+100*time.Millisecond)
	exported, lost := stats.Exported, stats.Failed+stats.Rejected+stats.Dropped.TooLarge
	if w.replay != nil {
		w.replay.Close(context.Background())
		w.replay = nil
		w.store.Close()
		b := w.store.Snapshot(signal.Traces)
		require.Equal(w.t, b.Added, b.Held+b.Exported+b.Rejected+b.Failed+b.Full+b.TooLarge+b.Corrupt, "%+v", b)
		require.Equal(w.t, stats.Spooled, b.Added)
		exported, lost = exported+b.Exported, lost+b.Lost()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	require.LessOrEqual(w.t, exported, int64(len(w.took)), "nothing is called exported that the server did not take")
	no := maps.Clone(w.refused)
	if w.store == nil {
		maps.Copy(no, w.misplaced)
	}
	if w.store != nil || w.well {
		require.LessOrEqual(w.t, lost, int64(len(no)), "nothing is lost that was not refused: %s",
			strings.Join(w.losses, "\n"))
	}
}

func (w *walk) leave() {
	if w.replay != nil {
		w.replay.Close(context.Background())
	}
	w.network.close()
	for _, end := range w.closers {
		end()
	}
	time.Sleep(time.Second) // an answer may be on its way
}

// one is true once in n times.
func (w *walk) one(n int) bool { return w.upTo(n-1) == 0 }

func (w *walk) upTo(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.IntN(n + 1)
}

func pick[T any](w *walk, list ...T) T { return list[w.upTo(len(list)-1)] }

func (w *walk) isWell() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.well
}

// note puts spans into sets.
func (w *walk) note(spans []string, sets ...map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, set := range sets {
		for _, span := range spans {
			set[span] = true
		}
	}
}

func spanIDs(req *coltracepb.ExportTraceServiceRequest) (ids []string) {
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, span := range ss.GetSpans() {
				ids = append(ids, hex.EncodeToString(span.GetSpanId()))
			}
		}
	}
	return ids
}

func spanIDsIn(body []byte, encoding string) []string {
	if encoding == "gzip" {
		zr, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil
		}
		body, _ = io.ReadAll(zr)
	}
	var req coltracepb.ExportTraceServiceRequest
	_ = proto.Unmarshal(body, &req)
	return spanIDs(&req)
}

// pipeNetwork is a network in memory with one server in it. It is a [net.Listener].
type pipeNetwork struct {
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once

	mu    sync.Mutex
	conns []net.Conn
}

func (n *pipeNetwork) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.incoming <- server:
		n.mu.Lock()
		defer n.mu.Unlock()
		n.conns = append(n.conns, server)
		return client, nil
	case <-n.closed:
	case <-ctx.Done():
	}
	_ = client.Close()
	_ = server.Close()
	return nil, net.ErrClosed
}

func (n *pipeNetwork) Accept() (net.Conn, error) {
	select {
	case conn := <-n.incoming:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *pipeNetwork) Addr() net.Addr { return &net.TCPAddr{} }

func (n *pipeNetwork) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

// close ends the network and cuts all connections.
func (n *pipeNetwork) close() {
	_ = n.Close()
	n.cut()
}

func (n *pipeNetwork) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.conns {
		_ = conn.Close()
	}
	n.conns = nil
}

func (n *pipeNetwork) serve(handle func(net.Conn)) {
	for {
		conn, err := n.Accept()
		if err != nil {
			return
		}
		go handle(conn)
	}
}

// silent reads a connection until it ends.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func readRequest(from *bufio.Reader) (spans []string, err error) {
	req, err := http.ReadRequest(from)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if spans = spanIDsIn(body, req.Header.Get("Content-Encoding")); len(spans) == 0 {
		err = fmt.Errorf("no spans in %q", body)
	}
	return spans, err
}
