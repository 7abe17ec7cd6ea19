package otlp

import (
	"time"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/spool"
)

// Health has the fields of the public SignalHealth, whose comments say what they are.
type Health struct {
	On bool

	Accepted, Exported, Dropped, Failed, Rejected, Queued, Spooled, Recovered int64

	DroppedBy   map[string]int64
	SpoolErrors int64
	Redacted    int64

	LastError     error
	LastErrorTime time.Time
	LastSuccess   time.Time
}

// Lost is how many items will not arrive.
func (h Health) Lost() int64 { return h.Dropped + h.Failed + h.Rejected }

func healthOf(s batch.Stats) Health {
	return Health{
		On:       true,
		Accepted: s.Accepted, Exported: s.Exported, Dropped: s.Dropped.Total(), Failed: s.Failed, Rejected: s.Rejected,
		Queued: s.Queued, Spooled: s.Spooled,
		DroppedBy: droppedBy(s.Dropped),
		LastError: s.LastError, LastErrorTime: s.LastErrorAt, LastSuccess: s.LastSuccess,
	}
}

// addSpool adds what has become of the items on disk. Spooled already counts those that this
// process has spooled. They stay in Spooled while they are on disk, and then move to what has
// become of them.
func (h *Health) addSpool(b spool.Books) {
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
	return map[string]int64{"queue_full": d.QueueFull, "bytes_full": d.BytesFull, "too_large": d.TooLarge,
		"shutdown": d.Shutdown}
}
