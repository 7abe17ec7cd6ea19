package telemetry

import (
	"slices"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Describe returns the effective configuration as text: where each signal goes or why it is off,
// what was wrong, the resource, and every setting with its value, origin and default. It also shows
// what options added: each sampling rule in at most 120 characters, and the number of views,
// processors and detectors. Header values are redacted. The order is stable and values that always
// differ between processes are omitted, so that two descriptions can be compared.
//
// A guard that shares the globals of another guard describes that guard.
func (g *Guard) Describe() string {
	switch {
	case g != nil && g.owner != nil:
		return g.owner.Describe()
	case g == nil || g.cfg == nil:
		return "telemetry: this guard has no configuration of its own\n"
	}
	problems, remarks := append(errorLines(g.startErr), g.warnings...), slices.Clone(g.remarks)
	for _, lines := range [][]string{problems, remarks} {
		for i, line := range lines {
			lines[i] = g.mask.Text(line)
		}
	}
	return settings.Describe(g.cfg, g.resource, problems, remarks)
}

// errorLines returns the lines of a joined error.
func errorLines(err error) (lines []string) {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), "telemetry: "))
	}
	return lines
}

// Health is the state of telemetry, by signal.
type Health struct {
	Traces, Metrics, Logs SignalHealth
	Sampling              SamplingHealth
}

// SamplingHealth is the current state of the adaptive sampler. It is zero with any other sampler.
// See [Sampling] for the terms. The tail counts are sums over all processors and guards that use
// the sampler.
type SamplingHealth struct {
	On              bool
	TracesPerSecond float64 // the target
	Started         uint64  // traces decided at their start; an estimate if an operation is busy
	Kept            uint64  // of the started traces, kept at their start
	TailKept        uint64  // kept at their end because they failed, were slow or marked
	Released        uint64  // undecided traces that were discarded because nothing was wrong
	Evicted         uint64  // decided early because memory ran out
	HeldTraces      int     // currently undecided
	HeldBytes       int64
	MemoryFloor     float64 // the share of undecided traces that do not fit in memory, 0 to 1
	CPUFloor        float64 // the share beyond the limit on recorded spans, 0 to 1
	Operations      []OperationHealth
}

// OperationHealth is the adaptive sampler's view of one operation. The busiest operation comes
// first.
type OperationHealth struct {
	Name        string
	Rate        float64 // traces per second that begin
	Probability float64 // the share kept at the start
	Threshold   string  // as in the th value of the tracestate
}

// SignalHealth counts the items of one signal since Init: spans, metric data points, log records.
// They add up whenever no count is changing:
//
//	Accepted + Recovered = Exported + Dropped + Failed + Rejected + Queued + Spooled
//
// All counts are 0 for a signal that is off, or that is exported only to the console or through the
// caller's own reader.
type SignalHealth struct {
	On bool // the signal runs and is exported; it is off with OTEL_TRACES_EXPORTER=none

	Accepted  int64 // offered for export, after sampling
	Exported  int64 // accepted by the collector
	Dropped   int64 // never sent; see DroppedBy
	Failed    int64 // abandoned after at least one attempt
	Rejected  int64 // rejected by the collector (OTLP partial success)
	Queued    int64 // waiting or being sent
	Spooled   int64 // on disk, waiting for the collector
	Recovered int64 // found on disk, from an earlier process

	// DroppedBy splits Dropped by reason: queue_full, bytes_full, too_large and shutdown. With a
	// spool there are also spool_full (the oldest, removed to make room) and spool_corrupt (in a
	// file that cannot be read).
	DroppedBy map[string]int64

	// SpoolErrors counts requests, not items, that could not be written to the spool. They are
	// retried from memory.
	SpoolErrors int64

	// Redacted counts the values, or parts of values, that were masked before export; see
	// [Redaction]. A metric's data points count at each export. The console log is not counted.
	Redacted int64

	LastError     error // its meaning and what to do; unwraps to the cause; nil if there was none
	LastErrorTime time.Time
	LastSuccess   time.Time // zero if nothing has arrived yet
}

// Lost is the number of items that will never arrive.
func (h SignalHealth) Lost() int64 { return h.Dropped + h.Failed + h.Rejected }

// Health returns a snapshot of the counters. It is cheap enough for a readiness probe. A guard that
// shares the globals of another guard returns that guard's health.
func (g *Guard) Health() Health {
	var h Health
	if g == nil {
		return h
	}
	if g.owner != nil {
		return g.owner.Health()
	}
	for _, r := range g.running {
		switch r.Signal {
		case signal.Traces:
			h.Traces = SignalHealth(r.Health())
			h.Sampling = samplingHealth(r.Sampler)
		case signal.Metrics:
			h.Metrics = SignalHealth(r.Health())
		case signal.Logs:
			h.Logs = SignalHealth(r.Health())
		}
	}
	return h
}

func samplingHealth(s *sampling.Sampler) SamplingHealth {
	if s == nil {
		return SamplingHealth{}
	}
	snap := s.Snapshot()
	h := SamplingHealth{
		On: true, TracesPerSecond: snap.Target, Started: snap.Arrivals, Kept: snap.Kept,
		TailKept: snap.Tail.Kept, Released: snap.Tail.Discarded, Evicted: snap.Tail.Evicted,
		HeldTraces: snap.HeldTraces, HeldBytes: snap.HeldBytes, MemoryFloor: snap.MemoryFloor, CPUFloor: snap.CPUFloor,
	}
	for _, op := range snap.Operations {
		h.Operations = append(h.Operations, OperationHealth{op.Name, op.Rate, op.Probability, op.Threshold})
	}
	return h
}
