package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/fleetotel/telemetry"
)

// jobName is the service.name of the job.
const jobName = "settlement"

// result is the job's output, as one line of JSON.
type result struct {
	Payments   int   `json:"payments"`
	Merchants  int   `json:"merchants"`
	Spans      int64 `json:"spans"` // offered for export, like the next two
	Records    int64 `json:"log_records"`
	Points     int64 `json:"data_points"`
	Lost       int64 `json:"lost"`        // total of the three signals
	WorkedMS   ms    `json:"worked_ms"`   // only the settlement
	ShutdownMS ms    `json:"shutdown_ms"` // until all telemetry was delivered or abandoned
}

// ms is a time in milliseconds, with microseconds.
type ms float64

func since(t time.Time) ms { return ms(time.Since(t).Microseconds()) / 1000 }

// job settles the payments in one span with three child spans. Its error is the settlement's, which
// Run has logged.
func job(ctx context.Context, out io.Writer, set settings) error {
	var r result
	var guard *telemetry.Guard
	var worked time.Time
	failed := telemetry.Run(ctx, func(ctx context.Context) error {
		guard = telemetry.GuardFromContext(ctx)
		began := time.Now()
		defer func() { r.WorkedMS, worked = since(began), time.Now() }()
		// ExtractEnv uses the operator's propagators, which Run has read.
		return telemetry.Do(telemetry.ExtractEnv(ctx), "settle payments",
			func(ctx context.Context) error { return r.settle(ctx, set) })
	}, telemetry.WithServiceName(jobName))
	r.ShutdownMS = since(worked)
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
