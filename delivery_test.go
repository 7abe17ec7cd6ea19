package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// The outages below are those of benchmarks/outage, in which 1,000 spans and 1,000 records a second meet a collector
// that misbehaves for 10 s of 15 s: time, rate, queue and batch are a tenth and less of it.
const (
	outageLasts = time.Second
	outageRate  = 500 // of each signal, in a second
	// outageItems leave room in the queue: how much is in flight beside it depends on how full the batches are. A test that
	// gets no processor for seconds goes on with a trickle, so that there is always something to fail.
	outageItems = 1000
	trickle     = 10
)

var outageBatch = telemetry.Batch{MaxQueueSize: 1024, MaxExportBatchSize: 128, ScheduleDelay: 100 * time.Millisecond}

// atOnce runs subtests at the same time. They wait most of the time, so the bound that -parallel sets by the number of
// processors would only make them take turns in waiting.
func atOnce[C any](t *testing.T, cases []C, name func(C) string, run func(*testing.T, C)) {
	var wg sync.WaitGroup
	for _, c := range cases {
		wg.Go(func() { t.Run(name(c), func(t *testing.T) { run(t, c) }) })
	}
	wg.Wait()
}

// overProtocols is each case over HTTP and over gRPC.
func overProtocols[C any](cases ...C) (all []protocolCase[C]) {
	for _, c := range cases {
		for _, protocol := range protocols {
			all = append(all, protocolCase[C]{protocol, c})
		}
	}
	return all
}

type protocolCase[C any] struct {
	protocol telemetry.Protocol
	of       C
}

// outage is a way in which a collector fails for a while.
type outage struct {
	name  string
	begin func(c *otlptest.Collector) error
	end   func(c *otlptest.Collector) error
	// cutsAnswers says that a request may have been taken although its answer never came: to send it again is then
	// unavoidable. Over gRPC that concerns all requests that share the connection.
	cutsAnswers func(protocol telemetry.Protocol) bool
	// patient says that nothing fails: it only takes long.
	patient bool
}

func always(telemetry.Protocol) bool { return true }
func never(telemetry.Protocol) bool  { return false }
func overGRPC(p telemetry.Protocol) bool {
	return p == telemetry.ProtocolGRPC
}

func outages() []outage {
	fault := func(f otlptest.Fault) func(*otlptest.Collector) error {
		return func(c *otlptest.Collector) error { c.SetFault(f); return nil }
	}
	heal := fault(otlptest.Fault{})
	return []outage{
		{"down", (*otlptest.Collector).Down, (*otlptest.Collector).Up, always, false},
		{"cut mid-request", fault(otlptest.Fault{Cut: true}), heal, overGRPC, false},
		{"unavailable", fault(otlptest.Fault{HTTPStatus: http.StatusServiceUnavailable, GRPCCode: codes.Unavailable}), heal, never, false},
		{"asks to wait", fault(otlptest.Fault{
			HTTPStatus: http.StatusTooManyRequests, GRPCCode: codes.ResourceExhausted, RetryAfter: time.Second,
		}), heal, never, false},
		{"slow", fault(otlptest.Fault{Delay: 400 * time.Millisecond}), func(*otlptest.Collector) error { return nil }, never, true},
	}
}

