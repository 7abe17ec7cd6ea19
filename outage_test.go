package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

// wire stands in for the network: in virtual time nothing may wait for a socket. All above it is what services run.
type wire struct {
	mu             sync.Mutex
	down           error // what a dial comes back with
	status         int   // of answers; 0: 200
	spans, records int   // that arrived
}

func (w *wire) set(down error, status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.status = down, status
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := decompressed(r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		return nil, w.down
	}
	status := w.status
	if status == 0 {
		status = http.StatusOK
		w.take(r.URL.Path, body)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func (w *wire) take(path string, body []byte) {
	switch {
	case strings.HasSuffix(path, "traces"):
		var msg coltracepb.ExportTraceServiceRequest
		if proto.Unmarshal(body, &msg) == nil {
			w.spans += len(msg.ResourceSpans[0].ScopeSpans[0].Spans)
		}
	case strings.HasSuffix(path, "logs"):
		var msg collogspb.ExportLogsServiceRequest
		if proto.Unmarshal(body, &msg) == nil {
			w.records += len(msg.ResourceLogs[0].ScopeLogs[0].LogRecords)
		}
	}
}

func decompressed(body io.Reader) ([]byte, error) {
	plain, err := gzip.NewReader(body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

var errRefused = fmt.Errorf("dial tcp 10.0.0.1:4318: %w", syscall.ECONNREFUSED)

// selfLines is the console as the self-log writes it.
type selfLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *selfLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take returns the lines since the last call, each as "+seconds LEVEL message".
func (l *selfLines) take(t *testing.T, begin time.Time) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for line := range strings.Lines(l.buf.String()) {
		var record struct {
			Time  time.Time
			Level slog.Level
			Msg   string
		}
		require.NoError(t, json.Unmarshal([]byte(line), &record))
		all = append(all, fmt.Sprintf("+%.0fs %s %s", record.Time.Sub(begin).Seconds(), record.Level, strings.TrimPrefix(record.Msg, "telemetry: ")))
	}
	l.buf.Reset()
	return all
}

// startInBubble is Init without globals and detectors, over w.
func startInBubble(t *testing.T, w http.RoundTripper, out io.Writer, env environment, opts ...Option) *Guard {
	t.Helper()
	o := &options{withoutGlobals: true}
	bundle(opts).apply(o)
	resolved := resolveConfig(o, env)
	cfg := resolved.cfg
	require.NoError(t, resolved.err())
	res := resourceOf(attribute.String("service.name", "test"))
	console := newConsoleHandler(out, LogFormatJSON, slog.LevelError, nil)
	selfLog := newSelfLog(o, console, slog.LevelInfo, resolved.mask(), res)
	g := &Guard{cfg: cfg, resource: res, selfLog: selfLog, connections: newConnections(cfg, selfLog)}
	for _, s := range allSignals() {
		sc := cfg.signals[s]
		if !sc.on {
			continue
		}
		g.connections.http[keyOf(sc)] = &http.Client{Transport: g.connections.endpoint(sc).Transport(w)}
	}
	require.NoError(t, g.start(t.Context(), &builder{cfg: cfg, resource: res, connections: g.connections, selfLog: selfLog, console: console}))
	if cfg.signals[logs].on {
		g.logger = slog.New(g.branches(console)[0])
	} else {
		g.logger = slog.New(slog.DiscardHandler)
	}
	t.Cleanup(func() { _ = g.Shutdown(context.Background()) })
	return g
}

// load makes rate spans and records a second for d.
func load(g *Guard, rate int, d time.Duration) (items int) {
	tracer := g.TracerProvider().Tracer("load")
	for range int(d / (100 * time.Millisecond)) {
		for range rate / 10 {
			ctx, span := tracer.Start(context.Background(), "work")
			g.Logger().InfoContext(ctx, "worked")
			span.End()
			items++
		}
		time.Sleep(100 * time.Millisecond)
	}
	return items
}

// An outage that the queues can hold: one line when each signal goes, one when it is back, and nothing is lost.
func TestOutageWritesAHandfulOfLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{}, &selfLines{}
		g := startInBubble(t, w, out, environment{"OTEL_TRACES_SAMPLER": "always_on", "OTEL_METRIC_EXPORT_INTERVAL": "10000", "OTEL_METRIC_EXPORT_TIMEOUT": "300000"}, WithoutRuntimeMetrics(),
			WithSpanBatch(Batch{ExportTimeout: 5 * time.Minute}), WithLogBatch(Batch{ExportTimeout: 5 * time.Minute}))
		n := load(g, 100, 10*time.Second)
		w.set(errRefused, 0)
		begin := time.Now()
		n += load(g, 100, time.Minute)
		away := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `^\+\d+s WARN (traces|logs|metrics) cannot be delivered: each (batch|export) is retried for [^\n]*nothing listens at localhost:4318[^\n]*`+
			`(\n\+\d+s WARN (traces|logs|metrics) cannot be delivered either, for the same reason as (traces|logs|metrics)){2}$`, away,
			"one line for each signal, in a minute of failing exports, and the reason once")
		w.set(nil, 0)
		n += load(g, 100, 10*time.Second)
		said := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `(?m)^\+6\ds INFO traces are delivered again after [\dm.]+s: [56],\d{3} spans were kept and are being sent, none lost$`, said)
		require.Regexp(t, `(?m)^\+6\ds INFO logs are delivered again after [\dm.]+s: [56],\d{3} log records were kept and are being sent, none lost$`, said)
		require.Regexp(t, `(?m)^\+6\ds INFO metrics are delivered again after [\dm.]+s: \d+ data points were kept and are being sent`, said)
		require.Len(t, strings.Split(said, "\n"), 3)
		time.Sleep(time.Hour)
		require.NoError(t, g.Shutdown(t.Context()))
		require.Equal(t, []string{"INFO stopped"}, withoutTimes(out.take(t, begin)))
		require.Equal(t, []int{n, n}, []int{w.spans, w.records})
	})
}

