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

// The two services of this process, as their telemetry names them.
const (
	paymentsName = "payments"
	gatewayName  = "payment-gateway"
)

// drainTimeout is how long requests that have begun may take after the signal to stop.
const drainTimeout = 10 * time.Second

// app is all that runs: two services, each with its own telemetry, and the database.
type app struct {
	payments, gateway *telemetry.Guard
	api, bank         *server
	client            *gatewayClient
	store             *store
	tempDir           string
	degraded          bool // a part of telemetry is off, and out was told why
}

// start brings everything up, telemetry before all that can be traced. It tells out when telemetry is degraded: a
// mistake in its settings is no reason not to take payments.
func start(ctx context.Context, out io.Writer, set settings, addr string, opts ...telemetry.Option) (a *app, err error) {
	// The port comes first: if it is taken there is nothing to observe, and no collector to wait for.
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
	// One process has one set of globals; they belong to the payment service.
	a.gateway, degraded[1] = telemetry.Init(ctx, common, telemetry.WithServiceName(gatewayName), telemetry.WithoutGlobals())
	if problem := cmp.Or(degraded[:]...); problem != nil { // both have the same settings, and so the same problems
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

// stop takes everything down in the reverse order and returns what could not be delivered. Each step has a context
// of its own: the one that told us to stop is cancelled already, and must not cut the last requests and spans off.
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

	// Telemetry last, since all of the above may still produce some, and side by side, so that two services wait for
	// a collector no longer than one. Without a deadline of ours, each guard keeps to its own (10 s by default).
	var lost [2]error
	var wg sync.WaitGroup
	for i, guard := range []*telemetry.Guard{a.payments, a.gateway} {
		wg.Go(func() { lost[i] = guard.Shutdown(context.Background()) })
	}
	wg.Wait()
	return errors.Join(append(errs, lost[:]...)...)
}

// server is an HTTP server that is up.
type server struct {
	url    string
	http   *http.Server
	closed chan error // what Serve returned
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

// stop stops accepting and waits for the requests that have begun, until ctx ends. A nil server is stopped.
func (s *server) stop(ctx context.Context) error {
	if s == nil {
		return nil
	}
	if err := s.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("requests at %s did not finish: %w", s.url, errors.Join(err, s.http.Close()))
	}
	return nil
}
