package telemetry_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// Cases: the protocols, and subtests that run at the same time.

// protocols are all that OTLP is spoken over here.
var protocols = []telemetry.Protocol{telemetry.ProtocolHTTP, telemetry.ProtocolGRPC}

// protocolCase is a case over one protocol.
type protocolCase[C any] struct {
	protocol telemetry.Protocol
	of       C
}

// overProtocols is each case over HTTP and over gRPC.
func overProtocols[C any](cases ...C) (all []protocolCase[C]) {
	for _, c := range cases {
		for _, protocol := range protocols {
			all = append(all, protocolCase[C]{protocol, c})
		}
	}
	return all
}

// atOnce runs subtests at the same time. They wait most of the time, so the bound that -parallel
// sets by the number of processors would only make them take turns in waiting.
func atOnce[C any](t *testing.T, cases []C, name func(C) string, run func(*testing.T, C)) {
	var wg sync.WaitGroup
	for _, c := range cases {
		wg.Go(func() { t.Run(name(c), func(t *testing.T) { run(t, c) }) })
	}
	wg.Wait()
}

// Processes: a test that runs again in a process of its own.

// childVariable marks a test binary that a test has started, as a process with an environment and
// globals of its own.
const childVariable = "GO_TEST_CHILD"

// isChild tells whether this process is such a test binary.
func isChild() bool { return os.Getenv(childVariable) != "" }

// runChild runs the calling test once more in a process of its own and returns all it printed.
func runChild(t *testing.T, env ...string) string {
	t.Helper()
	return runTest(t, t.Name(), env...)
}

// runTest is runChild for a test by its name, for use in a subtest.
func runTest(t *testing.T, name string, env ...string) string {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v", "-test.timeout=60s")
	child.Env = append(append(os.Environ(), childVariable+"=1"), env...)
	output, err := child.CombinedOutput()
	require.NoError(t, err, string(output))
	return string(output)
}

// inOwnProcess runs the calling test in a process of its own and returns false there. A value that
// no stack holds, or that takes more memory than megabytes, ends that process and not the test run.
// Call it first.
func inOwnProcess(t *testing.T, megabytes int) (parent bool) {
	t.Helper()
	if !isChild() {
		output := runChild(t, fmt.Sprintf("GOMEMLIMIT=%dMiB", megabytes))
		require.Contains(t, output, "--- PASS: "+t.Name())
		return true
	}
	debug.SetMaxStack(32 << 20)
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			var m runtime.MemStats
			if runtime.ReadMemStats(&m); m.HeapInuse > 2*uint64(megabytes)<<20 {
				fmt.Printf("the heap has %d MiB of %d\n", m.HeapInuse>>20, megabytes)
				os.Exit(3)
			}
		}
	}()
	t.Cleanup(func() {
		close(done)
		<-stopped
	})
	return false
}

// runChildVariable names the program that a child process runs.
const runChildVariable = "TEST_RUN_PROGRAM"

// Guards: how tests start one, and record with it.

// syncBuffer is a log output that tests may read while the library writes.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs Init without globals against the collector.
func start(t *testing.T, c *otlptest.Collector, opts ...telemetry.Option) (*telemetry.Guard, *syncBuffer) {
	t.Helper()
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithServiceName("test"),
		telemetry.WithLogOutput(console), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithOptions(opts...))
	require.NoError(t, err)
	t.Cleanup(func() { _ = guard.Shutdown(context.Background()) })
	return guard, console
}

// inEnvironment starts a guard with these variables and no others.
func inEnvironment(t *testing.T, env map[string]string) (*telemetry.Guard, *syncBuffer) {
	t.Helper()
	variables := map[string]string{"OTEL_TRACES_SAMPLER": "always_on"}
	maps.Copy(variables, quietMetrics)
	maps.Copy(variables, env)
	console := &syncBuffer{}
	guard, err := telemetry.Init(testenv.With(t.Context(), variables), telemetry.WithoutGlobals(),
		telemetry.WithLogOutput(console), telemetry.WithServiceName("probed"),
		telemetry.WithShutdownTimeout(30*time.Second))
	require.NoError(t, err)
	t.Cleanup(func() { _ = guard.Shutdown(context.Background()) })
	return guard, console
}