func TestOutageLosesNothing(t *testing.T) {
	atOnce(t, overProtocols(outages()...),
		func(c protocolCase[outage]) string { return c.of.name + " " + string(c.protocol) },
		func(t *testing.T, c protocolCase[outage]) {
			collector := otlptest.New(t)
			guard, console := start(t, collector,
				telemetry.WithEndpoint(collector.Endpoint(string(c.protocol))), telemetry.WithProtocol(c.protocol),
				telemetry.WithSampler(sdktrace.AlwaysSample()), telemetry.WithShutdownTimeout(time.Minute), // for a busy machine
				telemetry.WithSpanBatch(outageBatch), telemetry.WithLogBatch(outageBatch))
			stop, offered := make(chan struct{}), make(chan int, 1)
			go func() { offered <- offer(guard, stop) }()
			noticed := func() bool {
				return strings.Contains(console.String(), "cannot be delivered: each ")
			}
			err := c.of.play(t, collector, noticed)
			close(stop)
			n := <-offered
			require.NoError(t, err)
			require.NoError(t, guard.Shutdown(t.Context()))

			requireComplete(t, names(collector.Spans(), number), n, c.of.cutsAnswers(c.protocol))
			requireComplete(t, names(collector.LogRecords(), recordNumber), n, c.of.cutsAnswers(c.protocol))
			requireBooks(t, guard)
			for _, h := range []telemetry.SignalHealth{guard.Health().Traces, guard.Health().Logs} {
				require.EqualValues(t, n, h.Accepted)
				require.EqualValues(t, n, h.Exported)
			}
			require.Equal(t, !c.of.patient, noticed(), console)
			require.NotRegexp(t, "(was|were) lost", console.String())
		})
}

// play lets the collector fail under load, for outageLasts and until the library has noticed, and a moment longer work.
func (o outage) play(t *testing.T, c *otlptest.Collector, noticed func() bool) error {
	err := c.Wait(t.Context(), func(c *otlptest.Collector) bool { return len(c.Requests()) > 0 })
	err = errors.Join(err, o.begin(c))
	time.Sleep(outageLasts)
	for begin := time.Now(); !o.patient && !noticed() && time.Since(begin) < time.Minute; {
		time.Sleep(10 * time.Millisecond)
	}
	err = errors.Join(err, o.end(c))
	time.Sleep(outageLasts / 5)
	return err
}

// offer makes numbered spans and records at a steady rate until it is stopped, and returns how many of each.
func offer(guard *telemetry.Guard, stop <-chan struct{}) (n int) {
	tracer, logger := guard.TracerProvider().Tracer("test"), guard.LoggerProvider().Logger("test")
	begin := time.Now()
	for {
		seconds := time.Since(begin).Seconds()
		for ; n < int(min(seconds*outageRate, outageItems+seconds*trickle)); n++ {
			ctx, span := tracer.Start(context.Background(), "span", trace.WithAttributes(attribute.Int("number", n)))
			var r log.Record
			r.SetBody(attribute.IntValue(n))
			logger.Emit(ctx, r)
			span.End()
		}
		select {
		case <-stop:
			return n
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func number(s otlptest.Span) string            { return fmt.Sprint(s.Attributes["number"]) }
func recordNumber(r otlptest.LogRecord) string { return fmt.Sprint(r.Body) }

// requireComplete asserts that each of n numbers has arrived, and once unless an answer may have been cut.
func requireComplete(t *testing.T, arrived []string, n int, twiceIsFine bool) {
	t.Helper()
	require.Positive(t, n)
	times := map[string]int{}
	for _, number := range arrived {
		times[number]++
	}
	for i := range n {
		key := strconv.Itoa(i)
		require.Positive(t, times[key], "number %d of %d has not arrived", i, n)
		if !twiceIsFine {
			require.Equal(t, 1, times[key], "number %d has arrived more than once", i)
		}
	}
	require.Len(t, times, n)
}

// requireBooks asserts the accounting identity for all signals, with nothing left in the queues.
func requireBooks(t *testing.T, guard *telemetry.Guard) {
	t.Helper()
	health := guard.Health()
	for signal, h := range map[string]telemetry.SignalHealth{"traces": health.Traces, "metrics": health.Metrics, "logs": health.Logs} {
		require.Equal(t, h.Accepted+h.Recovered, h.Exported+h.Dropped+h.Failed+h.Rejected+h.Queued+h.Spooled, "%s: %+v", signal, h)
		require.Zero(t, h.Queued, "%s: %+v", signal, h)
		var byReason int64
		for _, n := range h.DroppedBy {
			byReason += n
		}
		require.Equal(t, h.Dropped, byReason, "%s: %+v", signal, h)
	}
}
