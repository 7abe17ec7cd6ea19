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

// App is one service: what it serves, what it needs, what it must close. The platform serves it, answers its probes,
// drains it and closes it.
type App struct {
	Tally *Tally // of what it has served

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

// Handle adds a route, in the words of http.ServeMux. Its requests are spans and points of HTTP metrics, by the
// telemetry middleware around the whole mux.
func (a *App) Handle(pattern string, h http.HandlerFunc) {
	a.mux.Handle(pattern, a.Tally.handler(pattern, h))
}

// Public is for a service that anyone can call: a stranger's trace context is linked to, but decides nothing.
func (a *App) Public() { a.options = append(a.options, telemetry.WithPublicEndpoint()) }

// GRPC makes this a gRPC service; register it at what GRPC returns. The standard health service is there already.
func (a *App) GRPC() *grpc.Server {
	if a.grpc == nil {
		a.grpc = grpc.NewServer(grpc.StatsHandler(telemetry.ServerHandler()), grpc.UnaryInterceptor(a.Tally.intercept))
		a.health = health.NewServer()
		grpc_health_v1.RegisterHealthServer(a.grpc, a.health)
	}
	return a.grpc
}

// Needs adds a check to /readyz.
func (a *App) Needs(check func(context.Context) error) { a.checks = append(a.checks, check) }

// OnStop adds what to close when no request is left, the latest first.
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
