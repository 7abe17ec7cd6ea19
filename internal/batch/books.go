package batch

import (
	"time"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// Stats is a consistent view of an engine's books. At any moment
//
//	Accepted = Exported + Dropped.Total() + Failed + Rejected + Queued + Spooled
//
// With a spool, what it recovered at its start is added on the left.
type Stats struct {
	// Accepted counts the items offered to the engine. It includes those that the engine dropped
	// because its queue was full or it was shut down, so each lost item was counted here first.
	Accepted int64
	// Submitted counts the items that were handed to an exporter, whatever became of them.
	Submitted int64
	Exported  int64 // accepted by the server
	Dropped   Dropped
	Failed    int64 // given up after an export failed
	Rejected  int64 // refused by the server in a partial success
	Spooled   int64 // written to the spool, which counts them from then on
	Queued    int64 // waiting or in flight

	InFlight    int64     // the part of Queued that is being exported
	QueuedBytes int64     // memory of Queued, by estimate
	LastSuccess time.Time // when items were last exported; zero if never
	LastError   error     // what went wrong last; nil if nothing did
	LastErrorAt time.Time
}

// Dropped counts items that were lost without a failed export, by reason.
type Dropped struct {
	QueueFull int64 // the queue, or for items without priority its first seven eighths, was full
	BytesFull int64 // the same, in bytes
	TooLarge  int64 // the item alone is larger than the server, or the queue, allows
	Shutdown  int64 // offered after Shutdown, or still waiting when its time was over
}

// Total is the sum over all reasons.
func (d Dropped) Total() int64 { return d.QueueFull + d.BytesFull + d.TooLarge + d.Shutdown }

// Lost is how many items will not arrive, apart from those that the spool has lost.
func (s Stats) Lost() int64 { return s.Dropped.Total() + s.Failed + s.Rejected }

// Settle books the outcome of an export. The caller takes its items out of Queued and InFlight.
func (s *Stats) Settle(out *delivery.Outcome, now time.Time) {
	s.Exported += out.Exported
	s.Rejected += out.Rejected
	s.Spooled += out.Spooled
	s.Failed += out.Failed
	if out.TooLarge {
		s.Dropped.TooLarge += out.Items
	}
	if out.Exported > 0 {
		s.LastSuccess = now
	}
	if out.Err != nil {
		s.LastError, s.LastErrorAt = out.Err, now
	}
}

// Snapshot returns the books at this moment.
func (e *Engine[T]) Snapshot() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.books
	s.Submitted = s.Accepted - int64(e.waiting) - s.Dropped.Shutdown
	s.Queued = int64(e.waiting + e.inFlight)
	s.InFlight = int64(e.inFlight)
	s.QueuedBytes = e.held
	for reason, dropped := range [reasons]*int64{
		queueFull: &s.Dropped.QueueFull,
		bytesFull: &s.Dropped.BytesFull,
		tooLarge:  &s.Dropped.TooLarge,
		shutdown:  &s.Dropped.Shutdown,
	} {
		refused := e.refused[reason].Load()
		s.Accepted += refused
		*dropped += refused
	}
	return s
}
