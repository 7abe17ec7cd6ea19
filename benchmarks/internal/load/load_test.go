package load

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSharesAddUp(t *testing.T) {
	for _, rate := range []int{0, 1, 7, 20_000, 30_001} {
		for _, producers := range []int{1, 3, 4} {
			sum := 0
			for p := range producers {
				sum += Share(rate, producers, p)
			}
			require.Equal(t, rate, sum)
		}
	}
}

func TestDueAndBehind(t *testing.T) {
	require.EqualValues(t, 15_000, Due(1000, 15*time.Second))
	require.EqualValues(t, 60, Due(60_000, time.Millisecond))
	require.Zero(t, Due(60_000, 0))
	require.Zero(t, Behind(1000, 1000, time.Second), "exactly on time")
	require.Equal(t, 500*time.Millisecond-tick, Behind(1000, 500, time.Second))
	require.Zero(t, Behind(0, 0, time.Hour))
}

// What is due is offered, however slow the taker is: that is what makes the loop open.
func TestRunOffersEverythingThatIsDue(t *testing.T) {
	var mu sync.Mutex
	seen := map[int64]bool{}
	offered := Run(t.Context(), 1000, 200*time.Millisecond, 3, func(i int64) {
		mu.Lock()
		defer mu.Unlock()
		seen[i] = true
		if i == 20 {
			time.Sleep(50 * time.Millisecond)
		}
	})
	// Each of the three may owe less than one item at the end.
	require.InDelta(t, 200, offered.Items, 3)
	require.Len(t, seen, int(offered.Items), "each number once")
	require.GreaterOrEqual(t, offered.Late, 30*time.Millisecond)

	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.Zero(t, Run(over, 1000, time.Hour, 2, func(int64) {}).Items)
}
