package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Segment is one request on disk. The exported fields do not change, except those
// that belong to the caller that has claimed it.
type Segment struct {
	Signal Signal
	Items  int64

	// Relapses and NotBefore are the claimer's: how often the server refused it for
	// the moment although it took others, and when to try next.
	Relapses  int
	NotBefore time.Time

	key     string
	path    string // changes while it is listed: see adoptFile
	size    int64  // of the file
	claimed bool
	evicted bool // removed to make room, perhaps while claimed
}

// Result is what became of the items of a segment that was sent.
type Result struct {
	Exported, Rejected, TooLarge int64
	Err                          error // may be set although everything was exported
}

// ErrUnreadable is the error of [Store.Load] for a segment that is given up.
var ErrUnreadable = errors.New("the segment cannot be read")

// Claim returns the oldest segment of a signal that is due, or the skip-th after
// it, beginning anew where there are fewer. It is the caller's until Release,
// Settle or Replace. If there is none, it returns a channel that is closed when
// one comes, and how long until one is due, zero if none will be.
func (s *Store) Claim(signal Signal, skip int, now time.Time) (seg *Segment, came <-chan struct{}, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg, due, wait := s.pick(signal, skip, now)
	if seg == nil && due > 0 {
		seg, _, _ = s.pick(signal, skip%due, now)
	}
	if seg != nil {
		seg.claimed = true
	}
	return seg, s.waiting[signal], wait
}

// pick returns the skip-th segment that is due, or how many are and how long until
// the next one is. The caller holds the lock.
func (s *Store) pick(signal Signal, skip int, now time.Time) (_ *Segment, due int, wait time.Duration) {
	for _, seg := range s.segments[signal] {
		rest := seg.NotBefore.Sub(now)
		switch {
		case seg.claimed:
		case rest <= 0:
			if due == skip {
				return seg, due, 0
			}
			due++
		case wait == 0 || rest < wait:
			wait = rest
		}
	}
	return nil, due, wait
}

// Load reads a claimed segment. After ErrUnreadable it is gone: set aside, and
// booked. Any other error may pass.
func (s *Store) Load(seg *Segment) (Request, error) {
	path := s.pathOf(seg)
	data, err := readFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Request{}, err
	}
	var r Request
	if err == nil {
		r, err = Unmarshal(data)
	}
	if err == nil && (r.Signal != seg.Signal || r.Items != seg.Items) {
		err = errHeader
	}
	if err == nil {
		return r, nil
	}
	if s.isEvicted(seg) {
		return Request{}, fmt.Errorf("%w: it made room for newer ones", ErrUnreadable)
	}
	if failed := s.setAside(path, err); failed != nil {
		s.notice(failed.Error())
	}
	s.remove(seg, func(b *Books) {
		b.Corrupt += seg.Items
		b.LastError, b.LastErrorAt = fmt.Errorf("a spooled request cannot be read: %w", err), time.Now()
	})
	return Request{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
}

func (s *Store) isEvicted(seg *Segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seg.evicted
}

// pathOf returns where a claimed segment is.
func (s *Store) pathOf(seg *Segment) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seg.path
}

// Release gives a claimed segment back to the queue.
func (s *Store) Release(seg *Segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.claimed = false
}

// Settle removes a claimed segment and books what became of it; what the result
// does not name has failed.
func (s *Store) Settle(seg *Segment, result Result) {
	if err := os.Remove(s.pathOf(seg)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.notice(fmt.Sprintf("a spooled request is settled and cannot be removed, the next process will send it again: %v", err))
	}
	now := time.Now()
	s.remove(seg, func(b *Books) {
		rest := seg.Items
		take := func(n int64) int64 {
			n = min(max(n, 0), rest)
			rest -= n
			return n
		}
		b.Exported += take(result.Exported)
		b.Rejected += take(result.Rejected)
		b.TooLarge += take(result.TooLarge)
		b.Failed += rest
		if result.Exported > 0 {
			b.LastSuccess = now
		}
		if result.Err != nil {
			b.LastError, b.LastErrorAt = result.Err, now
		}
	})
}

// Replace puts two requests in the place of a claimed segment, which between them
// have its items. After an error the segment is as before.
func (s *Store) Replace(seg *Segment, a, b Request) error {
	if a.Items+b.Items != seg.Items || a.Items <= 0 || b.Items <= 0 {
		return errHeader
	}
	first, err := s.put(a, seg.key+"a")
	if err != nil {
		return err
	}
	second, err := s.put(b, seg.key+"b")
	if err != nil {
		_ = os.Remove(first.path)
		s.unreserve(first)
		return err
	}
	_ = os.Remove(s.pathOf(seg))
	s.remove(seg, func(books *Books) {
		books.Held += seg.Items // in the halves
		s.insert(first)
		s.insert(second)
	})
	return nil
}

// remove takes a claimed segment, whose file is gone, out of list and books.
func (s *Store) remove(seg *Segment, book func(*Books)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.books[seg.Signal]
	if seg.evicted {
		b.Full -= seg.Items // it was on its way already
	} else {
		s.drop(seg)
		b.Held -= seg.Items
	}
	book(b)
}

// drop takes a segment out of its list. The caller holds the lock.
func (s *Store) drop(seg *Segment) {
	list := s.segments[seg.Signal]
	if at, found := slices.BinarySearchFunc(list, seg, byAge); found {
		s.segments[seg.Signal] = slices.Delete(list, at, at+1)
		s.bytes -= seg.size
		s.count--
	}
}

// makeRoom takes the oldest segments, of whatever signal, out of the lists until so
// much more fits in, and reports whether it does. The caller holds the lock, and
// unlinks the segments after it.
func (s *Store) makeRoom(bytes int64, files int) (victims []*Segment, ok bool) {
	for s.bytes+bytes > s.cfg.MaxBytes || s.count+files > s.maxFiles() {
		// One that is claimed may be delivered yet, so it is the last to go.
		oldest := cmp.Or(s.oldest(false), s.oldest(true))
		if oldest == nil {
			return victims, false
		}
		s.drop(oldest)
		oldest.evicted = true
		b := &s.books[oldest.Signal]
		b.Held -= oldest.Items
		b.Full += oldest.Items
		victims = append(victims, oldest)
	}
	return victims, true
}

// oldest returns the oldest segment of all signals that is claimed, or not. The
// caller holds the lock.
func (s *Store) oldest(claimed bool) *Segment {
	var oldest *Segment
	for _, list := range s.segments {
		at := slices.IndexFunc(list, func(seg *Segment) bool { return seg.claimed == claimed })
		if at >= 0 && (oldest == nil || byAge(list[at], oldest) < 0) {
			oldest = list[at]
		}
	}
	return oldest
}

func (s *Store) unlink(segments []*Segment) {
	if len(segments) > 0 {
		s.notice("the spool is full, its oldest requests are dropped")
	}
	for _, seg := range segments {
		if err := os.Remove(seg.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.notice(fmt.Sprintf("the spool is full and its oldest file cannot be removed: %v", err))
		}
	}
}

// maxFiles bounds the memory of the lists and what the file system's blocks add
// to the bytes, where requests are very small.
func (s *Store) maxFiles() int { return int(max(s.cfg.MaxBytes/4096, 64)) }
