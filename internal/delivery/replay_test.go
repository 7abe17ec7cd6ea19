package delivery_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// depot is a spool under an HTTP endpoint whose answers a test decides.
type depot struct {
	t        *testing.T
	store    *spool.Store
	dir      string
	endpoint *delivery.Endpoint
	client   *http.Client
	replay   *delivery.Replayer

	mu     sync.Mutex
	full   error // of the disk
	tries  []string
	took   []string // names of the spans of requests that were answered 200
	answer func(names string, r *http.Request) (*http.Response, error)
}

func newDepot(t *testing.T) *depot { return newDepotWith(t, delivery.Config{}) }

func newDepotWith(t *testing.T, cfg delivery.Config) *depot {
	t.Helper()
	d := &depot{t: t, dir: t.TempDir()}
	store, err := spool.Open(spool.Config{Dir: d.dir, MaxBytes: 1 << 20, Write: func(path string, data []byte) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.full != nil {
			return d.full
		}
		return os.WriteFile(path, data, 0o600)
	}})
	require.NoError(t, err)
	d.store = store
	cfg.Gzip, cfg.Spool = true, store
	d.endpoint = delivery.New(cfg)
	d.client = &http.Client{
		Transport:     d.endpoint.Transport(roundTrip(d.serve)),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return d
}

func (d *depot) serve(r *http.Request) (*http.Response, error) {
	zr, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	plain, _ := io.ReadAll(zr)
	names := spanNamesIn(plain)
	d.mu.Lock()
	d.tries = append(d.tries, names)
	answer := d.answer
	d.mu.Unlock()
	resp, err := answer(names, r)
	if err == nil && resp.StatusCode == http.StatusOK {
		d.mu.Lock()
		d.took = append(d.took, names)
		d.mu.Unlock()
	}
	return resp, err
}

func (d *depot) set(answer func(string, *http.Request) (*http.Response, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

func (d *depot) seen() (tries, took []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.tries...), append([]string(nil), d.took...)
}

// send delivers a live request with n spans of a name.
func (d *depot) send(ctx context.Context, name string, n int) delivery.Outcome {
	out := delivery.Outcome{Items: int64(n)}
	req, _ := http.NewRequestWithContext(delivery.WithOutcome(ctx, &out), http.MethodPost, "http://c:4318/v1/traces",
		bytes.NewReader(spansNamed(name, n)))
	resp, err := d.client.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return out
}

func (d *depot) start() {
	d.t.Cleanup(d.stop)
	d.replay = delivery.Replay(d.store, signal.Traces,
		delivery.HTTPSender(d.client, "http://c:4318/v1/traces", nil, true))
}

// stop lets no goroutine outlive a test that fails.
func (d *depot) stop() {
	if d.replay != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		d.replay.Close(ctx)
	}
}

// close ends the replay and checks the identity.
func (d *depot) close() spool.Books {
	d.t.Helper()
	if d.replay != nil {
		d.replay.Close(context.Background())
		d.replay = nil
	}
	d.store.Close()
	b := d.store.Snapshot(signal.Traces)
	require.Equal(d.t, b.Recovered+b.Added, b.Held+b.Exported+b.Rejected+b.Failed+b.Full+b.TooLarge+b.Corrupt, "%+v", b)
	return b
}

func spansNamed(name string, n int) []byte {
	spans := make([]*tracepb.Span, n)
	for i := range spans {
		spans[i] = &tracepb.Span{Name: name, SpanId: []byte(fmt.Sprintf("%08d", i))}
	}
	body, _ := proto.Marshal(&coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}}}}})
	return body
}

// spanNamesIn is "a a b" for two spans named a and one named b.
func spanNamesIn(body []byte) string {
	var req coltracepb.ExportTraceServiceRequest
	if proto.Unmarshal(body, &req) != nil {
		return "?"
	}
	var names []string
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				names = append(names, s.GetName())
			}
		}
	}
	return strings.Join(names, " ")
}

func fine(_ string, r *http.Request) (*http.Response, error) { return ok(r) }
func gone(string, *http.Request) (*http.Response, error)     { return nil, syscall.ECONNREFUSED }
func replying(code int, headers ...string) func(string, *http.Request) (*http.Response, error) {
	return func(_ string, r *http.Request) (*http.Response, error) {
		return response(r, code, "", "", headers...), nil
	}
}

