package telemetry

import (
	"time"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/spool"
)

// Health is how telemetry is doing, signal by signal.
type Health struct {
	Traces, Metrics, Logs SignalHealth
	Sampling              SamplingHealth
}

// SamplingHealth is what the adaptive sampler does at the moment; zero with any other sampler. See [Sampling] for the words.
// Counts of the tail are sums over all processors and guards that the sampler serves.
type SamplingHealth struct {
	On              bool
	TracesPerSecond float64 // the target
	Started         uint64  // traces decided at their start; an estimate when an operation is busy
	Kept            uint64  // of those, kept at their start
	TailKept        uint64  // kept at their end: they failed, were slow or marked
	Released        uint64  // undecided traces that were forgotten, because nothing was wrong with them
	Evicted         uint64  // decided early for want of memory
	HeldTraces      int     // undecided at the moment
	HeldBytes       int64
	MemoryFloor     float64 // the share of undecided traces that memory has no room for, 0 to 1
	CPUFloor        float64 // the share that the bound on recorded spans has no room for, 0 to 1
	Operations      []OperationHealth
}

// OperationHealth is one operation as the adaptive sampler sees it, the busiest first.
type OperationHealth struct {
	Name        string
	Rate        float64 // traces per second that begin
	Probability float64 // the share that is kept at the start
	Threshold   string  // the same as th of the tracestate
}

// SignalHealth counts the items of one signal since Init: spans, metric data points, log records. At any quiet moment
//
//	Accepted + Recovered = Exported + Dropped + Failed + Rejected + Queued + Spooled
//
// A signal that is off, or that leaves the process only through an exporter of the console or a reader of the user's,
// counts nothing.
type SignalHealth struct {
	On bool // the signal runs, and leaves the process: OTEL_TRACES_EXPORTER=none is off

	Accepted  int64 // offered for export, after sampling
	Exported  int64 // the collector took them
	Dropped   int64 // never sent; see DroppedBy
	Failed    int64 // given up after trying
	Rejected  int64 // the collector answered, and refused them (OTLP partial success)
	Queued    int64 // waiting or on their way
	Spooled   int64 // on disk, waiting for the collector
	Recovered int64 // found on disk, left there by a process that is gone

	// DroppedBy splits Dropped by reason: queue_full, bytes_full, too_large, shutdown; and with a spool spool_full (removed
	// as the oldest, to make room) and spool_corrupt (in a file that cannot be read).
	DroppedBy map[string]int64

	// SpoolErrors counts requests, not items, that could not be written to the spool. They are tried again from memory.
	SpoolErrors int64

	// Redacted counts the values, or parts of values, that were masked on their way to an exporter, see [Redaction]: those of
	// a metric's data points at each export, those of the console branch of the log not at all.
	Redacted int64

	LastError     error // what it means and what to do about it; unwraps to the cause; nil if there was none
	LastErrorTime time.Time
	LastSuccess   time.Time // zero if nothing has arrived yet
}

// Lost is what will not arrive any more.
func (h SignalHealth) Lost() int64 { return h.Dropped + h.Failed + h.Rejected }

// Health returns a snapshot of the counters. It is cheap enough for a readiness probe. A guard that shares the one which
// holds the globals has the health of that one.
func (g *Guard) Health() Health {
	var h Health
	if g == nil {
		return h
	}
	if g.owner != nil {
		return g.owner.Health()
	}
	for _, r := range g.running {
		switch r.signal {
		case traces:
			h.Traces = r.health()
			h.Sampling = samplingHealth(r.sampler)
		case metrics:
			h.Metrics = r.health()
		case logs:
			h.Logs = r.health()
		}
	}
	return h
}

func signalHealth(s batch.Stats) SignalHealth {
	return SignalHealth{
		On:       true,
		Accepted: s.Accepted, Exported: s.Exported, Dropped: s.Dropped.Total(), Failed: s.Failed, Rejected: s.Rejected,
		Queued: s.Queued, Spooled: s.Spooled,
		DroppedBy: droppedBy(s.Dropped),
		LastError: s.LastError, LastErrorTime: s.LastErrorAt, LastSuccess: s.LastSuccess,
	}
}

func samplingHealth(s *AdaptiveSampler) SamplingHealth {
	if s == nil {
		return SamplingHealth{}
	}
	snap := s.core.Snapshot()
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

// addSpool adds what has become of the items on disk. Those that this process has spooled are in Spooled already: as long
// as they are on disk they stay there, and then they move.
func (h *SignalHealth) addSpool(b spool.Books) {
	h.Recovered = b.Recovered
	h.Spooled += b.Held - b.Added
	h.Exported += b.Exported
	h.Rejected += b.Rejected
	h.Failed += b.Failed
	h.Dropped += b.Full + b.TooLarge + b.Corrupt
	h.DroppedBy["too_large"] += b.TooLarge
	h.DroppedBy["spool_full"] = b.Full
	h.DroppedBy["spool_corrupt"] = b.Corrupt
	h.SpoolErrors = b.WriteErrors
	if b.LastSuccess.After(h.LastSuccess) {
		h.LastSuccess = b.LastSuccess
	}
	if b.LastErrorAt.After(h.LastErrorTime) {
		h.LastError, h.LastErrorTime = b.LastError, b.LastErrorAt
	}
}

func droppedBy(d batch.Dropped) map[string]int64 {
	return map[string]int64{"queue_full": d.QueueFull, "bytes_full": d.BytesFull, "too_large": d.TooLarge, "shutdown": d.Shutdown}
}
