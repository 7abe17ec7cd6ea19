package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
)

func TestCountTellsMissingFromDoubled(t *testing.T) {
	require.Equal(t, tally{different: 3, twice: 2},
		count([]string{"a", "b", "a", "c", "a"}, func(s string) string { return s }))
}

func TestJudge(t *testing.T) {
	sound := func() *result {
		return &result{
			fault:    fault{twice: map[telemetry.Protocol]bool{telemetry.ProtocolGRPC: true}},
			protocol: telemetry.ProtocolHTTP,
			offered:  10, spans: tally{10, 0}, records: tally{10, 0},
			health: telemetry.Health{Traces: telemetry.SignalHealth{Accepted: 10, Exported: 10}},
		}
	}
	require.NoError(t, sound().judge())

	missing := sound()
	missing.records.different = 9
	require.ErrorContains(t, missing.judge(), "1 of 10 records have not arrived")

	doubled := sound()
	doubled.spans.twice = 4
	require.ErrorContains(t, doubled.judge(), "4 spans arrived twice")
	doubled.protocol = telemetry.ProtocolGRPC
	require.NoError(t, doubled.judge(), "unavoidable there")

	unmet := sound()
	unmet.fault.refuses = true
	require.ErrorContains(t, unmet.judge(), "no request to refuse")
	unmet.refused = 1
	require.NoError(t, unmet.judge())

	silent := sound()
	silent.health.Traces.Exported = 9
	require.ErrorContains(t, silent.judge(), "accepted 10")

	honest := sound()
	honest.health.Traces.Exported, honest.health.Traces.Failed = 9, 1
	require.ErrorContains(t, honest.judge(), "1 lost")
}

func TestAnOutageMustMeetARequest(t *testing.T) {
	require.Equal(t, 1536*time.Millisecond, shortestOutage(1000))
	require.Equal(t, 4500*time.Millisecond, shortestOutage(0), "a batch leaves after its delay")
	_, err := parse([]string{"-outage", "1s"})
	require.ErrorContains(t, err, "at 1000/s the outage must last 1.536s at least")
	_, err = parse(nil)
	require.NoError(t, err)
}
