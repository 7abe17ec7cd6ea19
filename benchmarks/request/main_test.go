package main

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each side is measured in both ways, and no paced side loses a span.
func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(context.Background(), &out, []string{"-requests", "300", "-rounds", "1"}))
	for _, heading := range []string{"In memory:", "Over loopback:"} {
		require.Contains(t, out.String(), heading)
	}
	for _, name := range []string{stockRatio, stockAll, "ours, HeadOnly", "ours, default", "ours, everything sampled"} {
		require.Equal(t, 2, strings.Count(out.String(), "\n| "+name+" "), name)
	}
	require.Error(t, run(context.Background(), &out, []string{"-requests", "0"}))
}
