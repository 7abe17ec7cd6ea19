package pipeline

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/identity"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// partsOf are a pipeline's parts for settings of which none is wrong. What the library says goes
// nowhere.
func partsOf(t *testing.T, asked *settings.Asked, env settings.Environment) Parts {
	t.Helper()
	asked.WithoutGlobals = true
	resolved := settings.Resolve(asked, env)
	require.NoError(t, resolved.Err())
	cfg := resolved.Config
	res, _ := identity.Resource(t.Context(), cfg)
	silent := selflog.New(func(slog.Record) {}, slog.LevelWarn, mask.Mask{})
	return Parts{
		Config: cfg, Resource: res, SelfLog: silent, Connections: otlp.Connect(t.Context(), cfg, silent),
		Console: NewConsole(cfg, env),
	}
}

func TestSettingsOfTimeReachTheirPlace(t *testing.T) {
	b := &builder{Parts: partsOf(t, &settings.Asked{}, settings.Environment{
		"OTEL_BSP_SCHEDULE_DELAY": "11", "OTEL_BSP_EXPORT_TIMEOUT": "12", "OTEL_BSP_MAX_QUEUE_SIZE": "13",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "7", "TELEMETRY_BSP_MAX_CONCURRENT_EXPORTS": "5",
		"TELEMETRY_BSP_MAX_QUEUE_BYTES": "14", "OTEL_BLRP_SCHEDULE_DELAY": "21",
	})}
	engine := b.engineConfig(signal.Traces, b.Config.SpanBatch)
	require.Equal(t, 11*time.Millisecond, engine.ScheduleDelay)
	require.Equal(t, 12*time.Millisecond, engine.ExportTimeout)
	require.Equal(t, 13, engine.MaxQueueSize)
	require.EqualValues(t, 14, engine.MaxQueueBytes)
	require.Equal(t, 7, engine.MaxExportBatchSize)
	require.Equal(t, 5, engine.MaxConcurrentExports)
	require.Equal(t, 21*time.Millisecond, b.engineConfig(signal.Logs, b.Config.LogBatch).ScheduleDelay)
}

func TestSignalThatFailsHalfWayIsUndoneAndTheOthersRun(t *testing.T) {
	t.Parallel()
	grpc := settings.ProtocolGRPC
	parts := partsOf(t, &settings.Asked{Export: settings.Export{Protocol: &grpc}}, nil)
	parts.Config.Signals[signal.Traces].Target.URL.Host = "no\x7fhost:1"

	p, err := Start(t.Context(), parts)
	require.ErrorContains(t, err, "telemetry: traces are off: gRPC connection to no")
	require.False(t, parts.Config.Signals[signal.Traces].On)
	require.Len(t, p.Running, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, r := range p.Running {
		_ = r.Shutdown(ctx) // nothing listens there for the metrics
	}
	require.NoError(t, parts.Connections.Close())
}

// What a signal has started before its replay cannot begin is shut down again, whether it fails or
// panics.
func TestSignalWithoutReplayIsUndone(t *testing.T) {
	grpc, dir := settings.ProtocolGRPC, t.TempDir()
	own := &stoppable{}
	var exporter sdktrace.SpanExporter = own
	parts := partsOf(t, &settings.Asked{SpanExporter: &exporter}, nil)
	spooled := partsOf(t, &settings.Asked{Export: settings.Export{Protocol: &grpc}, SpoolDir: &dir}, nil)
	spooled.Config.Signals[signal.Traces].Target.URL.Host = "no\x7fhost:1"
	parts.Connections = spooled.Connections
	defer parts.Connections.Spool.Close(t.Context())

	p, err := Start(t.Context(), parts)
	require.ErrorContains(t, err, "gRPC connection to no")
	require.Eventually(t, own.stopped.Load, 5*time.Second, time.Millisecond)
	for _, r := range p.Running {
		_ = r.Shutdown(t.Context())
	}
	require.NoError(t, parts.Connections.Close())
}

// stoppable is an exporter that tells whether it was shut down.
type stoppable struct{ stopped atomic.Bool }

func (*stoppable) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (s *stoppable) Shutdown(context.Context) error                           { s.stopped.Store(true); return nil }
