package telemetry

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// TestShutdownBudgetIsSharedBetweenSignals runs in virtual time. Whatever the first signals do,
// metrics get their third, and the whole is never late.
func TestShutdownBudgetIsSharedBetweenSignals(t *testing.T) {
	for _, budget := range []time.Duration{60 * time.Millisecond, 300 * time.Millisecond, time.Second, 10 * time.Second,
		settings.MaxDuration} {
		for name, ignores := range map[string]bool{"hangs until its context ends": false, "ignores its context": true} {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				var share time.Duration
				g := &Guard{}
				running := otlp.Running{Stats: func() (none batch.Stats) { return }}
				hanging, healthy := running, running
				hanging.Signal, hanging.Shutdown = signal.Traces, func(ctx context.Context) error {
					if ignores {
						<-release
						return nil
					}
					<-ctx.Done()
					return ctx.Err()
				}
				healthy.Signal, healthy.Shutdown = signal.Metrics, func(ctx context.Context) error {
					share = remaining(ctx)
					return nil
				}
				begin := time.Now()
				ctx, cancel := shutdownContext(t.Context(), budget)
				defer cancel()
				require.ErrorContains(t, g.stopSignals(ctx, []otlp.Running{hanging}, true), "shutdown traces", name)
				require.NoError(t, g.stopSignals(ctx, []otlp.Running{healthy}, false))
				require.GreaterOrEqual(t, share, budget/5, "%s of %v", name, budget)
				require.LessOrEqual(t, time.Since(begin), budget)
				close(release)
			})
		}
	}
}

// A signal that has to be abandoned is not silent about its loss: what it has lost since the shutdown
// began, and what it still holds.
func TestAnAbandonedSignalCountsItsLoss(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after batch.Stats
		want          string
	}{
		"nothing": {batch.Stats{Failed: 3, Rejected: 1}, batch.Stats{Failed: 3, Rejected: 1},
			"telemetry: shutdown traces: did not stop in time and was abandoned: context deadline exceeded"},
		"lost and held": {batch.Stats{Failed: 3, Queued: 30}, batch.Stats{Failed: 13, Queued: 20},
			"telemetry: shutdown traces: 30 spans not delivered: did not stop in time and was abandoned: " +
				"context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var begun atomic.Bool
				err := (&Guard{}).stopSignals(ctx, []otlp.Running{{
					Signal: signal.Traces,
					Stats: func() batch.Stats {
						if begun.Load() {
							return tt.after
						}
						return tt.before
					},
					Shutdown: func(context.Context) error { begun.Store(true); <-release; return nil },
				}}, false)
				require.EqualError(t, err, tt.want)
				require.ErrorIs(t, err, errAbandoned, "Run logs it")
			})
		})
	}
}

func TestShutdownContextHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 10 * time.Second
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		past, cancelPast := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
		defer cancelPast()
		now, cancelNow := context.WithTimeout(t.Context(), tooShort-1)
		defer cancelNow()
		soon, cancelSoon := context.WithTimeout(t.Context(), tooShort)
		defer cancelSoon()
		late, cancelLate := context.WithTimeout(t.Context(), time.Hour)
		defer cancelLate()
		for _, tt := range []struct {
			name string
			ctx  context.Context
			want time.Duration
		}{
			{"none", nil, timeout},
			{"without deadline", t.Context(), timeout},
			{"cancelled", cancelled, timeout},
			{"past", past, passedDeadlineGrace},
			{"as good as past", now, passedDeadlineGrace},
			{"soon", soon, tooShort},
			{"later than the timeout", late, timeout},
		} {
			ctx, cancel := shutdownContext(tt.ctx, timeout)
			require.NoError(t, ctx.Err(), tt.name)
			require.Equal(t, tt.want, remaining(ctx), tt.name)
			cancel()
		}
	})
}

// No endpoint is set and nothing listens at the default: the grace covers all signals together, and
// losses are named.
func TestShutdownDoesNotWaitForAnUnsetEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, begin := &selfLines{}, time.Now()
		g := startInBubble(t, &wire{down: errRefused}, out, alwaysOn)
		load(g, 10_000, time.Second) // more than goes out at once
		one(g)
		time.Sleep(time.Minute)
		load(g, 10_000, time.Second)
		took, err := stopped(g)
		require.Equal(t, unsetEndpointGrace, took)
		for _, s := range signal.All() {
			require.ErrorContains(t, err, " "+s.Unit())
			h := g.healthOf(s)
			require.Positive(t, h.Lost(), s)
			require.Equal(t, h.Accepted, h.Lost(), "%s: %+v", s, h)
		}
		said := withoutTimes(out.take(t, begin))
		require.Equal(t, "WARN stopped", said[len(said)-1])
	})
}

// A collector that starts together with the program still gets the data.
func TestShutdownWaitsBrieflyForTheDefaultEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{down: errRefused}
		g := startInBubble(t, w, io.Discard, alwaysOn)
		one(g)
		time.AfterFunc(unsetEndpointGrace/4, func() { w.set(nil, 0) })
		_, err := stopped(g)
		require.NoError(t, err)
		require.Equal(t, []int{1, 1}, []int{w.spans, w.records})
	})
}

