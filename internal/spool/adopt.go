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
)

const (
	// adoptEvery is how often a store looks for what others have left: a process
	// that ends while this one runs, as in a rolling update.
	adoptEvery = 30 * time.Second
	// newborn is the age below which a subdirectory without a lock is being made.
	newborn = time.Minute
	// maxSetAside is how many unreadable files are kept for a person to look at.
	maxSetAside = 10

	ownPrefix  = "p-"
	tempPrefix = ".tmp-"
	lockName   = "lock"
	aside      = ".corrupt"
)

// Adopt takes over what dead processes have left, makes a subdirectory where there
// is none yet, and says that this process lives. It does nothing if it did so
// within the last 30 s.
func (s *Store) Adopt(now time.Time) {
	s.adopting.Lock()
	defer s.adopting.Unlock()
	if now.Sub(s.adopted) >= adoptEvery {
		s.adoptNow()
	}
}

// adoptNow is Adopt whenever it was last done. The caller holds adopting, or is the
// only one who has the store.
func (s *Store) adoptNow() {
	s.adopted = time.Now()
	own, closed, err := s.settleIn()
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
	s.sayLeft(before)
	s.mu.Lock()
	victims, _ := s.makeRoom(0, 0)
	s.mu.Unlock()
	s.unlink(victims)
}

// settleIn sees to it that the store has a subdirectory.
func (s *Store) settleIn() (own string, closed bool, err error) {
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
	if own != "" { // it may be back, or only its lock be gone
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
		// Another process has taken the lock of what looked dead to it, or there is
		// no space for a file.
		lastErr = err
		removeEmpty(dir)
	}
	if lastErr == nil {
		lastErr = fmt.Errorf("%s: %w", root, fs.ErrExist)
	}
	return "", nil, lastErr
}

// adoptDir moves the segments of a dead process to the own subdirectory.
func (s *Store) adoptDir(own, dir string) {
	path := filepath.Join(dir, lockName)
	if _, err := os.Lstat(path); err != nil {
		info, err := os.Lstat(dir)
		if err != nil || time.Since(info.ModTime()) < newborn {
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

// adoptFile takes over a segment. What is not one of ours stays where it is.
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
	switch err := s.fit(path, info.Size(), unfinished); {
	case errors.Is(err, errNewer), errors.Is(err, errOverBound):
		s.left = append(s.left, fmt.Sprintf("%s: %v", path, err))
		return
	case isDamage(err):
		if failed := s.setAside(path, err); failed != nil {
			s.left = append(s.left, failed.Error()) // it is counted when a later look can move it
		} else if !unfinished {
			s.lose(signal, items, err)
		}
		return
	case err != nil: // too many open files, say: the next look may find it well
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
		// It never left the books: its directory was gone for a while, as with a
		// volume that is mounted again.
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

// fit reports why a file of a dead process is not adopted. It reads the beginning of
// a segment, so that a file that is no segment, or is too large, displaces no segment; the
// checksum is looked at when it is sent.
func (s *Store) fit(path string, size int64, unfinished bool) error {
	head, err := readHead(path)
	if err == nil {
		err = checkHead(head, size)
	}
	switch {
	case err != nil:
		return err
	case size > s.cfg.MaxBytes:
		return errOverBound
	case !unfinished:
		return nil
	}
	// The process died between the first byte and the rename; the request may be
	// complete all the same.
	data, err := readFile(path)
	if err == nil {
		_, err = Unmarshal(data)
	}
	return err
}

// lose books items that were found and cannot be read.
func (s *Store) lose(signal Signal, items int64, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.books[signal]
	b.Recovered += items
	b.Corrupt += items
	b.LastError, b.LastErrorAt = fmt.Errorf("a spooled request cannot be read: %w", cause), time.Now()
}

// sayLeft says what is left where it is, when that has changed: for another version
// of this library, for a process with a larger bound, or for a person.
func (s *Store) sayLeft(before int) {
	if n := len(s.left); n > 0 && n != before {
		s.notice(fmt.Sprintf("%d files of the spool are left where they are, such as %s", n, s.left[0]))
	}
}

// setAside keeps an unreadable file where no process sends it. The error says that the file is where it was.
func (s *Store) setAside(path string, cause error) error {
	to := filepath.Join(s.root, strings.TrimPrefix(filepath.Base(path), tempPrefix)+aside)
	switch err := os.Rename(path, to); {
	case errors.Is(err, fs.ErrNotExist):
		s.notice(fmt.Sprintf("a file of the spool is gone: %v", cause))
		return nil
	case err != nil:
		return fmt.Errorf("a file of the spool is unreadable (%w) and cannot be set aside: %w", cause, err)
	}
	s.mu.Lock()
	s.corrupt++
	s.mu.Unlock()
	s.notice(fmt.Sprintf("a file of the spool is unreadable and set aside as %s: %v", to, cause))

	entries, _ := os.ReadDir(s.root) // sorted, so oldest first
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		name, ok := strings.CutSuffix(e.Name(), aside)
		_, _, _, ours := parseName(name)
		return !ok || !ours
	})
	for _, old := range entries[:max(len(entries)-maxSetAside, 0)] {
		_ = os.Remove(filepath.Join(s.root, old.Name()))
	}
	return nil
}

// removeEmpty removes a subdirectory that holds at most a lock.
func removeEmpty(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != lockName {
		return
	}
	_ = os.Remove(filepath.Join(dir, lockName))
	_ = os.Remove(dir)
}
