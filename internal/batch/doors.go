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

// The doors that are shut at a moment, one bit each.
const (
	itemsOrdinary uint32 = 1 << iota // all but the last eighth of the items is taken
	itemsAll
	bytesOrdinary // all but the last eighth of the bytes is taken
	bytesAll
	stopped
)

// refuses tells without the lock whether an item cannot be admitted, whatever
// its size, and why.
func (e *Engine[T]) refuses(priority bool) (reason, bool) {
	doors := e.doors.Load()
	if doors == 0 {
		return 0, false
	}
	if priority {
		doors &^= itemsOrdinary | bytesOrdinary
	}
	switch {
	case doors&stopped != 0:
		return shutdown, true
	case doors&(itemsOrdinary|itemsAll) != 0:
		return queueFull, true
	case doors&(bytesOrdinary|bytesAll) != 0:
		return bytesFull, true
	}
	return 0, false
}

// open counts an item as dropped, and returns false, if it cannot be admitted
// whatever its size.
func (e *Engine[T]) open(priority bool) bool {
	reason, shut := e.refuses(priority)
	if shut {
		e.refuse(reason)
	}
	return !shut
}

// refusedAtOnce is how many refusals are reported together at most.
const refusedAtOnce = 1024

// refuse counts an item that is not admitted, and speaks up at the first, at
// every doubling, and then every so often: the loss is not silent, and a flood of
// it not expensive.
func (e *Engine[T]) refuse(r reason) {
	if n := e.refused[r].Add(1); n&(n-1) == 0 || n%refusedAtOnce == 0 {
		e.reportRefused(r)
	}
}

// ReportRefused calls OnError with what was refused and not reported yet: a flood
// is reported in parts.
func (e *Engine[T]) ReportRefused() {
	for r := range reasons {
		e.reportRefused(r)
	}
}

// reportRefused says how many items were refused since the last report. What
// comes after Shutdown is counted only.
func (e *Engine[T]) reportRefused(r reason) {
	for r != shutdown {
		told, n := e.told[r].Load(), e.refused[r].Load()
		if n <= told {
			return
		}
		if e.told[r].CompareAndSwap(told, n) {
			e.report(n-told, refusals[r])
			return
		}
	}
}

// refusals say why items are dropped at the door.
var refusals = [reasons]error{
	queueFull: errors.New("the queue is full (queue_full)"),
	bytesFull: errors.New("the queue is full in bytes (bytes_full)"),
	tooLarge:  errors.New("larger than the queue takes (too_large)"),
}

// admits decides about an item of known size, exactly. The caller holds the lock.
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

// setDoors brings doors in line with the queue. The caller holds the lock.
func (e *Engine[T]) setDoors() {
	var doors uint32
	for _, d := range []struct {
		shut bool
		bit  uint32
	}{
		{e.waiting >= ordinary(e.cfg.MaxQueueSize), itemsOrdinary},
		{e.waiting >= e.cfg.MaxQueueSize, itemsAll},
		{e.held >= ordinary(e.cfg.MaxQueueBytes), bytesOrdinary},
		{e.held >= e.cfg.MaxQueueBytes, bytesAll},
		{e.stopping != nil, stopped},
	} {
		if d.shut {
			doors |= d.bit
		}
	}
	if e.doors.Load() != doors {
		e.doors.Store(doors)
	}
}
