package routers

import (
	"net/http"

	"github.com/fleetotel/telemetry"
)

func nestedServeMux(recovered bool) http.Handler {
	api := http.NewServeMux()
	api.HandleFunc("GET /items/{id}", order)
	whole := http.NewServeMux() // its patterns have the prefix
	whole.HandleFunc("GET /whole/items/{id}", order)
	mux := http.NewServeMux()
	mux.Handle("/whole/", whole)
	mux.HandleFunc("GET /orders", order)
	mux.HandleFunc("GET /orders/{id}", order)
	mux.HandleFunc("GET /crash", crash)
	mux.HandleFunc("GET /updates", updates)
	// begin: routes
	mux.Handle("/api/", http.StripPrefix("/api", telemetry.Handler(api)))
	handler := telemetry.Handler(mux)
	// end: routes
	if recovered {
		// begin: panics
		handler = telemetry.Handler(recovery(handler))
		// end: panics
	}
	return handler
}
