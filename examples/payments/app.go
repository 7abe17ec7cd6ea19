package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fleetotel/telemetry"
)

// The service.name of the two services in this process.
const (
	paymentsName = "payments"
	gatewayName  = "payment-gateway"
)

// drainTimeout limits requests in progress after the signal to stop.
const drainTimeout = 10 * time.Second

// app is everything that runs: two services, each with its own telemetry, and the database.
type app struct {
	payments, gateway *telemetry.Guard
	api, bank         *server
	client            *gatewayClient
	store             *store
	tempDir           string
	degraded          bool // a part of telemetry is off; the reason was written to out
}

// start starts everything, with telemetry before anything that can be traced. It writes to out if
// telemetry is degraded: the service must take payments even if telemetry settings are wrong.
func start(
	ctx context.Context, out io.Writer, set settings, addr string, opts ...telemetry.Option,
) (a *app, err error) {
	// Open the port first: if it is in use, there is nothing to observe and no collector to wait
	// for.
	port, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	a = &app{}
	defer func() {
		if err != nil {
			err = errors.Join(err, port.Close(), a.stop())
		}
	}()
	common := telemetry.WithOptions(opts...)
	var degraded [2]error
	a.payments, degraded[0] = telemetry.Init(ctx, common, telemetry.WithServiceName(paymentsName))
	// A process has only one set of globals; here the payment service owns them.
	a.gateway, degraded[1] = telemetry.Init(ctx, common, telemetry.WithServiceName(gatewayName),
		telemetry.WithoutGlobals())
	if problem := cmp.Or(degraded[:]...); problem != nil { // both have the same settings, so the same problems
		a.degraded = true
		fmt.Fprintf(out, "Telemetry is degraded, payments go on:\n%v\n", problem)
	}

	if set.db == "" {
		if a.tempDir, err = os.MkdirTemp("", "payments-"); err != nil {
			return a, fmt.Errorf("make a directory for the database: %w", err)
		}
		set.db = filepath.Join(a.tempDir, "payments.db")
	}
	if a.store, err = openStore(ctx, set.db); err != nil {
		return a, err
	}
	bankPort, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return a, err
	}
	a.bank = newServer(bankPort, newGateway(a.gateway, set.gatewayDelay))
	a.client = newGatewayClient(a.bank.url)
	handler, err := newService(a.client, a.store)
	if err != nil {
		return a, err
	}
	a.api = newServer(port, handler)
	return a, nil
}

// stop stops everything in reverse order and returns what could not be delivered. Each step has its
// own context, because ctx is already canceled and would interrupt the last requests and spans.
func (a *app) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	errs := []error{a.api.stop(ctx)}
	if a.client != nil {
		a.client.close()
	}
	errs = append(errs, a.bank.stop(ctx))
	if a.store != nil {
		errs = append(errs, a.store.close())
	}
	if a.tempDir != "" {
		errs = append(errs, os.RemoveAll(a.tempDir))
	}

	// Telemetry is last, because the steps above may still produce some. Both guards stop in
	// parallel, so that two services wait for a collector no longer than one. Each guard uses its
	// own time limit (default 10 s).
	var lost [2]error
	var wg sync.WaitGroup
	for i, guard := range []*telemetry.Guard{a.payments, a.gateway} {
		wg.Go(func() { lost[i] = guard.Shutdown(context.Background()) })
	}
	wg.Wait()
	return errors.Join(append(errs, lost[:]...)...)
}

// server is a running HTTP server.
type server struct {
	url    string
	http   *http.Server
	closed chan error // the result of Serve
}

func newServer(l net.Listener, handler http.Handler) *server {
	s := &server{
		url: "http://" + l.Addr().String(),
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
			ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
		},
		closed: make(chan error, 1),
	}
	go func() { s.closed <- s.http.Serve(l) }()
	return s
}

// stop stops accepting and waits for requests in progress until ctx ends. A nil server is ignored.
func (s *server) stop(ctx context.Context) error {
	if s == nil {
		return nil
	}
	if err := s.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("requests at %s did not finish: %w", s.url, errors.Join(err, s.http.Close()))
	}
	return nil
}
