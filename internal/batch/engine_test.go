package batch_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

func TestNewWithoutExporter(t *testing.T) {
	_, err := batch.New[int](batch.Config{})
	require.Error(t, err)
}

func TestBatchLeavesWhenFullOrAfterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c collector
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10, ScheduleDelay: time.Second}, c.export)
		require.Equal(t, 25, fill(e, 25))
		synctest.Wait()
		require.Equal(t, []int{10, 10}, c.sizes(), "full batches leave at once")

		time.Sleep(time.Second - time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []int{10, 10}, c.sizes())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []int{10, 10, 5}, c.sizes(), "the rest leaves after the delay")

		// A batch that is begun while the timer of an earlier one still runs has its own full
		// delay, and no more.
		time.Sleep(300 * time.Millisecond)
		fill(e, 10)
		time.Sleep(300 * time.Millisecond)
		fill(e, 1)
		time.Sleep(time.Second - time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []int{10, 10, 5, 10}, c.sizes())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []int{10, 10, 5, 10, 1}, c.sizes())

		s := e.Snapshot()
		require.EqualValues(t, 36, s.Exported)
		require.Zero(t, s.QueuedBytes)
		balanced(t, s)
		require.NoError(t, e.Shutdown(t.Context()))
	})
}

func TestBatchLeavesAtItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c collector
		e := newEngine(t, batch.Config{MaxExportBatchSize: 100, MaxExportBatchBytes: 1000, MaxConcurrentExports: 1},
			c.export)
		for i := range 5 {
			require.True(t, e.Enqueue(i, 400, false)) // two fit, a third does not
		}
		synctest.Wait()
		require.Equal(t, []int{2, 2}, c.sizes(), "at once")
		require.True(t, e.Enqueue(5, 5000, false)) // alone above the bound: a batch of its own
		require.True(t, e.Enqueue(6, 1000, false)) // exactly the bound
		synctest.Wait()
		require.Equal(t, [][]int{{0, 1}, {2, 3}, {4}, {5}, {6}}, c.batches)
		require.NoError(t, e.Shutdown(t.Context()))
	})
}

func TestQueueBoundInItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector{hold: make(chan struct{})}
		e := newEngine(t, batch.Config{MaxQueueSize: 80, MaxExportBatchSize: 10, MaxConcurrentExports: 2}, c.export)
		require.Equal(t, 20, fill(e, 20)) // in flight: does not count
		synctest.Wait()

		require.Equal(t, 70, fill(e, 75), "all but the last eighth is for everyone")
		require.False(t, e.Enqueue(0, 1, false))
		for i := range 10 {
			require.True(t, e.Enqueue(i, 1, true), "the last eighth is for priority: %d", i)
		}
		require.False(t, e.Enqueue(0, 1, true), "exactly full")

		s := e.Snapshot()
		require.EqualValues(t, 20+75+1+10+1, s.Accepted)
		require.EqualValues(t, 5+1+1, s.Dropped.QueueFull)
		require.EqualValues(t, 100, s.Queued)
		require.EqualValues(t, 20, s.InFlight)
		balanced(t, s)

		close(c.hold)
		require.NoError(t, e.ForceFlush(t.Context()))
		require.Len(t, c.items(), 100)
		require.Equal(t, 70, fill(e, 70), "there is room again")
		require.NoError(t, e.Shutdown(t.Context()))
		balanced(t, e.Snapshot())
	})
}

func TestQueueBoundInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector{hold: make(chan struct{})}
		e := newEngine(t, batch.Config{MaxQueueBytes: 8000, MaxExportBatchBytes: 1000, MaxConcurrentExports: 2},
			c.export)
		require.False(t, e.Enqueue(0, 8001, true), "larger than the queue")
		for range 7 {
			require.True(t, e.Enqueue(0, 1000, false)) // two in flight: they do count
		}
		synctest.Wait()
		require.False(t, e.Enqueue(0, 1, false), "the last eighth is for priority")
		require.True(t, e.Enqueue(0, 999, true))
		require.False(t, e.Enqueue(0, 2, true))
		require.True(t, e.Enqueue(0, 1, true))
		require.False(t, e.Enqueue(0, 0, true), "exactly full, and nothing is free")

		s := e.Snapshot()
		require.EqualValues(t, 8000, s.QueuedBytes)
		require.EqualValues(t, 3, s.Dropped.BytesFull)
		require.EqualValues(t, 1, s.Dropped.TooLarge)
		balanced(t, s)

		close(c.hold)
		require.NoError(t, e.ForceFlush(t.Context()))
		require.Zero(t, e.Snapshot().QueuedBytes)
		require.True(t, e.Enqueue(0, 7000, false), "there is room again")
		require.NoError(t, e.ForceFlush(t.Context()))
		require.False(t, e.Enqueue(0, 7001, false), "larger than what ordinary items have")
		require.EqualValues(t, 2, e.Snapshot().Dropped.TooLarge)
		require.NoError(t, e.Shutdown(t.Context()))
	})
}

// Bytes in flight shut the door, and open it when they are settled.
func TestBytesInFlightAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector{hold: make(chan struct{})}
		e := newEngine(t, batch.Config{MaxQueueBytes: 8000, MaxExportBatchBytes: 1000, MaxConcurrentExports: 8},
			c.export)
		for range 8 {
			require.True(t, e.Enqueue(0, 1000, true))
		}
		require.False(t, e.Enqueue(0, 1, true))
		require.EqualValues(t, 8, e.Snapshot().InFlight)
		close(c.hold)
		synctest.Wait()
		require.True(t, e.Enqueue(0, 7000, false))
		require.NoError(t, e.Shutdown(t.Context()))
	})
}

