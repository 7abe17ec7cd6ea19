package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
)

// fleet is the running shop: its services and the NATS server between them.
type fleet struct {
	nats      *natsserver.Server
	processes []*process // in the order in which they were started
}

// startFleet starts NATS in this process and each service in its own process, with the addresses of
// the services it calls. All services get env. database is an SQLite file to be created, unless
// DATABASE_URL is set.
func startFleet(ctx context.Context, database string, env ...string) (f *fleet, err error) {
	f = &fleet{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.stop())
		}
	}()
	if f.nats, err = startNATS(); err != nil {
		return f, err
	}
	env = slices.Concat([]string{
		"LISTEN_ADDR=127.0.0.1:0", "NATS_URL=" + f.nats.ClientURL(),
		"DATABASE_URL=" + cmp.Or(os.Getenv("DATABASE_URL"), "sqlite:"+database),
	}, env)
	for _, s := range services {
		p, err := startProcess(ctx, s.name, env)
		if err != nil {
			return f, err
		}
		f.processes = append(f.processes, p)
		switch s.name {
		case "payment":
			env = append(env, "PAYMENT_ADDR="+p.addr)
		case "inventory":
			env = append(env, "INVENTORY_ADDR="+p.addr)
		case "checkout":
			env = append(env, "CHECKOUT_URL=http://"+p.addr)
		}
	}
	return f, nil
}

func startNATS() (*natsserver.Server, error) {
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT,
		NoSigs: true, NoLog: true})
	if err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	server.Start()
	if !server.ReadyForConnections(startTimeout) {
		server.Shutdown()
		return nil, fmt.Errorf("NATS is not ready after %v", startTimeout)
	}
	return server, nil
}

func (f *fleet) service(name string) *process {
	for _, p := range f.processes {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (f *fleet) storefrontURL() string { return "http://" + f.service("storefront").addr }

// stop stops the services, callers before the services they call, so that no request fails. Each
// service has delivered its telemetry when stop returns.
func (f *fleet) stop() error {
	var errs []error
	for _, p := range slices.Backward(f.processes) {
		_, err := p.stop()
		errs = append(errs, err)
	}
	if f.nats != nil {
		f.nats.Shutdown()
		f.nats.WaitForShutdown()
	}
	return errors.Join(errs...)
}

// closings returns the services' final reports by name.
func (f *fleet) closings() map[string]*platform.Closing {
	all := make(map[string]*platform.Closing)
	for _, p := range f.processes {
		if p.closing != nil {
			all[p.name] = p.closing
		}
	}
	return all
}
