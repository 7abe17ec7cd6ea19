package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/examples/internal/demo"
	"github.com/fleetotel/telemetry/examples/internal/spanview"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// killAfter is how long a job may take to exit after the signal. It is longer than the shutdown
// timeout of telemetry.
const killAfter = 15 * time.Second

// schedule starts the job in a span and reports what arrived from both.
func schedule(ctx context.Context, out io.Writer, args []string) error {
	collector, err := otlptest.Start()
	if err != nil {
		return err
	}
	defer collector.Close()
	fmt.Fprintf(out, "collector  %s, in this process\n", collector.HTTPEndpoint())

	guard, err := telemetry.Init(context.WithoutCancel(ctx), telemetry.WithServiceName("scheduler"),
		telemetry.WithEndpoint(collector.HTTPEndpoint()), telemetry.WithLogOutput(io.Discard))
	if err != nil {
		fmt.Fprintf(out, "Telemetry is degraded:\n%v\n", err)
	}
	var did result
	failed := telemetry.Do(telemetry.ExtractEnv(ctx), "run settlement", func(ctx context.Context) error {
		did, err = start(ctx, out, collector.HTTPEndpoint(), args)
		return err
	})
	if err := guard.Shutdown(context.Background()); err != nil {
		failed = errors.Join(failed, err)
	}
	var own result
	own.count(guard.Health())
	return errors.Join(failed, report(out, collector, did, own))
}

// start runs this program again as the job, and returns its result.
func start(ctx context.Context, out io.Writer, endpoint string, args []string) (did result, err error) {
	self, err := os.Executable()
	if err != nil {
		return did, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	// Pass the signal on and give the job time to flush.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	cmd.Env = append(telemetry.InjectEnv(ctx, nil), "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint)
	for _, entry := range cmd.Env {
		if strings.HasPrefix(entry, "TRACEPARENT=") {
			fmt.Fprintf(out, "job        started with %s\n", entry)
		}
	}
	began := time.Now()
	said, failed := cmd.Output()
	took := since(began)
	if exit := new(exec.ExitError); errors.As(failed, &exit) {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		failed = fmt.Errorf("%w: %s", failed, lines[len(lines)-1]) // the lines above it are the console log
	}
	if err := json.Unmarshal(said, &did); err != nil {
		return did, errors.Join(failed, fmt.Errorf("the job printed %q instead of its result: %w", said, err))
	}
	fmt.Fprintf(out, "           ended with status %d and lived %.0f ms: %.1f ms to settle %d payments of %d "+
		"merchants,\n           %.1f ms to deliver its telemetry\n",
		cmd.ProcessState.ExitCode(), took, did.WorkedMS, did.Payments, did.Merchants, did.ShutdownMS)
	if failed != nil {
		return did, fmt.Errorf("the job failed: %w", failed)
	}
	return did, nil
}

// report compares what the two processes sent with what the collector has decoded.
func report(out io.Writer, c *otlptest.Collector, job, scheduler result) error {
	spans, points := c.Spans(), 0
	for _, m := range c.Metrics() {
		points += len(m.Points)
	}
	traces := map[string]bool{}
	for _, s := range spans {
		traces[s.TraceID] = true
	}
	if len(spans) > 0 {
		fmt.Fprintf(out, "\nOne trace: %s\n", spans[0].TraceID)
	}
	spanview.Tree(out, spans)
	return demo.PrintTotals(out, "SENT", "ARRIVED", []demo.Total{
		{What: "traces", Sent: 1, Arrived: len(traces)},
		{What: "spans", Sent: int(job.Spans + scheduler.Spans), Arrived: len(spans)},
		{What: "log records", Sent: int(job.Records + scheduler.Records), Arrived: len(c.LogRecords())},
		{What: "data points", Sent: int(job.Points + scheduler.Points), Arrived: points},
		{What: "lost, by the books of both", Sent: 0, Arrived: int(job.Lost + scheduler.Lost)},
	})
}
