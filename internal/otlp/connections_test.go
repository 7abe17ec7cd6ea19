package otlp

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// endpoints are the settings of exporters that send to base, logs to ofLogs if that is not "".
func endpoints(t *testing.T, base, ofLogs string) *settings.Config {
	t.Helper()
	asked := &settings.Asked{Export: settings.Export{Endpoint: &base}}
	if ofLogs != "" {
		asked.Signals[signal.Logs].Endpoint = &ofLogs
	}
	resolved := settings.Resolve(asked, nil)
	require.NoError(t, resolved.Err())
	return resolved.Config
}

func TestSignalsOfOneEndpointShareTheConnection(t *testing.T) {
	all := endpoints(t, "http://127.0.0.1:1", "")
	c := Connect(t.Context(), all, selflog.New(func(slog.Record) {}, slog.LevelWarn, mask.Mask{}))
	require.Same(t, c.httpClient(all.Signals[signal.Traces]), c.httpClient(all.Signals[signal.Logs]))
	first, err := c.grpcConn(all.Signals[signal.Traces])
	require.NoError(t, err)
	second, err := c.grpcConn(all.Signals[signal.Metrics])
	require.NoError(t, err)
	require.Same(t, first, second)

	apart := endpoints(t, "http://127.0.0.1:1", "https://127.0.0.1:1")
	require.NotSame(t, c.httpClient(apart.Signals[signal.Traces]), c.httpClient(apart.Signals[signal.Logs]))
	third, err := c.grpcConn(apart.Signals[signal.Logs])
	require.NoError(t, err)
	require.NotSame(t, first, third, "TLS and plaintext are two connections")
	require.NoError(t, c.Close())
}
