//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package spool

import (
	"errors"
	"os"
	"syscall"
)

// lock holds a subdirectory for as long as the process lives: the system releases
// it however the process ends. It excludes other stores of this process, too.
type lock struct{ file *os.File }

// tryLock takes the lock at path, and returns nil without an error if a living
// process has it.
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
	// Whoever had it may have removed the directory meanwhile.
	mine, err := file.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(path); err == nil && !os.SameFile(mine, there) {
			err = os.ErrNotExist
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &lock{file}, nil
}

// refresh is for systems whose locks do not end with the process.
func (*lock) refresh() {}

// release gives the lock up. The file stays.
func (l *lock) release() { _ = l.file.Close() }
