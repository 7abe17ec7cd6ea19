package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/fleetotel/telemetry"
)

func main() {
	if err := telemetry.Run(context.Background(), serve); err != nil {
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		slog.InfoContext(r.Context(), "greeting", "name", r.PathValue("name"))
		fmt.Fprintf(w, "Hello, %s!\n", r.PathValue("name"))
	})
	server := &http.Server{Addr: ":8080", Handler: telemetry.Handler(mux)}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()

	select {
	case err := <-failed:
		return err
	case <-ctx.Done(): // SIGTERM or Ctrl-C: finish the requests that have begun
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return server.Shutdown(drain)
	}
}
