package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
)

const (
	// adoptEvery is how often a store looks for files of processes that have ended since it
	// started, as in a rolling update.
	adoptEvery = 30 * time.Second
	// minAge is how old a subdirectory without a lock must be to count as abandoned: a younger one
	// may still get its lock.
	minAge = time.Minute
	// maxSetAside is how many unreadable files are kept for a person to look at.
	maxSetAside = 10

	ownPrefix     = "p-"
	tempPrefix    = ".tmp-"
	lockName      = "lock"
	corruptSuffix = ".corrupt"
)

// Adopt takes over what dead processes have left, makes the store's own subdirectory if there is
// none yet, and refreshes its lock. It does nothing if it did so within the last 30 s.
func (s *Store) Adopt(now time.Time) {
	s.adopting.Lock()
	defer s.adopting.Unlock()
	if now.Sub(s.adopted) >= adoptEvery {
		s.adoptNow()
	}
}

// adoptNow is Adopt without the limit of 30 s. The caller holds adopting, or has just made the
// store.
func (s *Store) adoptNow() {
	s.adopted = time.Now()
	own, closed, err := s.ensureOwn()
	if err != nil || closed {
		if err != nil {
			s.noteWriting(err)
		}
		return
	}
	before := len(s.left)
	s.left = nil
	entries, _ := os.ReadDir(s.root)
	for _, entry := range entries {
		dir := filepath.Join(s.root, entry.Name())
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ownPrefix) && dir != own {
			s.adoptDir(own, dir)
		}
	}
	s.reportLeft(before)
	s.mu.Lock()
	evicted, _ := s.makeRoom(0, 0)
	s.mu.Unlock()
	s.unlink(evicted)
}

// ensureOwn makes and locks the store's own subdirectory if there is none, and refreshes its lock.
func (s *Store) ensureOwn() (own string, closed bool, err error) {
	s.mu.Lock()
	own, held, closed := s.own, s.lock, s.closed
	s.mu.Unlock()
	if closed {
		return own, true, nil
	}
	if held != nil {
		if held.refresh() {
			return own, false, nil
		}
		held.release()
		held = nil
	}
	if own != "" { // it may be there again, or only its lock may be missing
		held, _ = tryLock(filepath.Join(own, lockName))
	}
	if held == nil {
		own, held, err = makeOwn(s.root)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lock = held
	if err == nil {
		s.own = own
	}
	return own, false, err
}

// makeOwn makes a subdirectory and locks it.
func makeOwn(root string) (string, *lock, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", nil, err
	}
	var lastErr error
	for range 3 {
		dir := filepath.Join(root, fmt.Sprintf("%s%016x", ownPrefix, rand.Uint64()))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", nil, err
		}
		held, err := tryLock(filepath.Join(dir, lockName))
		if held != nil {
			return dir, held, nil
		}
		// Another process considered the directory dead and has taken its lock, or the disk is
		// full.
		lastErr = err
		removeEmpty(dir)
	}
	if lastErr == nil {
		lastErr = fmt.Errorf("%s: %w", root, fs.ErrExist)
	}
	return "", nil, lastErr
}

// adoptDir moves the segments of a dead process to the store's own subdirectory.
func (s *Store) adoptDir(own, dir string) {
	path := filepath.Join(dir, lockName)
	if _, err := os.Lstat(path); err != nil {
		info, err := os.Lstat(dir)
		if err != nil || time.Since(info.ModTime()) < minAge {
			return
		}
	}
	held, err := tryLock(path)
	if held == nil || err != nil {
		return
	}
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if entry.Type().IsRegular() && entry.Name() != lockName {
			s.adoptFile(own, dir, entry)
		}
	}
	removeEmpty(dir)
	held.release()
}

