// Package credential keeps credentials current: certificates and tokens in files that other programs renew while the
// process runs, as cert-manager, Vault and the kubelet do. Nothing runs in the background: files are read when
// they are needed, which is at each handshake and each request.
package credential

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// maxFile bounds what is read, in bytes. Bundles of authorities have some 200 KiB, tokens a few.
const maxFile = 4 << 20

// renewed is a value made of files, and made anew when their contents have changed. Files that cannot be read or
// understood, which may be half-way through their renewal, leave the value as it was. It is safe for concurrent use.
type renewed[T any] struct {
	paths   []string
	parse   func(contents [][]byte) (T, error)
	onError func(error)
	calls   *Calls

	mu       sync.Mutex
	contents [][]byte // of value; nil before there is one
	value    T
}

const (
	// patience bounds the wait for files that have not been read yet: half of the default time of an attempt and of a
	// handshake. A file of a server that is gone is read for as long as it is gone.
	patience = 5 * time.Second
	// patienceWithValue is the same where there is a value to go on with.
	patienceWithValue = time.Second
	// patienceHanging is the same once a reading has not returned: a server that is gone costs its second once.
	patienceHanging = 50 * time.Millisecond
)

// get returns the value of the files as they are now. The error is that of files that have never been good.
func (r *renewed[T]) get(ctx context.Context) (T, error) {
	contents, err := r.read(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		err = r.renew(contents)
	}
	if err != nil && r.contents != nil {
		r.onError(fmt.Errorf("%w; what was read before stays in use", err))
		err = nil
	}
	return r.value, err
}

// read reads the files, within its time.
func (r *renewed[T]) read(ctx context.Context) ([][]byte, error) {
	what := "the reading of " + strings.Join(r.paths, " and ")
	wait := patience
	switch has := r.hasValue(); {
	case has && r.calls.Hanging(what):
		wait = patienceHanging
	case has:
		wait = patienceWithValue
	}
	return within(ctx, r.calls, wait, what, func() ([][]byte, error) {
		contents := make([][]byte, len(r.paths))
		for i, path := range r.paths {
			var err error
			if contents[i], err = readFile(path); err != nil {
				return nil, err
			}
		}
		return contents, nil
	})
}

func within[T any](ctx context.Context, calls *Calls, limit time.Duration, what string, read func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return Do(ctx, calls, what, what, func(context.Context) (T, error) { return read() })
}

func (r *renewed[T]) hasValue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.contents != nil
}

// renew makes the value of what was read. The caller holds the lock.
func (r *renewed[T]) renew(contents [][]byte) error {
	if r.contents != nil && equal(contents, r.contents) {
		return nil
	}
	value, err := r.parse(contents)
	if err != nil {
		return err
	}
	r.contents, r.value = contents, value
	return nil
}

func equal(a, b [][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// ReadFile reads a file of at most 4 MiB within 2 s: for a start, which a file of a server that is gone must not hold up.
func ReadFile(path string) ([]byte, error) {
	return within(context.Background(), &Calls{}, 2*time.Second, "the reading of "+path, func() ([]byte, error) { return readFile(path) })
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // nothing was written
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return data, err
}
