package delivery

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// A collection or two between exports is the rule in a service with little on its heap. Each new
// writer costs hundreds of kilobytes, which bring the next collection nearer.
func TestCompressionReusesItsWriterAcrossCollections(t *testing.T) {
	var (
		pool gzipPool
		out  bytes.Buffer
		body = bytes.Repeat([]byte("GET /orders/{id} "), 4000) // more than a small request
	)
	compress := func() {
		out.Reset()
		_, err := pool.compress(&out, bytes.NewReader(body), len(body))
		require.NoError(t, err)
	}
	compress()
	const rounds = 5
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		runtime.GC()
		runtime.GC()
		compress()
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(rounds*20_000))
}
