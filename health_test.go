package telemetry_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/telemetrytest"
)

// requireBalanced asserts the identity that SignalHealth promises.
func requireBalanced(t *testing.T, g *telemetry.Guard) {
	t.Helper()
	h := g.Health()
	for _, s := range []telemetry.SignalHealth{h.Traces, h.Metrics, h.Logs} {
		require.Equal(t, s.Accepted+s.Recovered, s.Exported+s.Dropped+s.Failed+s.Rejected+s.Queued+s.Spooled, "%+v", s)
		var dropped int64
		for _, n := range s.DroppedBy {
			dropped += n
		}
		require.Equal(t, s.Dropped, dropped)
	}
}

func TestHealthCountsWhatHappened(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			begin := time.Now()
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol))
			for range 10 {
				record(t.Context(), guard, "x")
			}
			h := guard.Health()
			require.True(t, h.Traces.On && h.Metrics.On && h.Logs.On)
			require.EqualValues(t, 10, h.Traces.Queued)
			require.EqualValues(t, 10, h.Logs.Queued)
			require.Zero(t, h.Traces.LastSuccess)
			requireBalanced(t, guard)

			require.NoError(t, guard.ForceFlush(t.Context()))
			h = guard.Health()
			require.EqualValues(t, 10, h.Traces.Exported)
			require.EqualValues(t, 10, h.Logs.Exported)
			require.Positive(t, h.Metrics.Exported)
			require.Zero(t, h.Traces.Queued)
			require.False(t, h.Traces.LastSuccess.Before(begin))
			require.NoError(t, h.Traces.LastError)
			requireBalanced(t, guard)

			c.SetFault(otlptest.Fault{Rejected: 3, Message: "quota", Times: 1})
			for range 5 {
				record(t.Context(), guard, "y")
			}
			require.ErrorContains(t, guard.ForceFlush(t.Context()), "quota")
			require.EqualValues(t, 3, guard.Health().Traces.Rejected)
			require.EqualValues(t, 12, guard.Health().Traces.Exported)
			require.ErrorContains(t, guard.Health().Traces.LastError, "quota")
			require.EqualValues(t, 3, guard.Health().Metrics.Rejected)
			requireBalanced(t, guard)

			require.NoError(t, guard.Shutdown(t.Context()))
			record(t.Context(), guard, "late")
			requireBalanced(t, guard)
		})
	}
}

func TestShutdownErrorSaysWhatWasLost(t *testing.T) {
	c := otlptest.New(t)
	require.NoError(t, c.Down())
	guard, console := start(t, c, telemetry.WithShutdownTimeout(time.Second))
	for range 2000 {
		record(t.Context(), guard, "x")
	}
	err := guard.Shutdown(t.Context())
	require.Regexp(t, `^telemetry: shutdown traces, metrics and logs: 2,000 spans, \d+ data points and 2,000 log records not delivered: nothing listens at [^\n]*$`,
		err.Error(), "the reason once")
	requireBalanced(t, guard)
	require.EqualValues(t, 2000, guard.Health().Traces.Lost())
	require.Contains(t, console.String(), `"msg":"telemetry: stopped","service.name":"test","traces":{"exported":0,"lost":2000}`)
}

func TestQueueKeepsItsLastEighthForErrors(t *testing.T) {
	rec := telemetrytest.Start(t, telemetry.WithoutGlobals(), telemetry.WithoutMetrics(), telemetry.WithShutdownTimeout(time.Second),
		telemetry.WithLogBatch(telemetry.Batch{MaxQueueSize: 80, MaxExportBatchSize: 1, MaxConcurrentExports: 1}))
	rec.SetFault(telemetrytest.Fault{Hang: true})
	guard := rec.Guard
	for range 1000 {
		guard.Logger().InfoContext(t.Context(), "ordinary")
	}
	held := guard.Health().Logs.Queued
	require.EqualValues(t, 70+1, held, "seven eighths wait and one is on its way")
	for range 1000 {
		guard.Logger().ErrorContext(t.Context(), "error")
	}
	require.EqualValues(t, 80+1, guard.Health().Logs.Queued)
	require.EqualValues(t, 2000-81, guard.Health().Logs.DroppedBy["queue_full"])
	requireBalanced(t, guard)
	require.Error(t, guard.Shutdown(t.Context()))
	requireBalanced(t, guard)
}

func TestHealthOfNilAndSwitchedOff(t *testing.T) {
	var none *telemetry.Guard
	require.Zero(t, none.Health())
	rec := telemetrytest.Start(t, telemetry.WithoutGlobals(), telemetry.WithoutTraces())
	require.False(t, rec.Guard.Health().Traces.On)
	require.True(t, rec.Guard.Health().Logs.On)
}
