package spanview_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/examples/internal/spanview"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func span(trace, id, parent, name string, from, to time.Duration) otlptest.Span {
	begin := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	return otlptest.Span{
		TraceID: trace, SpanID: id, ParentSpanID: parent, Name: name, Kind: "server", Start: begin.Add(from),
		End:      begin.Add(to),
		Resource: map[string]any{"service.name": "checkout"},
	}
}

func TestTree(t *testing.T) {
	const ms = time.Millisecond
	failed := span("t1", "c", "a", "charge", 4*ms, 8*ms)
	failed.Status = otlptest.Status{Code: "error", Message: "declined"}
	worker := span("t2", "d", "", "process", 10*ms, 12*ms)
	worker.Links = []otlptest.Link{{TraceID: "t1", SpanID: "b"}, {TraceID: "t3", SpanID: "e"}}
	orphan := span("t1", "f", "nobody", "its parent has not arrived", 2*ms, 3*ms)
	var out bytes.Buffer
	spanview.Tree(&out, []otlptest.Span{worker, failed, orphan, span("t1", "b", "a", "send", 0, 4*ms),
		span("t1", "a", "", "order", 0, 12*ms)})
	require.Equal(t, `  SPAN                            SERVICE         KIND         MS
  order                           checkout        server    12.00  ━━━━━━━━━━━━
  ├─ send                         checkout        server     4.00  ━━━━
  └─ charge                       checkout        server     4.00      ━━━━
        error: declined
  its parent has not arrived      checkout        server     1.00    ━
  process                         checkout        server     2.00            ━━
     linked to send
     linked to span e of trace t3
`, out.String())
}

func TestTreeIsAsWideAsItMustBe(t *testing.T) {
	var out bytes.Buffer
	long := "shop.v1.Inventory/Reserve, which is called by a name that is long"
	spanview.Tree(&out, []otlptest.Span{span("t", "a", "", "order", 0, 1),
		span("t", "b", "a", "thirty-two columns with its twig", 0, 1)})
	require.Contains(t, out.String(), "└─ thirty-two columns with its twig checkout")
	out.Reset()
	spanview.Tree(&out, []otlptest.Span{span("t", "a", "", long, 0, 1)})
	require.Contains(t, out.String(), "  shop.v1.Inventory/Reserve, which is called by a… checkout")
	out.Reset()
	spanview.Tree(&out, nil)
	require.Empty(t, out.String())
}

func TestWeight(t *testing.T) {
	sampled := otlptest.Span{TraceID: "1000000000000000ffffffffffffffff", SpanID: "00000000000000b7", Flags: 0x101,
		TraceState: "ot=th:c"}
	weight, ok := spanview.Weight(sampled)
	require.True(t, ok)
	require.Equal(t, 4.0, weight)
	for name, change := range map[string]func(*otlptest.Span){
		"no threshold": func(s *otlptest.Span) { s.TraceState = "" },
		"not sampled":  func(s *otlptest.Span) { s.Flags = 0x100 },
		"trace id":     func(s *otlptest.Span) { s.TraceID = "x" },
		"span id":      func(s *otlptest.Span) { s.SpanID = "" },
		"tracestate":   func(s *otlptest.Span) { s.TraceState = "=" },
	} {
		broken := sampled
		change(&broken)
		_, ok := spanview.Weight(broken)
		require.False(t, ok, name)
	}
}
