package paired

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The plain side of the same pace is subtracted within each round, the first round does not count,
// and the median is printed.
func TestCompare(t *testing.T) {
	sides := []Side{{Name: "plain"}, {Name: "plain, paced", Paced: true}, {Name: "stock", Against: "stock"},
		{Name: "ours", Against: "stock"}, {Name: "ours, paced", Against: "stock", Paced: true}}
	rounds := make([]int, len(sides))
	var out strings.Builder
	require.NoError(t, Compare(&out, sides, 3, func(i int) (Cost, error) {
		rounds[i]++
		slower := 1000 * float64([]int{90, 0, 3, 1}[rounds[i]-1])
		nanos := []float64{1000, 2000, 5000, 3000, 8000}[i] + slower
		return Cost{Nanos: nanos, Bytes: float64(i) * 100, Allocs: float64(i)}, nil
	}))
	require.Equal(t, []int{4, 4, 4, 4, 4}, rounds)
	rows := strings.Split(out.String(), "\n")
	require.Equal(t, []string{"|", "ours", "|", "2.00", "|", "300", "|", "3.0", "|", "stock", "|", "0.50", "|", "1.50",
		"|", "1.50", "|"}, strings.Fields(rows[3]))
	require.Contains(t, rows[4], "| 6.00 ", "the paced plain side is subtracted")
	require.NotContains(t, out.String(), "| plain")

	failed := errors.New("lost a span")
	err := Compare(&out, sides, 1, func(int) (Cost, error) { return Cost{}, failed })
	require.ErrorIs(t, err, failed)
	require.ErrorContains(t, err, "plain: ")
}
