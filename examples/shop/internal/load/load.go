// Package load is the shop's customers: they browse, order, and come all at once. They know nothing of telemetry.
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

// customers is how many requests may be under way. When the shop is slower than the customers come, they queue.
const customers = 64

// burst is how much more than the base rate comes at once.
const burst = 100

// Config says what to send.
type Config struct {
	URL      string        // the storefront
	Rate     float64       // requests per second, outside the burst
	Duration time.Duration // of one round; there is a burst in the middle of each
	Forever  bool          // round after round
	Seed     uint64        // the same seed sends the same requests
}

// Tally is what was sent and answered.
type Tally struct {
	Browsed  int   `json:"browsed"`
	Ordered  int   `json:"ordered"`
	Declined int   `json:"declined"` // of the orders; they were to be
	Slow     int   `json:"slow"`     // orders of a product that takes its time
	Probes   int   `json:"probes"`   // GET /healthz, which must leave no trace
	Wrong    int   `json:"wrong"`    // answers that were not the expected ones
	First    error `json:"-"`        // the first of these
}

// Requests is how many there were that telemetry should know of.
func (t Tally) Requests() int { return t.Browsed + t.Ordered }

// BurstAt says when in a round the burst begins and how long it takes.
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

// New makes a load generator that is not running yet.
func New(c Config) *Load {
	return &Load{config: c, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: customers}, Timeout: 30 * time.Second,
	}}
}

// Tally is a snapshot.
func (l *Load) Tally() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally
}

// Run sends until the rounds are over or ctx is cancelled; requests under way are finished.
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

// round sends what falls due, in steps of 10 ms, and returns the number of the next order.
func (l *Load) round(ctx context.Context, queue chan<- request, random *rand.Rand, order int) int {
	const step = 10 * time.Millisecond
	burstFrom, burstLength := l.config.BurstAt()
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	due := 1.0
	for at, i := time.Duration(0), 0; at < l.config.Duration; at, i = at+step, i+1 {
		rate := l.config.Rate
		if at >= burstFrom && at < burstFrom+burstLength {
			rate *= burst
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
	status             int // the answer that is expected
}

// next is the request of the next customer: 7 of 10 browse. Of 100 orders one is paid with a card that the bank
// refuses, and one is for a product that lies far away.
func next(random *rand.Rand, orders *int) request {
	products := storefront.Catalogue
	product := products[random.IntN(len(products)-1)] // but for the last, which is the slow one
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

// send sends r and books its answer.
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
