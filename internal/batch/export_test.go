package batch_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

func TestConcurrentExports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Each exporter fails if it is used by two exports at a time.
		var all collector
		exports := make([]batch.Export[int], 3)
		for i := range exports {
			var mine sync.Mutex
			exports[i] = func(ctx context.Context, items []int) error {
				if !mine.TryLock() {
					return errors.New("two exports in one exporter")
				}
				defer mine.Unlock()
				return all.export(ctx, items)
			}
		}
		all.answer = func(context.Context, []int) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		}
		e := newEngine(t, batch.Config{MaxExportBatchSize: 10, MaxConcurrentExports: 3}, exports...)
		start := time.Now()
		require.Equal(t, 300, fill(e, 300))
		require.NoError(t, e.ForceFlush(t.Context()))
		require.Equal(t, time.Second, time.Since(start), "30 batches, 3 at a time, 100 ms each")
		require.Equal(t, 3, all.maxIn)
		require.EqualValues(t, 300, e.Snapshot().Exported)
		require.NoError(t, e.Shutdown(t.Context()))
	})
}

func TestOutcomeIsBooked(t *testing.T) {
	full := errors.New("disk full")
	for _, tt := range []struct {
		name    string
		outcome delivery.Outcome
		err     error // of the exporter
		want    batch.Stats
	}{
		{"not filled, no error", delivery.Outcome{}, nil, batch.Stats{Exported: 10}},
		{"not filled, error", delivery.Outcome{}, full, batch.Stats{Failed: 10, LastError: full}},
		{"exported in spite of an error", delivery.Outcome{Filled: true, Exported: 10}, full,
			batch.Stats{Exported: 10}},
		{"failed in spite of none", delivery.Outcome{Filled: true, Failed: 10, Err: full}, nil,
			batch.Stats{Failed: 10, LastError: full}},
		{"partial success", delivery.Outcome{Filled: true, Exported: 7, Rejected: 3, Err: full}, nil,
			batch.Stats{Exported: 7, Rejected: 3, LastError: full}},
		{"spooled", delivery.Outcome{Filled: true, Spooled: 10}, nil, batch.Stats{Spooled: 10}},
		{"a warning", delivery.Outcome{Filled: true, Exported: 10, Err: full}, nil,
			batch.Stats{Exported: 10, LastError: full}},
		{"too much is named", delivery.Outcome{Filled: true, Exported: 8, Rejected: 8, Err: full}, nil,
			batch.Stats{Exported: 8, Rejected: 2, LastError: full}},
		{"too little is named", delivery.Outcome{Filled: true, Exported: 8, Err: full}, nil,
			batch.Stats{Exported: 8, Failed: 2, LastError: full}},
		{"nonsense", delivery.Outcome{Filled: true, Exported: -5, Spooled: 4, Err: full}, nil,
			batch.Stats{Spooled: 4, Failed: 6, LastError: full}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var reported []error
				var cost int64
				e := newEngine(t, batch.Config{OnError: func(lost int64, err error) {
					cost, reported = cost+lost,
						append(reported, err)
				}},
					func(ctx context.Context, items []int) error {
						out := delivery.OutcomeFrom(ctx)
						require.EqualValues(t, len(items), out.Items)
						if tt.outcome.Filled {
							*out = tt.outcome
						}
						return tt.err
					})
				fill(e, 10)
				err := e.ForceFlush(t.Context())
				s := e.Snapshot()
				balanced(t, s)
				require.Equal(t, tt.want.Failed+tt.want.Rejected, cost)
				if n := tt.want.Failed + tt.want.Rejected; n > 0 {
					require.EqualValues(t, n, lost(t, err))
				} else {
					require.NoError(t, err)
				}
				if tt.want.LastError != nil {
					tt.want.LastErrorAt = time.Now()
					require.Equal(t, []error{tt.want.LastError}, reported)
				}
				if tt.want.Exported > 0 {
					tt.want.LastSuccess = time.Now()
				}
				tt.want.Accepted, tt.want.Submitted = 10, 10
				require.Equal(t, tt.want, s)
				require.NoError(t, e.Shutdown(t.Context()))
			})
		})
	}
}

