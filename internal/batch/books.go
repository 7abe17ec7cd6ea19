package batch

import (
	"time"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// Stats is a consistent view of an engine's books. At any moment
//
//	Accepted = Exported + Dropped.Total() + Failed + Rejected + Queued + Spooled
//
// to which a spool adds what it had recovered on the left.
type Stats struct {
	// Accepted counts the items offered to the engine, also those that it then
	// dropped because its queue was full or it was shut down: after the sampler
	// nothing is lost without being counted here first.
	Accepted int64
	// Submitted counts the items that were handed to an exporter, whatever became
	// of them there.
	Submitted int64
	Exported  int64 // taken by the server
	Dropped   Dropped
	Failed    int64 // given up after an export failed
	Rejected  int64 // refused by the server in a partial success
	Spooled   int64 // handed to the disk spool, which books them from then on
	Queued    int64 // waiting or in flight

	InFlight    int64     // the part of Queued that is being exported
	QueuedBytes int64     // what Queued takes in memory, by estimate
	LastSuccess time.Time // when items were last exported; zero if never
	LastError   error     // what went wrong last; nil if nothing did
	LastErrorAt time.Time
}

// Dropped counts items that were never delivered and no exporter failed on, by
// reason.
type Dropped struct {
	QueueFull int64 // the queue, or for items without priority its first seven eighths, was full
	BytesFull int64 // the same, in bytes
	TooLarge  int64 // the item alone is larger than the server, or the queue, takes
	Shutdown  int64 // offered after Shutdown, or still waiting when its time was up
}

// Total is the sum over all reasons.
func (d Dropped) Total() int64 { return d.QueueFull + d.BytesFull + d.TooLarge + d.Shutdown }

// books are the counters behind Stats, guarded by the engine's lock.
type books struct {
	queued   int64 // admitted to the queue, ever
	exported int64
	failed   int64
	rejected int64
	spooled  int64
	dropped  [reasons]int64 // after admission
	success  time.Time
	err      error
	errAt    time.Time
}

// settle books an outcome and returns how many items it names.
func (b *books) settle(o delivery.Outcome, now time.Time) int64 {
	if o.Err != nil {
		b.err, b.errAt = o.Err, now
	}
	if o.TooLarge {
		b.dropped[tooLarge] += o.Items
		return o.Items
	}
	if o.Exported > 0 {
		b.success = now
	}
	b.exported += o.Exported
	b.rejected += o.Rejected
	b.spooled += o.Spooled
	b.failed += o.Failed
	return o.Exported + o.Rejected + o.Spooled + o.Failed
}

// Snapshot returns the books at this moment.
func (e *Engine[T]) Snapshot() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	var dropped [reasons]int64
	s := Stats{
		Accepted:    e.books.queued,
		Submitted:   e.books.queued - int64(e.waiting) - e.books.dropped[shutdown],
		Exported:    e.books.exported,
		Failed:      e.books.failed,
		Rejected:    e.books.rejected,
		Spooled:     e.books.spooled,
		Queued:      int64(e.waiting + e.inFlight),
		InFlight:    int64(e.inFlight),
		QueuedBytes: e.held,
		LastSuccess: e.books.success,
		LastError:   e.books.err,
		LastErrorAt: e.books.errAt,
	}
	for i := range dropped {
		atDoor := e.refused[i].Load()
		s.Accepted += atDoor
		dropped[i] = atDoor + e.books.dropped[i]
	}
	s.Dropped = Dropped{
		QueueFull: dropped[queueFull],
		BytesFull: dropped[bytesFull],
		TooLarge:  dropped[tooLarge],
		Shutdown:  dropped[shutdown],
	}
	return s
}
