package load_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/examples/shop/internal/load"
	"github.com/fleetotel/telemetry/examples/shop/internal/payment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shop answers as the storefront does, and keeps what it was asked.
type shop struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func newShop(t *testing.T, declined int) *shop {
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.asked = append(s.asked, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, body))
		s.mu.Unlock()
		switch {
		case strings.Contains(string(body), payment.DeclinedCard):
			w.WriteHeader(declined)
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// requests returns the requests except probes, sorted, because customers run in parallel.
func (s *shop) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := slices.DeleteFunc(slices.Clone(s.asked), func(r string) bool { return strings.Contains(r, "/healthz") })
	slices.Sort(asked)
	return asked
}

func run(t *testing.T, s *shop, c load.Config) load.Tally {
	c.URL, c.Duration = s.URL, time.Second
	l := load.New(c)
	l.Run(t.Context())
	return l.Tally()
}

func TestTheSameSeedSendsTheSame(t *testing.T) {
	one, same, other := newShop(t, http.StatusPaymentRequired), newShop(t, http.StatusPaymentRequired),
		newShop(t, http.StatusPaymentRequired)
	tally := run(t, one, load.Config{Rate: 20, Seed: 7})
	require.Equal(t, tally, run(t, same, load.Config{Rate: 20, Seed: 7}))
	run(t, other, load.Config{Rate: 20, Seed: 8})
	require.Equal(t, one.requests(), same.requests())
	require.NotEqual(t, one.requests(), other.requests())
}

// A second at 20 per second, a fifth of it at 2,000: 16 and 400. Of these 3 of 10 are orders, of
// which every hundredth is declined and another one slow.
func TestMix(t *testing.T) {
	s := newShop(t, http.StatusPaymentRequired)
	tally := run(t, s, load.Config{Rate: 20, Seed: 1})
	require.InDelta(t, 416, tally.Requests(), 2)
	require.Len(t, s.requests(), tally.Requests())
	require.InDelta(t, 0.3, float64(tally.Ordered)/float64(tally.Requests()), 0.1)
	require.Equal(t, (tally.Ordered+93)/100, tally.Declined)
	require.Equal(t, (tally.Ordered+87)/100, tally.Slow)
	require.Equal(t, 2, tally.Probes)
	require.Zero(t, tally.Wrong)
}

func TestWrongAnswersAreCounted(t *testing.T) {
	tally := run(t, newShop(t, http.StatusCreated), load.Config{Rate: 20, Seed: 1})
	require.Equal(t, tally.Declined, tally.Wrong)
	require.ErrorContains(t, tally.First, "POST /orders: status 201, want 402")
}

func TestRoundsGoOnUntilTheEnd(t *testing.T) {
	s := newShop(t, http.StatusPaymentRequired)
	l := load.New(load.Config{URL: s.URL, Duration: 20 * time.Millisecond, Rate: 1, Forever: true})
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { l.Run(ctx); close(done) }()
	require.Eventually(t, func() bool { return l.Tally().Probes >= 3 }, 20*time.Second, time.Millisecond)
	cancel()
	<-done
	require.Zero(t, l.Tally().Wrong, "what is under way is finished")
}
