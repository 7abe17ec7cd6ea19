package main

import (
	"bytes"
	"context"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEstimates(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(context.Background(), &out, []string{"-phase", "1s", "-rate", "1000"}))
	t.Log(out.String())
	require.Contains(t, out.String(), "50 requests at once, every 500ms:")
	for _, line := range []struct {
		name      string
		tolerance float64
	}{{"requests", 0.6}} {
		found := regexp.MustCompile(`(?m)^ *` + line.name + ` +(\d+) +(\d+)`).FindStringSubmatch(out.String())
		require.NotNil(t, found, out.String())
		estimate, err := strconv.ParseFloat(found[1], 64)
		require.NoError(t, err)
		truth, err := strconv.ParseFloat(found[2], 64)
		require.NoError(t, err)
		require.InEpsilon(t, truth, estimate, line.tolerance)
	}
}

// Ctrl-C is not a failure: the results up to then are reported.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	shop, err := openShop(t.Context(), 50)
	require.NoError(t, err)
	defer shop.close()
	require.NoError(t, shop.serve(ctx, &out, []step{{100, time.Minute, 0}}))
	require.NoError(t, shop.report(&out))
	require.Contains(t, out.String(), "interrupted")
	require.Contains(t, out.String(), "traces arrived")
}