// quietMetrics leaves nothing to export but what a test records.
var quietMetrics = map[string]string{"TELEMETRY_RUNTIME_METRICS": "false", "TELEMETRY_SELF_METRICS": "false"}

// The variables that most diagnoses are about.
const (
	endpointVariable = "OTEL_EXPORTER_OTLP_ENDPOINT"
	protocolVariable = "OTEL_EXPORTER_OTLP_PROTOCOL"
)

// spooled starts a guard with a spool and delays that suit a test.
func spooled(t *testing.T, c *otlptest.Collector, p telemetry.Protocol, dir string,
	opts ...telemetry.Option) (*telemetry.Guard, *syncBuffer) {
	t.Helper()
	small := telemetry.Batch{ScheduleDelay: 5 * time.Millisecond, MaxExportBatchSize: 10}
	return start(t, c, telemetry.WithEndpoint(c.Endpoint(string(p))), telemetry.WithProtocol(p),
		telemetry.WithoutRuntimeMetrics(),
		telemetry.WithSpool(dir, 1<<20), telemetry.WithSpanBatch(small), telemetry.WithLogBatch(small),
		telemetry.WithOptions(opts...))
}

// record makes one item of each signal on the guard's own providers.
func record(ctx context.Context, g *telemetry.Guard, name string) {
	ctx, span := g.TracerProvider().Tracer("test").Start(ctx, name)
	counter, _ := g.MeterProvider().Meter("test").Int64Counter(strings.ReplaceAll(name, " ", "."))
	counter.Add(ctx, 1)
	g.Logger().InfoContext(ctx, name)
	span.End()
}

// flushed sends what the guard holds, which must succeed.
func flushed(t *testing.T, guard *telemetry.Guard) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, guard.ForceFlush(ctx))
}

// warningsOf starts a service that records nothing, waits for its probe's first line, and returns
// all it has warned of in its life.
func warningsOf(t *testing.T, env map[string]string, also ...string) []string {
	t.Helper()
	guard, console := inEnvironment(t, env)
	enough := len(strings.Join(also, ""))
	require.Eventually(t, func() bool {
		return len(strings.Join(warnings(console.String()), "")) > enough+
			len("telemetry: ")
	}, time.Minute, 5*time.Millisecond)
	require.NoError(t, guard.Shutdown(t.Context()))
	return warnings(console.String())
}

// warnings are the messages of the lines that are warnings or errors.
func warnings(console string) (messages []string) {
	for line := range strings.Lines(console) {
		var record struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &record) == nil && (record.Level == "WARN" || record.Level == "ERROR") {
			messages = append(messages, record.Msg)
		}
	}
	return messages
}

// hungProcessor is a span processor that ignores its context.
type hungProcessor struct {
	sdktrace.SpanProcessor
	release chan struct{}
}

