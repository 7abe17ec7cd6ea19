package delivery_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
)

func TestBackoffIsJitteredAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(delivery.Config{})
		s.set(refuse)
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		require.EqualValues(t, 1, s.send(ctx, "traces").Failed)
		require.Equal(t, 60*time.Second, time.Since(s.start))

		attempts := s.seen()
		want := 100 * time.Millisecond
		distinct := map[time.Duration]bool{}
		for i := 1; i < len(attempts); i++ {
			gap := attempts[i] - attempts[i-1]
			require.GreaterOrEqual(t, gap, want/2, i)
			require.LessOrEqual(t, gap, want, i)
			distinct[gap] = true
			want = min(2*want, 2*time.Second)
		}
		require.Greater(t, len(attempts), 30)
		require.Greater(t, len(distinct), len(attempts)/2, "jitter")
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for _, tt := range []struct {
		name     string
		header   func() string
		min, max time.Duration
	}{
		{"seconds", func() string { return "7" }, 7 * time.Second, 7 * time.Second},
		{"date", func() string { return time.Now().Add(7 * time.Second).UTC().Format(http.TimeFormat) },
			6 * time.Second, 7 * time.Second},
		{"less than our own patience", func() string { return "0" }, 50 * time.Millisecond, 100 * time.Millisecond},
		{"past", func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) },
			50 * time.Millisecond, 100 * time.Millisecond},
		{"a day", func() string { return "86400" }, 5 * time.Minute, 5 * time.Minute},
		{"garbage", func() string { return "soon" }, 50 * time.Millisecond, 100 * time.Millisecond},
	} {
		for _, code := range []int{429, 502, 503, 504} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSite(delivery.Config{})
					s.set(func(r *http.Request) (*http.Response, error) {
						defer s.set(ok)
						return answering(code, "Retry-After", tt.header())(r)
					})
					require.EqualValues(t, 1, s.send(t.Context(), "traces").Exported)
					attempts := s.seen()
					require.Len(t, attempts, 2)
					require.GreaterOrEqual(t, attempts[1], tt.min)
					require.LessOrEqual(t, attempts[1], tt.max)
				})
			})
		}
	}
}

// The longest wait any of the workers was told counts for all.
func TestRetryAfterOfALateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(delivery.Config{})
		var n atomic.Int32
		s.set(func(r *http.Request) (*http.Response, error) {
			switch n.Add(1) {
			case 1:
				time.Sleep(10 * time.Millisecond)
				return answering(503)(r)
			case 2:
				time.Sleep(20 * time.Millisecond)
				return answering(429, "Retry-After", "30")(r)
			}
			return ok(r)
		})
		var done sync.WaitGroup
		for range 2 {
			done.Go(func() { _ = s.send(t.Context(), "traces") })
		}
		done.Wait()
		attempts := s.seen()
		require.Len(t, attempts, 4)
		require.Equal(t, 30*time.Second+20*time.Millisecond, attempts[2])
	})
}

// A request that always fails does not stop the others.
func TestPoisonedRequestWaitsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(delivery.Config{})
		type poison struct{}
		s.set(func(r *http.Request) (*http.Response, error) {
			time.Sleep(10 * time.Millisecond)
			if r.Context().Value(poison{}) != nil {
				return answering(503)(r)
			}
			return ok(r)
		})
		ctx := context.WithValue(expired(t, 30*time.Second), poison{}, true)
		var done sync.WaitGroup
		done.Go(func() { _ = s.send(ctx, "traces") })
		var delivered atomic.Int64
		for range 7 {
			done.Go(func() {
				for time.Since(s.start) < 30*time.Second {
					delivered.Add(s.send(t.Context(), "traces").Exported)
				}
			})
		}
		done.Wait()
		// Undisturbed: 7 × 100/s × 30 s = 21,000. Without the rule: a fraction.
		require.Greater(t, delivered.Load(), int64(15_000))
	})
}

func TestUpAndDownAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type event struct {
			signal, what string
			after        time.Duration
		}
		var mu sync.Mutex
		var events []event
		s := newSite(delivery.Config{
			OnDown: func(of signal.Signal, cause error) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, event{of.String(), cause.Error(), 0})
			},
			OnUp: func(of signal.Signal, after time.Duration, refusal error) {
				mu.Lock()
				defer mu.Unlock()
				what := "up"
				if refusal != nil {
					what = refusal.Error()
				}
				events = append(events, event{of.String(), what, after})
			},
		})
		s.set(ok)
		_ = s.send(t.Context(), "metrics")
		s.set(answering(400))
		_ = s.send(t.Context(), "metrics")
		seen := func() []event {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(events)
		}
		require.Empty(t, seen())
		s.set(refuse)
		go func() { _ = s.send(t.Context(), "metrics") }()
		time.Sleep(10 * time.Second)
		require.Equal(t, []event{{"metrics", "EOF", 0}}, seen(), "once")
		s.set(ok)
		time.Sleep(2 * time.Second)
		require.Len(t, seen(), 2)
		require.Equal(t, "up", seen()[1].what)
		require.InDelta(t, 11, seen()[1].after.Seconds(), 1)

		s.set(refuse)
		go func() { _ = s.send(t.Context(), "metrics") }()
		time.Sleep(10 * time.Second)
		s.set(answering(400))
		time.Sleep(2 * time.Second)
		require.Len(t, seen(), 4)
		require.Contains(t, seen()[3].what, "400", "an answer, but not a delivery")
	})
}
