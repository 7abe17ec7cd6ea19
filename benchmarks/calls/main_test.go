package main

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each side makes each kind of call, and no paced side loses a span.
func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(context.Background(), &out, []string{"-calls", "200", "-rounds", "1"}))
	for _, way := range ways {
		require.Contains(t, out.String(), way.name+":")
	}
	for _, name := range []string{stockRatio, stockAll, "ours, HeadOnly", "ours, default", "ours, everything sampled"} {
		require.Equal(t, len(ways), strings.Count(out.String(), "\n| "+name+" "), name)
	}
	out.Reset()
	require.NoError(t, run(context.Background(), &out,
		[]string{"-calls", "10", "-rounds", "1", "-only", "HTTP request, in memory"}))
	require.NotContains(t, out.String(), "gRPC")
	require.Error(t, run(context.Background(), &out, []string{"-calls", "0"}))
}