// Shutdown waits for an endpoint that was set, that has answered, or whose error is not a refused
// connection.
func TestShutdownWaitsForAnEndpointThatWasSetOrHasAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		env    settings.Environment
		opts   []Option
		before func(*wire, *Guard)
		down   error
		status int
	}{
		"set by variable": {env: settings.Environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"},
			down: errRefused},
		"set by option":        {opts: []Option{WithEndpoint("http://localhost:4318")}, down: errRefused},
		"connections that end": {down: io.EOF}, "busy": {status: http.StatusServiceUnavailable},
		"has answered": {down: errRefused, before: func(w *wire, g *Guard) {
			w.set(nil, 0)
			one(g)
			_ = g.ForceFlush(context.Background())
		}},
		"has answered another signal": {down: errRefused, before: func(w *wire, g *Guard) {
			w.set(nil, 0)
			g.Logger().Info("first")
			_ = g.ForceFlush(context.Background())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := maps.Clone(alwaysOn)
				maps.Copy(env, c.env)
				w := &wire{down: c.down, status: c.status}
				g := startInBubble(t, w, io.Discard, env, c.opts...)
				if c.before != nil {
					c.before(w, g)
				}
				w.set(c.down, c.status)
				one(g)
				time.AfterFunc(2*unsetEndpointGrace, func() { w.set(nil, 0) })
				took, err := stopped(g)
				require.NoError(t, err)
				require.GreaterOrEqual(t, took, 2*unsetEndpointGrace)
				for _, s := range signal.All() {
					h := g.healthOf(s)
					require.Positive(t, h.Exported)
					require.Equal(t, h.Accepted, h.Exported, "%s: %+v", s, h)
				}
			})
		})
	}
}

// A signal with an endpoint that was set loses nothing because of one without, even if both have
// the same address.
func TestEachSignalHasItsOwnGrace(t *testing.T) {
	scopes := map[signal.Signal]func(...Option) Option{signal.Traces: ForTraces, signal.Metrics: ForMetrics,
		signal.Logs: ForLogs}
	for _, endpoint := range []string{"http://collector:4318", "http://localhost:4318"} {
		for _, set := range [][]signal.Signal{{signal.Traces}, {signal.Metrics}, {signal.Logs},
			{signal.Traces, signal.Logs}, {signal.Metrics, signal.Logs}, {signal.Traces, signal.Metrics}} {
			var names []string
			var opts []Option
			for _, s := range set {
				names, opts = append(names, s.String()), append(opts, scopes[s](WithEndpoint(endpoint)))
			}
			t.Run(strings.Join(append(names, endpoint), " "), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &wire{down: errRefused}
					g := startInBubble(t, w, io.Discard, alwaysOn, append(opts, WithShutdownTimeout(time.Minute))...)
					one(g)
					time.AfterFunc(10*unsetEndpointGrace, func() { w.set(nil, 0) })
					_, err := stopped(g)
					for _, s := range signal.All() {
						h := g.healthOf(s)
						if slices.Contains(set, s) {
							require.Equal(t, h.Accepted, h.Exported, "%s: %+v", s, h)
							require.NotContains(t, fmt.Sprint(err), " "+s.Unit())
						} else if s != signal.Metrics { // whose turn comes when the collector is there
							require.Equal(t, h.Accepted, h.Lost(), "%s: %+v", s, h)
							require.ErrorContains(t, err, " "+s.Unit())
						}
					}
				})
			})
		}
	}
}

// With a spool nothing is lost, even when a signal that hangs makes Shutdown exceed the grace.
func TestShutdownSpoolsWhatIsNotDelivered(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			silence := roundTripper(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil,
					r.Context().Err()
			})
			env := settings.Environment{"OTEL_TRACES_SAMPLER": "always_on", "TELEMETRY_SPOOL_DIR": t.TempDir()}
			var opts []Option
			if hangs {
				opts = append(opts, ForTraces(WithEndpoint("http://collector:4318")))
			}
			g := startInBubble(t, byHost{silence, &wire{down: errRefused}}, io.Discard, env, opts...)
			one(g)
			took, err := stopped(g)
			require.NoError(t, err)
			require.Equal(t, hangs, took > unsetEndpointGrace, took)
			for _, s := range signal.All() {
				h := g.healthOf(s)
				require.Positive(t, h.Spooled, s)
				require.Equal(t, h.Accepted, h.Spooled, "%s: %+v", s, h)
			}
		})
	}
}

// byHost sends requests to the collector through one transport and those to the default endpoint
// through another.
type byHost struct{ collector, unset http.RoundTripper }

func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Hostname() == "collector" {
		return b.collector.RoundTrip(r)
	}
	return b.unset.RoundTrip(r)
}

// one records an item of each signal.
func one(g *Guard) {
	ctx, span := g.TracerProvider().Tracer("test").Start(context.Background(), "one")
	counter, _ := g.MeterProvider().Meter("test").Int64Counter("one")
	counter.Add(ctx, 1)
	g.Logger().InfoContext(ctx, "one")
	span.End()
}

// stopped shuts g down and returns how long it took.
func stopped(g *Guard) (time.Duration, error) {
	begin := time.Now()
	err := g.Shutdown(context.Background())
	return time.Since(begin), err
}

func (g *Guard) healthOf(s signal.Signal) otlp.Health {
	for _, r := range g.running {
		if r.Signal == s {
			return r.Health()
		}
	}
	return otlp.Health{}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
