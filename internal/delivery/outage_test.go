package delivery_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

// pipeline is a tracer over the batch engine, an official exporter and delivery.
type pipeline struct {
	*batch.SpanProcessor
	t        *testing.T
	provider *sdktrace.TracerProvider
}

func newPipeline(t *testing.T, s *server, cfg delivery.Config, batchCfg batch.Config) *pipeline {
	t.Helper()
	endpoint := delivery.New(cfg)
	var client otlptrace.Client
	if s.protocol == "http" {
		pool := delivery.NewTransport(nil, 8)
		t.Cleanup(pool.CloseIdleConnections)
		client = otlptracehttp.NewClient(
			otlptracehttp.WithEndpointURL("http://"+s.addr+"/v1/traces"),
			otlptracehttp.WithHTTPClient(&http.Client{Transport: endpoint.Transport(pool)}),
			otlptracehttp.WithHeaders(map[string]string{"api-key": "hunter2hunter2"}),
			otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	} else {
		conn, err := grpc.NewClient(s.addr, append(endpoint.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		client = otlptracegrpc.NewClient(otlptracegrpc.WithGRPCConn(conn), otlptracegrpc.WithTimeout(0),
			otlptracegrpc.WithHeaders(map[string]string{"api-key": "hunter2hunter2"}),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}))
	}
	exporter, err := otlptrace.New(t.Context(), client)
	require.NoError(t, err)
	p, err := batch.NewSpanProcessor(batchCfg, exporter)
	require.NoError(t, err)
	return &pipeline{SpanProcessor: p, t: t, provider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))}
}

// send ends n spans.
func (p *pipeline) send(n int) {
	tracer := p.provider.Tracer("test")
	for i := range n {
		_, span := tracer.Start(context.Background(), "span")
		span.SetAttributes(attribute.Int("i", i), attribute.String("pad", strings.Repeat("x", 100)))
		span.End()
	}
}

// close shuts the pipeline down and returns its books, which must balance.
func (p *pipeline) close(within time.Duration) (batch.Stats, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := p.provider.Shutdown(ctx)
	s := p.Snapshot()
	require.Equal(p.t, s.Accepted, s.Exported+s.Dropped.Total()+s.Failed+s.Rejected+s.Queued+s.Spooled, "%+v", s)
	require.Zero(p.t, s.Queued)
	return s, err
}

func overBoth(t *testing.T, test func(t *testing.T, protocol string)) {
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			test(t, protocol)
		})
	}
}

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
				require.Eventually(s.t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.stop == nil }, 5*time.Second, time.Millisecond)
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
		var down time.Time
		s.answer = func(int) fault {
			if time.Since(down) < 700*time.Millisecond {
				return fault{status: http.StatusServiceUnavailable, code: codes.Unavailable}
			}
			return fault{delay: 20 * time.Millisecond}
		}
		down = time.Now()
		s.up()
		p := newPipeline(t, s, delivery.Config{}, batch.Config{MaxExportBatchSize: 100, MaxConcurrentExports: 8})
		p.send(800)
		_, err := p.close(20 * time.Second)
		require.NoError(t, err)
		failed := len(s.times()) - 8
		// At most one per worker before the gate shuts, then probes after 100, 200
		// and 400 ms, each less its jitter.
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

// What cannot be delivered within the shutdown's time is named, with the cause.
func TestShutdownDuringOutage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		start func(*server)
		want  string
	}{
		{"closed port", func(*server) {}, "connection refused"},
		{"hang", func(s *server) {
			s.answer = func(int) fault { return fault{delay: time.Minute} }
			s.up()
		}, "no answer in time (400ms)"},
		{"unavailable", func(s *server) {
			s.answer = func(int) fault {
				return fault{status: http.StatusServiceUnavailable, code: codes.Unavailable, message: "queue is full, key hunter2hunter2"}
			}
			s.up()
		}, "queue is full, key [redacted]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			overBoth(t, func(t *testing.T, protocol string) {
				s := newServer(t, protocol)
				tt.start(s)
				p := newPipeline(t, s, delivery.Config{AttemptTimeout: 400 * time.Millisecond}, batch.Config{MaxExportBatchSize: 100, MaxConcurrentExports: 2})
				p.send(500)
				start := time.Now()
				stats, err := p.close(1500 * time.Millisecond)
				require.Less(t, time.Since(start), 5*time.Second)
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

func TestPermanentFailureIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		s.answer = func(request int) fault {
			if request == 0 {
				return fault{status: http.StatusUnauthorized, code: codes.Unauthenticated, message: "who are you"}
			}
			return fault{}
		}
		s.up()
		p := newPipeline(t, s, delivery.Config{}, batch.Config{MaxExportBatchSize: 100, MaxConcurrentExports: 1})
		p.send(300)
		stats, err := p.close(20 * time.Second)
		require.EqualValues(t, 100, stats.Failed)
		require.EqualValues(t, 200, stats.Exported)
		if err != nil { // the failure may have come before the shutdown
			require.ErrorContains(t, err, "who are you")
		}
		require.ErrorContains(t, stats.LastError, s.addr)
		require.Len(t, s.times(), 3)
	})
}

func TestTooLargeIsHalved(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		s.maxBytes = 20_000 // some 100 of the spans below
		s.up()
		p := newPipeline(t, s, delivery.Config{Gzip: true}, batch.Config{MaxExportBatchSize: 1000})
		p.send(1000)
		_, giant := p.provider.Tracer("test").Start(context.Background(), "giant")
		giant.SetAttributes(attribute.String("pad", strings.Repeat("0123456789", 3000)))
		giant.End()
		stats, err := p.close(20 * time.Second)
		require.EqualValues(t, 1000, stats.Exported)
		require.EqualValues(t, 1, stats.Dropped.TooLarge)
		require.Error(t, err)
		arrived, twice := s.arrived()
		require.Equal(t, 1000, arrived)
		require.Zero(t, twice)
	})
}

func TestPartialSuccessIsBooked(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		s.answer = func(request int) fault {
			if request == 0 {
				return fault{rejected: 3, message: "too old"}
			}
			return fault{}
		}
		s.up()
		p := newPipeline(t, s, delivery.Config{}, batch.Config{MaxExportBatchSize: 100, MaxConcurrentExports: 1})
		p.send(200)
		stats, _ := p.close(20 * time.Second)
		require.EqualValues(t, 197, stats.Exported)
		require.EqualValues(t, 3, stats.Rejected)
		require.ErrorContains(t, stats.LastError, "rejected 3 items: too old")
		require.Len(t, s.times(), 2, "a partial success is not sent again")
	})
}

// Requests are compressed exactly when asked for.
func TestCompression(t *testing.T) {
	t.Parallel()
	for gzip, want := range map[bool]string{true: "gzip", false: ""} {
		t.Run(fmt.Sprint(gzip), func(t *testing.T) {
			overBoth(t, func(t *testing.T, protocol string) {
				s := newServer(t, protocol)
				s.up()
				p := newPipeline(t, s, delivery.Config{Gzip: gzip}, batch.Config{})
				p.send(100)
				_, err := p.close(20 * time.Second)
				require.NoError(t, err)
				arrived, _ := s.arrived()
				require.Equal(t, 100, arrived)
				require.Equal(t, []string{want}, s.encoding)
			})
		})
	}
}
