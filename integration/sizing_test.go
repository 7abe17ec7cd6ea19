package integration

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

var sizingSpans = flag.Int("spans", 30_000, "how many spans TestSizing sends through the tiers")

// TestSizing measures what deploy/README.md reckons with, on the shop's own telemetry: bytes on the
// wire, and the processor time of the agent and the gateway. It fails if something is lost on the
// way.
//
//	go test -run TestSizing -v . -args -spans 300000
func TestSizing(t *testing.T) {
	direct := newSink(t)
	startShop(t, 6*time.Second, "10", "OTEL_TRACES_SAMPLER=always_on", "OTEL_EXPORTER_OTLP_ENDPOINT="+direct.url).wait()
	for _, signal := range []string{"traces", "metrics", "logs"} {
		count := direct.count(signal)
		require.Positive(t, count.items, signal)
		t.Logf("from a service, %-8s %4d bytes each with gzip, %4d without (%d in %d requests)",
			signal+":", count.wire/count.items, count.plain/count.items, count.items, count.requests)
	}

	backend := newSink(t)
	agent, gateway, _ := newTiers(t, "TAIL_SAMPLING_DECISION_WAIT=2s", "BACKEND_ENDPOINT="+backend.url)
	idle := make(map[*collector]time.Duration)
	for _, c := range []*collector{gateway, agent} { // what starting costs
		c.start()
		c.stop(syscall.SIGKILL) // a collector is healthy a moment before it listens to SIGTERM
		idle[c], c.cpu = c.cpu, 0
	}
	startAll(gateway, agent)
	began := time.Now()
	sent := replay(t, agent, direct.traces, *sizingSpans)
	require.Eventually(t, func() bool { return backend.distinct() == sent }, arrival, 100*time.Millisecond)
	elapsed := time.Since(began)
	agent.stop(syscall.SIGTERM)
	gateway.stop(syscall.SIGTERM)

	count := backend.count("traces")
	t.Logf("to the backend, traces:   %4d bytes each with gzip, %4d without (%d came twice)", count.wire/count.items,
		count.plain/count.items, count.items-sent)
	for _, c := range []*collector{agent, gateway} {
		cpu := c.cpu - idle[c]
		require.Positive(t, cpu)
		t.Logf("%-8s %6.1f µs of processor time per span: %.0f spans/s and core (%d spans in %v)", c.name+":",
			float64(cpu.Microseconds())/float64(sent), float64(sent)/cpu.Seconds(), sent, elapsed.Round(time.Second))
	}
}

// replay sends the requests again and again, each time as other traces, until there are enough
// spans.
func replay(t *testing.T, agent *collector, requests []ptrace.Traces, spans int) (sent int) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	for sent < spans {
		ids := make(map[pcommon.TraceID]pcommon.TraceID)
		for _, original := range requests {
			request := ptrace.NewTraces()
			original.CopyTo(request)
			for _, rs := range request.ResourceSpans().All() {
				for _, ss := range rs.ScopeSpans().All() {
					for _, s := range ss.Spans().All() {
						if _, ok := ids[s.TraceID()]; !ok {
							ids[s.TraceID()] = traceID(random)
						}
						s.SetTraceID(ids[s.TraceID()])
					}
				}
			}
			export(t, agent.grpc, request)
			sent += request.SpanCount()
		}
	}
	return sent
}

// sink is a backend that counts what it gets, and keeps the traces.
type sink struct {
	url string

	mu     sync.Mutex
	counts map[string]*tally
	traces []ptrace.Traces
	spans  map[spanKey]bool
}

// tally of a signal: items are spans, log records or metric data points, wire and plain bytes.
type tally struct{ requests, items, wire, plain int }

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{counts: map[string]*tally{"traces": {}, "metrics": {}, "logs": {}}, spans: make(map[spanKey]bool)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.take(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *sink) take(r *http.Request) error {
	wire, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	plain := wire
	if r.Header.Get("Content-Encoding") == "gzip" {
		reader, err := gzip.NewReader(bytes.NewReader(wire))
		if err != nil {
			return err
		}
		if plain, err = io.ReadAll(reader); err != nil {
			return err
		}
	}
	// A request and the messages of pdata are the same bytes.
	var items int
	var traces ptrace.Traces
	signal := path.Base(r.URL.Path)
	switch signal {
	case "traces":
		traces, err = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(plain)
		items = traces.SpanCount()
	case "metrics":
		var metrics pmetric.Metrics
		metrics, err = (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(plain)
		items = metrics.DataPointCount()
	default:
		var logs plog.Logs
		logs, err = (&plog.ProtoUnmarshaler{}).UnmarshalLogs(plain)
		items = logs.LogRecordCount()
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	count := s.counts[signal]
	count.requests++
	count.items += items
	count.wire += len(wire)
	count.plain += len(plain)
	if signal != "traces" {
		return nil
	}
	s.traces = append(s.traces, traces)
	for _, rs := range traces.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, found := range ss.Spans().All() {
				s.spans[span{Span: found}.key()] = true
			}
		}
	}
	return nil
}

func (s *sink) distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.spans)
}

func (s *sink) count(signal string) tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.counts[signal]
}
