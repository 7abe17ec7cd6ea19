package routers

import (
	"net/http"

	"github.com/julienschmidt/httprouter"

	"github.com/fleetotel/telemetry"
)

func httpRouter(recovered bool) http.Handler {
	router := httprouter.New()
	// begin: routes
	handle := func(method, path string, next http.Handler) {
		router.Handler(method, path, telemetry.Handler(next, telemetry.WithRoute(func(*http.Request) string { return path })))
	}
	// end: routes
	if recovered {
		router.PanicHandler = func(w http.ResponseWriter, _ *http.Request, _ any) {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	handle(http.MethodGet, "/orders", http.HandlerFunc(order))
	handle(http.MethodGet, "/orders/:id", http.HandlerFunc(order))
	handle(http.MethodGet, "/api/items/:id", http.HandlerFunc(order))
	handle(http.MethodGet, "/crash", http.HandlerFunc(crash))
	handle(http.MethodGet, "/updates", http.HandlerFunc(updates))
	return telemetry.Handler(router)
}
