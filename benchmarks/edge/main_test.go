package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/benchmarks/internal/child"
	"github.com/fleetotel/telemetry/benchmarks/internal/sink"
)

func TestMain(m *testing.M) {
	child.Main(map[string]func(*child.Pipe) error{sink.Role: sink.Serve})
	os.Exit(m.Run())
}

// Both agents are built, run with a collector and without one, and measured.
func TestAgentsAreMeasured(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(&out, []string{"-duration", "5s", "-scan", "100ms", "-full", "0"}))
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{"| stock | there ", "| ours  | there ", "| stock | away ", "| ours  | away "} {
		require.True(t, strings.HasPrefix(lines[2+i], want), "%s", &out)
		cells := strings.Split(lines[2+i], "|")
		for _, column := range []int{3, 4, 5, 6, 7, 8, 10, 11, 12} { // 9 is known after the first garbage collection
			require.False(t, strings.HasPrefix(strings.TrimSpace(cells[column]), "0.0 "), "column %d was not read: %s",
				column, lines[2+i])
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-duration", "1s"}, {"-scan", "1ms"}, {"-full", "much"}} {
		_, err := parse(args)
		require.Error(t, err, args)
	}
}
