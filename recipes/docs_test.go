package recipes_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	// What the documents use and the tests of this module do not.
	_ "github.com/XSAM/otelsql"
	_ "github.com/rs/zerolog/log"
	_ "go.opentelemetry.io/contrib/propagators/b3"
	_ "go.opentelemetry.io/otel/exporters/prometheus"
	_ "golang.org/x/oauth2"

	"github.com/fleetotel/telemetry/internal/snippets"
)

func TestSnippetsOfTheDocumentsCompile(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	var all []snippets.Snippet
	for _, file := range append(files, "../SECURITY.md") {
		all = append(all, snippets.Read(t, file)...)
	}
	snippets.Module{GoMod: "go.mod", Root: ".."}.Compile(t, all, snippets.Surroundings{
		Imports: map[string]string{
			"b3": "go.opentelemetry.io/contrib/propagators/b3", "chi": "github.com/go-chi/chi/v5", "echo": "github.com/labstack/echo/v4",
			"gin": "github.com/gin-gonic/gin", "gorilla/mux/mux": "github.com/gorilla/mux", "log": "github.com/rs/zerolog/log",
			"oauth2": "golang.org/x/oauth2", "otelsql": "github.com/XSAM/otelsql", "prometheus": "go.opentelemetry.io/otel/exporters/prometheus",
		},
		Declarations: map[string]string{
			"mux":                "var mux *http.ServeMux",
			"gorilla/mux/mux":    "",
			"logging":            "func logging(next http.Handler) http.Handler { return next }",
			"chi/router":         "var router *chi.Mux",
			"gorilla/mux/router": "var router *mux.Router",
			"gin/router":         "var router *gin.Engine",
			"echo/router":        "var router *echo.Echo",
			"dsn":                "var dsn string",
			"key":                "var key string",
			"source":             "var source oauth2.TokenSource",
			"settings":           "var settings struct{ Tracing bool }",
			"settleAll":          "func settleAll(context.Context) error { return nil }",
			"settle":             "func settle(context.Context) error { return nil }",
		},
	})
}

// TestNoPlaceholderIsLeft knows only the comments between which tables are generated.
func TestNoPlaceholderIsLeft(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	comment := regexp.MustCompile(`<!--.*?-->`)
	for _, file := range append(files, "../README.md", "../CONTRIBUTING.md") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range comment.FindAllString(string(text), -1) {
			require.Regexp(t, `^<!-- [a-z-]+:(begin \(generated: make update\)|end) -->$`, found, file)
		}
	}
}

// TestLinksLeadSomewhere looks at the links between the documents of the repository.
func TestLinksLeadSomewhere(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	for _, file := range append(files, "../README.md", "../CONTRIBUTING.md", "../SECURITY.md", "../ARCHITECTURE.md") {
		for _, link := range snippets.Links(t, file) {
			path := filepath.Join(filepath.Dir(file), link.File)
			if link.File == "" {
				path = file
			}
			_, err := os.Stat(path)
			require.NoError(t, err, "%s links to %s", file, link.File)
			if link.Anchor != "" {
				require.Contains(t, snippets.Anchors(t, path), link.Anchor, "%s links to %s#%s", file, link.File, link.Anchor)
			}
		}
	}
}
