package telemetrytest_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

const settled = " (all that has ended has arrived, and no span is open)"

// TestWhatWasRecordedInAnotherWayIsNotWaitedFor asks for what has arrived with other attributes, or
// elsewhere.
func TestWhatWasRecordedInAnotherWayIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	other := attribute.Int("order.id", 8)
	for name, ask := range map[string]func(testing.TB, *telemetrytest.Recorder){
		"span":   func(tb testing.TB, r *telemetrytest.Recorder) { r.RequireSpan(tb, "POST /orders", other) },
		"log":    func(tb testing.TB, r *telemetrytest.Recorder) { r.RequireLog(tb, "order received", other) },
		"metric": func(tb testing.TB, r *telemetrytest.Recorder) { r.RequireMetric(tb, "orders", other) },
		"child": func(tb testing.TB, r *telemetrytest.Recorder) {
			r.RequireSpan(tb, "POST /orders").RequireChild(tb, "POST /orders")
		},
		"log of span": func(tb testing.TB, r *telemetrytest.Recorder) {
			r.RequireSpan(tb, "check_stock").RequireLog(tb, "order received")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message := failure(t, func(tb testing.TB) {
				r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
				telemetrytest.SetSettleTime(r.Collector, 50*time.Millisecond)
				order(r.Guard)
				ask(tb, r)
			})
			require.Contains(t, message, settled)
		})
	}
	t.Run("metrics alone", func(t *testing.T) {
		t.Parallel()
		message := failure(t, func(tb testing.TB) {
			r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
			telemetrytest.SetSettleTime(r.Collector, 50*time.Millisecond)
			placed, _ := r.Guard.MeterProvider().Meter("shop").Int64Counter("orders")
			placed.Add(t.Context(), 1)
			r.RequireMetric(tb, "orders", other)
		})
		require.Contains(t, message, settled)
	})
}

// TestWhatMayStillComeIsWaitedFor has one reason each to go on waiting.
func TestWhatMayStillComeIsWaitedFor(t *testing.T) {
	t.Parallel()
	tenth := attribute.Int("n", 10)
	record := func(guard *telemetry.Guard, name string, attributes ...attribute.KeyValue) trace.Span {
		_, span := guard.TracerProvider().Tracer("shop").Start(t.Context(), name, trace.WithAttributes(attributes...))
		return span
	}
	t.Run("an open span", func(t *testing.T) {
		r := parallel(t)
		telemetrytest.SetSettleTime(r.Collector, time.Millisecond)
		record(r.Guard, "poll").End()
		last := record(r.Guard, "poll", tenth)
		go func() {
			time.Sleep(200 * time.Millisecond) // the kit has to wait for something
			last.End()
		}()
		r.RequireSpan(t, "poll", tenth)
	})
	t.Run("nothing of that name", func(t *testing.T) {
		r := parallel(t)
		telemetrytest.SetSettleTime(r.Collector, time.Millisecond)
		record(r.Guard, "other", tenth).End()
		go func() {
			time.Sleep(200 * time.Millisecond)
			record(r.Guard, "poll", tenth).End()
		}()
		r.RequireSpan(t, "poll", tenth)
	})
	t.Run("a service that Start has not started", func(t *testing.T) {
		r := parallel(t)
		telemetrytest.SetSettleTime(r.Collector, time.Millisecond)
		elsewhere, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(r.HTTPEndpoint()),
			telemetry.WithoutGlobals(),
			telemetry.WithServiceName("elsewhere"), telemetry.WithLogOutput(io.Discard))
		require.NoError(t, err)
		record(elsewhere, "poll").End()
		require.NoError(t, elsewhere.ForceFlush(t.Context()))
		ended := make(chan error)
		go func() {
			time.Sleep(200 * time.Millisecond)
			record(elsewhere, "poll", tenth).End()
			ended <- elsewhere.Shutdown(context.Background())
		}()
		r.RequireSpan(t, "poll", tenth)
		require.NoError(t, <-ended)
	})
}

func TestQuietBeginsAnewWithWhatArrives(t *testing.T) {
	var q telemetrytest.Quiet
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	for _, look := range []struct {
		at, items  int
		moreToCome bool
		want       time.Duration
	}{
		{at: 0, items: 3},
		{at: 400, items: 3, want: 400 * time.Millisecond},
		{at: 450, items: 4},
		{at: 900, items: 4, want: 450 * time.Millisecond},
		{at: 910, items: 4, moreToCome: true},
		{at: 1000, items: 4, want: 90 * time.Millisecond},
	} {
		require.Equal(t, look.want, q.Lasts(at(look.at), look.items, look.moreToCome), "at %d", look.at)
	}
}
