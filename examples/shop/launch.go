package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetotel/telemetry/examples/internal/destination"
	"github.com/fleetotel/telemetry/examples/shop/internal/load"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// quietly limits the services' console log to errors. The collector still gets all log records.
const quietly = "TELEMETRY_CONSOLE_LOG_LEVEL=error"

// launch runs the shop under load and prints the report.
func launch(ctx context.Context, out io.Writer, set settings) error {
	dir, err := os.MkdirTemp("", "shop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	env := []string{quietly}
	var collector *otlptest.Collector
	if variable, value := destination.FromEnvironment(); variable == "" {
		if collector, err = otlptest.Start(); err != nil {
			return err
		}
		defer collector.Close()
		endpoint := collector.HTTPEndpoint()
		if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" {
			endpoint = collector.GRPCEndpoint()
		}
		env = append(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint)
		fmt.Fprintf(out, "%-11s %s, in this process\n", "collector", endpoint)
	} else {
		fmt.Fprintf(out, "%-11s to %s=%s\n", "telemetry", variable, value)
	}
	did, failed := runFleet(ctx, out, filepath.Join(dir, "with.db"), set, collector, env...)
	if did.Services == nil {
		return failed
	}
	if set.json != "" {
		if err := did.write(set.json); err != nil {
			return err
		}
	}
	r := report{
		did: did, adaptive: os.Getenv("OTEL_TRACES_SAMPLER") == "",
		burstWeight: set.rate * load.Burst / platform.Sampling().TracesPerSecond,
	}
	if collector != nil {
		r.arrived = arrivedAt(collector)
	}
	if set.compare && failed == nil && ctx.Err() == nil {
		fmt.Fprintf(out, "\nThe same load once more, without telemetry (OTEL_SDK_DISABLED=true)\n")
		without, err := runFleet(ctx, out, filepath.Join(dir, "without.db"), set, nil, quietly,
			"OTEL_SDK_DISABLED=true")
		if err != nil {
			return err
		}
		if ctx.Err() == nil { // an interrupted run is not comparable
			r.without = &without
		}
	}
	return errors.Join(failed, r.print(out))
}

// result is the outcome of one run of the fleet.
type result struct {
	Load     load.Tally                   `json:"load"`
	Services map[string]*platform.Closing `json:"services"`
	CPU      map[string]time.Duration     `json:"cpu_ns"` // user and system
	Probes   map[string]int               `json:"probes"` // by this program, in addition to those in Load
}

// runFleet starts the shop, sends the load, and stops the shop. If ctx is canceled, only the load
// ends early. With an error, the result is empty if the shop did not start, and partial otherwise.
func runFleet(ctx context.Context, out io.Writer, database string, set settings, collector *otlptest.Collector,
	env ...string) (result, error) {
	f, err := startFleet(ctx, database, env...)
	if err != nil {
		return result{}, err
	}
	probes := newProber()
	if err := probes.waitReady(ctx, f.processes); err != nil {
		return result{}, errors.Join(err, f.stop())
	}
	for _, p := range f.processes {
		fmt.Fprintf(out, "%-11s %s\n", p.name, p.addr)
	}
	l := load.New(load.Config{URL: f.storefrontURL(), Rate: set.rate, Duration: set.duration, Seed: set.seed})
	done := make(chan struct{})
	stopProbes := probes.start(f.processes)
	go func() { l.Run(ctx); close(done) }()
	watch(out, l, collector, done)
	stopProbes()

	err = f.stop()
	did := result{Load: l.Tally(), Services: f.closings(), CPU: make(map[string]time.Duration), Probes: probes.asked}
	for _, p := range f.processes {
		did.CPU[p.name] = p.cpu
	}
	if t := did.Load; t.Wrong > 0 {
		err = errors.Join(err, fmt.Errorf("unexpected answers: %d, the first: %w", t.Wrong, t.First))
	}
	return did, err
}

// watch prints one line per second until done is closed.
func watch(out io.Writer, l *load.Load, collector *otlptest.Collector, done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	fmt.Fprintf(out, "%6s %11s %8s %9s %6s %13s\n", "second", "requests/s", "orders", "declined", "slow",
		"spans arrived")
	before := load.Tally{}
	for second := 1; ; second++ {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		now, spans := l.Tally(), "-"
		if collector != nil {
			spans = fmt.Sprint(len(collector.Spans()))
		}
		fmt.Fprintf(out, "%6d %11d %8d %9d %6d %13s\n", second, now.Requests()-before.Requests(), now.Ordered,
			now.Declined, now.Slow, spans)
		before = now
	}
}

func (r result) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
