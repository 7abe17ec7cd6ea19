package routers

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/fleetotel/telemetry"
)

func gorillaRouter(recovered bool) http.Handler {
	router := mux.NewRouter()
	if recovered {
		router.Use(recovery)
	}
	// begin: routes
	route := func(r *http.Request) string { route, _ := mux.CurrentRoute(r).GetPathTemplate(); return route }
	router.Use(telemetry.Middleware(telemetry.WithRoute(route)))
	handler := telemetry.Handler(router)
	// end: routes
	router.Use(logging)
	router.HandleFunc("/orders", order).Methods(http.MethodGet)
	router.HandleFunc("/orders/{id}", order).Methods(http.MethodGet)
	router.PathPrefix("/api").Subrouter().HandleFunc("/items/{id}", order).Methods(http.MethodGet)
	router.HandleFunc("/crash", crash).Methods(http.MethodGet)
	router.HandleFunc("/updates", updates).Methods(http.MethodGet)
	return handler
}