// What is refused is reported at once at first, and in parts that add up.
func TestRefusalsAreReportedInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		reports, sum := 0, int64(0)
		e := newEngine(t, batch.Config{MaxQueueSize: 8, MaxConcurrentExports: 1, OnError: func(lost int64, err error) {
			mu.Lock()
			defer mu.Unlock()
			require.EqualError(t, err, "the queue is full (queue_full)")
			reports, sum = reports+1, sum+lost
		}}, func(ctx context.Context, _ []int) error { <-ctx.Done(); return nil })
		require.Equal(t, 14, fill(e, 15), "a batch of seven is on its way, seven wait")
		require.Equal(t, 1, reports)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { fill(e, 25_000) })
		}
		wg.Wait()
		refused := e.Snapshot().Dropped.QueueFull
		require.GreaterOrEqual(t, refused, int64(90_000))
		require.Less(t, refused-sum, int64(1024+4), "but for those that are just being reported")
		require.Less(t, reports, 150)
		e.ReportRefused()
		require.Equal(t, refused, sum)
		e.ReportRefused()
		require.Equal(t, refused, sum, "once")
		fill(e, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, e.Shutdown(ctx))
		require.Equal(t, refused+3, sum, "the shutdown leaves nothing unsaid")
	})
}

// A callback of the service's own must not take the process down either.
func TestPanickingCallbackIsContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, batch.Config{OnError: func(int64, error) { panic("boom") }},
			func(context.Context, []int) error { return errRefused })
		fill(e, 10)
		require.EqualValues(t, 10, lost(t, e.ForceFlush(t.Context())))
		require.NoError(t, e.Shutdown(t.Context()))
		balanced(t, e.Snapshot())
	})
}

func TestTooLargeIsHalved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The server takes requests that weigh at most 10; item i weighs i.
		var c collector
		exports := 0
		var reported []int64
		c.answer = func(ctx context.Context, items []int) error {
			exports++
			sum := 0
			for _, i := range items {
				sum += i
			}
			if sum > 10 {
				*delivery.OutcomeFrom(ctx) = delivery.Outcome{Filled: true, TooLarge: true, Err: errors.New("413")}
				return errors.New("413")
			}
			return nil
		}
		e := newEngine(t, batch.Config{MaxConcurrentExports: 1,
			OnError: func(lost int64, _ error) { reported = append(reported, lost) }}, c.export)
		for _, weight := range []int{1, 2, 3, 4, 99, 5, 10, 11} {
			e.Enqueue(weight, 1, false)
		}
		require.EqualValues(t, 2, lost(t, e.ForceFlush(t.Context())))
		require.Equal(t, [][]int{{1, 2, 3, 4}, {5}, {10}}, c.batches, "in order, nothing twice")
		require.Equal(t, 9, exports)
		s := e.Snapshot()
		require.EqualValues(t, 6, s.Exported)
		require.EqualValues(t, 2, s.Dropped.TooLarge)
		require.EqualError(t, s.LastError, "413")
		require.Equal(t, []int64{1, 1}, reported, "the halves that arrive are no loss")
		balanced(t, s)
		require.NoError(t, e.Shutdown(t.Context()))
	})
}

func TestExportTimeoutBoundsAllHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEngine(t, batch.Config{ExportTimeout: 10 * time.Second},
			func(ctx context.Context, items []int) error {
				select {
				case <-time.After(4 * time.Second):
					*delivery.OutcomeFrom(ctx) = delivery.Outcome{Filled: true, TooLarge: true, Err: errors.New("413")}
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			})
		fill(e, 8)
		require.EqualValues(t, 8, lost(t, e.ForceFlush(t.Context())))
		require.Equal(t, 10*time.Second, time.Since(start))
		require.ErrorContains(t, e.Snapshot().LastError, "export timeout")
		balanced(t, e.Snapshot())
		require.NoError(t, e.Shutdown(t.Context()))
	})
}

func TestBrokenExporterIsContained(t *testing.T) {
	for name, breakDown := range map[string]func(){
		"panic":      func() { panic("boom") },
		"nil map":    func() { maps.Copy(map[string]int(nil), map[string]int{"x": 1}) },
		"goroutine":  runtime.Goexit,
		"nil panics": func() { panic(error(nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := collector{answer: func(_ context.Context, items []int) error {
					time.Sleep(time.Second) // of virtual time, which passes once the flush waits for all batches
					if slices.Contains(items, 3) {
						breakDown()
					}
					return nil
				}}
				e := newEngine(t, batch.Config{MaxExportBatchSize: 2, MaxConcurrentExports: 1}, c.export)
				fill(e, 10)
				require.EqualValues(t, 2, lost(t, e.ForceFlush(t.Context())))
				s := e.Snapshot()
				require.EqualValues(t, 2, s.Failed)
				require.EqualValues(t, 8, s.Exported, "the slot goes on")
				require.ErrorContains(t, s.LastError, "the exporter")
				balanced(t, s)
				require.NoError(t, e.Shutdown(t.Context()))
			})
		})
	}
}

func ExampleLossError() {
	err := fmt.Errorf("traces: %w", &batch.LossError{Items: 12, Cause: errRefused})
	fmt.Println(err)
	// Output: traces: 12 items not delivered: connection refused
}
