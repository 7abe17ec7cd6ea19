package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// shutdownBudget is the deadline of the shutdowns below. What is asserted is five times as much: the tests share their
// processors with others.
const shutdownBudget = 4 * time.Second

// deadEnd is an address from which no answer comes.
type deadEnd struct {
	name string
	open func(t testing.TB) (address string)
}

func deadEnds() []deadEnd {
	return append(blackHoles(), // no connection comes about; where the system lets a test build one
		deadEnd{"closed port", refusingPeer}, // it is refused
		deadEnd{"silent peer", silentPeer},   // it is accepted, and nothing is ever written to it
		deadEnd{"hung collector", func(testing.TB) string { return "" }},
	)
}

func refusingPeer(t testing.TB) string { return otlptest.FreeAddress(t) }

func silentPeer(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, conn) // until the client goes away
				_ = conn.Close()
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// endpointOf returns the URL of a dead end. A hung collector is one that speaks the protocol and answers no request.
func (d deadEnd) endpointOf(t *testing.T, protocol telemetry.Protocol) string {
	if address := d.open(t); address != "" {
		return "http://" + address
	}
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true})
	return c.Endpoint(string(protocol))
}

// loss is one case: a dead end, and the signals that lead there. The others have a collector that works.
type loss struct {
	deadEnd
	sick []otlptest.Signal
}

func losses() (all []loss) {
	for _, d := range deadEnds() {
		all = append(all,
			loss{d, []otlptest.Signal{otlptest.Traces, otlptest.Metrics, otlptest.Logs}},
			loss{d, []otlptest.Signal{otlptest.Traces}},
			loss{d, []otlptest.Signal{otlptest.Metrics, otlptest.Logs}})
	}
	return all
}

func (l loss) healthy(s otlptest.Signal) bool { return !slices.Contains(l.sick, s) }

// TestShutdownNamesWhatItLost is every way in which the stock SDK's shutdown was seen to be late, to be silent, or to
// let one signal eat another's time.
func TestShutdownNamesWhatItLost(t *testing.T) {
	t.Parallel()
	const items = 20
	cases := overProtocols(losses()...)
	var ready sync.WaitGroup // nobody's start-up takes the processor from another one's shutdown
	ready.Add(len(cases))
	atOnce(t, cases,
		func(c protocolCase[loss]) string { return fmt.Sprint(c.of.name, " ", c.protocol, " ", c.of.sick) },
		func(t *testing.T, c protocolCase[loss]) {
			started := sync.OnceFunc(ready.Done)
			defer started()
			collector := otlptest.New(t)
			scopes := map[otlptest.Signal]func(...telemetry.Option) telemetry.Option{
				otlptest.Traces: telemetry.ForTraces, otlptest.Metrics: telemetry.ForMetrics, otlptest.Logs: telemetry.ForLogs,
			}
			dead := c.of.endpointOf(t, c.protocol)
			opts := []telemetry.Option{
				telemetry.WithEndpoint(collector.Endpoint(string(c.protocol))), telemetry.WithProtocol(c.protocol),
				telemetry.WithLogOutput(io.Discard),
			}
			for _, s := range c.of.sick {
				opts = append(opts, scopes[s](telemetry.WithEndpoint(dead)))
			}
			guard, _ := start(t, collector, opts...)
			c.of.connect(t, guard, collector)
			for range items {
				record(context.Background(), guard, "x")
			}
			started()
			ready.Wait()

			ctx, cancel := context.WithTimeout(t.Context(), shutdownBudget)
			defer cancel()
			begin := time.Now()
			err := guard.Shutdown(ctx)
			require.Less(t, time.Since(begin), 5*shutdownBudget)
			require.Error(t, err)
			requireBooks(t, guard)
			h := guard.Health()
			for signal, health := range map[otlptest.Signal]telemetry.SignalHealth{otlptest.Traces: h.Traces, otlptest.Metrics: h.Metrics, otlptest.Logs: h.Logs} {
				require.Positive(t, health.Accepted, signal)
				if c.of.healthy(signal) {
					require.Equal(t, health.Accepted, health.Exported, "%s: %+v", signal, health)
					require.NotContains(t, err.Error(), "shutdown "+string(signal))
				} else {
					require.Equal(t, health.Accepted, health.Lost(), "%s: %+v", signal, health)
					require.Error(t, health.LastError, signal)
					requireNamed(t, err, signal, health.Lost())
				}
			}
			const everything = int64(items + 1) // and what was recorded to connect
			require.Equal(t, everything, h.Traces.Accepted)
			require.Equal(t, everything, h.Logs.Accepted)
			require.EqualValues(t, h.Traces.Exported, len(collector.Spans()))
			require.EqualValues(t, h.Logs.Exported, len(collector.LogRecords()))
			require.Equal(t, err, guard.Shutdown(context.Background()), "the second call gets the first one's result")
		})
}

// connect records one item of each signal and returns when those of the healthy ones have arrived.
func (l loss) connect(t *testing.T, guard *telemetry.Guard, c *otlptest.Collector) {
	record(context.Background(), guard, "connect")
	ctx, cancel := context.WithCancel(t.Context())
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		_ = guard.ForceFlush(ctx) // of the sick signals it does not come back
	}()
	err := c.Wait(ctx, func(c *otlptest.Collector) bool {
		return (!l.healthy(otlptest.Traces) || len(c.Spans()) == 1) &&
			(!l.healthy(otlptest.Logs) || len(c.LogRecords()) == 1) &&
			(!l.healthy(otlptest.Metrics) || len(c.Metrics()) > 0)
	})
	cancel()
	<-flushed
	require.NoError(t, err)
}

