package batch_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

func TestForceFlushTakesWhatWasAcceptedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		c := collector{hold: hold}
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10, MaxConcurrentExports: 2, ScheduleDelay: time.Hour},
			c.export)
		require.Equal(t, 35, fill(e, 35)) // 20 in flight, 10 ready, 5 being filled

		flushed := make(chan error, 1)
		go func() { flushed <- e.ForceFlush(t.Context()) }()
		synctest.Wait()
		require.Equal(t, 8, fill(e, 8), "after the call: 5 share the last export")
		synctest.Wait()
		require.Empty(t, flushed, "also waits for what is in flight")

		close(hold)
		require.NoError(t, <-flushed)
		require.Len(t, c.items(), 40)
		require.EqualValues(t, 3, e.Snapshot().Queued, "what came later stays")
		balanced(t, e.Snapshot())

		require.NoError(t, e.ForceFlush(t.Context()))
		require.Len(t, c.items(), 43)
		require.NoError(t, e.ForceFlush(t.Context()), "nothing to do")
		require.NoError(t, e.Shutdown(t.Context()))
		require.NoError(t, e.ForceFlush(t.Context()), "after shutdown")
	})
}

// A flush does not wait for items that others keep sending.
func TestForceFlushUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector{answer: func(context.Context, []int) error { time.Sleep(10 * time.Millisecond); return nil }}
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10, MaxConcurrentExports: 1}, c.export)
		stop := make(chan struct{})
		var producer sync.WaitGroup
		producer.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond): // as fast as the exporter
					e.Enqueue(0, 1, false)
				}
			}
		})
		time.Sleep(time.Second)
		start, queued := time.Now(), e.Snapshot().Queued
		require.NoError(t, e.ForceFlush(t.Context()))
		require.LessOrEqual(t, time.Since(start), time.Duration(queued/10+2)*10*time.Millisecond)
		close(stop)
		producer.Wait()
		require.NoError(t, e.Shutdown(t.Context()))
	})
}

func TestForceFlushAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		c := collector{hold: hold}
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10, MaxConcurrentExports: 1}, c.export)
		fill(e, 25)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := e.ForceFlush(ctx)
		require.Equal(t, time.Second, time.Since(start))
		require.EqualValues(t, 25, lost(t, err))
		require.ErrorIs(t, err, context.DeadlineExceeded)

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, e.ForceFlush(gone), context.Canceled)

		close(hold) // the exports go on
		require.NoError(t, e.Shutdown(t.Context()))
		require.EqualValues(t, 25, e.Snapshot().Exported)
		require.NoError(t, e.ForceFlush(gone), "nothing to do")
	})
}

// A service that flushes after each item, with little time, while the endpoint is away: neither the
// queue nor those who look at it may grow with the flushes.
func TestForceFlushPerItemDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		c := collector{hold: hold}
		e := newEngine(t, batch.Config{MaxExportBatchSize: 1000, MaxConcurrentExports: 2, ExportTimeout: time.Hour},
			c.export)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 5000 {
			e.Enqueue(i, 1, false)
			require.EqualValues(t, i+1, lost(t, e.ForceFlush(gone)))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(1<<20), "for 40 KB of items")
		close(hold)
		require.NoError(t, e.Shutdown(t.Context()))
		require.Equal(t, []int{1, 1, 998, 1000, 1000, 1000, 1000}, slices.Sorted(slices.Values(c.sizes())))
	})
}

func TestForceFlushConcurrentSafe(t *testing.T) {
	var exported atomic.Int64
	e := newEngine(t, batch.Config{MaxExportBatchSize: 7, MaxConcurrentExports: 3},
		func(_ context.Context, items []int) error {
			exported.Add(int64(len(items)))
			return nil
		})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				e.Enqueue(i, 1, false)
				before := e.Snapshot().Accepted // of all producers
				if err := e.ForceFlush(t.Context()); err != nil {
					t.Error(err)
				}
				if got := exported.Load(); got < before {
					t.Errorf("flushed %d of %d", got, before)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, e.Shutdown(t.Context()))
	require.EqualValues(t, 2000, exported.Load())
}

func TestShutdownDrainsWithAllSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector{answer: func(context.Context, []int) error { time.Sleep(100 * time.Millisecond); return nil }}
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10, MaxConcurrentExports: 4}, c.export)
		fill(e, 205)
		start := time.Now()
		require.NoError(t, e.Shutdown(t.Context()))
		require.Equal(t, 600*time.Millisecond, time.Since(start), "21 batches, 4 at a time")
		require.Len(t, c.items(), 205)

		require.False(t, e.Enqueue(1, 1, true), "after shutdown")
		s := e.Snapshot()
		require.EqualValues(t, 1, s.Dropped.Shutdown)
		require.EqualValues(t, 206, s.Accepted)
		balanced(t, s)
		require.NoError(t, e.Shutdown(t.Context()), "a later loss is not this shutdown's")
	})
}