func (s hungProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (s hungProcessor) OnEnd(sdktrace.ReadOnlySpan) {}

func (s hungProcessor) Shutdown(context.Context) error { <-s.release; return nil }

func (s hungProcessor) ForceFlush(context.Context) error { <-s.release; return nil }

// Arrivals: what the collector, or the spool, has got.

// names applies name to each item.
func names[T, N any](items []T, name func(T) N) []N {
	var all []N
	for _, item := range items {
		all = append(all, name(item))
	}
	return all
}

// spanNames are the names of the spans that arrived.
func spanNames(c *otlptest.Collector) []string {
	return names(c.Spans(), func(s otlptest.Span) string { return s.Name })
}

// logBodies are the bodies of the log records that arrived.
func logBodies(c *otlptest.Collector) []string {
	return names(c.LogRecords(), func(r otlptest.LogRecord) string { return r.Body.(string) })
}

// metricNames are the names of the metrics that arrived, one for each request.
func metricNames(c *otlptest.Collector) []string {
	return names(c.Metrics(), func(m otlptest.Metric) string { return m.Name })
}

// spoolFiles returns what is on disk: all files, unpacked.
func spoolFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	content := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "lock" {
			return err
		}
		data, err := os.ReadFile(path)
		if at := bytes.Index(data, []byte{0x1f, 0x8b}); at >= 0 {
			if zr, err := gzip.NewReader(bytes.NewReader(data[at:])); err == nil {
				plain, _ := io.ReadAll(zr)
				data = append(data, plain...)
			}
		}
		content[path] = string(data)
		return err
	}))
	return content
}

// Books: the accounting identity that SignalHealth promises.

// healthBySignal is the health of each signal.
func healthBySignal(g *telemetry.Guard) map[otlptest.Signal]telemetry.SignalHealth {
	h := g.Health()
	return map[otlptest.Signal]telemetry.SignalHealth{otlptest.Traces: h.Traces, otlptest.Metrics: h.Metrics,
		otlptest.Logs: h.Logs}
}

// requireBalanced asserts the identity.
func requireBalanced(t *testing.T, g *telemetry.Guard) {
	t.Helper()
	for signal, h := range healthBySignal(g) {
		require.Equal(t, h.Accepted+h.Recovered, h.Exported+h.Dropped+h.Failed+h.Rejected+h.Queued+h.Spooled, "%s: %+v",
			signal, h)
		var byReason int64
		for _, n := range h.DroppedBy {
			byReason += n
		}
		require.Equal(t, h.Dropped, byReason, "%s: %+v", signal, h)
	}
}

// requireBooks asserts the identity, with nothing left in the queues.
func requireBooks(t *testing.T, g *telemetry.Guard) {
	t.Helper()
	requireBalanced(t, g)
	for signal, h := range healthBySignal(g) {
		require.Zero(t, h.Queued, "%s: %+v", signal, h)
	}
}

// Providers: those of the SDK in place of a guard's.

// A server ends its span after the client has its answer, so a test waits for it.
const (
	waitFor = 2 * time.Second
	tick    = time.Millisecond
)

// sdkRecord is what the SDK made of the signals of one test.
type sdkRecord struct {
	spans   *tracetest.SpanRecorder
	metrics *sdkmetric.ManualReader
	tracing *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
}

// points waits for the histogram of that name: it is recorded after the client has its answer.
func (r *sdkRecord) points(t testing.TB, name string) (all []point) {
	t.Helper()
	switch data := r.metric(t, name).Data.(type) {
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			all = append(all, point{attributeMap(p.Attributes.ToSlice()), p.Count, p.Sum})
		}
	case metricdata.Histogram[int64]:
		for _, p := range data.DataPoints {
			all = append(all, point{attributeMap(p.Attributes.ToSlice()), p.Count, float64(p.Sum)})
		}
	}
	return all
}

// onePoint is that of the only request there was.
func (r *sdkRecord) onePoint(t testing.TB, name string) point {
	t.Helper()
	all := r.points(t, name)
	require.Len(t, all, 1, name)
	require.EqualValues(t, 1, all[0].count, name)
	return all[0]
}

// span waits for the one ended span of that name.
func (r *sdkRecord) span(t testing.TB, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	require.Eventually(t, func() bool {
		found = nil
		for _, s := range r.spans.Ended() {
			if s.Name() == name {
				found = append(found, s)
			}
		}
		return len(found) > 0
	}, waitFor, tick, "no span %q", name)
	require.Len(t, found, 1, "spans named %q", name)
	return found[0]
}

func (r *sdkRecord) names() []string {
	var names []string
	for _, s := range r.spans.Ended() {
		names = append(names, s.Name())
	}
	return names
}

