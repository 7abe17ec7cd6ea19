package telemetry

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

func TestSignalThatFailsHalfWayIsUndoneAndTheOthersRun(t *testing.T) {
	cfg := resolve(nil, WithProtocol(ProtocolGRPC)).cfg
	cfg.signals[traces].target.url.Host = "no%zzhost:1"
	res, _ := buildResource(t.Context(), cfg)
	selfLog := newSelfLog(cfg.opts, slog.DiscardHandler, slog.LevelInfo, diagnose.Mask{}, res)
	g := &Guard{cfg: cfg, connections: newConnections(cfg, selfLog)}

	err := g.start(t.Context(), &builder{cfg: cfg, resource: res, connections: g.connections, selfLog: selfLog})
	require.ErrorContains(t, err, "telemetry: traces are off: gRPC connection to no%zzhost:1")
	require.False(t, cfg.signals[traces].on)
	require.Len(t, g.running, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = g.stopSignals(ctx, g.running, false) // nobody listens there for the metrics
	require.NoError(t, g.connections.close())
}

func TestSignalsOfOneEndpointShareTheConnection(t *testing.T) {
	all := resolve(nil, WithEndpoint("http://127.0.0.1:1")).cfg
	c := newConnections(all, nil)
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
