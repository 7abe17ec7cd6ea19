// Package load simulates the shop's customers: they browse and order, sometimes in a burst. It uses
// no telemetry.
package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/examples/shop/internal/inventory"
	"github.com/fleetotel/telemetry/examples/shop/internal/payment"
	"github.com/fleetotel/telemetry/examples/shop/internal/storefront"
)

// customers is the maximum number of requests in progress. If the shop is too slow, further
// requests queue.
const customers = 64

// Burst is how many times the base rate arrives in the burst.
const Burst = 100

// Config sets what to send.
type Config struct {
	URL      string        // the storefront
	Rate     float64       // requests per second, outside the burst
	Duration time.Duration // of one round, which has a burst in its middle
	Forever  bool          // round after round
	Seed     uint64        // the same seed sends the same requests
}

// Tally counts the requests sent and the answers.
type Tally struct {
	Browsed  int   `json:"browsed"`
	Ordered  int   `json:"ordered"`
	Declined int   `json:"declined"` // orders declined as expected
	Slow     int   `json:"slow"`     // orders of the slow product
	Probes   int   `json:"probes"`   // GET /healthz, which must leave no trace
	Wrong    int   `json:"wrong"`    // unexpected answers
	First    error `json:"-"`        // the first unexpected answer
}

// Requests is the number of requests that telemetry should cover.
func (t Tally) Requests() int { return t.Browsed + t.Ordered }

// BurstAt returns when in a round the burst begins and how long it takes.
func (c Config) BurstAt() (from, length time.Duration) {
	return c.Duration * 2 / 5, min(c.Duration/5, 1500*time.Millisecond)
}

// Load is a load generator. Its Tally may be read while it runs.
type Load struct {
	config Config
	http   *http.Client
	mu     sync.Mutex
	tally  Tally
}

// New returns a load generator that is not running yet.
func New(c Config) *Load {
	return &Load{config: c, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: customers}, Timeout: 30 * time.Second,
	}}
}

// Tally returns a snapshot of the counts.
func (l *Load) Tally() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally
}

// Run sends requests until the rounds are over or ctx is canceled; requests in progress are
// finished.
func (l *Load) Run(ctx context.Context) {
	defer l.http.CloseIdleConnections()
	queue := make(chan request, customers)
	var sending sync.WaitGroup
	for range customers {
		sending.Go(func() {
			for r := range queue {
				l.send(r)
			}
		})
	}
	random := rand.New(rand.NewPCG(l.config.Seed, 0))
	for n := 0; ctx.Err() == nil; {
		n = l.round(ctx, queue, random, n)
		if !l.config.Forever {
			break
		}
	}
	close(queue)
	sending.Wait()
}

// round sends the requests that are due, in steps of 10 ms, and returns the number of the next
// order.
func (l *Load) round(ctx context.Context, queue chan<- request, random *rand.Rand, order int) int {
	const step = 10 * time.Millisecond
	burstFrom, burstLength := l.config.BurstAt()
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	due := 1.0
	for at, i := time.Duration(0), 0; at < l.config.Duration; at, i = at+step, i+1 {
		rate := l.config.Rate
		if at >= burstFrom && at < burstFrom+burstLength {
			rate *= Burst
		}
		for due += rate * step.Seconds(); due >= 1; due-- {
			r := next(random, &order)
			select {
			case queue <- r:
			case <-ctx.Done():
				return order
			}
		}
		if i%50 == 0 {
			l.send(request{kind: probe, method: http.MethodGet, path: "/healthz", status: http.StatusOK})
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return order
		}
	}
	return order
}

type kind int

const (
	browse kind = iota
	ordering
	declining
	slow
	probe
)

type request struct {
	kind               kind
	method, path, body string
	status             int // the expected answer
}

// next returns the next customer's request: 7 of 10 browse. Of 100 orders, one is paid with a card
// that the bank refuses, and one is for the slow product.
func next(random *rand.Rand, orders *int) request {
	products := storefront.Catalogue
	product := products[random.IntN(len(products)-1)] // except the last one, which is slow
	switch r := random.IntN(10); {
	case r < 3:
		return request{browse, http.MethodGet, "/products", "", http.StatusOK}
	case r < 7:
		return request{browse, http.MethodGet, "/products/" + product.ID, "", http.StatusOK}
	}
	*orders++
	order := storefront.Order{Product: product.ID, Card: "card_good"}
	out := request{ordering, http.MethodPost, "/orders", "", http.StatusCreated}
	switch *orders % 100 {
	case 7:
		out.kind, out.status, order.Card = declining, http.StatusPaymentRequired, payment.DeclinedCard
	case 13:
		out.kind, order.Product = slow, inventory.RemoteProduct
	}
	body, _ := json.Marshal(order) // two strings
	out.body = string(body)
	return out
}

// send sends r and counts its answer.
func (l *Load) send(r request) {
	err := l.call(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.tally
	switch r.kind {
	case browse:
		t.Browsed++
	case probe:
		t.Probes++
	default:
		t.Ordered++
	}
	switch r.kind {
	case declining:
		t.Declined++
	case slow:
		t.Slow++
	}
	if err != nil {
		if t.Wrong++; t.Wrong == 1 {
			t.First = err
		}
	}
}

func (l *Load) call(r request) error {
	req, err := http.NewRequest(r.method, l.config.URL+r.path, strings.NewReader(r.body))
	if err != nil {
		return err
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != r.status {
		return fmt.Errorf("%s %s: status %d, want %d", r.method, r.path, resp.StatusCode, r.status)
	}
	return nil
}
