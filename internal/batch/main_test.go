package batch_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/internal/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector is an exporter of ints that a test can hold, fail and look into.
type collector struct {
	mu      sync.Mutex
	batches [][]int
	inCalls int // exports in flight
	maxIn   int // and the most there ever were
	hold    chan struct{}
	answer  func(ctx context.Context, items []int) error
}

func (c *collector) export(ctx context.Context, items []int) error {
	c.mu.Lock()
	c.inCalls++
	c.maxIn = max(c.maxIn, c.inCalls)
	hold, answer := c.hold, c.answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.inCalls--
		c.mu.Unlock()
	}()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if answer != nil {
		if err := answer(ctx, items); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.batches = append(c.batches, append([]int(nil), items...))
	c.mu.Unlock()
	return nil
}

// sizes returns the sizes of the batches that arrived.
func (c *collector) sizes() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sizes []int
	for _, b := range c.batches {
		sizes = append(sizes, len(b))
	}
	return sizes
}

// items returns what arrived.
func (c *collector) items() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var items []int
	for _, b := range c.batches {
		items = append(items, b...)
	}
	return items
}

func newEngine(t *testing.T, cfg batch.Config, exports ...batch.Export[int]) *batch.Engine[int] {
	t.Helper()
	e, err := batch.New(cfg, exports...)
	require.NoError(t, err)
	return e
}

// fill offers n items of one byte without priority and returns how many were taken.
func fill(e *batch.Engine[int], n int) int {
	taken := 0
	for i := range n {
		if e.Enqueue(i, 1, false) {
			taken++
		}
	}
	return taken
}

// balanced asserts the accounting identity.
func balanced(t *testing.T, s batch.Stats) {
	t.Helper()
	require.Equal(t, s.Accepted, s.Exported+s.Dropped.Total()+s.Failed+s.Rejected+s.Queued+s.Spooled, "%+v", s)
	handed := s.Exported + s.Failed + s.Rejected + s.Spooled + s.InFlight
	require.GreaterOrEqual(t, s.Submitted, handed, "%+v", s)
	require.LessOrEqual(t, s.Submitted, handed+s.Dropped.TooLarge, "some of those the server refused: %+v", s)
}

func lost(t *testing.T, err error) int64 {
	t.Helper()
	var loss *batch.LossError
	require.ErrorAs(t, err, &loss)
	return loss.Items
}

var errRefused = errors.New("connection refused")
