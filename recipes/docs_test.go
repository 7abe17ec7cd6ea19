package recipes_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
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
		for _, snippet := range snippets.Read(t, file) {
			if routerRecipes[snippet.Heading] == nil { // compiled where they were cut from
				all = append(all, snippet)
			}
		}
	}
	snippets.Module{GoMod: "go.mod", Root: ".."}.Compile(t, all, snippets.Surroundings{
		Imports: map[string]string{
			"b3": "go.opentelemetry.io/contrib/propagators/b3", "log": "github.com/rs/zerolog/log",
			"oauth2": "golang.org/x/oauth2", "otelsql": "github.com/XSAM/otelsql",
			"prometheus": "go.opentelemetry.io/otel/exporters/prometheus",
		},
		Declarations: map[string]string{
			"mux":       "var mux *http.ServeMux",
			"router":    "var router http.Handler",
			"dsn":       "var dsn string",
			"key":       "var key string",
			"source":    "var source oauth2.TokenSource",
			"settings":  "var settings struct{ Tracing bool }",
			"settleAll": "func settleAll(context.Context) error { return nil }",
			"settle":    "func settle(context.Context) error { return nil }",
		},
	})
}

// routerRecipes are the sections of docs/recipes.md whose snippets are lines of the programs in
// routers, as file and region.
var routerRecipes = map[string][]string{
	"ServeMux under a prefix":                {"servemux routes"},
	"ServeMux behind middleware of your own": {"behind routes"},
	"chi":                                    {"chi routes"},
	"gorilla/mux":                            {"gorilla routes"},
	"gin":                                    {"gin routes"},
	"echo":                                   {"echo4 routes", "echo5 routes"},
	"httprouter":                             {"httprouter routes"},
	"connect-go":                             {"connect routes", "connect streams"},
	"grpc-gateway":                           {"gateway routes"},
	"Recovered panics": {
		"servemux panics", "chi panics", "echo4 panics", "gin panics", "connect panics",
	},
}

// TestRouterRecipesAreTheTestedLines compares docs/recipes.md with the programs: it has all of
// their regions, and no others.
func TestRouterRecipesAreTheTestedLines(t *testing.T) {
	regions := regionsOf(t, "routers/*.go")
	shown := map[string]int{}
	for _, snippet := range snippets.Read(t, "../docs/recipes.md") {
		names := routerRecipes[snippet.Heading]
		if names == nil {
			continue
		}
		require.Less(t, shown[snippet.Heading], len(names), "%s has one snippet too many", snippet.Heading)
		name := names[shown[snippet.Heading]]
		shown[snippet.Heading]++
		require.Equal(t, regions[name], snippet.Code, "%s: %s", snippet.Heading, name)
		delete(regions, name)
	}
	require.Empty(t, regions, "not shown in docs/recipes.md")
}

// regionsOf returns the lines between "// begin: region" and "// end: region" by "file region",
// without their indentation.
func regionsOf(t *testing.T, pattern string) map[string]string {
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	region := regexp.MustCompile(`(?ms)^(\t*)// begin: (\w+)\n(.*?)^\t*// end: (\w+)\n`)
	regions := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range region.FindAllStringSubmatch(string(text), -1) {
			indent, name, lines := found[1], found[2], found[3]
			require.Equal(t, name, found[4], file)
			lines = strings.ReplaceAll(strings.TrimPrefix(lines, indent), "\n"+indent, "\n")
			regions[strings.TrimSuffix(filepath.Base(file), ".go")+" "+name] = lines
		}
	}
	require.NotEmpty(t, regions)
	return regions
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
				require.Contains(t, snippets.Anchors(t, path), link.Anchor, "%s links to %s#%s", file, link.File,
					link.Anchor)
			}
		}
	}
}
