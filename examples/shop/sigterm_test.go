package main

import (
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/examples/internal/spanview"
	"github.com/fleetotel/telemetry/examples/shop/internal/inventory"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// Each service in turn gets SIGTERM while customers go on ordering, and its spans and log records
// all arrive: those of requests under way when the signal came as well.
func TestSIGTERMInMidLoad(t *testing.T) {
	collector := otlptest.New(t)
	f := startTestFleet(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.HTTPEndpoint())
	var stop atomic.Bool
	var answered, placed atomic.Int64
	var customers sync.WaitGroup
	for i := range 8 {
		product := "mug"
		if i == 0 {
			product = inventory.RemoteProduct // so that at any moment a request is under way
		}
		customers.Go(func() {
			for !stop.Load() {
				status, _, _ := f.order(t.Context(), product, "card_good") // fails as soon as a service has stopped
				answered.Add(1)
				if status == http.StatusCreated {
					placed.Add(1)
				}
			}
		})
	}
	t.Cleanup(func() { stop.Store(true); customers.Wait() })

	require.Eventually(t, func() bool { return placed.Load() > 50 }, startTimeout, 5*time.Millisecond)
	// In an order in which each has requests until its own end: without payment, orders are still
	// reserved and released.
	for _, name := range []string{"fulfilment", "payment", "inventory", "checkout", "storefront"} {
		t.Run(name, func(t *testing.T) {
			before := answered.Load()
			require.Eventually(t, func() bool { return answered.Load() > before+50 }, startTimeout, 5*time.Millisecond)
			requireAllArrived(t, f.service(name), collector)
		})
	}
}

func requireAllArrived(t *testing.T, p *process, collector *otlptest.Collector) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM)) // twice, as some do: to the process and to its group
	closing := closingOf(t, p)
	require.Empty(t, closing.Undelivered)
	for signal, s := range map[string]int64{"traces": closing.Traces.Lost + closing.Traces.Left,
		"logs":    closing.Logs.Lost + closing.Logs.Left,
		"metrics": closing.Metrics.Lost + closing.Metrics.Left} {
		require.Zero(t, s, signal)
	}
	arrived := arrivedAt(collector)
	got := arrived.of(p.name)
	require.EqualValues(t, closing.Traces.Accepted, got.spans)
	require.EqualValues(t, closing.Logs.Accepted, got.records)

	// Against the service's own count, in which telemetry has no part.
	made, logged := int64(0), int64(0)
	for name, count := range closing.Operations {
		require.EqualValues(t, count.Made, arrived.at(operation{p.name, name}).roots, name)
		made += count.Made
		if logging[name] {
			logged += count.Made
		}
	}
	require.Positive(t, made)
	require.GreaterOrEqual(t, int64(got.correlated), logged)
	ended := make(map[string]bool)
	for _, s := range arrived.spans {
		ended[s.SpanID] = true
	}
	for _, s := range arrived.spans {
		if spanview.Service(s.Resource) == p.name && !isLocalRoot(s) {
			require.True(t, ended[s.ParentSpanID], "the parent of %s is missing", s.Name)
		}
	}
}
