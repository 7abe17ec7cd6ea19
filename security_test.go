package telemetry_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every bound that SECURITY.md states names tests, and they are where it says.
func TestBoundsOfTheSecurityPageAreTested(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	_, bounds, found := strings.Cut(string(page), "## Bounds")
	require.True(t, found)
	bounds, _, _ = strings.Cut(bounds, "## Checks")

	code := map[string]string{} // by directory
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		code[filepath.ToSlash(filepath.Dir(path))] += string(content)
		return err
	}))

	rows := 0
	name := regexp.MustCompile("`(Test\\w+)(…?)`")
	for row := range strings.Lines(bounds) {
		cells := strings.Split(row, "|")
		if len(cells) < 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "what" {
			continue
		}
		rows++
		proof, dir := cells[4], "."
		if place, _, isElsewhere := strings.Cut(proof, ":"); isElsewhere {
			dir = strings.Trim(place, " `")
		}
		tests := name.FindAllStringSubmatch(proof, -1)
		require.True(t, len(tests) > 0 || strings.TrimSpace(proof) == "the same", row)
		for _, test := range tests {
			declared := "func " + test[1]
			if test[2] == "" {
				declared += "("
			}
			require.Contains(t, code[dir], declared, row)
		}
	}
	require.GreaterOrEqual(t, rows, 20)
}
