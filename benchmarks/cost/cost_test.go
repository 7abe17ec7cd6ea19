package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/benchmarks/internal/load"
	"github.com/fleetotel/telemetry/benchmarks/internal/side"
)

func TestFirstBurstIsNotCounted(t *testing.T) {
	const items = burst + 1000
	p := result{CPU: 5 * time.Millisecond, Mallocs: 20_000, Bytes: 3_000_000}.perItem(items, 2*items)
	require.InDelta(t, 5, p.micros, 1e-9)
	require.InDelta(t, 20, p.allocs, 1e-9)
	require.InDelta(t, 3000, p.bytes, 1e-9)
	require.InDelta(t, 2, p.wire, 1e-9)
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	m := measured{
		side.Null:  {{micros: 1}, {micros: 2}, {micros: 1}},
		side.Stock: {{micros: 5}, {micros: 10}, {micros: 5}}, // the machine was busy in the second round
		side.Tuned: {{micros: 5}, {micros: 10}, {micros: 5}},
		side.Ours:  {{micros: 3}, {micros: 6}, {micros: 4}},
	}
	cells := m.cells(load.Spans, telemetry.ProtocolGRPC, side.Stock)
	require.Equal(t, []string{"span", "grpc", "stock", "5.00", "0.60", "4.00", "0.50"}, cells[:7])
	require.Empty(t, m.cells(load.Spans, telemetry.ProtocolGRPC, side.Ours)[4])
}

func TestParseBenchmarks(t *testing.T) {
	found := parseBenchmarks([]byte(strings.Join([]string{
		"goos: linux",
		"BenchmarkOnEnd/taken/1/stock-2         \t     100\t       99.5 ns/op\t         1.000 taken/op\t       1 " +
			"B/op\t       0 allocs/op",
		"BenchmarkOnEmit/full/2/ours \t 7\t 3 ns/op\t 600 B/op\t 2 allocs/op",
		"PASS",
	}, "\n")))
	require.Equal(t, map[string]figures{"OnEnd/taken/1/stock": {99.5, 1, 0}, "OnEmit/full/2/ours": {3, 600, 2}}, found)
}
