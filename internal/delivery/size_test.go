package delivery_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

// scale is an HTTP server inside a bubble of virtual time that takes requests up to a size, in
// bytes.
type scale struct {
	mu       sync.Mutex
	limit    int64
	requests int
	refused  int
	largest  int64 // that was taken
}

func (s *scale) RoundTrip(r *http.Request) (*http.Response, error) {
	n, _ := io.Copy(io.Discard, r.Body)
	time.Sleep(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if n > s.limit {
		s.refused++
		return response(r, http.StatusRequestEntityTooLarge, "", ""), nil
	}
	s.largest = max(s.largest, n)
	return response(r, http.StatusOK, "", ""), nil
}

// set changes the limit and returns what was counted before.
func (s *scale) set(limit int64) (requests, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests, refused = s.requests, s.refused
	s.limit, s.requests, s.refused, s.largest = limit, 0, 0, 0
	return requests, refused
}

func newScale(t *testing.T, limit int64, batchCfg batch.Config) (*scale, *pipeline) {
	t.Helper()
	s := &scale{limit: limit}
	client := &http.Client{Transport: delivery.New(delivery.Config{}).Transport(s)}
	exporter, err := otlptrace.New(t.Context(),
		otlptracehttp.NewClient(otlptracehttp.WithEndpointURL("http://c:4318/v1/traces"),
			otlptracehttp.WithHTTPClient(client), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}),
			otlptracehttp.WithMaxRequestSize(0)))
	require.NoError(t, err)
	p, err := batch.NewSpanProcessor(batchCfg, exporter)
	require.NoError(t, err)
	return s, &pipeline{SpanProcessor: p, t: t, provider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))}
}

// flush sends n spans and waits for them.
func (p *pipeline) flush(n int) {
	p.send(n)
	_ = p.ForceFlush(context.Background()) // the books say more
}

func TestSizeIsLearnedAndForgottenSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := newScale(t, 20_000, batch.Config{MaxExportBatchSize: 1000, MaxQueueSize: 100_000})
		p.flush(8000)
		_, refused := s.set(20_000)
		require.Less(t, refused, 8+12,
			"each batch that is under way at the beginning finds out, and one of them what fits")

		p.flush(20_000)
		requests, refused := s.set(20_000)
		require.Less(t, refused, 12, "what fits is known")
		require.Less(t, requests, 2*20_000*190/20_000, "and used: spans have some 190 bytes here")

		for range 60 {
			time.Sleep(time.Minute)
			p.flush(1000)
		}
		_, refused = s.set(1 << 20)
		require.Less(t, refused, 30, "an hour of small attempts to send more")
		for range 60 {
			time.Sleep(time.Minute)
			p.flush(1000)
		}
		require.Greater(t, s.largest, int64(150_000), "the server takes more than it did")

		s.set(5000)
		p.flush(20_000)
		_, refused = s.set(5000)
		require.Less(t, refused, 30, "and now less")
		stats, err := p.close(time.Minute)
		require.NoError(t, err)
		require.Equal(t, stats.Accepted, stats.Exported)
	})
}

// A trickle of small requests says nothing about what else fits.
func TestSizeIsSoughtByHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := newScale(t, 100_000, batch.Config{MaxExportBatchSize: 1000})
		p.flush(1)
		s.set(100_000)
		p.flush(1000)
		requests, _ := s.set(100_000)
		require.Less(t, requests, 6)
		_, err := p.close(time.Minute)
		require.NoError(t, err)
	})
}

