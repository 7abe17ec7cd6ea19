package integration

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

func composeProject(t *testing.T, env ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(repository, "deploy", "compose.yaml")},
		cli.WithEnv(env))
	require.NoError(t, err)
	return options.LoadProject(context.Background())
}

// The compose file is valid by the Compose specification, and each service of the shop calls
// somebody who is there.
func TestComposeFile(t *testing.T) {
	project, err := composeProject(t, "POSTGRES_PASSWORD=secret")
	require.NoError(t, err)
	stages, err := dockerfile()
	require.NoError(t, err)
	for _, name := range append([]string{"load"}, services...) {
		s, err := project.GetService(name)
		require.NoError(t, err)
		require.Equal(t, repository, s.Build.Context)
		require.Equal(t, "deploy/Dockerfile", s.Build.Dockerfile)
		require.True(t, slices.ContainsFunc(stages, func(stage stage) bool { return stage.Name == s.Build.Target }),
			s.Build.Target)
		require.Equal(t, name, s.Build.Target)
		require.True(t, s.ReadOnly)
		require.Equal(t, []string{"ALL"}, []string(s.CapDrop))
		require.NotNil(t, s.StopGracePeriod)
		for variable, value := range s.Environment {
			if host, _, ok := destination(*value); ok {
				_, found := project.Services[host]
				require.True(t, found, "%s of %s: nobody is %s", variable, name, host)
			}
		}
	}
	for name, s := range project.Services {
		require.False(t, strings.HasSuffix(s.Image, ":latest"), name)
		require.True(t, s.Build != nil || strings.Contains(s.Image, ":"), "%s has no version", name)
		for _, port := range s.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, "%s is open to the network", name)
		}
	}
	gateway, err := project.GetService("gateway")
	require.NoError(t, err)
	require.Contains(t, []string(gateway.Command), useTracestate)
	for _, name := range []string{"agent", "gateway"} {
		s, err := project.GetService(name)
		require.NoError(t, err)
		require.FileExists(t, s.Volumes[0].Source, "the configuration of %s", name)
		require.Contains(t, []string(s.Command), "--config="+s.Volumes[0].Target)
		require.Equal(t, "/var/lib/otelcol", s.Volumes[1].Target)
	}
}

// No password is in the repository, and none is made up.
func TestComposeFileAsksForAPassword(t *testing.T) {
	_, err := composeProject(t)
	require.ErrorContains(t, err, "set a password for the database")
}
