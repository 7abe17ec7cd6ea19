package telemetry

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestScopesNameEveryOptionTheyTake holds the comments of ForTraces, ForMetrics and ForLogs to the code.
func TestScopesNameEveryOptionTheyTake(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "options_otlp.go", nil, parser.ParseComments)
	require.NoError(t, err)
	comments, scoped := map[string]string{}, []string{}
	for _, decl := range file.Decls {
		option, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		comments[option.Name.Name] = option.Doc.Text()
		ast.Inspect(option.Body, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && name.Name == "recordExport" {
				scoped = append(scoped, option.Name.Name)
			}
			return true
		})
	}
	require.GreaterOrEqual(t, len(scoped), 7)
	for _, scope := range []string{"ForTraces", "ForMetrics", "ForLogs"} {
		for _, name := range scoped {
			require.Contains(t, comments[scope], "["+name+"]", scope)
		}
	}
}