// collected is every metric so far, by name.
func (r *sdkRecord) collected(t testing.TB) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, r.metrics.Collect(context.Background(), &all))
	byName := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			byName[m.Name] = m
		}
	}
	return byName
}

// metric waits for the metric of that name: instrumentation may record it after the span has ended.
func (r *sdkRecord) metric(t testing.TB, name string) metricdata.Metrics {
	t.Helper()
	var found metricdata.Metrics
	require.Eventually(t, func() bool {
		m, ok := r.collected(t)[name]
		found = m
		return ok
	}, waitFor, tick, "no metric %q", name)
	return found
}

// recordSDK makes providers that are not global.
func recordSDK(t testing.TB, opts ...sdktrace.TracerProviderOption) *sdkRecord {
	t.Helper()
	r := &sdkRecord{spans: tracetest.NewSpanRecorder(), metrics: sdkmetric.NewManualReader()}
	r.tracing = sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(r.spans))...)
	r.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.metrics))
	t.Cleanup(func() {
		require.NoError(t, r.tracing.Shutdown(context.Background()))
		require.NoError(t, r.meters.Shutdown(context.Background()))
	})
	return r
}

// recordGlobals makes providers the global ones, with the W3C propagators, for one test.
func recordGlobals(t testing.TB, opts ...sdktrace.TracerProviderOption) *sdkRecord {
	t.Helper()
	r := recordSDK(t, opts...)
	tracing, meters := otel.GetTracerProvider(), otel.GetMeterProvider()
	t.Cleanup(func() {
		otel.SetTracerProvider(tracing)
		otel.SetMeterProvider(meters)
	})
	otel.SetTracerProvider(r.tracing)
	otel.SetMeterProvider(r.meters)
	setPropagator(t, propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	return r
}

// setPropagator sets the global propagator for one test.
func setPropagator(t testing.TB, p propagation.TextMapPropagator) {
	t.Helper()
	previous := otel.GetTextMapPropagator()
	t.Cleanup(func() { otel.SetTextMapPropagator(previous) })
	otel.SetTextMapPropagator(p)
}

// noTraces is the provider that OpenTelemetry itself uses by default.
func noTraces() trace.TracerProvider {
	return trace.SpanFromContext(context.Background()).TracerProvider()
}

// point is one series of a histogram.
type point struct {
	attributes map[string]string
	count      uint64
	sum        float64
}

// attributeMap has each attribute's value as text.
func attributeMap(attributes []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range attributes {
		m[string(kv.Key)] = kv.Value.String()
	}
	return m
}

// requireRandomRoot asserts that the span began a trace here, with a random id.
func requireRandomRoot(t testing.TB, s sdktrace.ReadOnlySpan) {
	t.Helper()
	require.True(t, s.SpanContext().IsRandom(), "a root of ours is random")
	require.False(t, s.Parent().HasTraceID(), "a root has no parent trace")
	require.False(t, s.Parent().HasSpanID(), "a root has no parent span")
	require.False(t, s.Parent().IsRemote(), "a root has no remote parent")
}

// Callers: a trace that comes from elsewhere.

// The ids of the caller's trace and span, as a traceparent has them.
const (
	callerTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerSpan  = "00f067aa0ba902b7"
)

// remoteContext is a caller's span context.
func remoteContext(t testing.TB, flags trace.TraceFlags) trace.SpanContext {
	t.Helper()
	traceID, err := trace.TraceIDFromHex(callerTrace)
	require.NoError(t, err)
	spanID, err := trace.SpanIDFromHex(callerSpan)
	require.NoError(t, err)
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: flags,
		Remote: true})
}

// withBaggage is a context with the baggage of a header.
func withBaggage(t testing.TB, header string) context.Context {
	t.Helper()
	bag, err := baggage.Parse(header)
	require.NoError(t, err)
	return baggage.ContextWithBaggage(context.Background(), bag)
}

// HTTP and gRPC: servers and clients of a service.

