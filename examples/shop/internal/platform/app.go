package platform

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/fleetotel/telemetry"
)

// App is one service: its routes, its dependencies, and what it must close. The platform serves it,
// answers its probes, drains it and closes it.
type App struct {
	Tally *Tally // counts the requests it has served

	mux      *http.ServeMux
	grpc     *grpc.Server
	health   *health.Server
	checks   []func(context.Context) error
	closers  []func(context.Context) error
	options  []telemetry.HandlerOption
	draining atomic.Bool
}

func newApp() *App {
	a := &App{Tally: newTally(), mux: http.NewServeMux()}
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	a.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := a.ready(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return a
}

// Handle adds a route with a pattern of http.ServeMux. The telemetry middleware around the mux
// gives its requests spans and HTTP metrics.
func (a *App) Handle(pattern string, h http.HandlerFunc) {
	a.mux.Handle(pattern, a.Tally.handler(pattern, h))
}

// Public marks a service that anyone can call. Its spans link to an unknown caller's trace context,
// which decides nothing.
func (a *App) Public() { a.options = append(a.options, telemetry.WithPublicEndpoint()) }

// GRPC makes this a gRPC service. Register it at the returned server, which already has the
// standard health service.
func (a *App) GRPC() *grpc.Server {
	if a.grpc == nil {
		a.grpc = grpc.NewServer(append(telemetry.ServerOptions(), grpc.ChainUnaryInterceptor(a.Tally.intercept))...)
		a.health = health.NewServer()
		grpc_health_v1.RegisterHealthServer(a.grpc, a.health)
	}
	return a.grpc
}

// Needs adds a check to /readyz.
func (a *App) Needs(check func(context.Context) error) { a.checks = append(a.checks, check) }

// OnStop adds a function that runs after the last request, in reverse order.
func (a *App) OnStop(closer func(context.Context) error) { a.closers = append(a.closers, closer) }

func (a *App) ready(ctx context.Context) error {
	if a.draining.Load() {
		return errors.New("draining")
	}
	for _, check := range a.checks {
		if err := check(ctx); err != nil {
			slog.WarnContext(ctx, "not ready", "error", err)
			return err
		}
	}
	return nil
}

func (a *App) close(ctx context.Context) error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i](ctx))
	}
	return errors.Join(errs...)
}

func isHealth(method string) bool {
	return strings.HasPrefix(method, grpc_health_v1.Health_ServiceDesc.ServiceName+"/")
}
