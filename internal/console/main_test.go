package console

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files")

// TestMain shows times of day in UTC, as the golden files have them.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	goleak.VerifyTestMain(m)
}

// terminal keeps each Write apart, and notices one that comes during another.
type terminal struct {
	busy, overlapped atomic.Bool

	mu     sync.Mutex
	blocks []string
}

func (w *terminal) Write(p []byte) (int, error) {
	if !w.busy.CompareAndSwap(false, true) {
		w.overlapped.Store(true)
	}
	defer w.busy.Store(false)
	runtime.Gosched()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocks = append(w.blocks, string(p))
	return len(p), nil
}

func (w *terminal) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.blocks, "")
}

// watched is a service whose traces and logs somebody watches.
type watched struct {
	terminal
	traces   *Traces
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	logger   *slog.Logger
}

func watch(t *testing.T, width int, color bool, l limits) *watched {
	t.Helper()
	w := &watched{}
	screen := NewScreen(&w.terminal, color, func() int { return width })
	w.traces = newTraces(screen, l)
	w.provider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.traces),
		sdktrace.WithIDGenerator(&countedIDs{}))
	w.tracer = w.provider.Tracer("test")
	w.logger = slog.New(NewLogs(screen, w.traces, slog.LevelInfo))
	t.Cleanup(func() { require.NoError(t, w.provider.Shutdown(context.WithoutCancel(t.Context()))) })
	return w
}

// scenario runs in virtual time, so that every figure on the screen is known.
func scenario(t *testing.T, width int, color bool, l limits, run func(context.Context, *watched)) (output string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, width, color, l)
		run(t.Context(), w)
		require.NoError(t, w.provider.Shutdown(t.Context()))
		output = w.String()
	})
	return output
}

// countedIDs are 1, 2, 3 …, each trace ID with a first digit that tells it apart.
type countedIDs struct {
	mu            sync.Mutex
	traces, spans uint64
}

func (g *countedIDs) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	g.mu.Lock()
	g.traces++
	binary.BigEndian.PutUint64(id[:], g.traces<<32|0xabcdef)
	id[15] = 1
	g.mu.Unlock()
	return id, g.NewSpanID(ctx, id)
}

func (g *countedIDs) NewSpanID(context.Context, trace.TraceID) (span trace.SpanID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spans++
	binary.BigEndian.PutUint64(span[:], g.spans<<32|1)
	return span
}

// requireGolden compares with testdata/<test name>.golden, or writes it.
func requireGolden(t *testing.T, output string) {
	t.Helper()
	file := filepath.Join("testdata",
		strings.NewReplacer("/", "_", "#", "").Replace(strings.TrimPrefix(t.Name(), "Test"))+".golden")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(output), 0o644))
	}
	golden, err := os.ReadFile(file)
	require.NoError(t, err, "go test ./internal/console -update writes it")
	require.Equal(t, string(bytes.TrimSpace(golden)), strings.TrimSpace(output))
}

// requireWidth asserts that no line needs more columns than the terminal has, except for a trace
// ID.
func requireWidth(t *testing.T, output string, width int) {
	t.Helper()
	for row := range strings.Lines(output) {
		most := width
		if strings.Contains(row, " TRACE ") {
			most = max(width, len("15:04:05.000 TRACE 0123456789abcdef0123456789abcdef"))
		}
		require.LessOrEqual(t, columns(strings.TrimSuffix(row, "\n")), most, row)
	}
}
