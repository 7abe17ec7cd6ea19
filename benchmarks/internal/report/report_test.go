package report

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
)

func TestShareIsWholeOnlyWhenNothingIsMissing(t *testing.T) {
	require.Equal(t, "100 %", Share(300_000, 300_000))
	require.Equal(t, "99.9 %", Share(299_999, 300_000))
	require.Equal(t, "43.0 %", Share(43, 100))
	require.Equal(t, "100.0 %", Share(300_001, 300_000), "more than was offered must not look whole")
	require.Equal(t, "-", Share(0, 0))
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567",
		300000: "300,000"} {
		require.Equal(t, want, Count(n))
	}
}

func TestMedian(t *testing.T) {
	require.Zero(t, Median(nil))
	require.InDelta(t, 2, Median([]float64{9, 1, 2}), 0)
	require.InDelta(t, 2.5, Median([]float64{9, 1, 2, 3}), 0)
}

func TestLists(t *testing.T) {
	durations, err := Durations("0, 20ms,1s")
	require.NoError(t, err)
	require.Equal(t, []time.Duration{0, 20 * time.Millisecond, time.Second}, durations)
	protocols, err := Protocols("grpc,http")
	require.NoError(t, err)
	require.Equal(t, []telemetry.Protocol{telemetry.ProtocolGRPC, telemetry.ProtocolHTTP}, protocols)
	_, err = Protocols("udp")
	require.Error(t, err)
	_, err = Names("spans,x", "spans")
	require.ErrorContains(t, err, `"x" is none of spans`)
	_, err = Ints("1,,2")
	require.Error(t, err)
}

func TestTable(t *testing.T) {
	var table Table
	table.Row("a", "delivered")
	table.Row("10", "1 %")
	var b strings.Builder
	table.Write(&b)
	require.Equal(t, "| a   | delivered |\n| --- | --------- |\n| 10  | 1 %       |\n", b.String())
}

func TestIdentity(t *testing.T) {
	h := telemetry.SignalHealth{Accepted: 10, Recovered: 1, Exported: 5, Dropped: 1, Failed: 1, Rejected: 1, Queued: 2,
		Spooled: 1}
	require.NoError(t, Identity("traces", h))
	h.Queued++
	require.ErrorContains(t, Identity("traces", h), "traces: accepted 10")
}
