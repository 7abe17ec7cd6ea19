package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/mask"
)

func TestSignalThatFailsHalfWayIsUndoneAndTheOthersRun(t *testing.T) {
	t.Parallel()
	cfg := resolve(nil, WithProtocol(ProtocolGRPC)).cfg
	cfg.signals[traces].target.url.Host = "no\x7fhost:1"
	res, _ := buildResource(t.Context(), cfg)
	selfLog := newSelfLog(cfg.opts, slog.DiscardHandler, slog.LevelInfo, mask.Mask{}, res)
	g := &Guard{cfg: cfg, connections: newConnections(cfg, selfLog)}

	err := g.start(t.Context(), &builder{cfg: cfg, resource: res, connections: g.connections, selfLog: selfLog})
	require.ErrorContains(t, err, "telemetry: traces are off: gRPC connection to no")
	require.False(t, cfg.signals[traces].on)
	require.Len(t, g.running, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = g.stopSignals(ctx, g.running, false) // nobody listens there for the metrics
	require.NoError(t, g.connections.close())
}

// What a signal has started before its replay cannot begin is shut down again.
func TestSignalWithoutReplayIsUndone(t *testing.T) {
	spooled := resolve(environment{"TELEMETRY_SPOOL_DIR": t.TempDir()}, WithProtocol(ProtocolGRPC)).cfg
	spooled.signals[traces].target.url.Host = "no\x7fhost:1"
	own := &spans{}
	cfg := resolve(nil, WithSpanExporter(own)).cfg
	c := newConnections(spooled, diagnose.New(func(slog.Record) {}, slog.LevelWarn, mask.Mask{}))
	defer c.spool.close(t.Context())

	_, _, err := (&builder{cfg: cfg, resource: resourceOf(), connections: c}).traces(t.Context())
	require.ErrorContains(t, err, "gRPC connection to no")
	require.Eventually(t, own.stopped.Load, 5*time.Second, time.Millisecond)
}

// spans is an exporter that tells whether it was shut down.
type spans struct{ stopped atomic.Bool }

func (*spans) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (s *spans) Shutdown(context.Context) error                           { s.stopped.Store(true); return nil }

func TestSignalsOfOneEndpointShareTheConnection(t *testing.T) {
	all := resolve(nil, WithEndpoint("http://127.0.0.1:1")).cfg
	c := newConnections(all, diagnose.New(func(slog.Record) {}, slog.LevelWarn, mask.Mask{}))
	require.Same(t, c.httpClient(all.signals[traces]), c.httpClient(all.signals[logs]))
	first, err := c.grpcConn(all.signals[traces])
	require.NoError(t, err)
	second, err := c.grpcConn(all.signals[metrics])
	require.NoError(t, err)
	require.Same(t, first, second)

	apart := resolve(nil, WithEndpoint("http://127.0.0.1:1"), ForLogs(WithEndpoint("https://127.0.0.1:1"))).cfg
	require.NotSame(t, c.httpClient(apart.signals[traces]), c.httpClient(apart.signals[logs]))
	third, err := c.grpcConn(apart.signals[logs])
	require.NoError(t, err)
	require.NotSame(t, first, third, "TLS and plaintext are two connections")
	require.NoError(t, c.close())
}