func TestShutdownAtItsDeadline(t *testing.T) {
	// Exports hang; three are in flight, the rest waits.
	for _, tt := range []struct {
		name       string
		budget     time.Duration // 0: cancelled before the call
		obstinate  bool          // exports ignore their context
		min, limit time.Duration
	}{
		{"exports that obey", 5 * time.Second, false, 4 * time.Second, 5 * time.Second},
		{"exports that do not", 5 * time.Second, true, 4 * time.Second, 5 * time.Second},
		{"a tiny budget", 5 * time.Millisecond, false, 0, 5 * time.Millisecond},
		{"a tiny budget, exports that do not obey", 5 * time.Millisecond, true, 0,
			5*time.Millisecond + 50*time.Millisecond},
		{"no time at all", 0, false, 0, 0},
		{"no time at all, exports that do not obey", 0, true, 0, 50 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				released := make(chan struct{})
				e := newEngine(t, batch.Config{MaxExportBatchSize: 10, MaxConcurrentExports: 3,
					ExportTimeout: time.Hour},
					func(ctx context.Context, _ []int) error {
						if tt.obstinate {
							<-released
							return nil
						}
						<-ctx.Done()
						return context.Cause(ctx)
					})
				fill(e, 100)
				ctx, cancel := context.WithTimeout(t.Context(), tt.budget)
				if tt.budget == 0 {
					ctx, cancel = context.WithCancel(t.Context())
					cancel()
				}
				defer cancel()

				start := time.Now()
				err := e.Shutdown(ctx)
				took := time.Since(start)
				require.GreaterOrEqual(t, took, tt.min)
				require.LessOrEqual(t, took, tt.limit)

				require.EqualValues(t, 100, lost(t, err))
				require.Equal(t, ctx.Err() == context.Canceled && tt.budget == 0, errors.Is(err, context.Canceled))
				s := e.Snapshot()
				require.EqualValues(t, 30, s.Failed, "what was attempted")
				require.EqualValues(t, 70, s.Dropped.Shutdown, "what was not")
				require.Zero(t, s.QueuedBytes)
				balanced(t, s)

				again := e.Shutdown(t.Context())
				require.Equal(t, err, again, "idempotent")

				close(released) // what was abandoned must not be booked twice
				synctest.Wait()
				require.Equal(t, s, e.Snapshot())
			})
		})
	}
}

// What an export says in answer to the cancelling counts, if it says it in time.
func TestShutdownKeepsTheBooksOfCancelledExports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10, MaxConcurrentExports: 1},
			func(ctx context.Context, items []int) error {
				<-ctx.Done()
				time.Sleep(30 * time.Millisecond)
				*delivery.OutcomeFrom(ctx) = delivery.Outcome{Filled: true, Exported: 4, Spooled: 5, Failed: 1,
					Err: errRefused}
				return errRefused
			})
		fill(e, 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := e.Shutdown(ctx)
		require.EqualValues(t, 1, lost(t, err))
		require.ErrorIs(t, err, errRefused)
		s := e.Snapshot()
		require.EqualValues(t, 4, s.Exported)
		require.EqualValues(t, 5, s.Spooled)
		balanced(t, s)
	})
}

func TestShutdownNamesTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10},
			func(context.Context, []int) error { return errRefused })
		fill(e, 10)
		synctest.Wait()
		fill(e, 5)
		err := e.Shutdown(t.Context())
		require.EqualValues(t, 5, lost(t, err), "earlier losses are not this shutdown's")
		require.EqualError(t, err, "5 items not delivered: connection refused")
	})
}

// Callers that come while the first is at work wait for it, or for themselves.
func TestShutdownConcurrentSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		c := collector{hold: hold}
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10}, c.export)
		fill(e, 10)
		results := make(chan error, 3)
		for range 3 {
			go func() { results <- e.Shutdown(t.Context()) }()
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, e.Shutdown(short), context.DeadlineExceeded)
		close(hold)
		for range 3 {
			require.NoError(t, <-results)
		}
	})
}

// No item is lost uncounted between Enqueue and Shutdown.
func TestEnqueueDuringShutdownConcurrentSafe(t *testing.T) {
	for range 50 {
		var exported atomic.Int64
		e := newEngine(t, batch.Config{MaxExportBatchSize: 3, MaxConcurrentExports: 2},
			func(_ context.Context, items []int) error {
				exported.Add(int64(len(items)))
				return nil
			})
		var wg sync.WaitGroup
		var taken atomic.Int64
		for range 4 {
			wg.Go(func() { taken.Add(int64(fill(e, 200))) })
		}
		require.NoError(t, e.Shutdown(t.Context()))
		wg.Wait()
		s := e.Snapshot()
		require.EqualValues(t, 800, s.Accepted)
		require.Equal(t, taken.Load(), exported.Load())
		require.Equal(t, exported.Load(), s.Exported)
		balanced(t, s)
	}
}
