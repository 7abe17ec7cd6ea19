package platform

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/fleetotel/telemetry"
)

// drainTimeout limits requests in progress after the signal to stop. closeTimeout limits the
// closers after them. Together with telemetry's 10 s they stay below the 30 s that Kubernetes
// grants.
const (
	drainTimeout = 10 * time.Second
	closeTimeout = 5 * time.Second
)

// Event is a JSON line on a service's standard output: one when it is ready, one when it has
// stopped.
type Event struct {
	Service string   `json:"service"`
	Event   string   `json:"event"` // "ready" or "stopped"
	Addr    string   `json:"addr,omitempty"`
	Closing *Closing `json:"closing,omitempty"`
}

// Closing is a service's final report: what it did, and what happened to its telemetry.
type Closing struct {
	Operations  map[string]Count `json:"operations"`
	Traces      Signal           `json:"traces"`
	Metrics     Signal           `json:"metrics"`
	Logs        Signal           `json:"logs"`
	Problems    int64            `json:"problems"`              // the number of problems that telemetry reported
	Degraded    string           `json:"degraded,omitempty"`    // the error of Init
	Undelivered string           `json:"undelivered,omitempty"` // the error of Shutdown
	PeakMemory  int64            `json:"peak_memory_bytes"`     // 0: unknown
}

// Signal is the part of telemetry.SignalHealth that shows what arrived.
type Signal struct {
	Accepted int64 `json:"accepted"`
	Exported int64 `json:"exported"`
	Lost     int64 `json:"lost"`
	Left     int64 `json:"left"` // queued or spooled
}

func signalOf(h telemetry.SignalHealth) Signal {
	return Signal{Accepted: h.Accepted, Exported: h.Exported, Lost: h.Lost(), Left: h.Queued + h.Spooled}
}

// Run runs one service until ctx is canceled, as it is by SIGTERM. Then it drains requests, closes
// what build opened, and flushes telemetry. The order matters, because each step may produce
// telemetry for the next.
func Run(ctx context.Context, out io.Writer, name string, build func(context.Context, *App) error) error {
	// Open the port first: if it is in use, there is nothing to observe.
	port, err := net.Listen("tcp", cmp.Or(os.Getenv("LISTEN_ADDR"), ":8080"))
	if err != nil {
		return fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	// The signal that ends the service must not interrupt the steps below.
	work := context.WithoutCancel(ctx)

	var problems Problems
	guard, degraded := telemetry.Init(work, Preset(&problems), telemetry.WithServiceName(name))
	if degraded != nil {
		slog.Error("telemetry is degraded, the service goes on", "error", degraded)
	}
	app := newApp()
	if err = build(ctx, app); err == nil {
		err = app.serve(ctx, port, func() {
			say(out,
				Event{Service: name, Event: "ready", Addr: port.Addr().String()})
		})
	} else {
		_ = port.Close()
	}
	closing, cancel := context.WithTimeout(work, closeTimeout)
	defer cancel()
	err = errors.Join(err, app.close(closing))
	if err != nil {
		slog.Error("the service did not end well", "error", err)
	}

	// Telemetry is last and has its own deadline, so that a slow drain does not lose the last
	// spans.
	undelivered := guard.Shutdown(work)
	if undelivered != nil { // reported, but not a failure of the service
		guard.Logger().Error("not all telemetry was delivered", "error", undelivered)
	}
	last := lastWord(app, guard, &problems)
	last.Degraded, last.Undelivered = text(degraded), text(undelivered)
	say(out, Event{Service: name, Event: "stopped", Closing: last})
	return err
}

// serve answers requests until ctx is canceled and the last request has ended.
func (a *App) serve(ctx context.Context, port net.Listener, ready func()) error {
	closed := make(chan error, 1)
	server := &http.Server{
		// Each request gets a server span named after its route, and is counted in the HTTP
		// metrics; probes are not.
		Handler:           telemetry.Handler(a.mux, a.options...),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
	go func() {
		if a.grpc != nil {
			closed <- a.grpc.Serve(port)
		} else {
			closed <- server.Serve(port)
		}
	}()
	ready()
	select {
	case err := <-closed:
		return fmt.Errorf("the listener failed: %w", err)
	case <-ctx.Done():
	}
	a.draining.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if a.grpc == nil {
		if err := server.Shutdown(drain); err != nil {
			return fmt.Errorf("requests did not finish: %w", errors.Join(err, server.Close()))
		}
		return nil
	}
	a.health.Shutdown() // notifies clients that watch the health service
	defer context.AfterFunc(drain, a.grpc.Stop)()
	a.grpc.GracefulStop()
	return nil
}

func lastWord(app *App, guard *telemetry.Guard, problems *Problems) *Closing {
	h := guard.Health()
	return &Closing{
		Operations: app.Tally.Counts(),
		Traces:     signalOf(h.Traces), Metrics: signalOf(h.Metrics), Logs: signalOf(h.Logs),
		Problems: problems.Count(), PeakMemory: peakMemory(),
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func say(out io.Writer, e Event) {
	line, err := json.Marshal(e)
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n", line)
	}
	if err != nil {
		slog.Error("nobody reads what the service says", "error", err)
	}
}