// One that they cannot hold: what is lost is said at once, in sum with the recovery, and never twice; the sums are those
// of the books.
func TestOutageThatLosesSaysHowMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{}, &selfLines{}
		g := startInBubble(t, w, out, environment{"OTEL_TRACES_SAMPLER": "always_on"}, WithoutRuntimeMetrics(), WithoutMetrics())
		load(g, 1000, 10*time.Second)
		w.set(errRefused, 0)
		begin := time.Now()
		load(g, 1000, time.Minute)
		said := out.take(t, begin)
		require.LessOrEqual(t, len(said), 4, "%q", said)
		require.Contains(t, strings.Join(said, "\n"), "1 span was lost: the queue is full (queue_full)")
		w.set(nil, 0)
		load(g, 1000, 10*time.Second)
		said = out.take(t, begin)
		require.Len(t, said, 2, "%q", said)
		h := g.Health()
		for i, lost := range map[string]SignalHealth{"spans": h.Traces, "log records": h.Logs} {
			require.Positive(t, lost.Failed)
			require.Positive(t, lost.DroppedBy["queue_full"])
			require.Regexp(t, fmt.Sprintf(`WARN \w+ are delivered again after [\dm.]+s: [\d,]+ %s were kept and are being sent, %s lost \([\d,]+ (queue_full|failed), [\d,]+ (queue_full|failed)\)`,
				i, diagnose.Thousands(lost.Lost())), strings.Join(said, "\n"))
		}
		time.Sleep(time.Hour)
		require.NoError(t, g.Shutdown(t.Context()))
		require.Equal(t, []string{"WARN stopped"}, withoutTimes(out.take(t, begin)), "the recovery has said what was lost")
	})
}

// A signal that begins to fail long after another gets the reason, not the name of a line that nobody finds.
func TestLateFailureHasItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		g := startInBubble(t, w, out, environment{"OTEL_TRACES_SAMPLER": "always_on"}, WithoutMetrics())
		begin := time.Now()
		span := func() { _, s := g.TracerProvider().Tracer("x").Start(t.Context(), "work"); s.End() }
		log := func() { g.Logger().Info("worked") }
		span()
		time.Sleep(10 * time.Second)
		require.Regexp(t, `^\+\ds WARN traces cannot be delivered: each batch is retried for 30s \(OTEL_BSP_EXPORT_TIMEOUT\) and then lost, unless there is a spool \(TELEMETRY_SPOOL_DIR\): nothing listens`, strings.Join(out.take(t, begin), "\n"))
		time.Sleep(6 * time.Minute)
		out.take(t, begin)
		log()
		time.Sleep(10 * time.Second)
		require.Regexp(t, `^\+\d+s WARN logs cannot be delivered: each batch is retried for 30s \(OTEL_BLRP_EXPORT_TIMEOUT\) and then lost, unless there is a spool \(TELEMETRY_SPOOL_DIR\): nothing listens`, strings.Join(out.take(t, begin), "\n"))

		w.set(nil, 0)
		span()
		log()
		time.Sleep(10 * time.Second)
		out.take(t, begin)
		w.set(fmt.Errorf("lookup localhost: %w", &net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}), 0)
		log()
		time.Sleep(10 * time.Second)
		w.set(errRefused, 0)
		span()
		time.Sleep(10 * time.Second)
		said := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `WARN logs cannot be delivered: .*: the host name localhost does not resolve`, said)
		require.Regexp(t, `WARN traces cannot be delivered: .*: nothing listens`, said, "another reason")
		w.set(nil, 0)
	})
}

