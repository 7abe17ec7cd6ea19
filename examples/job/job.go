package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/fleetotel/telemetry"
)

// jobName is the service.name of the job.
const jobName = "settlement"

// result is what the job prints about itself, as one line of JSON.
type result struct {
	Payments   int   `json:"payments"`
	Merchants  int   `json:"merchants"`
	Spans      int64 `json:"spans"` // offered for export, as the next two
	Records    int64 `json:"log_records"`
	Points     int64 `json:"data_points"`
	Lost       int64 `json:"lost"`        // of these three together
	WorkedMS   ms    `json:"worked_ms"`   // the settlement alone
	ShutdownMS ms    `json:"shutdown_ms"` // until all its telemetry was delivered, or given up
}

// ms is a time in milliseconds, with microseconds.
type ms float64

func since(t time.Time) ms { return ms(time.Since(t).Microseconds()) / 1000 }

// job settles the payments as one span with three steps below it. The error is that of the settlement.
func job(ctx context.Context, out io.Writer, set settings) error {
	// A signal ends the work and must end neither the start of telemetry nor its delivery.
	guard, err := telemetry.Init(context.WithoutCancel(ctx), telemetry.WithServiceName(jobName))
	if err != nil {
		slog.Error("telemetry is degraded, the job runs", "error", err)
	}
	var r result
	began := time.Now()
	// ExtractEnv comes after Init, which knows the propagators that the operator wants.
	failed := telemetry.Do(telemetry.ExtractEnv(ctx), "settle payments", func(ctx context.Context) error {
		err := r.settle(ctx, set)
		if err != nil {
			slog.ErrorContext(ctx, "payments not settled", "error", err)
		}
		return err
	})
	r.WorkedMS = since(began)

	began = time.Now()
	// What is lost has been logged by the library, and does not change how the job ends.
	_ = guard.Shutdown(context.Background())
	r.ShutdownMS = since(began)
	r.count(guard.Health())
	if err := json.NewEncoder(out).Encode(r); err != nil && failed == nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return failed
}

func (r *result) count(h telemetry.Health) {
	r.Spans, r.Records, r.Points = h.Traces.Accepted, h.Logs.Accepted, h.Metrics.Accepted
	r.Lost = h.Traces.Lost() + h.Logs.Lost() + h.Metrics.Lost()
}
