// Package host observes the machine it runs on: processors, memory, file systems, disks and network
// as metrics with the names of the semantic conventions, a span for each scan, and a log record for
// each finding that needs attention. It uses only the OpenTelemetry API and its globals, so it
// works with any SDK.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation scope of all three signals.
const scope = "edge-agent/host"

// Scan is the result of one scan.
type Scan struct {
	Number  int `json:"number"` // from 1 in each process
	Notable int `json:"notable"`
	Failed  int `json:"failed"` // failed readings
}

// Host observes the machine until Close.
type Host struct {
	full         float64
	tracer       trace.Tracer
	registration metric.Registration
	scans        int
}

// Observe starts to observe, with the current global providers. A file system or the memory gets a
// log record if more than the share full of it is used; 0.9 is 90 %.
func Observe(full float64) (*Host, error) {
	if !(full >= 0 && full <= 1) {
		return nil, fmt.Errorf("share %v: want 0 to 1", full)
	}
	registration, err := observe(otel.Meter(scope))
	if err != nil {
		return nil, err
	}
	return &Host{full: full, tracer: otel.Tracer(scope), registration: registration}, nil
}

// Close stops the observation.
func (h *Host) Close() error { return h.registration.Unregister() }

// Run scans at once and then at each interval, until ctx ends. It calls done after each scan.
func (h *Host) Run(ctx context.Context, interval time.Duration, done func(Scan)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		done(h.Scan(ctx))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Scan reads the file systems and the memory. It is not safe for concurrent use.
func (h *Host) Scan(ctx context.Context) (s Scan) {
	h.scans++
	s.Number = h.scans
	ctx, span := h.tracer.Start(ctx, "scan", trace.WithAttributes(attribute.Int("scan.number", s.Number)))
	defer span.End()

	filesystems, fsErr := readFilesystems()
	memory, memErr := readMemory()
	for _, f := range filesystems {
		if f.utilization() > h.full {
			s.Notable++
			slog.WarnContext(ctx, "file system almost full", "mountpoint", f.mountpoint, "device", f.device,
				"utilization", f.utilization(), "free_bytes", f.free)
		}
	}
	if memErr == nil && memory.utilization() > h.full {
		s.Notable++
		slog.WarnContext(ctx, "memory almost used up", "utilization", memory.utilization(), "free_bytes", memory.free)
	}
	for _, err := range []error{fsErr, memErr} {
		if err != nil {
			s.Failed++
			slog.ErrorContext(ctx, "host not readable", "error", err)
		}
	}
	if err := errors.Join(fsErr, memErr); err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.SetAttributes(attribute.Int("scan.filesystems", len(filesystems)), attribute.Int("scan.notable", s.Notable))
	return s
}
