package signal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/signal"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		signal            signal.Signal
		name, unit, units string
	}{
		{signal.None, "", "", ""},
		{signal.Traces, "traces", "span", "spans"},
		{signal.Metrics, "metrics", "data point", "data points"},
		{signal.Logs, "logs", "log record", "log records"},
		{signal.Count, "", "", ""},
	} {
		require.Equal(t, tt.name, tt.signal.String())
		require.Equal(t, tt.unit, tt.signal.Unit())
		require.Equal(t, tt.units, tt.signal.Units())
		if tt.name != "" {
			require.Equal(t, tt.signal, signal.Named(tt.name))
		}
	}
	require.Equal(t, signal.None, signal.Named("profiles"))
	require.Equal(t, []signal.Signal{1, 2, 3}, signal.All(), "the numbers on disk")
}
