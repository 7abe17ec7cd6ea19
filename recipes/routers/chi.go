package routers

import (
	"cmp"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/fleetotel/telemetry"
)

func chiRouter(recovered bool) http.Handler {
	router := chi.NewRouter()
	// begin: routes
	router.Use(telemetry.Middleware(telemetry.WithRoute(func(r *http.Request) string {
		return router.Find(chi.NewRouteContext(), r.Method, cmp.Or(r.URL.RawPath, r.URL.Path))
	})))
	// end: routes
	if recovered {
		// begin: panics
		router.Use(middleware.Recoverer, telemetry.Middleware())
		// end: panics
	}
	router.Use(logging)
	router.Get("/orders", order)
	router.Get("/orders/{id}", order)
	router.Route("/api", func(api chi.Router) { api.Get("/items/{id}", order) })
	router.Get("/crash", crash)
	router.Get("/updates", updates)
	return router
}
