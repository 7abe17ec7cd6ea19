package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// Settings.

// resolve returns what these variables and options amount to.
func resolve(env settings.Environment, opts ...Option) *settings.Resolution {
	return settings.Resolve(collect(opts), env)
}

// writeCertificates writes an authority, a server's and a client's certificate.
func writeCertificates(t *testing.T) *otlptest.Certificates {
	t.Helper()
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	return certs
}

// headersOf is a header function that returns one header of that name.
func headersOf(name string) func(context.Context) (map[string]string, error) {
	return func(context.Context) (map[string]string, error) { return map[string]string{name: "1"}, nil }
}

// discardLogs is a log exporter that is never asked for anything.
type discardLogs struct{ sdklog.Exporter }

// discardPointer is the same, for a nil pointer of it.
type discardPointer struct{ sdklog.Exporter }

// discard is a span processor that is never asked for anything.
type discard struct{ sdktrace.SpanProcessor }

// Time without waiting: a guard in a synctest bubble, over a wire that is no network.

// startInBubble is Init without globals, over w. What is said at the start is not in out, nor are
// records below an error.
func startInBubble(t *testing.T, w http.RoundTripper, out io.Writer, env settings.Environment, opts ...Option) *Guard {
	t.Helper()
	variables := map[string]string{"OTEL_SERVICE_NAME": "test", "TELEMETRY_PROBE": "false"}
	maps.Copy(variables, env)
	ctx := testenv.WithTransport(testenv.With(t.Context(), variables), w)
	quiet := []Option{WithoutGlobals(), WithLogOutput(out), WithLogLevel(slog.LevelError),
		ForLogs(WithLogLevel(slog.LevelInfo))}
	g, err := Init(ctx, append(quiet, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.Shutdown(context.Background()) })
	synctest.Wait()
	if lines, ok := out.(*selfLines); ok {
		lines.take(t, time.Now())
	}
	return g
}

// alwaysOn keeps every trace.
var alwaysOn = settings.Environment{"OTEL_TRACES_SAMPLER": "always_on"}

// wire stands in for the network: in virtual time nothing may wait for a socket. All above it is
// what services run.
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

// decompressed reads a body with gzip.
func decompressed(body io.Reader) ([]byte, error) {
	plain, err := gzip.NewReader(body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

// errRefused is what a dial to a closed port comes back with.
var errRefused = fmt.Errorf("dial tcp 10.0.0.1:4318: %w", syscall.ECONNREFUSED)

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
		all = append(all, fmt.Sprintf("+%.0fs %s %s", record.Time.Sub(begin).Seconds(), record.Level,
			strings.TrimPrefix(record.Msg, "telemetry: ")))
	}
	l.buf.Reset()
	return all
}

// withoutTimes leaves out the times that take put before the lines.
func withoutTimes(lines []string) (all []string) {
	for _, line := range lines {
		_, rest, _ := strings.Cut(line, " ")
		all = append(all, rest)
	}
	return all
}

// Generated files.

// update is set by make update.
var update = flag.Bool("update", false, "write the generated tables and golden files")
