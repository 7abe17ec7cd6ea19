package lines_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/lines"
)

func TestLinesAboutRoutersLeadToASection(t *testing.T) {
	recipes, err := os.ReadFile("../../docs/recipes.md")
	require.NoError(t, err)
	sections := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(recipes), -1) {
		sections[strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(heading[1]), "/", ""), " ", "-")] = true
	}
	for _, pkg := range []string{
		"net/http", "github.com/gin-gonic/gin", "github.com/go-chi/chi/v5", "github.com/labstack/echo/v4", "github.com/gorilla/mux",
		"github.com/julienschmidt/httprouter", "connectrpc.com/connect", "github.com/grpc-ecosystem/grpc-gateway/v2/runtime",
		"github.com/gofiber/fiber/v2/middleware/adaptor",
	} {
		_, section, _ := strings.Cut(lines.RequestsWithoutRoute(100, pkg).Text(), "docs/recipes.md#")
		section, _, _ = strings.Cut(section, " ")
		require.True(t, sections[section], "%s: %q", pkg, section)
		require.Equal(t, pkg == "net/http", section == "routers", pkg)
	}
}
