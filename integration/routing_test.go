package integration

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// A gateway can decide about a trace only if all of its spans come to it, whichever agent they come
// through.
func TestAgentsSendEachTraceToOneGateway(t *testing.T) {
	gateways := []*collector{
		newCollector(t, "gateway 1", []string{"--config", backendConfig}, nil),
		newCollector(t, "gateway 2", []string{"--config", backendConfig}, nil),
	}
	args := []string{"--config", agentConfig, "--config", "testdata/two-gateways.yaml"}
	env := []string{"GATEWAY_HOST=127.0.0.1", "GATEWAY_1=" + gateways[0].grpc, "GATEWAY_2=" + gateways[1].grpc}
	agents := []*collector{newCollector(t, "agent 1", args, env), newCollector(t, "agent 2", args, env)}
	startAll(gateways...)
	startAll(agents...)

	const traces = 1000
	random := rand.New(rand.NewPCG(1, 2))
	requests := []ptrace.Traces{ptrace.NewTraces(), ptrace.NewTraces()}
	for range traces {
		id := traceID(random)
		for i, request := range requests { // half of each trace through each agent
			addTrace(request, kinds[0], id, 1)
			request.ResourceSpans().At(request.ResourceSpans().Len() - 1).ScopeSpans().At(0).Spans().At(0).SetSpanID(pcommon.SpanID{byte(i + 1)})
		}
	}
	for i, request := range requests {
		export(t, agents[i].grpc, request)
	}

	spansAt := make([]map[pcommon.TraceID]int, len(gateways))
	require.Eventually(t, func() bool {
		total := 0
		for i, gateway := range gateways {
			spansAt[i] = make(map[pcommon.TraceID]int)
			spans, _ := gateway.spans()
			for key := range spans {
				spansAt[i][key.trace]++
			}
			total += len(spans)
		}
		return total == 2*traces
	}, arrival, 500*time.Millisecond)
	for i := range gateways {
		require.Greater(t, len(spansAt[i]), traces/4, "gateway %d has next to nothing", i+1)
		for id, spans := range spansAt[i] {
			require.Equal(t, 2, spans, "trace %s is divided", id)
		}
	}
}
