package delivery

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// Whatever the size, and whatever size is said, the bytes come out again; and only what is not
// small takes a writer that is kept.
func TestSmallRequestsKeepNoWriter(t *testing.T) {
	for name, tc := range map[string]struct {
		size, said int
		pooled     bool
	}{
		"one byte":           {1, 1, false},
		"at the bound":       {smallRequest, smallRequest, false},
		"one past the bound": {smallRequest + 1, smallRequest + 1, true},
		"size not said":      {100, 0, true},
		"more than is said":  {smallRequest + 5000, 100, false},
		"less than is said":  {100, smallRequest, false},
	} {
		t.Run(name, func(t *testing.T) {
			plain := make([]byte, tc.size)
			for i := range plain {
				plain[i] = byte('a' + rand.IntN(8))
			}
			var pool gzipPool
			var compressed bytes.Buffer
			n, err := pool.compress(&compressed, iotest.OneByteReader(bytes.NewReader(plain)), tc.said)
			require.NoError(t, err)
			require.EqualValues(t, tc.size, n)
			zr, err := gzip.NewReader(&compressed)
			require.NoError(t, err)
			back, err := io.ReadAll(zr)
			require.NoError(t, err)
			require.True(t, bytes.Equal(plain, back))
			require.Equal(t, tc.pooled, pool.kept.Load() != nil)
		})
	}
}

// A body that breaks off is an error, not a shorter request.
func TestSmallRequestThatCannotBeRead(t *testing.T) {
	broken := errors.New("broken")
	for _, said := range []int{10, smallRequest + 1} {
		var pool gzipPool
		_, err := pool.compress(io.Discard, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), said)
		require.ErrorIs(t, err, broken)
	}
}
