package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// probeInterval is shorter than an orchestrator's, so that a short run includes some probes.
const (
	probeInterval = 500 * time.Millisecond
	probeTimeout  = 5 * time.Second
)

// prober asks services whether they are ready, like an orchestrator. It has no telemetry, and its
// requests should not appear in the services' telemetry.
type prober struct {
	http  http.Client
	asked map[string]int // probes by service
}

func newProber() *prober {
	return &prober{
		http:  http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		asked: make(map[string]int),
	}
}

// waitReady probes until every service is ready.
func (p *prober) waitReady(ctx context.Context, processes []*process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, service := range processes {
		for {
			err := p.ask(ctx, service)
			if err == nil {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-service.ended:
				return fmt.Errorf("%s has ended: %w\n%s", service.name, service.err, service.stderr)
			case <-ctx.Done():
				return fmt.Errorf("%s is not ready: %w\n%s", service.name, err, service.stderr)
			}
		}
	}
	return nil
}

// start continues probing until the returned function is called, which waits for the last answer.
func (p *prober) start(processes []*process) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() {
		ticker := time.NewTicker(probeInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			for _, service := range processes {
				_ = p.ask(context.Background(), service) // if a service is too busy to answer, the load notices
			}
		}
	})
	return func() { cancel(); asking.Wait() }
}

func (p *prober) ask(ctx context.Context, service *process) error {
	p.asked[service.name]++
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if service.overGRPC() {
		return askGRPC(ctx, service.addr)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+service.addr+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /readyz: %s", resp.Status)
	}
	return nil
}

func askGRPC(ctx context.Context, addr string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("health: %s", answer.GetStatus())
	}
	return nil
}
