//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package spool

import (
	"errors"
	"os"
	"syscall"
)

// lock holds a subdirectory for as long as the process lives: the system releases it at any end of
// the process. It excludes other stores of this process, too.
type lock struct{ file *os.File }

// tryLock takes the lock at path. It returns nil without an error if a living process has it.
func tryLock(path string) (*lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return nil, nil // taken is not an error
		}
		return nil, err
	}
	l := &lock{file}
	if !l.refresh() { // its last holder has removed the directory meanwhile
		l.release()
		return nil, os.ErrNotExist
	}
	return l, nil
}

// refresh reports whether the lock still exists: a cleaner of temporary directories may have
// removed it.
func (l *lock) refresh() bool {
	mine, err := l.file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(l.file.Name())
	return err == nil && os.SameFile(mine, there)
}

// release releases the lock. The file stays.
func (l *lock) release() { _ = l.file.Close() }
