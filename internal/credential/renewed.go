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

// maxFile bounds what is read, in bytes. A bundle of authorities has some 200 KiB, a token a few.
const maxFile = 4 << 20

// renewed is a value that is parsed from files, and parsed again when their contents have changed.
// If they cannot be read or parsed, perhaps in the middle of their renewal, the value stays as it
// was. It is safe for concurrent use.
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
	// firstReadTimeout bounds the wait for files that have not been read yet: half of the default
	// time of an attempt and of a handshake. The read of a file whose server is down does not
	// return before the server is back.
	firstReadTimeout = 5 * time.Second
	// readTimeout is the same if there is a value in use.
	readTimeout = time.Second
	// hangingReadTimeout is the same while an earlier read hangs, so that a server that is down
	// costs a second only once.
	hangingReadTimeout = 50 * time.Millisecond
)

// get returns the value of the files as they are now. It returns an error only if the files have
// never been good.
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

// read reads the files. It stops waiting after the time limit that applies.
func (r *renewed[T]) read(ctx context.Context) ([][]byte, error) {
	what := "the reading of " + strings.Join(r.paths, " and ")
	wait := firstReadTimeout
	switch has := r.hasValue(); {
	case has && r.calls.Hanging(what):
		wait = hangingReadTimeout
	case has:
		wait = readTimeout
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

func within[T any](
	ctx context.Context, calls *Calls, limit time.Duration, what string, read func() (T, error),
) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return Do(ctx, calls, what, what, func(context.Context) (T, error) { return read() })
}

func (r *renewed[T]) hasValue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.contents != nil
}

// renew parses what was read, if it has changed. The caller holds the lock.
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

// ReadFile reads a file of at most 4 MiB within 2 s. It is for Init, which a file whose server is
// down must not hold up.
func ReadFile(path string) ([]byte, error) {
	return within(context.Background(), &Calls{}, 2*time.Second, "the reading of "+path,
		func() ([]byte, error) { return readFile(path) })
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