func TestOutageGoesStraightToDiskAndComesBackInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.set(gone)
		out := d.send(t.Context(), "a", 2)
		require.EqualValues(t, 2, out.Spooled)
		require.ErrorIs(t, out.Err, syscall.ECONNREFUSED)
		for _, name := range []string{"b", "c", "d"} {
			begin := time.Now()
			require.EqualValues(t, 1, d.send(t.Context(), name, 1).Spooled)
			require.Equal(t, begin, time.Now(), "no request waits at a shut gate")
		}
		tries, _ := d.seen()
		require.Equal(t, []string{"a a"}, tries, "while it is down, no request is sent")
		d.start()
		time.Sleep(3 * time.Second)
		tries, _ = d.seen()
		require.Less(t, len(tries), 9, "probes are spaced as ever")
		d.set(fine)
		time.Sleep(5 * time.Second)
		_, took := d.seen()
		require.Equal(t, []string{"a a", "b", "c", "d"}, took)
		require.EqualValues(t, 1, d.send(t.Context(), "e", 1).Exported)
		b := d.close()
		require.EqualValues(t, 5, b.Exported)
		require.Zero(t, b.Held)
	})
}

func TestEveryEndOfARequestIsSpooled(t *testing.T) {
	hang := func(_ string, r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for name, answer := range map[string]func(string, *http.Request) (*http.Response, error){
		"refused": gone, "unavailable": replying(503), "throttled": replying(429, "Retry-After", "60"), "hangs": hang,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDepot(t)
				d.set(answer)
				require.EqualValues(t, 3, d.send(expired(t, 3*time.Second), "a", 3).Spooled)
				require.EqualValues(t, 3, d.send(delivery.SpoolOnly(t.Context()), "b", 3).Spooled)
				tries, _ := d.seen()
				require.Len(t, tries, 1)
				require.EqualValues(t, 6, d.close().Held)
			})
		})
	}
}

func TestWhatIsRefusedForGoodIsNotSpooled(t *testing.T) {
	for code, want := range map[int]delivery.Outcome{400: {Failed: 2}, 413: {TooLarge: true}, 422: {Failed: 2},
		500: {Failed: 2}} {
		synctest.Test(t, func(t *testing.T) {
			d := newDepot(t)
			d.set(replying(code))
			out := d.send(t.Context(), "a", 2)
			require.Equal(t, []any{want.Failed, want.TooLarge, int64(0)}, []any{out.Failed, out.TooLarge, out.Spooled},
				code)
			require.Zero(t, d.close().Added)
		})
	}
}

func TestFullDiskFallsBackToMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.full = syscall.ENOSPC
		d.set(gone)
		d.start()
		results := make(chan delivery.Outcome, 3)
		for range 3 {
			go func() { results <- d.send(t.Context(), "a", 2) }()
		}
		time.Sleep(10 * time.Second)
		require.Empty(t, results, "they wait, as without a spool")
		d.set(fine)
		for range 3 {
			require.EqualValues(t, 2, (<-results).Exported)
		}
		require.Positive(t, d.store.Snapshot(signal.Traces).WriteErrors)

		d.set(gone)
		out := d.send(expired(t, 5*time.Second), "b", 2)
		require.EqualValues(t, 2, out.Failed)
		out = d.send(delivery.SpoolOnly(t.Context()), "b", 2)
		require.EqualValues(t, 2, out.Failed)
		require.ErrorIs(t, out.Err, syscall.ENOSPC)
		require.Zero(t, d.close().Added)
	})
}

// A request that the server cannot digest must not stop the others, nor be lost.
func TestOneBadSegmentDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.set(gone)
		require.EqualValues(t, 1, d.send(t.Context(), "poison", 1).Spooled)
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			require.EqualValues(t, 1, d.send(t.Context(), name, 1).Spooled)
		}
		d.set(func(names string, r *http.Request) (*http.Response, error) {
			if names == "poison" {
				return replying(503)(names, r)
			}
			return ok(r)
		})
		d.start()
		time.Sleep(2 * time.Minute)
		_, took := d.seen()
		require.Equal(t, []string{"a", "b", "c", "d", "e"}, took)
		require.EqualValues(t, 1, d.store.Snapshot(signal.Traces).Held)
		before, _ := d.seen()
		time.Sleep(time.Hour)
		after, _ := d.seen()
		require.Less(t, len(after)-len(before), 40, "it is tried ever more rarely")
		require.EqualValues(t, 1, d.close().Held)
	})
}

