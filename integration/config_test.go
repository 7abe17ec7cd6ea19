package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every configuration of deploy/ is one that the collector takes.
func TestCollectorConfigurationsAreValid(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repository, "deploy", "collector", "*.yaml"))
	require.NoError(t, err)
	found := 0
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		found++
		t.Run(filepath.Base(file), func(t *testing.T) { requireValid(t, file) })
	}
	require.Equal(t, 2, found)
}

func requireValid(t *testing.T, file string) {
	t.Helper()
	output, err := validate(t, []string{
		"STORAGE_DIRECTORY=" + t.TempDir(),
		"GATEWAY_HOST=otel-gateway.observability.svc", "BACKEND_ENDPOINT=http://backend.observability:4318",
	}, "--config", file, useTracestate)
	require.NoError(t, err, output)
}

// What the shop's services keep because it is slow, the gateway keeps too.
func TestGatewayAndShopAgreeOnSlow(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(repository, "examples", "shop", "internal", "platform", "preset.go"))
	require.NoError(t, err)
	require.Contains(t, string(source), fmt.Sprintf("SlowThreshold = %d * time.Millisecond", slow.Milliseconds()))
	config, err := os.ReadFile(gatewayConfig)
	require.NoError(t, err)
	require.Contains(t, string(config), fmt.Sprintf("threshold_ms: %d ", slow.Milliseconds()-1))
}

// The check of the configurations can fail.
func TestCollectorRefusesWhatItDoesNotKnow(t *testing.T) {
	text, err := os.ReadFile(agentConfig)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "agent.yaml")
	require.NoError(t, os.WriteFile(file, append(text, "    unknown_setting: 1\n"...), 0o600))
	output, err := validate(t, []string{"GATEWAY_HOST=gateway"}, "--config", file)
	require.Error(t, err)
	require.Contains(t, output, "unknown_setting")
}
