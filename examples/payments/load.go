package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// clients is the number of customers that send requests in parallel.
const clients = 8

// A kind describes one request and the telemetry it must produce.
type kind struct {
	name        string
	status      int // the answer
	spans, logs int // of both services together
}

var (
	paid     = kind{"paid", http.StatusCreated, 9, 2}
	declined = kind{"declined", http.StatusPaymentRequired, 7, 2}
	invalid  = kind{"invalid", http.StatusBadRequest, 3, 1}
	read     = kind{"read", http.StatusOK, 2, 1}
	kinds    = []kind{paid, declined, invalid, read}
)

// kindOf mixes the requests: of every 20, one is invalid, one is declined, and two read an earlier
// payment.
func kindOf(i int) kind {
	switch {
	case i%20 == 7:
		return invalid
	case i%20 == 13:
		return declined
	case i%10 == 9:
		return read
	default:
		return paid
	}
}

// tally counts what the program did, from the answers. The report compares telemetry with it.
type tally struct {
	requests int
	by       map[kind]int
	cents    int64 // of the successful payments
	probes   int   // GET /health, which must leave no trace
	took     time.Duration
	traceID  string // of the latest payment, from the response
	wrong    int    // unexpected answers
	first    error  // the first of them
}

func (t *tally) failed(err error) {
	if t.wrong++; t.wrong == 1 {
		t.first = err
	}
}

func (t *tally) err() error {
	if t.wrong == 0 {
		return nil
	}
	return fmt.Errorf("unexpected answers: %d, the first: %w", t.wrong, t.first)
}

func (t *tally) expect(count func(kind) int) int {
	sum := 0
	for k, n := range t.by {
		sum += n * count(k)
	}
	return sum
}

func (t *tally) String() string {
	var parts []string
	for _, k := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", t.by[k], k.name))
	}
	return fmt.Sprintf("%d in %.1f s: %s", t.requests, t.took.Seconds(), strings.Join(parts, ", "))
}

// load sends requests to the service at url, like outside customers, without telemetry. If ctx is
// canceled, no new request begins and those in progress are finished, so the tally stays exact.
func load(ctx context.Context, url string, requests int) *tally {
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	l := &loader{
		url:   url,
		http:  &http.Client{Transport: transport, Timeout: 30 * time.Second},
		tally: tally{by: make(map[kind]int)},
	}
	began := time.Now()
	l.send(0) // first and alone, so that there is a payment to read
	next := make(chan int)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := range next {
				l.send(i)
			}
		})
	}
	for i := 1; i < requests && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
	l.tally.took = time.Since(began)
	return &l.tally
}

type loader struct {
	url  string
	http *http.Client

	mu    sync.Mutex
	tally tally
	last  string // id of the latest payment
}

// send sends request i and counts its answer.
func (l *loader) send(i int) {
	if i%40 == 0 { // like an orchestrator, every few seconds
		l.probe()
	}
	k := kindOf(i)
	cents := 500 + int64(i)*3797%24500 // 5.00 to 250.00
	method, path, body := http.MethodPost, "/api/payments", ""
	switch k {
	case paid:
		body = fmt.Sprintf(`{"amount": %s, "currency": "EUR", "card": "tok_visa"}`, amount(cents))
	case declined:
		body = fmt.Sprintf(`{"amount": %s, "currency": "EUR", "card": %q}`, amount(cents), tokDeclined)
	case invalid:
		body = `{"amount": -12.50, "currency": "EUR", "card": "tok_visa"}`
	case read:
		l.mu.Lock()
		method, path = http.MethodGet, path+"/"+l.last
		l.mu.Unlock()
	}
	status, header, id, err := l.call(method, path, body)
	if err == nil && status != k.status {
		err = fmt.Errorf("%s %s (%s): status %d, want %d", method, path, k.name, status, k.status)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.requests++
	l.tally.by[k]++
	if err != nil {
		l.tally.failed(err)
		return
	}
	if k == paid {
		l.tally.cents += cents
		l.last = id
		// Server-Timing: traceparent;desc="00-<trace id>-<span id>-01"
		if parts := strings.Split(header.Get("Server-Timing"), "-"); len(parts) > 3 {
			l.tally.traceID = parts[len(parts)-3]
		}
	}
}

func (l *loader) probe() {
	status, _, _, err := l.call(http.MethodGet, "/health", "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET /health: status %d", status)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.probes++
	if err != nil {
		l.tally.failed(err)
	}
}

// call returns the answer and the id in its body, if it has one.
func (l *loader) call(method, path, body string) (status int, header http.Header, id string, err error) {
	req, err := http.NewRequestWithContext(context.Background(), method, l.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, "", err
	}
	var answer struct{ ID string }
	_ = json.Unmarshal(raw, &answer) // errors and health have no id
	return resp.StatusCode, resp.Header, answer.ID, nil
}