// serve starts a real server; its log is silent because some tests panic.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// request sends a request, reads the whole answer, and returns it.
func request(t testing.TB, server *httptest.Server, method, path string, header http.Header) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, http.NoBody)
	require.NoError(t, err)
	for k, v := range header {
		r.Header[k] = v
	}
	response, err := server.Client().Do(r)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response
}

// ok is a handler that answers 200.
func ok(http.ResponseWriter, *http.Request) {}

// roundTripFunc is a transport made of a function.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// unreachable is a transport whose every request fails.
var unreachable = roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })

// paymentServer answers with the error its baggage asks for, and keeps the baggage.
type paymentServer struct {
	testpb.UnimplementedTestServiceServer
	bag string
}

func (s *paymentServer) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	s.bag = baggage.FromContext(ctx).String()
	if baggage.FromContext(ctx).Member("fail").Value() != "" {
		return nil, status.Error(grpccodes.Unavailable, "no gateway")
	}
	return &testpb.Empty{}, nil
}

// startGRPC serves until the test ends, and returns the address.
func startGRPC(t testing.TB, s *grpc.Server) (address string) {
	t.Helper()
	listener := listen(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		require.NoError(t, <-done)
	})
	return listener.Addr().String()
}

// dialGRPC returns a connection that is closed when the test ends.
func dialGRPC(t testing.TB, address string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// grpcConn serves with one stats handler and returns a connection with the other.
func grpcConn(t testing.TB, service testpb.TestServiceServer, server, client stats.Handler) *grpc.ClientConn {
	t.Helper()
	s := grpc.NewServer(grpc.StatsHandler(server))
	testpb.RegisterTestServiceServer(s, service)
	healthpb.RegisterHealthServer(s, health.NewServer())
	address := startGRPC(t, s)
	if client == nil {
		return dialGRPC(t, address)
	}
	return dialGRPC(t, address, grpc.WithStatsHandler(client))
}

// grpcService returns a function that makes one call.
func grpcService(t testing.TB, server, client stats.Handler) func(context.Context) error {
	t.Helper()
	service := testpb.NewTestServiceClient(grpcConn(t, &paymentServer{}, server, client))
	return func(ctx context.Context) error {
		_, err := service.EmptyCall(ctx, &testpb.Empty{})
		return err
	}
}

// Peers: what may stand at an endpoint in place of a collector.

// listen listens at a free port of the loopback interface.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// address is host and port of a URL.
func address(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// accept hands each connection that l accepts to the function, until the test ends, and returns the
// address of l.
func accept(t testing.TB, l net.Listener, handle func(net.Conn)) (address string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			handle(conn)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// answering is a server that reads a request and writes what answer makes of its headers, HTTP or
// not.
func answering(t *testing.T, answer func(http.Header) string) (endpoint string) {
	t.Helper()
	return "http://" + accept(t, listen(t), func(conn net.Conn) {
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = fmt.Fprint(conn, answer(req.Header))
		}
	})
}

// silentPeer accepts connections and never answers.
func silentPeer(t testing.TB) string {
	return accept(t, listen(t), func(conn net.Conn) {
		go func() {
			_, _ = io.Copy(io.Discard, conn) // until the client goes away
			_ = conn.Close()
		}()
	})
}

// deadEnd is an address from which no answer comes.
type deadEnd struct {
	name string
	open func(t testing.TB) (address string)
}

// endpointOf returns the URL of a dead end. A hung collector is one that speaks the protocol and
// answers no request.
func (d deadEnd) endpointOf(t *testing.T, protocol telemetry.Protocol) string {
	if address := d.open(t); address != "" {
		return "http://" + address
	}
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true})
	return c.Endpoint(string(protocol))
}

