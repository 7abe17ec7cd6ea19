package delivery_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

// An outage that queue and exports in flight can hold loses and doubles nothing.
func TestOutageLosesNothing(t *testing.T) {
	t.Parallel()
	const spans = 2000
	unavailable := fault{status: http.StatusServiceUnavailable, code: codes.Unavailable}
	for _, tt := range []struct {
		name string
		play func(s *server) // called before the spans are sent
		mid  func(s *server) // called after half of them
	}{
		{"port closed at first", func(*server) {}, func(s *server) {
			time.Sleep(300 * time.Millisecond)
			s.up()
		}},
		{"restart", (*server).up, func(s *server) {
			s.down()
			time.Sleep(300 * time.Millisecond)
			s.up()
		}},
		{"cut mid-request", func(s *server) {
			s.answer = func(request int) fault { return fault{cut: request == 1} }
			s.up()
		}, func(s *server) {
			if s.protocol == "grpc" {
				require.Eventually(s.t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.stop == nil },
					5*time.Second, time.Millisecond)
				s.up()
			}
		}},
		{"unavailable for a while", func(s *server) {
			until := time.Now().Add(300 * time.Millisecond)
			s.answer = func(int) fault {
				if time.Now().Before(until) {
					return unavailable
				}
				return fault{}
			}
			s.up()
		}, nil},
		{"unavailable now and then", func(s *server) {
			s.answer = func(request int) fault {
				if request%3 == 1 {
					return unavailable
				}
				return fault{}
			}
			s.up()
		}, nil},
		{"slow", func(s *server) {
			s.answer = func(int) fault { return fault{delay: 100 * time.Millisecond} }
			s.up()
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			overBoth(t, func(t *testing.T, protocol string) {
				s := newServer(t, protocol)
				tt.play(s)
				cfg := batch.Config{MaxExportBatchSize: 100}
				if tt.name == "cut mid-request" {
					cfg.MaxConcurrentExports = 1 // over gRPC the cut would hit others' answers
				}
				p := newPipeline(t, s, delivery.Config{Gzip: true}, cfg)
				p.send(spans / 2)
				if tt.mid != nil {
					tt.mid(s)
				}
				p.send(spans / 2)
				stats, err := p.close(20 * time.Second)
				require.NoError(t, err)
				require.EqualValues(t, spans, stats.Exported)
				arrived, twice := s.arrived()
				require.Equal(t, spans, arrived)
				if tt.name != "restart" { // whose cut may hit an answer on its way
					require.Zero(t, twice)
				}
			})
		})
	}
}

// Eight workers do not knock at a closed door.
func TestOneWorkerProbes(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		begun := sync.OnceValue(time.Now)
		s.answer = func(int) fault {
			if time.Since(begun()) < 700*time.Millisecond {
				return fault{status: http.StatusServiceUnavailable, code: codes.Unavailable}
			}
			return fault{delay: 20 * time.Millisecond}
		}
		s.up()
		p := newPipeline(t, s, delivery.Config{}, batch.Config{MaxExportBatchSize: 100, MaxConcurrentExports: 8})
		p.send(800)
		_, err := p.close(20 * time.Second)
		require.NoError(t, err)
		failed := len(s.times()) - 8
		// At most one per worker before the gate shuts, then probes after 100, 200 and 400 ms, each
		// less its jitter.
		require.LessOrEqual(t, failed, 8+5)
		require.Positive(t, failed)
	})
}

func TestServerAsksToWait(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		s.answer = func(request int) fault {
			if request == 0 {
				return fault{status: http.StatusTooManyRequests, code: codes.ResourceExhausted, retryAfter: time.Second}
			}
			return fault{}
		}
		s.up()
		p := newPipeline(t, s, delivery.Config{}, batch.Config{MaxExportBatchSize: 100, MaxConcurrentExports: 1})
		p.send(300)
		_, err := p.close(20 * time.Second)
		require.NoError(t, err)
		times := s.times()
		require.Len(t, times, 4)
		require.GreaterOrEqual(t, times[1].Sub(times[0]), time.Second)
		arrived, twice := s.arrived()
		require.Equal(t, 300, arrived)
		require.Zero(t, twice)
	})
}

// A request that hangs is given up after its attempt's time and made again.
func TestHangIsTriedAgain(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		s.answer = func(request int) fault {
			if request == 0 {
				return fault{delay: time.Minute}
			}
			return fault{}
		}
		s.up()
		p := newPipeline(t, s, delivery.Config{AttemptTimeout: 500 * time.Millisecond}, batch.Config{})
		p.send(100)
		stats, err := p.close(20 * time.Second)
		require.NoError(t, err)
		require.EqualValues(t, 100, stats.Exported)
		require.GreaterOrEqual(t, len(s.times()), 2)
	})
}

// exportersWereLate is true on a machine that is too busy for canceled exports to say their reason
// within the time they have.
func exportersWereLate(err error) bool {
	return strings.Contains(fmt.Sprint(err), "the exporter did not return")
}

// What cannot be delivered within the shutdown's time is named, with the cause.
func TestShutdownDuringOutage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		attempt time.Duration
		start   func(*server)
		want    string
	}{
		{"closed port", 0, func(*server) {}, "connection refused"},
		{"hang", 400 * time.Millisecond, func(s *server) {
			s.answer = func(int) fault { return fault{delay: time.Minute} }
			s.up()
		}, "no answer in time (400ms)"},
		{"unavailable", 0, func(s *server) {
			s.answer = func(int) fault {
				return fault{status: http.StatusServiceUnavailable, code: codes.Unavailable,
					message: "queue is full, key hunter2hunter2"}
			}
			s.up()
		}, "queue is full, key <redacted>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			overBoth(t, func(t *testing.T, protocol string) {
				var s *server
				var stats batch.Stats
				var err error
				for tries := 0; tries == 0 || tries < 5 && exportersWereLate(err); tries++ {
					s = newServer(t, protocol)
					tt.start(s)
					p := newPipeline(t, s, delivery.Config{AttemptTimeout: tt.attempt},
						batch.Config{MaxExportBatchSize: 100, MaxConcurrentExports: 2})
					p.send(500)
					start := time.Now()
					// Of seven attempts one ends in time on a busy machine, too.
					stats, err = p.close(3 * time.Second)
					require.Less(t, time.Since(start), 15*time.Second)
				}
				var loss *batch.LossError
				require.ErrorAs(t, err, &loss)
				require.EqualValues(t, 500, loss.Items)
				require.EqualValues(t, 200, stats.Failed)
				require.EqualValues(t, 300, stats.Dropped.Shutdown)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, tt.want)
				require.ErrorContains(t, err, s.addr)
				require.ErrorContains(t, err, "attempt")
				require.NotContains(t, err.Error(), "hunter2")
			})
		})
	}
}
