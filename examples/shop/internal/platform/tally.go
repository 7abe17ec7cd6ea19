package platform

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Count has the results of one operation's requests.
type Count struct {
	Made   int64 `json:"made"`
	Failed int64 `json:"failed"` // answered with an error
	Slow   int64 `json:"slow"`   // took longer than SlowThreshold
}

// Tally counts the requests that a service has served, by operation. It uses no telemetry, so the
// report can compare telemetry with it. It is safe for concurrent use.
type Tally struct {
	mu    sync.Mutex
	count map[string]Count
}

func newTally() *Tally { return &Tally{count: make(map[string]Count)} }

// Add counts one request.
func (t *Tally) Add(operation string, took time.Duration, failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.count[operation]
	c.Made++
	if failed {
		c.Failed++
	}
	if took > SlowThreshold {
		c.Slow++
	}
	t.count[operation] = c
}

// Counts returns a copy of the counts.
func (t *Tally) Counts() map[string]Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.count)
}

// handler counts the requests to h; an answer of 400 or more is a failure.
func (t *Tally) handler(operation string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, status := time.Now(), &statusWriter{ResponseWriter: w, status: http.StatusOK}
		h(status, r)
		t.Add(operation, time.Since(began), status.status >= http.StatusBadRequest)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// intercept counts the calls of a gRPC server, except those of the health service.
func (t *Tally) intercept(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, call grpc.UnaryHandler,
) (any, error) {
	began := time.Now()
	resp, err := call(ctx, req)
	if operation := info.FullMethod[1:]; !isHealth(operation) {
		t.Add(operation, time.Since(began), err != nil)
	}
	return resp, err
}