// adoptFile takes over a segment. A file without the name of a segment stays where it is.
func (s *Store) adoptFile(own, dir string, entry os.DirEntry) {
	path := filepath.Join(dir, entry.Name())
	name, unfinished := strings.CutPrefix(entry.Name(), tempPrefix)
	key, signal, items, ok := parseName(name)
	if !ok {
		return
	}
	info, err := entry.Info()
	if err != nil {
		return
	}
	switch err := s.checkFile(path, info.Size(), unfinished); {
	case errors.Is(err, errNewer), errors.Is(err, errOverBound):
		s.left = append(s.left, fmt.Sprintf("%s: %v", path, err))
		return
	case isDamage(err):
		if failed := s.setAside(path, err); failed != nil {
			s.left = append(s.left, failed.Error()) // it is counted when a later Adopt can move it
		} else if !unfinished {
			s.bookCorrupt(signal, items, err)
		}
		return
	case err != nil: // such as too many open files: the next Adopt may succeed
		return
	}
	to := filepath.Join(own, name)
	if _, err := os.Lstat(to); err == nil || os.Rename(path, to) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := &Segment{Signal: signal, Items: items, key: key, path: to, size: info.Size()}
	if at, found := slices.BinarySearchFunc(s.segments[signal], seg, byAge); found {
		// It is in the books already: its directory was missing for a while, as with a volume that
		// is mounted again.
		s.segments[signal][at].path = to
		return
	}
	s.bytes += seg.size
	s.count++
	s.books[signal].Recovered += items
	s.books[signal].Held += items
	s.insert(seg)
}

var errOverBound = errors.New("it is larger than the spool may be")

// checkFile returns why a file of a dead process cannot be adopted. It reads the header, so that a
// file that is not a segment, or is too large, displaces no segment. The checksum is verified when
// the segment is sent.
func (s *Store) checkFile(path string, size int64, unfinished bool) error {
	head, err := readHeader(path)
	if err == nil {
		err = checkHeader(head, size)
	}
	switch {
	case err != nil:
		return err
	case size > s.cfg.MaxBytes:
		return errOverBound
	case !unfinished:
		return nil
	}
	// The process died between the first byte and the rename. The request may still be complete.
	data, err := readFile(path)
	if err == nil {
		_, err = Unmarshal(data)
	}
	return err
}

// bookCorrupt counts items that were found and cannot be read.
func (s *Store) bookCorrupt(signal signal.Signal, items int64, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.books[signal]
	b.Recovered += items
	b.Corrupt += items
	b.LastError, b.LastErrorAt = fmt.Errorf("a spooled request cannot be read: %w", cause), time.Now()
}

// reportLeft reports what was not adopted, if that has changed: a file for another version of this
// library, for a process with a larger bound, or for a person.
func (s *Store) reportLeft(before int) {
	if n := len(s.left); n > 0 && n != before {
		s.notice(lines.SpoolFilesLeft(n, s.left[0]))
	}
}

// setAside moves an unreadable file to a place from which no process sends it. After an error, the
// file is where it was.
func (s *Store) setAside(path string, cause error) error {
	to := filepath.Join(s.root, strings.TrimPrefix(filepath.Base(path), tempPrefix)+corruptSuffix)
	switch err := os.Rename(path, to); {
	case errors.Is(err, fs.ErrNotExist):
		s.notice(lines.SpoolFileGone(cause))
		return nil
	case err != nil:
		return fmt.Errorf("a spool file is unreadable (%w) and cannot be moved: %w", cause, err)
	}
	s.mu.Lock()
	s.corrupt++
	s.mu.Unlock()
	s.notice(lines.SpoolFileSetAside(to, cause))

	entries, _ := os.ReadDir(s.root) // sorted, so oldest first
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		name, ok := strings.CutSuffix(e.Name(), corruptSuffix)
		_, _, _, ours := parseName(name)
		return !ok || !ours
	})
	for _, old := range entries[:max(len(entries)-maxSetAside, 0)] {
		_ = os.Remove(filepath.Join(s.root, old.Name()))
	}
	return nil
}

// removeEmpty removes a subdirectory that holds nothing, or only a lock.
func removeEmpty(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != lockName {
		return
	}
	_ = os.Remove(filepath.Join(dir, lockName))
	_ = os.Remove(dir)
}
