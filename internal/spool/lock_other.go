//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package spool

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// staleAfter is how long a lock is honored without a refresh. The store refreshes its own every
// adoptEvery.
const staleAfter = 10 * adoptEvery

// lock is a file that its holder touches regularly, because this system does not release locks when
// a process dies.
type lock struct{ path string }

// tryLock takes the lock at path. It returns nil without an error if a process that may be living
// has it.
func tryLock(path string) (*lock, error) {
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > staleAfter {
		// Of several processes that find it stale, only one can rename it.
		if os.Rename(path, path+".stale") == nil {
			_ = os.Remove(path + ".stale")
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, nil // taken is not an error
	case err != nil:
		return nil, err
	}
	_ = file.Close()
	return &lock{path}, nil
}

// refresh shows that the holder lives, and reports whether the lock still exists: a cleaner of
// temporary directories may have removed it.
func (l *lock) refresh() bool {
	now := time.Now()
	return os.Chtimes(l.path, now, now) == nil
}

// release makes the lock stale at once.
func (l *lock) release() {
	stale := time.Unix(0, 0)
	_ = os.Chtimes(l.path, stale, stale)
}
