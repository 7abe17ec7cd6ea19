package redact_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry/internal/redact"
)

func masks(r *redact.Redactor, key string) bool {
	_, hits := r.Attributes([]attribute.KeyValue{attribute.String(key, "x")})
	return hits > 0
}

// TestConventionsAreNotTouched looks at every attribute key of the semantic conventions. None of
// them is a secret's by itself; those of headers and gRPC metadata have the header's name at their
// end.
func TestConventionsAreNotTouched(t *testing.T) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "go.opentelemetry.io/otel/semconv/v1.43.0").Output()
	require.NoError(t, err)
	file, err := parser.ParseFile(token.NewFileSet(),
		filepath.Join(strings.TrimSpace(string(dir)), "attribute_group.go"), nil, 0)
	require.NoError(t, err)
	r, seen := defaults(t), 0
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		literal, ok := call.Args[0].(*ast.BasicLit)
		if fun, isKey := call.Fun.(*ast.SelectorExpr); ok && isKey && fun.Sel.Name == "Key" {
			key, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			require.False(t, masks(r, key), key)
			seen++
		}
		return true
	})
	require.Greater(t, seen, 500)
	for _, template := range []string{"http.request.header.%s", "http.response.header.%s", "rpc.request.metadata.%s",
		"db.query.parameter.%s"} {
		for _, name := range []string{"authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key",
			"password"} {
			require.True(t, masks(r, fmt.Sprintf(template, name)))
		}
		for _, name := range []string{"accept", "content-type", "x-request-id", "etag", "key", "user-agent"} {
			require.False(t, masks(r, fmt.Sprintf(template, name)))
		}
	}
}

func TestKeys(t *testing.T) {
	tests := []struct {
		name           string
		config         redact.Config
		masked, others []string
	}{
		{
			name:   "given",
			config: redact.Config{Keys: []string{"Email", "session.id"}},
			masked: []string{"email", "customer.email", "customerEmail", "CUSTOMER_EMAIL", "session.id", "sessionId",
				"user_session_id", "password"},
			others: []string{"email_sent", "female", "session", "id"},
		},
		{
			name:   "allowed, the longest term decides",
			config: redact.Config{AllowKeys: []string{"token", "push.token"}},
			masked: []string{"access_token", "password"},
			others: []string{"token", "my.token", "push_token"},
		},
		{
			name:   "in both lists",
			config: redact.Config{Keys: []string{"email"}, AllowKeys: []string{"e-mail"}},
			others: []string{"email", "e_mail"},
		},
		{
			name:   "the end of a long key",
			masked: []string{strings.Repeat("x.", 500) + "password", strings.Repeat("x", 500) + "password"},
			others: []string{"password." + strings.Repeat("x.", 500) + "count"},
		},
		{
			name:   "at the bound of a term",
			config: redact.Config{Keys: []string{strings.Repeat("k", 48)}},
			masked: []string{strings.Repeat("k", 48), "a." + strings.Repeat("k", 48)},
			others: []string{strings.Repeat("k", 47), strings.Repeat("k", 49)},
		},
		{
			name:   "short terms",
			config: redact.Config{Keys: []string{"ip", "vat"}},
			masked: []string{"ip", "client.ip", "clientIp", "IP", "vat", "customerVat", "ip_2", "v.a.t", "i-p"},
			others: []string{"zip", "ship", "vatican", "p", "i"},
		},
		{name: "odd", others: []string{"", ".", "a", "1", "é", "\xff", "---"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := redact.New(test.config)
			for range 2 { // the second time from the cache
				for _, key := range test.masked {
					require.True(t, masks(r, key), key)
				}
				for _, key := range test.others {
					require.False(t, masks(r, key), key)
				}
			}
		})
	}
	require.NoError(t, redact.CheckKey(strings.Repeat("k", 48)))
	require.ErrorContains(t, redact.CheckKey(strings.Repeat("k", 49)), "longer than 48")
	require.ErrorContains(t, redact.CheckKey("-_-"), "no letter")
	require.ErrorContains(t, redact.CheckKey("-k-"), "too short")
}

// More keys than the memory of decisions has room for are decided all the same.
func TestKeysConcurrentSafe(t *testing.T) {
	r := defaults(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 3000 {
				if !masks(r, fmt.Sprint("user.", i, ".password")) || masks(r, fmt.Sprint("password.", i, ".kind")) {
					t.Error(i)
				}
			}
		})
	}
	wg.Wait()
}
