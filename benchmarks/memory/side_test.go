package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func samples(mebibytes ...int64) (r result) {
	for i, m := range mebibytes {
		r.Samples = append(r.Samples, sample{At: time.Duration(i) * time.Second, Heap: m << 20, RSS: m << 21})
	}
	return r
}

func TestFlat(t *testing.T) {
	require.True(t, samples(1, 40, 39, 40, 41).flat(), "filling the queue in the first half is no growth")
	require.False(t, samples(1, 40, 42, 46, 50).flat())
	require.True(t, samples(1, 3, 3, 4, 4).flat(), "less than the slack")
	require.ErrorContains(t, samples(1, 40, 42, 46, 50).judge(), "40.0 MiB in the first half, 50.0 MiB in the second")
	wrong := samples(1, 1, 1)
	wrong.Books = "traces: wrong"
	require.ErrorContains(t, wrong.judge(), "traces: wrong")
}

func TestAt(t *testing.T) {
	r := samples(1, 2, 3, 4, 5)
	require.EqualValues(t, 2<<20, r.at(0.25).Heap)
	require.EqualValues(t, 3<<20, r.at(0.5).Heap)
	require.EqualValues(t, 5<<20, r.at(1).Heap)
}
