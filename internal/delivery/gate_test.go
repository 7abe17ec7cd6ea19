package delivery_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
)

// site is an endpoint with a round tripper whose answers a test decides.
type site struct {
	endpoint *delivery.Endpoint
	rt       http.RoundTripper

	mu       sync.Mutex
	attempts []time.Duration // since start
	start    time.Time
	answer   func(r *http.Request) (*http.Response, error)
}

func newSite(cfg delivery.Config) *site {
	s := &site{start: time.Now(), endpoint: delivery.New(cfg)}
	s.rt = s.endpoint.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
		s.mu.Lock()
		s.attempts = append(s.attempts, time.Since(s.start))
		answer := s.answer
		s.mu.Unlock()
		return answer(r)
	}))
	return s
}

func (s *site) set(answer func(r *http.Request) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *site) seen() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Duration(nil), s.attempts...)
}

// send makes a request and returns its outcome.
func (s *site) send(ctx context.Context, path string) delivery.Outcome {
	out := delivery.Outcome{Items: 1}
	req, _ := http.NewRequestWithContext(delivery.WithOutcome(ctx, &out), http.MethodPost, "http://c:4318/v1/"+path,
		http.NoBody)
	req.Body = io.NopCloser(errReaderAtEnd{})
	_, _ = s.rt.RoundTrip(req)
	return out
}

type errReaderAtEnd struct{}

func (errReaderAtEnd) Read([]byte) (int, error) { return 0, io.EOF }

func ok(r *http.Request) (*http.Response, error)   { return response(r, 200, "", ""), nil }
func refuse(*http.Request) (*http.Response, error) { return nil, io.EOF }
func answering(code int, headers ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) { return response(r, code, "", "", headers...), nil }
}

func TestGateLetsOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(delivery.Config{})
		s.set(refuse)
		var done sync.WaitGroup
		var exported atomic.Int64
		for range 8 {
			done.Go(func() { exported.Add(s.send(t.Context(), "traces").Exported) })
		}
		synctest.Wait()
		first := len(s.seen())
		require.LessOrEqual(t, first, 8)

		// While the endpoint is away, one worker at a time tries it, and a probe that hangs keeps
		// all others waiting.
		time.Sleep(4 * time.Second)
		probes := len(s.seen()) - first
		require.GreaterOrEqual(t, probes, 4)
		require.LessOrEqual(t, probes, 8)
		release := make(chan struct{})
		s.set(func(r *http.Request) (*http.Response, error) {
			<-release
			return ok(r)
		})
		time.Sleep(5 * time.Second)
		require.Len(t, s.seen(), first+probes+1)

		// Its success lets all of them through at once.
		s.set(ok)
		opened := time.Now()
		close(release)
		done.Wait()
		require.Equal(t, opened, time.Now())
		require.EqualValues(t, 8, exported.Load())
		require.Len(t, s.seen(), first+probes+8)
	})
}

// Eight workers that fail together are one failure: the first probe is soon.
func TestFailuresOfOneMomentCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(delivery.Config{})
		s.set(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return nil, io.EOF
		})
		var done sync.WaitGroup
		for range 8 {
			done.Go(func() { _ = s.send(t.Context(), "traces") })
		}
		time.Sleep(time.Second)
		s.set(ok)
		done.Wait()
		require.LessOrEqual(t, time.Since(s.start), 1100*time.Millisecond)
	})
}

// A prober whose own time ends hands the probe on.
func TestGateSurvivesItsProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(delivery.Config{AttemptTimeout: time.Hour})
		s.set(refuse)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = s.send(short, "traces") // shuts the gate
		hang := make(chan struct{})
		s.set(func(r *http.Request) (*http.Response, error) {
			select {
			case <-hang:
				return ok(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		prober, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		results := make(chan delivery.Outcome, 2)
		go func() { results <- s.send(prober, "traces") }()
		time.Sleep(5 * time.Second) // the probe hangs
		go func() { results <- s.send(t.Context(), "traces") }()
		time.Sleep(time.Second)
		close(hang)
		require.EqualValues(t, 1, (<-results).Exported)
		require.EqualValues(t, 1, (<-results).Exported)

		// The same, but the prober's time is up.
		s.set(refuse)
		_ = s.send(expired(t, time.Second), "traces")
		s.set(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
		go func() { results <- s.send(expired(t, 10*time.Second), "traces") }()
		time.Sleep(5 * time.Second)
		go func() { results <- s.send(t.Context(), "traces") }()
		time.Sleep(time.Second)
		s.set(ok)
		a, b := <-results, <-results // in either order: both end at the same moment
		require.EqualValues(t, 1, a.Failed+b.Failed)
		require.EqualValues(t, 1, a.Exported+b.Exported)
	})
}

func expired(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Waiting for the gate, a request fails with the reason the gate is shut for.
func TestGateNamesItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(delivery.Config{})
		s.set(answering(429, "Retry-After", "60"))
		go func() { _ = s.send(t.Context(), "traces") }()
		synctest.Wait()
		out := s.send(expired(t, time.Second), "traces")
		require.EqualError(t, out.Err,
			"http://c:4318/v1/traces: not attempted, waiting for the endpoint: 429 Too Many Requests; gave up: "+
				"context deadline exceeded")
		require.ErrorIs(t, out.Err, context.DeadlineExceeded)
		s.set(ok)
		time.Sleep(time.Minute)
	})
}

// OnDown may still be running in one worker when another opens the gate. OnUp comes after it, so the
// last call is about the state that lasts.
func TestGateTellsItsNewsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var said []string
		say := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, what)
		}
		s := newSite(delivery.Config{
			OnDown: func(signal.Signal, error) {
				time.Sleep(time.Minute) // of virtual time: the next request opens the gate meanwhile
				say("down")
			},
			OnUp: func(signal.Signal, time.Duration, error) { say("up") },
		})
		s.set(refuse)
		var slow sync.WaitGroup
		slow.Go(func() { _ = s.send(t.Context(), "traces") })
		synctest.Wait()
		s.set(ok)
		require.EqualValues(t, 1, s.send(t.Context(), "traces").Exported)
		require.Less(t, time.Since(s.start), time.Second, "the second request does not wait for OnDown to return")
		slow.Wait()
		require.Equal(t, []string{"down", "up"}, said)
	})
}

// One pipeline of a collector that throttles must not hold the others back.
func TestGatesAreOnePerSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(delivery.Config{})
		s.set(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/v1/logs" {
				return answering(503)(r)
			}
			return ok(r)
		})
		go func() { _ = s.send(expired(t, time.Minute), "logs") }()
		synctest.Wait()
		start := time.Now()
		require.EqualValues(t, 1, s.send(t.Context(), "traces").Exported)
		require.Equal(t, start, time.Now())
		time.Sleep(time.Minute)
	})
}