func TestWrongKeyDoesNotEmptyTheSpool(t *testing.T) {
	for name, answer := range map[string]func(string, *http.Request) (*http.Response, error){
		"401": replying(401), "403": replying(403), "404": replying(404),
		"redirect": replying(307, "Location", "http://elsewhere/"),
		"plain port": func(string, *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("http: server gave HTTP response to HTTPS client")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDepot(t)
				d.set(gone)
				d.send(t.Context(), "a", 2)
				d.send(t.Context(), "b", 3)
				d.set(answer)
				d.start()
				time.Sleep(time.Hour)
				tries, _ := d.seen()
				require.Less(t, len(tries), 25)
				require.EqualValues(t, 5, d.store.Snapshot(signal.Traces).Held)
				d.set(fine)
				time.Sleep(10 * time.Minute)
				require.EqualValues(t, 5, d.close().Exported)
			})
		})
	}
}

func TestAnswersToTheSpoolAreBooked(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(string, *http.Request) (*http.Response, error)
		want   spool.Books
	}{
		"partial": {func(_ string, r *http.Request) (*http.Response, error) {
			return response(r, 200, "application/json",
				`{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}`), nil
		}, spool.Books{Exported: 5, Rejected: 3}},
		"refused": {replying(400), spool.Books{Failed: 8}},
		"too large as a whole": {func(names string, r *http.Request) (*http.Response, error) {
			if strings.Count(names, "a") > 2 {
				return replying(413)(names, r)
			}
			return ok(r)
		}, spool.Books{Exported: 8}},
		"too large one by one": {replying(413), spool.Books{TooLarge: 8}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDepot(t)
				d.set(gone)
				require.EqualValues(t, 8, d.send(t.Context(), "a", 8).Spooled)
				d.set(tt.answer)
				d.start()
				time.Sleep(time.Minute)
				b := d.close()
				require.Equal(t, []int64{tt.want.Exported, tt.want.Rejected, tt.want.Failed, tt.want.TooLarge, 0},
					[]int64{b.Exported, b.Rejected, b.Failed, b.TooLarge, b.Held})
				require.Equal(t, tt.want.Exported != 8, b.LastError != nil)
				left, err := filepath.Glob(filepath.Join(d.dir, "*", "*.otlp"))
				require.NoError(t, err)
				require.Empty(t, left)
			})
		})
	}
}

// Two hundred requests wait on disk; live ones go past them.
func TestReplayDoesNotStarveLiveData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.set(gone)
		for range 200 {
			require.EqualValues(t, 1, d.send(t.Context(), "old", 1).Spooled)
		}
		busy := make(chan struct{}, 1) // a server that does one thing at a time
		d.set(func(_ string, r *http.Request) (*http.Response, error) {
			busy <- struct{}{}
			defer func() { <-busy }()
			time.Sleep(10 * time.Millisecond)
			return ok(r)
		})
		time.Sleep(3 * time.Second)
		d.start()
		time.Sleep(100 * time.Millisecond)
		var live sync.WaitGroup
		begin := time.Now()
		for range 4 {
			live.Go(func() {
				for range 25 {
					if out := d.send(t.Context(), "new", 1); out.Exported != 1 {
						t.Errorf("%+v", out)
					}
				}
			})
		}
		live.Wait()
		require.Less(t, time.Since(begin), 1200*time.Millisecond,
			"1 s is what the server needs for the live ones alone")
		require.Positive(t, d.store.Snapshot(signal.Traces).Held, "the old ones wait")
		time.Sleep(2500 * time.Millisecond)
		require.Zero(t, d.store.Snapshot(signal.Traces).Held, "and then go as fast as they can")
		require.EqualValues(t, 200, d.close().Exported)
	})
}

func TestReplayerCloses(t *testing.T) {
	prepare := func(t *testing.T) *depot {
		d := newDepot(t)
		d.set(gone)
		for range 3 {
			require.EqualValues(t, 1, d.send(t.Context(), "a", 1).Spooled)
		}
		return d
	}
	closing := func(d *depot, within time.Duration) time.Duration {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		begin := time.Now()
		d.replay.Close(ctx)
		d.replay = nil
		return time.Since(begin)
	}
	t.Run("at once while the endpoint is down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := prepare(t)
			d.start()
			time.Sleep(30 * time.Second)
			require.Zero(t, closing(d, 10*time.Second))
			require.EqualValues(t, 3, d.close().Held)
		})
	})
	t.Run("after a last call while it takes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := prepare(t)
			time.Sleep(3 * time.Second)
			d.set(fine)
			d.start()
			require.LessOrEqual(t, closing(d, 10*time.Second), time.Second)
			require.EqualValues(t, 3, d.close().Exported)
		})
	})
	t.Run("with its context while it hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := prepare(t)
			time.Sleep(3 * time.Second)
			d.set(func(_ string, r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			d.start()
			time.Sleep(time.Second)
			require.Equal(t, 3*time.Second, closing(d, 3*time.Second))
			require.EqualValues(t, 3, d.close().Held)
		})
	})
}
