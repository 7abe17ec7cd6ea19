package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/examples/edge-agent/host"
)

// serviceName is the service.name of the agent.
const serviceName = "edge-agent"

// memoryLimit is the default memory limit of the Go runtime. It is several times what the agent
// needs, so that it matters only if something is wrong, and fits on a machine with 256 MiB.
const memoryLimit = 32 << 20

// serve watches the machine until ctx ends.
func serve(ctx context.Context, out io.Writer, set settings) error {
	spool, err := set.spoolDir()
	if err != nil {
		return err
	}
	limit := limitMemory()
	var guard *telemetry.Guard
	var machine *host.Host
	err = telemetry.Run(ctx, func(ctx context.Context) (err error) {
		guard = telemetry.GuardFromContext(ctx)
		slog.Info("watching this machine", "scan_interval", set.scan.String(), "spool", spool, "memory_limit", limit)
		if machine, err = host.Observe(set.full); err == nil {
			machine.Run(ctx, set.scan, func(s host.Scan) { set.say(out, line{Scan: &s, Memory: host.ReadMemory()}) })
		}
		return err
	}, telemetry.WithProfile(telemetry.ProfileEdge), telemetry.WithServiceName(serviceName),
		telemetry.WithSpool(spool, set.spoolBytes))
	if machine != nil { // the delivery collects metrics one last time, so observation ends after it
		_ = machine.Close()
	}
	set.say(out, line{Books: booksOf(guard.Health())})
	return err
}

// spoolDir is where the agent keeps data that it cannot deliver. It must not be a directory that is
// emptied at boot, such as a temporary directory.
func (set settings) spoolDir() (string, error) {
	if dir := cmp.Or(set.spool, os.Getenv("TELEMETRY_SPOOL_DIR")); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no place for what cannot be delivered, name one with -spool: %w", err)
	}
	return filepath.Join(cache, "edge-agent", "spool"), nil
}

// limitMemory limits the memory of the Go runtime, unless GOMEMLIMIT has done so, and returns the
// limit in bytes.
func limitMemory() int64 {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	return debug.SetMemoryLimit(-1)
}

// line is what the agent prints with -json: a scan with the memory after it, or the final counts.
type line struct {
	Scan   *host.Scan   `json:"scan,omitempty"`
	Memory *host.Memory `json:"memory,omitempty"`
	Books  *books       `json:"books,omitempty"`
}

func (set settings) say(out io.Writer, l line) {
	if set.json {
		// The reader may have exited, which must not end the agent.
		_ = json.NewEncoder(out).Encode(l)
	}
}

// books counts the items of each signal since the start.
type books struct {
	Spans   items `json:"spans"`
	Points  items `json:"data_points"`
	Records items `json:"log_records"`
}

// items are the counts of one signal. Accepted and recovered came in; the others show where those
// items are now.
type items struct {
	Accepted  int64 `json:"accepted"`
	Recovered int64 `json:"recovered"`
	Exported  int64 `json:"exported"`
	Spooled   int64 `json:"spooled"`
	Lost      int64 `json:"lost"`
	Corrupt   int64 `json:"corrupt"` // the part of lost that was in unreadable files
}

// in is the number of items the process had to deliver.
func (i items) in() int64 { return i.Accepted + i.Recovered }

func booksOf(h telemetry.Health) *books {
	of := func(s telemetry.SignalHealth) items {
		return items{s.Accepted, s.Recovered, s.Exported, s.Spooled, s.Lost(), s.DroppedBy["spool_corrupt"]}
	}
	return &books{of(h.Traces), of(h.Metrics), of(h.Logs)}
}
