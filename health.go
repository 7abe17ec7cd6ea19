package telemetry

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/spool"
)

// Health is how telemetry is doing, signal by signal.
type Health struct {
	Traces, Metrics, Logs SignalHealth
}

// SignalHealth counts the items of one signal since Init: spans, metric data points, log records. At any quiet moment
//
//	Accepted + Recovered = Exported + Dropped + Failed + Rejected + Queued + Spooled
//
// A signal that is off, or that leaves the process only through an exporter of the console or a reader of the user's,
// counts nothing.
type SignalHealth struct {
	On bool // the signal runs

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

	LastError     error // nil if there was none
	LastErrorTime time.Time
	LastSuccess   time.Time // zero if nothing has arrived yet
}

// Lost is what will not arrive any more.
func (h SignalHealth) Lost() int64 { return h.Dropped + h.Failed + h.Rejected }

// Health returns a snapshot of the counters. It is cheap enough for a readiness probe.
func (g *Guard) Health() Health {
	var h Health
	if g == nil {
		return h
	}
	for _, r := range g.running {
		switch r.signal {
		case traces:
			h.Traces = r.health()
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

// Describe returns the effective configuration: a line for each setting with its value and origin. Header values are
// redacted. The order is stable, so that two descriptions can be compared.
func (g *Guard) Describe() string {
	if g == nil || g.cfg == nil {
		return "telemetry: this guard has no configuration of its own\n"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range allSignals() {
		fmt.Fprintf(w, "%s\t%s\t\n", s, destination(g.cfg, s))
	}
	for _, row := range settings() {
		value, origin := row.report(g.cfg)
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", row.describe().name, value, origin)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}