// requireNamed asserts that the error says how much of a signal was lost.
func requireNamed(t *testing.T, err error, signal otlptest.Signal, lost int64) {
	t.Helper()
	unit := map[otlptest.Signal]string{otlptest.Traces: "span", otlptest.Metrics: "data point", otlptest.Logs: "log record"}[signal]
	require.Error(t, err)
	require.Regexp(t, " "+diagnose.Count(lost, unit, unit+"s")+`\b`, err.Error(), "the loss of %s", signal)
}

// TestShutdownWithoutADeadlineTakesItsOwn is for the services that defer Shutdown with the background context.
func TestShutdownWithoutADeadlineTakesItsOwn(t *testing.T) {
	atOnce(t, overProtocols(deadEnds()...),
		func(c protocolCase[deadEnd]) string { return c.of.name + " " + string(c.protocol) },
		func(t *testing.T, c protocolCase[deadEnd]) {
			guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard),
				telemetry.WithEndpoint(c.of.endpointOf(t, c.protocol)), telemetry.WithProtocol(c.protocol),
				telemetry.WithShutdownTimeout(time.Second))
			require.NoError(t, err)
			record(context.Background(), guard, "x")
			begin := time.Now()
			err = guard.Shutdown(context.Background())
			require.Less(t, time.Since(begin), 5*time.Second)
			require.ErrorContains(t, err, "1 span")
			require.ErrorContains(t, err, "data points")
			require.ErrorContains(t, err, "1 log record")
			requireBooks(t, guard)
		})
}

// TestShutdownWithoutAnEndpoint is the first run of a newcomer: nothing is set, and nothing listens.
func TestShutdownWithoutAnEndpoint(t *testing.T) {
	skipWithDefaultCollector(t)
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) }, func(t *testing.T, p telemetry.Protocol) {
		console := &syncBuffer{}
		guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(console),
			telemetry.WithProtocol(p), telemetry.WithShutdownTimeout(2*time.Minute))
		require.NoError(t, err)
		record(context.Background(), guard, "x")
		begin := time.Now()
		err = guard.Shutdown(context.Background())
		require.Less(t, time.Since(begin), 20*time.Second)
		require.ErrorContains(t, err, "nothing listens at localhost:431")
		requireBooks(t, guard)
		h := guard.Health()
		for signal, health := range map[otlptest.Signal]telemetry.SignalHealth{otlptest.Traces: h.Traces, otlptest.Metrics: h.Metrics, otlptest.Logs: h.Logs} {
			require.Positive(t, health.Accepted, signal)
			require.Equal(t, health.Accepted, health.Lost(), "%s: %+v", signal, health)
			requireNamed(t, err, signal, health.Lost())
			require.Contains(t, console.String(), fmt.Sprintf(`"%s":{"exported":0,"lost":%d}`, signal, health.Lost()), "the closing line")
		}
	})
}

// TestShutdownWaitsForTheEndpointThatWasSet is for a collector that is being replaced while the service stops.
func TestShutdownWaitsForTheEndpointThatWasSet(t *testing.T) {
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) }, func(t *testing.T, p telemetry.Protocol) {
		c := otlptest.New(t)
		require.NoError(t, c.Down())
		guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(p))), telemetry.WithProtocol(p), telemetry.WithShutdownTimeout(2*time.Minute))
		record(context.Background(), guard, "x")
		back := make(chan error, 1)
		time.AfterFunc(2*time.Second, func() { back <- c.Up() })
		require.NoError(t, guard.Shutdown(context.Background()))
		require.NoError(t, <-back)
		require.Equal(t, []string{"x"}, spanNames(c))
		require.Equal(t, []string{"x"}, logBodies(c))
		require.Contains(t, metricNames(c), "x")
		requireBooks(t, guard)
	})
}

// TestShutdownLetsTheMetricsInFlightArrive is for a shutdown that begins while the collector has not answered yet.
func TestShutdownLetsTheMetricsInFlightArrive(t *testing.T) {
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) }, func(t *testing.T, p telemetry.Protocol) {
		c := otlptest.New(t)
		c.SetFault(otlptest.Fault{Delay: 300 * time.Millisecond}, otlptest.Metrics)
		guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(p))), telemetry.WithProtocol(p),
			telemetry.WithMetricInterval(50*time.Millisecond), telemetry.WithoutRuntimeMetrics())
		record(t.Context(), guard, "x")
		require.NoError(t, c.Wait(t.Context(), func(c *otlptest.Collector) bool { return len(c.Requests()) > 0 }))
		require.NoError(t, guard.Shutdown(t.Context()))
		h := guard.Health().Metrics
		require.Zero(t, h.Lost(), "%+v", h)
		require.GreaterOrEqual(t, h.Exported, int64(2), "the export in flight and the last one")
		requireBooks(t, guard)
	})
}

// TestAWarningIsNoLoss is for collectors that take everything and have something to say (OTLP: partial success with
// nothing rejected).
func TestAWarningIsNoLoss(t *testing.T) {
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) }, func(t *testing.T, p telemetry.Protocol) {
		c := otlptest.New(t)
		c.SetFault(otlptest.Fault{Message: "use v2"})
		guard, console := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(p))), telemetry.WithProtocol(p))
		record(t.Context(), guard, "x")
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Contains(t, console.String(), "use v2")
		require.Contains(t, metricNames(c), "x")
		requireBooks(t, guard)
	})
}
