package batch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

func spooled(ctx context.Context, items []int) error {
	out := delivery.OutcomeFrom(ctx)
	*out = delivery.Outcome{Items: out.Items, Spooled: int64(len(items)), Err: errRefused, Filled: true}
	return nil
}

// At the end of a shutdown's time, what is in flight and what waits goes to the spool, before the
// deadline.
func TestShutdownSpoolsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var reported []error
		e := newEngine(t, batch.Config{Spool: true, MaxExportBatchSize: 10, MaxConcurrentExports: 2,
			OnError: func(_ int64, err error) { reported = append(reported, err) }},
			func(ctx context.Context, items []int) error {
				if time.Since(begin) < 4*time.Second {
					<-ctx.Done() // an endpoint that hangs, and an exporter that does not ask at the end
					return context.Cause(ctx)
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
				time.Sleep(10 * time.Millisecond) // of a disk
				return spooled(ctx, items)
			})
		fill(e, 500)
		ctx, cancel := context.WithDeadline(t.Context(), begin.Add(5*time.Second))
		defer cancel()
		require.NoError(t, e.Shutdown(ctx), "what is spooled is not lost")
		require.Less(t, time.Since(begin), 5*time.Second)
		s := e.Snapshot()
		balanced(t, s)
		require.EqualValues(t, 500, s.Spooled)
		require.Equal(t, errRefused, s.LastError, "an operator sees why")
		require.Empty(t, reported, "but nothing is reported as lost")
	})
}

// A disk that is slower than the deadline: what it takes in the end is not counted as lost,
// although the shutdown could not know.
func TestLateSpoolIsBookedAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, batch.Config{Spool: true}, func(ctx context.Context, items []int) error {
			time.Sleep(20 * time.Second)
			return spooled(ctx, items)
		})
		fill(e, 7)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.EqualValues(t, 7, lost(t, e.Shutdown(ctx)))
		require.EqualValues(t, 7, e.Snapshot().Failed)
		time.Sleep(time.Minute)
		s := e.Snapshot()
		balanced(t, s)
		require.Equal(t, []int64{7, 0}, []int64{s.Spooled, s.Failed})
	})
}
