package middleware

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/sampling"
)

// FuzzReadDecision reads what any server may answer. What is written is read again, among whatever
// else there is.
func FuzzReadDecision(f *testing.F) {
	id := trace.TraceID{1, 15: 2}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{3}})
	f.Add(decisionEntry(sc, 0), uint64(0))
	f.Add(`cache;desc="a,b;\"c", db;dur=1.5`, uint64(1)<<55)
	f.Add(`trace;desc="00-01000000000000000000000000000002-0300000000000000-01";th=8`, uint64(7))
	f.Add(`trace;th=0;desc=00-01000000000000000000000000000002-0300000000000000-01,`, uint64(1)<<56-1)
	f.Add(`TRACE ; DESC = 00-01000000000000000000000000000002-0300000000000000-03 ; TH = 4`, uint64(9))
	f.Fuzz(func(t *testing.T, text string, threshold uint64) {
		threshold &= 1<<56 - 1
		claimed, ok := readDecision([]string{text}, id)
		if ok {
			require.Less(t, claimed, uint64(1)<<56)
		}
		entry := decisionEntry(sc, threshold)
		require.LessOrEqual(t, len(entry), 120-len("Server-Timing: \r\n"))
		own, found := readDecision([]string{entry, text}, id)
		require.True(t, found)
		require.Equal(t, min(threshold, own), own)
		if len(text) <= maxDecisionBytes-len(entry) && ok {
			require.Equal(t, min(threshold, claimed), own)
		}
		_, found = readDecision(withoutDecisions([]string{entry, text}), id)
		require.False(t, found)
	})
}

func TestHostsOfTheFleet(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "checkout": true, "Checkout.": true, "checkout.shop.svc": true,
		"checkout.shop.svc.cluster.local": true, "db.internal": true, "api.localhost": true,
		"127.0.0.1": true, "::1": true, "10.0.0.1": true, "172.16.9.9": true, "192.168.1.1": true, "fd00::1": true,
		"100.64.0.1": true, "::ffff:10.0.0.1": true,
		"": false, "example.com": false, "checkout.shop": false, "8.8.8.8": false, "172.32.0.1": false,
		"169.254.169.254": false, "fe80::1": false, "2001:db8::1": false, "100.128.0.1": false, "svc.example.com": false, "134744072": false, "0x08080808": false,
	} {
		require.Equal(t, want, isOfTheFleet(host), host)
	}
}

func TestThresholdsAreWrittenAsInATraceState(t *testing.T) {
	require.Equal(t, "trace;desc=00-01000000000000000000000000000002-0300000000000000-01;th=c",
		decisionEntry(trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 15: 2}, SpanID: trace.SpanID{3}}),
			3<<54))
	threshold, ok := sampling.ParseThreshold("c")
	require.True(t, ok)
	require.Equal(t, uint64(3<<54), threshold)
}

func TestDecisionAtTheBoundAndOnePastIt(t *testing.T) {
	id := trace.TraceID{1, 15: 2}
	entry := decisionEntry(trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{3}}), 0)
	for past, want := range []bool{true, false} {
		before := strings.Repeat("x", maxDecisionBytes-len(entry)+past)
		_, ok := readDecision([]string{before, entry}, id)
		require.Equal(t, want, ok)
	}
}
