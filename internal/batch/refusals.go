package batch

import "errors"

// reason is why an item was dropped.
type reason int

const (
	queueFull reason = iota
	bytesFull
	shutdown
	tooLarge
	reasons
)

// The limits that may be reached, one bit each.
const (
	itemsOrdinary uint32 = 1 << iota // all but the last eighth of the items
	itemsAll
	bytesOrdinary // all but the last eighth of the bytes
	bytesAll
	stopped // by Shutdown
)

// refuses reports, without the lock, whether an item of any size would be refused, and why.
func (e *Engine[T]) refuses(priority bool) (reason, bool) {
	limits := e.limits.Load()
	if limits == 0 {
		return 0, false
	}
	if priority {
		limits &^= itemsOrdinary | bytesOrdinary
	}
	switch {
	case limits&stopped != 0:
		return shutdown, true
	case limits&(itemsOrdinary|itemsAll) != 0:
		return queueFull, true
	case limits&(bytesOrdinary|bytesAll) != 0:
		return bytesFull, true
	}
	return 0, false
}

// refusedAtOnce counts an item as dropped and returns true if an item of any size would be refused.
func (e *Engine[T]) refusedAtOnce(priority bool) bool {
	reason, refused := e.refuses(priority)
	if refused {
		e.refuse(reason)
	}
	return refused
}

// reportEvery is the largest number of refusals that are reported together.
const reportEvery = 1024

// refuse counts an item that is not admitted. It reports the first one, those at every doubling,
// and then every 1,024th: no loss is silent, and many losses are cheap.
func (e *Engine[T]) refuse(r reason) {
	if n := e.refused[r].Add(1); n&(n-1) == 0 || n%reportEvery == 0 {
		e.reportRefused(r)
	}
}

// ReportRefused calls OnError with what was refused and not yet reported: many refusals are
// reported in parts.
func (e *Engine[T]) ReportRefused() {
	for r := range reasons {
		e.reportRefused(r)
	}
}

// reportRefused reports how many items were refused since the last report. Items offered after
// Shutdown are only counted.
func (e *Engine[T]) reportRefused(r reason) {
	for r != shutdown {
		reported, n := e.reported[r].Load(), e.refused[r].Load()
		if n <= reported {
			return
		}
		if e.reported[r].CompareAndSwap(reported, n) {
			e.report(n-reported, refusals[r])
			return
		}
	}
}

// refusals are the reasons why items are not admitted.
var refusals = [reasons]error{
	queueFull: errors.New("the queue is full (queue_full)"),
	bytesFull: errors.New("the queue is full in bytes (bytes_full)"),
	tooLarge:  errors.New("larger than the queue allows (too_large)"),
}

// admits decides whether an item of the given size is admitted. The caller holds the lock.
func (e *Engine[T]) admits(bytes int64, priority bool) (reason, bool) {
	items, room := e.cfg.MaxQueueSize, e.cfg.MaxQueueBytes
	if !priority {
		items, room = ordinary(items), ordinary(room)
	}
	switch {
	case e.stopping != nil:
		return shutdown, false
	case bytes > room:
		return tooLarge, false
	case e.waiting >= items:
		return queueFull, false
	case e.held+bytes > room:
		return bytesFull, false
	}
	return 0, true
}

// updateLimits updates limits from the queue. The caller holds the lock.
func (e *Engine[T]) updateLimits() {
	var limits uint32
	for _, l := range []struct {
		reached bool
		bit     uint32
	}{
		{e.waiting >= ordinary(e.cfg.MaxQueueSize), itemsOrdinary},
		{e.waiting >= e.cfg.MaxQueueSize, itemsAll},
		{e.held >= ordinary(e.cfg.MaxQueueBytes), bytesOrdinary},
		{e.held >= e.cfg.MaxQueueBytes, bytesAll},
		{e.stopping != nil, stopped},
	} {
		if l.reached {
			limits |= l.bit
		}
	}
	if e.limits.Load() != limits {
		e.limits.Store(limits)
	}
}
