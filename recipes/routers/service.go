// Package routers has one small service for each router, with the lines that tell telemetry its
// routes. docs/recipes.md shows the lines between the comments "begin" and "end".
//
// Each service has a list (/orders), a route with a parameter (/orders/{id}), a router inside the
// router (/api/items/{id}), a route that panics (/crash) and a stream (/updates). With recovered,
// the framework recovers the panic; without it, net/http does.
package routers

import (
	"errors"
	"io"
	"net/http"
)

func order(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "order") }

var errCrash = errors.New("out of orders")

func crash(http.ResponseWriter, *http.Request) { panic(errCrash) }

// updates sends one event and then waits until the client leaves.
func updates(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "data: order 7\n\n")
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(err)
	}
	<-r.Context().Done()
}

// logging stands for middleware that copies the request. All that adds a value to the context does.
func logging(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.Clone(r.Context())) })
}

// recovery stands for the recovery middleware of services whose router has none.
func recovery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch value := recover(); value {
			case nil:
			case http.ErrAbortHandler:
				panic(value)
			default:
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
