package integration

import (
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// arrival is how long telemetry may take through all tiers once the shop has ended.
const arrival = 90 * time.Second

// Each tier is restarted in the middle of the load, in the way that it promises to survive, and
// every span and log record that the services say they have delivered is on the backend's disk.
func TestRestartsInTheMiddleOfTheLoadLoseNothing(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			agent, gateway, backend := newTiers(t, "TAIL_SAMPLING_DECISION_WAIT=2s")
			startAll(backend, gateway, agent)
			endpoint := map[string]string{"http/protobuf": agent.http, "grpc": agent.grpc}[protocol]

			const duration = 20 * time.Second
			shop := startShop(t, duration, "10", "OTEL_TRACES_SAMPLER=always_on",
				"OTEL_EXPORTER_OTLP_PROTOCOL="+protocol, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+endpoint)

			time.Sleep(duration / 5)
			agent.restart(syscall.SIGTERM)
			// The gateway holds traces in memory until it has decided about them. SIGTERM decides
			// them.
			gateway.stop(syscall.SIGTERM)
			// Every service exports in this time, and the agent can but keep it. What it has
			// answered is on its disk, so it may be killed.
			time.Sleep(duration / 5)
			agent.restart(syscall.SIGKILL)
			gateway.start()
			report := shop.wait()

			wantSpans, wantRecords := report.exported(t, "traces"), report.exported(t, "logs")
			require.Greater(t, wantSpans, 1000)
			require.Greater(t, wantRecords, 100)
			var spans map[spanKey]span
			var records, repeatedSpans, repeatedRecords int
			require.Eventually(t, func() bool {
				spans, repeatedSpans = backend.spans()
				records, repeatedRecords = backend.records()
				return len(spans) >= wantSpans && records >= wantRecords
			}, arrival, time.Second, "of %d spans and %d records", wantSpans, wantRecords)
			require.Len(t, spans, wantSpans)
			require.Equal(t, wantRecords, records)
			t.Logf("%d requests; on disk %d spans (%d of them twice) and %d log records (%d twice)",
				report.Load.Browsed+report.Load.Ordered, len(spans), repeatedSpans, records, repeatedRecords)

			requireWholeOrders(t, spans, report.Load.Ordered)
		})
	}
}

func (c *collector) restart(signal syscall.Signal) {
	c.stop(signal)
	time.Sleep(time.Second) // an outage, not only a hiccup
	c.start()
}

// requireWholeOrders checks that each order is one trace: no parent is missing, all services that
// take part are in it, and the fulfilment of what was paid is linked to it.
func requireWholeOrders(t *testing.T, spans map[spanKey]span, orders int) {
	t.Helper()
	inTrace := make(map[[16]byte]map[string]int)
	roots := make(map[[16]byte]string)
	linked := make(map[[16]byte]bool)
	for _, s := range spans {
		id := [16]byte(s.TraceID())
		if inTrace[id] == nil {
			inTrace[id] = make(map[string]int)
		}
		inTrace[id][s.service]++
		if s.ParentSpanID().IsEmpty() {
			roots[id] = s.Name()
		} else {
			require.Contains(t, spans, spanKey{s.TraceID(), s.ParentSpanID()}, "the parent of %s of %s", s.Name(),
				s.service)
		}
		if s.service == "fulfilment" && s.Kind() == ptrace.SpanKindConsumer {
			require.Equal(t, 1, s.Links().Len())
			producer := s.Links().At(0)
			require.Contains(t, spans, spanKey{producer.TraceID(), producer.SpanID()}, "what %s is linked to", s.Name())
			linked[producer.TraceID()] = true
		}
	}
	placed := 0
	for id, root := range roots {
		if root != "POST /orders" {
			continue
		}
		placed++
		require.Subset(t, slices.Collect(maps.Keys(inTrace[id])),
			[]string{"storefront", "checkout", "payment", "inventory"})
	}
	require.Equal(t, orders, placed)
	require.NotEmpty(t, linked)
}
