package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Segment is one request on disk. The exported fields do not change, except those that belong to
// the caller that has claimed it.
type Segment struct {
	Signal signal.Signal
	Items  int64

	// Failures and NotBefore belong to the claimer: how often the segment failed while others
	// succeeded, and when to try it next.
	Failures  int
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

// ErrUnreadable is the error of [Store.Load] for a segment that has been removed.
var ErrUnreadable = errors.New("the segment cannot be read")

// Claim returns the oldest segment of a signal that is due, or the skip-th after it, modulo their
// number. It belongs to the caller until Release, Settle or Replace. If there is none, Claim
// returns a channel that is closed when one arrives, and how long until one is due, zero if none
// will be.
func (s *Store) Claim(
	signal signal.Signal, skip int, now time.Time,
) (seg *Segment, came <-chan struct{}, wait time.Duration) {
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

// pick returns the skip-th segment that is due. If there is none, it returns how many are due, and
// how long until the next one is. The caller holds the lock.
func (s *Store) pick(signal signal.Signal, skip int, now time.Time) (_ *Segment, due int, wait time.Duration) {
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

// Load reads a claimed segment. With ErrUnreadable, the segment has been set aside and counted, and
// no longer exists. Any other error may be temporary.
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
		s.notice(lines.SpoolFileDamaged(failed))
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

// Settle removes a claimed segment and books its result. Items that the result does not count have
// failed.
func (s *Store) Settle(seg *Segment, result Result) {
	if err := os.Remove(s.pathOf(seg)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.notice(lines.SpoolFileSent(err))
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

// Replace replaces a claimed segment with two requests, which together have its items. After an
// error the segment is as before.
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

// remove takes a claimed segment, whose file was removed, out of the list and the books.
func (s *Store) remove(seg *Segment, book func(*Books)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.books[seg.Signal]
	if seg.evicted {
		b.Full -= seg.Items // it was being sent already
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

// makeRoom takes the oldest segments of all signals out of the lists until that many bytes and
// files more fit in, and reports whether they do. The caller holds the lock, and unlinks the
// evicted segments after releasing it.
func (s *Store) makeRoom(bytes int64, files int) (evicted []*Segment, ok bool) {
	for s.bytes+bytes > s.cfg.MaxBytes || s.count+files > s.maxFiles() {
		// A claimed one may still be delivered, so it is the last to be evicted.
		oldest := cmp.Or(s.oldest(false), s.oldest(true))
		if oldest == nil {
			return evicted, false
		}
		s.drop(oldest)
		oldest.evicted = true
		b := &s.books[oldest.Signal]
		b.Held -= oldest.Items
		b.Full += oldest.Items
		evicted = append(evicted, oldest)
	}
	return evicted, true
}

// oldest returns the oldest segment of all signals that is claimed, or not. The caller holds the
// lock.
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
		s.notice(lines.SpoolFull())
	}
	for _, seg := range segments {
		if err := os.Remove(seg.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.notice(lines.SpoolFullAndStuck(err))
		}
	}
}

// maxFiles bounds the memory of the lists if requests are very small, and the space that is lost
// because files fill whole blocks.
func (s *Store) maxFiles() int { return int(max(s.cfg.MaxBytes/4096, 64)) }