// Producers that race for the last places get exactly those.
func TestQueueBoundConcurrentSafe(t *testing.T) {
	for range 200 {
		hold := make(chan struct{})
		c := collector{hold: hold}
		e := newEngine(t, batch.Config{MaxQueueSize: 64, MaxExportBatchSize: 1, MaxConcurrentExports: 1}, c.export)
		var ordinary, priority atomic.Int64
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				<-start
				ordinary.Add(int64(fill(e, 40)))
			})
		}
		close(start)
		wg.Wait()
		require.EqualValues(t, 1+56, ordinary.Load())
		for range 4 {
			wg.Go(func() {
				for range 10 {
					if e.Enqueue(0, 1, true) {
						priority.Add(1)
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 8, priority.Load())
		close(hold)
		require.NoError(t, e.Shutdown(t.Context()))
		balanced(t, e.Snapshot())
	}
}

// A batch that is larger than what the queue admits must not wait for its delay while items are
// dropped.
func TestBatchLargerThanQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{1, 2, 7, 8, 9, 100} {
			var c collector
			e := newEngine(t, batch.Config{MaxQueueSize: size, MaxExportBatchSize: 1024, ScheduleDelay: time.Hour},
				c.export)
			for range 4 * size {
				require.True(t, e.Enqueue(0, 1, false), "queue of %d", size)
				synctest.Wait()
			}
			require.NoError(t, e.Shutdown(t.Context()))
			require.Len(t, c.items(), 4*size)
		}
	})
}

// While all slots are taken a batch goes on filling instead of leaving in crumbs.
func TestDueBatchGoesOnFilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector{hold: make(chan struct{})}
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10, MaxConcurrentExports: 1, ScheduleDelay: time.Second},
			c.export)
		fill(e, 1)
		time.Sleep(time.Second)
		synctest.Wait()
		for range 5 { // one item per delay, while the first export hangs
			fill(e, 1)
			time.Sleep(2 * time.Second)
		}
		close(c.hold)
		synctest.Wait()
		require.Equal(t, []int{1, 5}, c.sizes())
		require.NoError(t, e.Shutdown(t.Context()))
	})
}

// The books are balanced at every moment, not only at quiet ones.
func TestSnapshotConcurrentSafe(t *testing.T) {
	e := newEngine(t, batch.Config{MaxQueueSize: 64, MaxExportBatchSize: 8, MaxConcurrentExports: 4,
		MaxQueueBytes: 4096},
		func(ctx context.Context, items []int) error {
			n := int64(len(items))
			out := delivery.OutcomeFrom(ctx)
			switch items[0] % 5 {
			case 0:
				return errRefused
			case 1:
				*out = delivery.Outcome{Filled: true, Exported: n - 1, Rejected: 1, Err: errRefused}
			case 2:
				*out = delivery.Outcome{Filled: true, TooLarge: true, Err: errRefused}
			case 3:
				panic("boom")
			}
			return nil
		})
	const producers, each = 4, 5000
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				e.Enqueue(i, 1+i%200, i%10 == 0)
				if i%1000 == p {
					_ = e.ForceFlush(t.Context())
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
		_ = e.Shutdown(context.Background())
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		balanced(t, e.Snapshot())
		runtime.Gosched()
	}
	s := e.Snapshot()
	require.EqualValues(t, producers*each, s.Accepted)
	require.Zero(t, s.Queued)
	require.Zero(t, s.QueuedBytes)
	for name, n := range map[string]int64{"exported": s.Exported, "failed": s.Failed, "rejected": s.Rejected,
		"too large": s.Dropped.TooLarge} {
		require.Positive(t, n, name)
	}
}

func TestMemoryGrowsWithUse(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	engines := make([]*batch.Engine[[600]byte], 20)
	for i := range engines {
		var err error
		engines[i], err = batch.New(batch.Config{MaxQueueSize: 65536, MaxExportBatchSize: 4096,
			MaxConcurrentExports: 16},
			func(context.Context, [][600]byte) error { return nil })
		require.NoError(t, err)
		engines[i].Enqueue([600]byte{}, 600, false)
	}
	runtime.ReadMemStats(&after)
	perEngine := (after.TotalAlloc - before.TotalAlloc) / uint64(len(engines))
	require.Less(t, perEngine, uint64(64<<10), "a queue of 65,536 such items is 39 MB")
	for _, e := range engines {
		require.NoError(t, e.Shutdown(t.Context()))
	}
}

func TestEnqueueDoesNotAllocate(t *testing.T) {
	var c atomicSink
	e := newEngine(t, batch.Config{MaxExportBatchSize: 64, MaxConcurrentExports: 1}, c.export)
	fill(e, 10_000)
	require.NoError(t, e.ForceFlush(t.Context()))
	perItem := testing.AllocsPerRun(20_000, func() { e.Enqueue(1, 1, false) })
	require.Zero(t, perItem)
	require.NoError(t, e.Shutdown(t.Context()))
}

type atomicSink struct{}

func (atomicSink) export(context.Context, []int) error { return nil }