func TestServerThatTakesNoSizeIsLeftAloneForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := newScale(t, 0, batch.Config{})
		p.flush(4096)
		requests, _ := s.set(0)
		require.LessOrEqual(t, requests, 100)
		stats := p.Snapshot()
		require.EqualValues(t, 16, stats.Dropped.TooLarge)
		require.EqualValues(t, 4096-16, stats.Rejected)
		require.ErrorContains(t, stats.LastError,
			"413 Request Entity Too Large: 16 requests of one item were refused in a row")

		time.Sleep(50 * time.Second)
		p.flush(4096)
		requests, _ = s.set(1 << 20)
		require.Zero(t, requests)
		time.Sleep(11 * time.Second)
		p.flush(4096)
		require.EqualValues(t, 4096, p.Snapshot().Exported, "a minute later it is asked again")
		_, err := p.close(time.Minute)
		require.NoError(t, err)
	})
}

// The same over both protocols against real servers, with as many exports in flight as there may
// be.
func TestServerThatTakesNoSize(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		s.answer = func(int) fault {
			return fault{status: http.StatusRequestEntityTooLarge, code: codes.ResourceExhausted,
				message: "grpc: received message larger than max (9 vs. 1)"}
		}
		s.up()
		p := newPipeline(t, s, delivery.Config{Gzip: true}, batch.Config{MaxExportBatchSize: 512})
		p.send(4096)
		stats, err := p.close(20 * time.Second)
		require.Error(t, err)
		require.LessOrEqual(t, len(s.times()), 100)
		require.EqualValues(t, 16, stats.Dropped.TooLarge)
		require.EqualValues(t, 4096-16, stats.Rejected)
	})
}

// With a spool the rest waits for the minute on disk, and there it does not cost a request for each
// item either.
func TestServerThatTakesNoSizeAndASpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.set(gone)
		require.EqualValues(t, 1000, d.send(t.Context(), "a", 1000).Spooled)
		d.set(replying(http.StatusRequestEntityTooLarge))
		d.start()
		time.Sleep(30 * time.Second)
		tries, _ := d.seen()
		require.Less(t, len(tries), 60)
		require.EqualValues(t, 16, d.store.Snapshot(1).TooLarge)
		require.EqualValues(t, 5, d.send(t.Context(), "b", 5).Spooled)
		d.set(fine)
		time.Sleep(2 * time.Minute)
		b := d.close()
		require.EqualValues(t, 1005-16, b.Exported)
	})
}

// What this side does not send is too large like what the server does not take.
func TestOwnLimitIsOneOfSize(t *testing.T) {
	huge := strings.Repeat("x", 64<<20+1)
	for name, items := range map[string]int64{"several": 3, "one": 1} {
		out := delivery.Outcome{Items: items}
		req, _ := http.NewRequestWithContext(delivery.WithOutcome(t.Context(), &out), http.MethodPost, traces,
			strings.NewReader(huge))
		_, err := delivery.New(delivery.Config{}).Transport(roundTrip(func(*http.Request) (*http.Response, error) {
			t.Error("sent")
			return nil, io.EOF
		})).RoundTrip(req)
		require.ErrorContains(t, err, "larger than the 67108864", name)
		require.True(t, out.TooLarge, name)
	}
}

// The disk has its limits, too: what is too large for it goes there in parts.
func TestWhatIsTooLargeForTheSpoolIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.set(gone)
		noise := make([]byte, 3<<19) // 1.5 MiB that do not shrink, for a spool of 1 MiB
		_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
		for name, ctx := range map[string]context.Context{
			"no time":       delivery.SpoolOnly(t.Context()),
			"time is up":    expired(t, 3*time.Second),
			"time was over": expired(t, 0),
		} {
			for items, tooLarge := range map[int64]bool{2: true, 1: false} {
				out := delivery.Outcome{Items: items}
				req, _ := http.NewRequestWithContext(delivery.WithOutcome(ctx, &out), http.MethodPost,
					"http://c:4318/v1/traces", bytes.NewReader(noise))
				_, err := d.client.Do(req)
				require.Error(t, err, name)
				require.Equal(t, tooLarge, out.TooLarge, name)
				require.Equal(t, tooLarge, out.Failed == 0, name)
			}
		}
		require.Zero(t, d.close().Held)
	})
}