// What is over is referred to by nobody.
func TestNextOutageHasItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		g := startInBubble(t, w, out, environment{"OTEL_TRACES_SAMPLER": "always_on"}, WithoutMetrics())
		begin := time.Now()
		_, span := g.TracerProvider().Tracer("x").Start(t.Context(), "work")
		span.End()
		time.Sleep(10 * time.Second)
		w.set(nil, 0)
		time.Sleep(10 * time.Second)
		require.Regexp(t, `traces are delivered again after [^\n]*$`, strings.Join(out.take(t, begin), "\n"))
		w.set(errRefused, 0)
		g.Logger().Info("worked")
		time.Sleep(10 * time.Second)
		require.Regexp(t, `^\+\d+s WARN logs cannot be delivered: each batch is retried for 30s \(OTEL_BLRP_EXPORT_TIMEOUT\) and then lost, unless there is a spool \(TELEMETRY_SPOOL_DIR\): nothing listens`, strings.Join(out.take(t, begin), "\n"))
		w.set(nil, 0)
	})
}

// The line about an outage says where things are kept.
func TestOutageNamesTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		begin := time.Now()
		env := environment{"OTEL_TRACES_SAMPLER": "always_on", "TELEMETRY_SPOOL_DIR": t.TempDir()}
		g := startInBubble(t, w, out, env, WithoutMetrics(), WithoutLogs())
		load(g, 10, 10*time.Second)
		require.Contains(t, strings.Join(out.take(t, begin), "\n"), " cannot be delivered and wait on disk: ")
		require.NoError(t, g.Shutdown(t.Context()), "it is on disk")
	})
}

// A collector that comes and goes writes no more than one that is away.
func TestFlappingCollectorIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{}, &selfLines{}
		begin := time.Now()
		g := startInBubble(t, w, out, environment{"OTEL_TRACES_SAMPLER": "always_on", "OTEL_BSP_SCHEDULE_DELAY": "100"}, WithoutMetrics(), WithoutLogs())
		for i := range 300 {
			w.set(map[bool]error{true: errRefused}[i%2 == 0], 0)
			load(g, 10, time.Second)
		}
		w.set(nil, 0)
		said := out.take(t, begin)
		require.LessOrEqual(t, len(said), 2*6, "two causes, five minutes: %q", said)
		require.Regexp(t, `traces are delivered again: \d+ times in the last minute, since`, strings.Join(said, "\n"))
		require.NoError(t, g.Shutdown(t.Context()))
	})
}

// An answer is not a delivery: credentials that are wrong after the collector's restart.
func TestRecoveryThatRefusesIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := &wire{down: errRefused}, &selfLines{}
		begin := time.Now()
		g := startInBubble(t, w, out, environment{"OTEL_TRACES_SAMPLER": "always_on"}, WithoutMetrics(), WithoutLogs())
		load(g, 10, 10*time.Second)
		out.take(t, begin)
		w.set(nil, http.StatusUnauthorized)
		load(g, 10, 10*time.Second)
		said := strings.Join(out.take(t, begin), "\n")
		require.Regexp(t, `WARN traces are answered again after [\d.]+s, and refused: http://localhost:4318/v1/\S+ requires credentials \(401 Unauthorized\): [^;]*; (none|\d+) lost`, said,
			"batches that are refused side by side may be booked before the line")
		require.Regexp(t, `ERROR \d+ spans were lost: http://localhost:4318/v1/\S+ requires credentials \(401 Unauthorized\): set OTEL_EXPORTER_OTLP_HEADERS`, said)
		require.NotContains(t, said, "delivered again")
		require.Error(t, g.Shutdown(t.Context()))
	})
}

func withoutTimes(lines []string) (all []string) {
	for _, line := range lines {
		_, rest, _ := strings.Cut(line, " ")
		all = append(all, rest)
	}
	return all
}

func resourceOf(attrs ...attribute.KeyValue) *resource.Resource {
	return resource.NewSchemaless(attrs...)
}
