package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/benchmarks/internal/load"
)

func run5s(offered, arrived int64, busy float64) sideRun {
	return sideRun{result{Offered: load.Offered{Items: offered, Took: 5 * time.Second}, Busy: busy}, arrived}
}

func TestRow(t *testing.T) {
	r := row{signal: load.Spans, protocol: telemetry.ProtocolGRPC, rate: 20_000, delay: 50 * time.Millisecond}
	r.runs = [3]sideRun{run5s(100_000, 43_000, 0.4), run5s(100_000, 74_000, 0.95), run5s(100_000, 99_000, 0.5)}
	ours := &r.runs[2]
	ours.Exported, ours.Lost, ours.Why = 99_000, 1000, map[string]int64{"queue_full": 900, "failed": 100}
	ours.Offered.Late = 33 * time.Millisecond
	require.True(t, r.honest())
	require.Equal(t, []string{
		"spans", "grpc", "20,000", "50ms", "43.0 %", "74.0 % *", "99.0 %", "900 queue_full, 100 failed",
		"50 %, 33 ms late",
	}, r.cells())
}

func TestHonest(t *testing.T) {
	r := row{}
	ours := &r.runs[2]
	*ours = run5s(100, 90, 0)
	ours.Exported, ours.Lost = 90, 10
	require.True(t, r.honest())
	ours.arrived = 95
	require.True(t, r.honest(), "an answer that came too late")
	ours.arrived = 89
	require.False(t, r.honest(), "exported and not arrived")
	ours.arrived, ours.Lost = 90, 9
	require.False(t, r.honest(), "one that nobody knows of")
	require.Contains(t, r.cells()[7], "(!)")
}
