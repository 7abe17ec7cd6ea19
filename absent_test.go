package telemetry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// byHost sends requests to the collector another way than those to the default endpoint.
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

func (g *Guard) healthOf(s signal) SignalHealth {
	for _, r := range g.running {
		if r.signal == s {
			return r.health()
		}
	}
	return SignalHealth{}
}

var alwaysOn = environment{"OTEL_TRACES_SAMPLER": "always_on"}

// Nobody has set an endpoint and nobody listens: the grace is for all signals together, and what is lost is named.
func TestShutdownDoesNotWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, begin := &selfLines{}, time.Now()
		g := startInBubble(t, &wire{down: errRefused}, out, alwaysOn)
		load(g, 10_000, time.Second) // more than goes out at once
		one(g)
		time.Sleep(time.Minute)
		load(g, 10_000, time.Second)
		took, err := stopped(g)
		require.Equal(t, graceForDefault, took)
		for _, s := range allSignals() {
			require.ErrorContains(t, err, " "+s.one())
			h := g.healthOf(s)
			require.Positive(t, h.Lost(), s)
			require.Equal(t, h.Accepted, h.Lost(), "%s: %+v", s, h)
		}
		said := withoutTimes(out.take(t, begin))
		require.Equal(t, "WARN stopped", said[len(said)-1])
	})
}

// A collector that is started together with the program is not missed.
func TestShutdownWaitsAMomentForTheDefaultEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{down: errRefused}
		g := startInBubble(t, w, io.Discard, alwaysOn)
		one(g)
		time.AfterFunc(graceForDefault/4, func() { w.set(nil, 0) })
		_, err := stopped(g)
		require.NoError(t, err)
		require.Equal(t, []int{1, 1}, []int{w.spans, w.records})
	})
}

// Whoever was set, has answered, or fails in another way than that nobody listens is waited for.
func TestShutdownWaitsForSomebody(t *testing.T) {
	for name, c := range map[string]struct {
		env    environment
		opts   []Option
		before func(*wire, *Guard)
		down   error
		status int
	}{
		"set by variable":      {env: environment{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, down: errRefused},
		"set by option":        {opts: []Option{WithEndpoint("http://localhost:4318")}, down: errRefused},
		"connections that end": {down: io.EOF},
		"busy":                 {status: http.StatusServiceUnavailable},
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
				env := environment{"OTEL_TRACES_SAMPLER": "always_on"}
				for variable, value := range c.env {
					env[variable] = value
				}
				w := &wire{down: c.down, status: c.status}
				g := startInBubble(t, w, io.Discard, env, c.opts...)
				if c.before != nil {
					c.before(w, g)
				}
				w.set(c.down, c.status)
				one(g)
				time.AfterFunc(2*graceForDefault, func() { w.set(nil, 0) })
				took, err := stopped(g)
				require.NoError(t, err)
				require.GreaterOrEqual(t, took, 2*graceForDefault)
				for _, s := range allSignals() {
					h := g.healthOf(s)
					require.Positive(t, h.Exported)
					require.Equal(t, h.Accepted, h.Exported, "%s: %+v", s, h)
				}
			})
		})
	}
}

// A signal whose endpoint was set loses nothing through one whose was not, even if it is the same address.
func TestGraceIsOfEachSignal(t *testing.T) {
	scopes := map[signal]func(...Option) Option{traces: ForTraces, metrics: ForMetrics, logs: ForLogs}
	for _, endpoint := range []string{"http://collector:4318", "http://localhost:4318"} {
		for _, set := range [][]signal{{traces}, {metrics}, {logs}, {traces, logs}, {metrics, logs}, {traces, metrics}} {
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
					time.AfterFunc(10*graceForDefault, func() { w.set(nil, 0) })
					_, err := stopped(g)
					for _, s := range allSignals() {
						h := g.healthOf(s)
						if slices.Contains(set, s) {
							require.Equal(t, h.Accepted, h.Exported, "%s: %+v", s, h)
							require.NotContains(t, fmt.Sprint(err), " "+s.one())
						} else if s != metrics { // whose turn comes when the collector is there
							require.Equal(t, h.Accepted, h.Lost(), "%s: %+v", s, h)
							require.ErrorContains(t, err, " "+s.one())
						}
					}
				})
			})
		}
	}
}

// With a spool nothing is lost, also when a signal that hangs keeps the shutdown beyond the grace.
func TestShutdownSpoolsWhatNobodyTakes(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			silence := roundTripper(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
			env := environment{"OTEL_TRACES_SAMPLER": "always_on", "TELEMETRY_SPOOL_DIR": t.TempDir()}
			var opts []Option
			if hangs {
				opts = append(opts, ForTraces(WithEndpoint("http://collector:4318")))
			}
			g := startInBubble(t, byHost{silence, &wire{down: errRefused}}, io.Discard, env, opts...)
			one(g)
			took, err := stopped(g)
			require.NoError(t, err)
			require.Equal(t, hangs, took > graceForDefault, took)
			for _, s := range allSignals() {
				h := g.healthOf(s)
				require.Positive(t, h.Spooled, s)
				require.Equal(t, h.Accepted, h.Spooled, "%s: %+v", s, h)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
