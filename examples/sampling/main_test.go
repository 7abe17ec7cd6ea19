package main

import (
	"bytes"
	"context"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEstimates(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(context.Background(), &out, []string{"-phase", "1s", "-rate", "1000"}))
	t.Log(out.String())
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
