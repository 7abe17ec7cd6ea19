package recipes_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

// routers serve GET /orders/{id}, which answers 200, and GET /broken/{id}, which answers 500, with the lines of
// docs/recipes.md.
var routers = map[string]struct {
	order, broken string // the routes as the router writes them
	handler       func(...telemetry.HandlerOption) http.Handler
}{
	"ServeMux behind middleware": {"/orders/{id}", "/broken/{id}", func(opts ...telemetry.HandlerOption) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /orders/{id}", answer(http.StatusOK))
		mux.HandleFunc("GET /broken/{id}", answer(http.StatusInternalServerError))
		copying := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(w, r.Clone(r.Context())) })
		return telemetry.Handler(copying, append(opts, telemetry.WithRoute(func(r *http.Request) string {
			_, pattern := mux.Handler(r)
			return pattern
		}))...)
	}},
	"chi": {"/orders/{id}", "/broken/{id}", func(opts ...telemetry.HandlerOption) http.Handler {
		router := chi.NewRouter()
		router.Get("/orders/{id}", answer(http.StatusOK))
		router.Get("/broken/{id}", answer(http.StatusInternalServerError))
		return telemetry.Handler(router, append(opts, telemetry.WithRoute(func(r *http.Request) string {
			return router.Find(chi.NewRouteContext(), r.Method, r.URL.Path)
		}))...)
	}},
	"gorilla": {"/orders/{id}", "/broken/{id}", func(opts ...telemetry.HandlerOption) http.Handler {
		router := mux.NewRouter()
		router.HandleFunc("/orders/{id}", answer(http.StatusOK)).Methods(http.MethodGet)
		router.HandleFunc("/broken/{id}", answer(http.StatusInternalServerError)).Methods(http.MethodGet)
		return telemetry.Handler(router, append(opts, telemetry.WithRoute(func(r *http.Request) string {
			var match mux.RouteMatch
			if !router.Match(r, &match) || match.Route == nil {
				return ""
			}
			route, _ := match.Route.GetPathTemplate()
			return route
		}))...)
	}},
	"gin": {"/orders/:id", "/broken/:id", func(opts ...telemetry.HandlerOption) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		router := gin.New()
		router.Use(func(c *gin.Context) {
			telemetry.SetRoute(c.Request.Context(), c.FullPath())
			c.Next()
		})
		router.GET("/orders/:id", func(c *gin.Context) { c.String(http.StatusOK, "order") })
		router.GET("/broken/:id", func(c *gin.Context) { c.String(http.StatusInternalServerError, "broken") })
		return telemetry.Handler(router, opts...)
	}},
	"echo": {"/orders/:id", "/broken/:id", func(opts ...telemetry.HandlerOption) http.Handler {
		router := echo.New()
		router.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				telemetry.SetRoute(c.Request().Context(), c.Path())
				return next(c)
			}
		})
		router.GET("/orders/:id", func(c echo.Context) error { return c.String(http.StatusOK, "order") })
		router.GET("/broken/:id", func(c echo.Context) error { return c.String(http.StatusInternalServerError, "broken") })
		return telemetry.Handler(router, opts...)
	}},
}

func answer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func TestRouters(t *testing.T) {
	for name, router := range routers {
		t.Run(name, func(t *testing.T) {
			rec := telemetrytest.Start(t, telemetry.WithoutGlobals())
			handler := router.handler(telemetry.WithGuard(rec.Guard))
			for _, path := range []string{"/orders/7", "/broken/8", "/no/such/page"} {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
			}
			rec.RequireSpan(t, "GET "+router.order, attribute.String("http.route", router.order), attribute.Int("http.response.status_code", 200))
			rec.RequireSpan(t, "GET "+router.broken, attribute.String("http.route", router.broken),
				attribute.Int("http.response.status_code", 500), attribute.String("error.type", "500"))
			rec.RequireSpan(t, "GET", attribute.Int("http.response.status_code", 404))
		})
	}
}
