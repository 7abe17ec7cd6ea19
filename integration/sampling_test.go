package integration

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fleetotel/telemetry"
)

// Thresholds in the 56 bits of ot=th: what is below is not sampled.
const (
	quarter = uint64(0xc0) << 48   // th:c, 25 %
	tenth   = uint64(0xe666) << 40 // th:e666, 10 %
)

// slow is what the shop calls slow (platform.SlowThreshold).
const slow = 500 * time.Millisecond

// kinds of traces that a service may send, with the th of its sampler.
type kind struct {
	name      string
	th        string
	threshold uint64 // of th: the service has sent those alone that are not below
	status    ptrace.StatusCode
	duration  time.Duration
}

var kinds = []kind{
	{name: "ordinary, all of them", th: "0", duration: 20 * time.Millisecond},
	{name: "ordinary, a tenth", th: "e666", threshold: tenth, duration: 20 * time.Millisecond},
	{name: "error", th: "0", status: ptrace.StatusCodeError, duration: 20 * time.Millisecond},
	{name: "slow", th: "0", duration: slow},
	{name: "error of a tenth", th: "e666", threshold: tenth, status: ptrace.StatusCodeError,
		duration: 20 * time.Millisecond},
}

// The gateway keeps whole traces with errors and slow ones, thins the others, and no weight is
// wrong after it: what it keeps is exactly what the randomness of the trace id says, and leaves
// with the threshold that applied.
func TestGatewayThinsConsistently(t *testing.T) {
	const perKind = 4000
	kept := thinned(t, perKind, useTracestate)

	estimates := make(map[string]float64)
	for _, trace := range kept {
		for _, s := range trace.spans { // of one trace, all or none
			require.Equal(t, trace.sent, len(trace.spans))
			k := kindOf(t, s)
			r := randomness(s.TraceID())
			want, threshold := k.th, k.threshold
			if k.status != ptrace.StatusCodeError && k.duration < slow {
				threshold = max(threshold, quarter)
				require.GreaterOrEqual(t, r, threshold, k.name)
				if threshold == quarter {
					want = "c"
				}
			}
			require.Equal(t, "ot=th:"+want, s.TraceState().AsRaw(), k.name)
			estimates[k.name] += weight(t, s) / float64(trace.sent)
		}
	}
	for _, k := range kinds {
		// Two standard deviations: sqrt((1-p)/(p n)) is 4.7 % for a tenth of 4,000. The seed is
		// fixed.
		require.InEpsilon(t, perKind, estimates[k.name], 0.1, k.name)
	}
	require.InDelta(t, perKind, estimates["error"], 0.5, "all errors are kept, with a weight of 1")
	require.InDelta(t, perKind, estimates["slow"], 0.5, "all slow requests are kept, with a weight of 1")
}

// This is why deploy/ starts the gateways with the gate: without it, what is thinned keeps its
// weight of 1.
func TestGatewayWithoutItsGateIsWrong(t *testing.T) {
	const perKind = 4000
	estimate := 0.0
	for _, trace := range thinned(t, perKind) {
		if k := kindOf(t, trace.spans[0]); k.name == kinds[0].name {
			estimate += weight(t, trace.spans[0])
		}
	}
	require.InEpsilon(t, perKind/4, estimate, 0.25)
}

type keptTrace struct {
	sent  int // spans
	spans []span
}

// thinned sends traces of each kind, of three spans each, to a gateway that keeps a quarter, and
// returns what came out.
func thinned(t *testing.T, perKind int, gates ...string) (kept map[pcommon.TraceID]*keptTrace) {
	t.Helper()
	_, gateway, backend := newTiers(t, "TAIL_SAMPLING_PERCENTAGE=25", "TAIL_SAMPLING_DECISION_WAIT=1s")
	gateway.args = append([]string{"--config", gatewayConfig}, gates...)
	startAll(backend, gateway)

	random := rand.New(rand.NewChaCha8([32]byte([]byte("the seed of the traces' identity"))))
	const spansPerTrace = 3
	request := ptrace.NewTraces()
	sent := make(map[pcommon.TraceID]int)
	for _, k := range kinds {
		for range perKind {
			id := traceID(random)
			if randomness(id) >= k.threshold {
				sent[id] = spansPerTrace
				addTrace(request, k, id, spansPerTrace)
			}
			if request.SpanCount() >= 900 {
				export(t, gateway.grpc, request)
				request = ptrace.NewTraces()
			}
		}
	}
	export(t, gateway.grpc, request)

	// Errors and slow traces all arrive, and then nothing does for a while: the rest has been
	// decided too.
	previous := -1
	require.Eventually(t, func() bool {
		spans, _ := backend.spans()
		settled := len(spans) == previous && len(spans) > 2*perKind*spansPerTrace
		previous = len(spans)
		return settled
	}, arrival, 3*time.Second)
	spans, repeated := backend.spans()
	require.Zero(t, repeated)
	kept = make(map[pcommon.TraceID]*keptTrace)
	for _, s := range spans {
		if kept[s.TraceID()] == nil {
			kept[s.TraceID()] = &keptTrace{sent: sent[s.TraceID()]}
		}
		kept[s.TraceID()].spans = append(kept[s.TraceID()].spans, s)
	}
	return kept
}

// addTrace adds a trace: an ordinary root with ordinary children, the last of which makes the trace
// what it is.
func addTrace(request ptrace.Traces, k kind, id pcommon.TraceID, spans int) {
	rs := request.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", k.name)
	ss := rs.ScopeSpans().AppendEmpty()
	start := time.Now()
	for i := range spans {
		s := ss.Spans().AppendEmpty()
		s.SetName("work")
		s.SetTraceID(id)
		s.SetSpanID(pcommon.SpanID{7: byte(i + 1)})
		if i > 0 {
			s.SetParentSpanID(pcommon.SpanID{7: 1})
		}
		s.TraceState().FromRaw("ot=th:" + k.th)
		s.SetFlags(uint32(trace.FlagsSampled | trace.FlagsRandom))
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(5 * time.Millisecond)))
		if i == spans-1 {
			s.Status().SetCode(k.status)
			s.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(k.duration)))
		}
	}
}

func export(t *testing.T, address string, request ptrace.Traces) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = ptraceotlp.NewGRPCClient(conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(request))
	require.NoError(t, err)
}

func traceID(random *rand.Rand) (id pcommon.TraceID) {
	binary.BigEndian.PutUint64(id[:8], random.Uint64())
	binary.BigEndian.PutUint64(id[8:], random.Uint64())
	return id
}

// randomness is the last 56 bits of the trace id (W3C Trace Context Level 2).
func randomness(id pcommon.TraceID) uint64 { return binary.BigEndian.Uint64(id[8:]) & (1<<56 - 1) }

func kindOf(t *testing.T, s span) kind {
	t.Helper()
	for _, k := range kinds {
		if k.name == s.service {
			return k
		}
	}
	require.Fail(t, fmt.Sprintf("no kind %q", s.service))
	return kind{}
}

// weight is what the library makes of the tracestate.
func weight(t *testing.T, s span) float64 {
	t.Helper()
	state, err := trace.ParseTraceState(s.TraceState().AsRaw())
	require.NoError(t, err)
	count, ok := telemetry.AdjustedCount(trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(s.TraceID()), SpanID: trace.SpanID(s.SpanID()), TraceFlags: trace.FlagsSampled,
		TraceState: state,
	}))
	require.True(t, ok)
	return count
}
