package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fleetotel/telemetry/examples/shop/internal/load"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// quietly keeps the services' logs on their way to the collector, and errors alone on the console.
const quietly = "TELEMETRY_CONSOLE_LOG_LEVEL=error"

// launch runs the shop under load and reports.
func launch(ctx context.Context, out io.Writer, set settings) error {
	dir, err := os.MkdirTemp("", "shop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	env := []string{quietly}
	var collector *otlptest.Collector
	if endpoint := os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"); endpoint == "" {
		if collector, err = otlptest.Start(); err != nil {
			return err
		}
		defer collector.Close()
		env = append(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.HTTPEndpoint())
		fmt.Fprintf(out, "collector   %s, in this process\n", collector.HTTPEndpoint())
	} else {
		fmt.Fprintf(out, "telemetry   to %s\n", endpoint)
	}
	did, err := runFleet(ctx, out, dir, set, collector, env...)
	if err != nil {
		return err
	}
	if set.json != "" {
		if err := did.write(set.json); err != nil {
			return err
		}
	}
	return did.print(out)
}

// result is what one run of the fleet has done.
type result struct {
	Load     load.Tally                   `json:"load"`
	Services map[string]*platform.Closing `json:"services"`
	usage    map[string]usage
}

// runFleet starts the shop, sends the load, and stops it.
func runFleet(ctx context.Context, out io.Writer, dir string, set settings, collector *otlptest.Collector, env ...string) (result, error) {
	f, err := startFleet(ctx, dir, os.Getenv("DATABASE_URL"), env...)
	if err != nil {
		return result{}, err
	}
	for _, p := range f.processes {
		fmt.Fprintf(out, "%-11s %s\n", p.name, p.addr)
	}
	l := load.New(load.Config{URL: f.storefrontURL(), Rate: set.rate, Duration: set.duration, Seed: set.seed})
	done := make(chan struct{})
	go func() { l.Run(ctx); close(done) }()
	watch(out, l, collector, done)
	err = f.stop()
	did := result{Load: l.Tally(), Services: f.closings(), usage: make(map[string]usage)}
	for _, p := range f.processes {
		did.usage[p.name] = p.usage
	}
	if t := did.Load; t.Wrong > 0 {
		err = errors.Join(err, fmt.Errorf("unexpected answers: %d, the first: %w", t.Wrong, t.First))
	}
	return did, err
}

// watch prints a line per second until done.
func watch(out io.Writer, l *load.Load, collector *otlptest.Collector, done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	fmt.Fprintf(out, "\n%6s %10s %8s %8s %8s\n", "SECOND", "REQUESTS/S", "ORDERS", "DECLINED", "SPANS")
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
		fmt.Fprintf(out, "%6d %10d %8d %8d %8s\n", second, now.Requests()-before.Requests(), now.Ordered, now.Declined, spans)
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

// print says what was done, and fails if a service lost telemetry.
func (r result) print(out io.Writer) error {
	text, err := json.MarshalIndent(r, "", "  ")
	fmt.Fprintf(out, "%s\n", text)
	return err
}
