// Package credential keeps current what proves who is who: certificates and tokens in files that somebody else renews
// while the process runs, as cert-manager, Vault and the kubelet do. Nothing runs in the background: files are read when
// they are needed, which is at each handshake and each request.
package credential

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
)

// maxFile bounds what is read, in bytes. Bundles of authorities have some 200 KiB, tokens a few.
const maxFile = 4 << 20

// renewed is a value made of files, and made anew when their contents have changed. Files that cannot be read or
// understood, which may be half-way through their renewal, leave the value as it was. It is safe for concurrent use.
type renewed[T any] struct {
	paths   []string
	parse   func(contents [][]byte) (T, error)
	onError func(error)

	mu       sync.Mutex
	contents [][]byte // of value; nil before there is one
	value    T
}

// get returns the value of the files as they are now. The error is that of files that have never been good.
func (r *renewed[T]) get() (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.renew()
	if err != nil && r.contents != nil {
		r.onError(fmt.Errorf("%w; what was read before stays in use", err))
		err = nil
	}
	return r.value, err
}

func (r *renewed[T]) renew() error {
	contents := make([][]byte, len(r.paths))
	for i, path := range r.paths {
		var err error
		if contents[i], err = readFile(path); err != nil {
			return err
		}
	}
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
