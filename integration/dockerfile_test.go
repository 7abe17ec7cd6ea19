package integration

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/require"
)

// services are those of the shop that have an image and a Deployment.
var services = []string{"storefront", "checkout", "payment", "inventory", "fulfilment"}

type stage = instructions.Stage

func dockerfile() ([]stage, error) {
	file, err := os.Open(filepath.Join(repository, "deploy", "Dockerfile"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return nil, err
	}
	if len(parsed.Warnings) > 0 {
		return nil, fmt.Errorf("the Dockerfile has warnings: %v", parsed.Warnings)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	return stages, err
}

// dockerfileBuild is the command that builds the binary of the images.
func dockerfileBuild() (string, error) {
	stages, err := dockerfile()
	if err != nil {
		return "", err
	}
	for _, run := range instructionsOf[*instructions.RunCommand](stages[0]) {
		if line := strings.Join(run.CmdLine, " "); strings.Contains(line, "go build") {
			return line, nil
		}
	}
	return "", errors.New("the Dockerfile's first stage does not build")
}

func instructionsOf[T instructions.Command](s stage) (found []T) {
	for _, c := range s.Commands {
		if t, ok := c.(T); ok {
			found = append(found, t)
		}
	}
	return found
}

func TestDockerfileHasAnImageForEachService(t *testing.T) {
	stages, err := dockerfile()
	require.NoError(t, err)
	for _, name := range append([]string{"load"}, services...) {
		i := slices.IndexFunc(stages, func(s stage) bool { return s.Name == name })
		require.GreaterOrEqual(t, i, 0, "no stage %s", name)
		require.Equal(t, "shop", stages[i].BaseName)
		cmd := instructionsOf[*instructions.CmdCommand](stages[i])
		require.Len(t, cmd, 1)
		require.Equal(t, []string{"-service", name}, []string(cmd[0].CmdLine))
	}
}

func TestDockerfileStagesAreSmallAndWithoutRoot(t *testing.T) {
	stages, err := dockerfile()
	require.NoError(t, err)
	i := slices.IndexFunc(stages, func(s stage) bool { return s.Name == "shop" })
	require.Positive(t, i, "no final stage of its own")
	final := stages[i]
	require.Contains(t, final.BaseName, "distroless/static")
	for _, stage := range stages[:i+1] {
		require.Contains(t, stage.BaseName, ":", "%s has no tag", stage.BaseName)
		require.NotContains(t, stage.BaseName, ":latest")
	}
	copied := instructionsOf[*instructions.CopyCommand](final)
	require.Len(t, copied, 1, "the image is one file")
	require.Equal(t, stages[0].Name, copied[0].From)
	user := instructionsOf[*instructions.UserCommand](final)
	require.Len(t, user, 1)
	// A number: runAsNonRoot cannot tell who a name is.
	require.Regexp(t, `^[1-9]\d*:[1-9]\d*$`, user[0].User)
	entrypoint := instructionsOf[*instructions.EntrypointCommand](final)
	require.Len(t, entrypoint, 1)
	require.False(t, entrypoint[0].PrependShell, "a shell would not hand on SIGTERM, and there is none")
	require.Equal(t, []string{"/shop"}, []string(entrypoint[0].CmdLine))
}

// What the Dockerfile copies is there, and what it builds runs without a C library.
func TestDockerfileBuildsAStaticBinary(t *testing.T) {
	stages, err := dockerfile()
	require.NoError(t, err)
	for _, copied := range instructionsOf[*instructions.CopyCommand](stages[0]) {
		for _, source := range copied.SourcePaths {
			_, err := os.Stat(filepath.Join(repository, source))
			require.NoError(t, err, "COPY")
		}
	}

	binary, err := elf.Open(built(t, shopBinary))
	require.NoError(t, err)
	defer binary.Close()
	for _, program := range binary.Progs {
		require.NotEqual(t, elf.PT_INTERP, program.Type, "it asks for a dynamic linker")
	}
	libraries, err := binary.ImportedLibraries()
	require.NoError(t, err)
	require.Empty(t, libraries)
}