// deadEnds are all ways in which no answer comes.
func deadEnds() []deadEnd {
	return append(blackHoles(), // the connection is never made; only on systems where a test can arrange that
		deadEnd{"closed port", func(t testing.TB) string { return otlptest.FreeAddress(t) }}, // it is refused
		// it is accepted, and nothing is ever written to it
		deadEnd{"silent peer", silentPeer},
		deadEnd{"hung collector", func(testing.TB) string { return "" }},
	)
}

// skipWithDefaultCollector skips a test that needs the specification's endpoints to be empty.
func skipWithDefaultCollector(t *testing.T) {
	t.Helper()
	for _, address := range []string{"localhost:4318", "localhost:4317"} {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = conn.Close()
			t.Skipf("something listens at %s", address)
		}
	}
}

// Diagnoses: settings that are wrong, and the line that the probe writes about them.

// diagnosis is one way to get the settings wrong. The line that the probe writes is asserted word
// for word; then the test does what the line says, and data must arrive.
type diagnosis struct {
	name string
	env  map[string]string // the wrong settings
	want string            // the probe's only line, without "telemetry: "
	also string            // what Init says before it
	// fill has what a person puts in place of words in the advice, such as the file in place of "a
	// PEM file".
	fill map[string]string
	// repair is for advice that is not a setting with its value; what it returns are settings.
	repair    func() map[string]string
	collector *otlptest.Collector
	signals   []string // those that are diagnosed and must arrive; all, if empty
}

func (d diagnosis) run(t *testing.T) {
	t.Helper()
	t.Run(d.name, d.check)
}

func (d diagnosis) check(t *testing.T) {
	lines := warningsOf(t, d.env, d.also)
	if d.also != "" {
		require.Equal(t, "telemetry: "+d.also, lines[0])
		lines = lines[1:]
	}
	require.Equal(t, []string{"telemetry: " + d.want}, lines)

	repaired := maps.Clone(d.env)
	if d.repair != nil {
		maps.Copy(repaired, d.repair())
	} else {
		maps.Copy(repaired, settingsIn(t, d.want, d.fill))
	}
	require.Empty(t, d.arrives(t, repaired), "nothing more to say")
}

// arrives records one item of each signal in a service with these settings and waits until they are
// there. It returns the service's warnings.
func (d diagnosis) arrives(t *testing.T, settings ...map[string]string) []string {
	t.Helper()
	d.collector.Reset()
	env := map[string]string{}
	for _, more := range settings {
		maps.Copy(env, more)
	}
	guard, console := inEnvironment(t, env)
	record(t.Context(), guard, "after the repair")
	require.NoError(t, guard.Shutdown(t.Context()))
	signals := d.signals
	if len(signals) == 0 {
		signals = []string{"traces", "metrics", "logs"}
	}
	for _, signal := range signals {
		switch signal {
		case "traces":
			require.Equal(t, []string{"after the repair"}, spanNames(d.collector))
		case "metrics":
			require.Equal(t, []string{"after.the.repair"}, metricNames(d.collector))
		case "logs":
			require.Len(t, d.collector.LogRecords(), 1)
		}
	}
	return warnings(console.String())
}

// settingsIn reads the settings out of the advice: NAME=value, up to a blank that does not belong
// to the value.
func settingsIn(t *testing.T, advice string, fill map[string]string) map[string]string {
	t.Helper()
	for words, value := range fill {
		require.Contains(t, advice, words)
		advice = strings.ReplaceAll(advice, words, value)
	}
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`\b([A-Z][A-Z_]+)=([^\s,]+)`).FindAllStringSubmatch(advice, -1) {
		found[m[1]] = m[2]
	}
	require.NotEmpty(t, found, advice)
	return found
}

// Errors.

// chain has the texts of an error and of all that it wraps.
func chain(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error() + "\n"
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			text += chain(one)
		}
	}
	return text + chain(errors.Unwrap(err))
}

// labelledError names its own error.type.
type labelledError struct{ error }

func (labelledError) ErrorType() string { return "card_declined" }

// Memory.

// heapNow is what the program holds.
func heapNow() int {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
