package routers

import (
	"net/http"

	"github.com/fleetotel/telemetry"
)

func serveMuxBehindMiddleware(recovered bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", order)
	mux.HandleFunc("GET /orders/{id}", order)
	mux.HandleFunc("GET /api/items/{id}", order)
	mux.HandleFunc("GET /crash", crash)
	mux.HandleFunc("GET /updates", updates)
	// begin: routes
	route := func(r *http.Request) string { _, pattern := mux.Handler(r); return pattern }
	handler := telemetry.Handler(logging(mux), telemetry.WithRoute(route))
	// end: routes
	if recovered {
		handler = telemetry.Handler(recovery(handler))
	}
	return handler
}
