package batch

import "fmt"

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

// refuse counts an item that is not admitted, and speaks up at the first and
// then at every doubling: the loss is not silent, and a flood of it not loud.
func (e *Engine[T]) refuse(r reason) {
	if n := e.refused[r].Add(1); n&(n-1) == 0 && r != shutdown {
		e.report(&fullError{r, n})
	}
}

// fullError says why items are dropped at the door, and how many by now.
type fullError struct {
	reason reason
	n      int64
}

func (f *fullError) Error() string {
	if f.reason == tooLarge {
		return fmt.Sprintf("%d larger than the whole queue", f.n)
	}
	return fmt.Sprintf("the queue is full, %d dropped so far", f.n)
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
	case bytes > e.cfg.MaxQueueBytes:
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
