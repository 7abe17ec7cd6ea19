package spool_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// beside puts a file beside the segments that a process has left, under the name of the newest, or
// the same with a prefix.
func beside(t *testing.T, dir, prefix string, content []byte, size int64) (path string) {
	t.Helper()
	path = filepath.Join(filepath.Dir(fileOf(t, dir, "-1.otlp")), prefix+"7fffffffffffffff-00000001-traces-9.otlp")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	if size > 0 {
		require.NoError(t, os.Truncate(path, size)) // with a hole, so that the test costs no disk
	}
	return path
}

// marshaled has the head of a segment whose file has the given size, in a part of it.
func marshaled(size int64) []byte {
	data := spool.Marshal(sized(9))
	left := uint64(size - 36)
	for i := range 8 {
		data[24+i] = byte(left >> (8 * i))
	}
	return data
}

func TestFileThatIsTooLargeDisplacesNoSegment(t *testing.T) {
	const bound = 100_000
	for name, tt := range map[string]struct {
		prefix  string
		content []byte
		size    int64
		aside   int64 // or left where it is
		corrupt int64 // items in the books
	}{
		"no segment":                   {content: []byte("?"), size: 1 << 30, aside: 1, corrupt: 9},
		"no segment, within the bound": {content: []byte("?"), size: bound - 1000, aside: 1, corrupt: 9},
		"of a larger spool":            {content: marshaled(bound + 1), size: bound + 1},
		"unfinished":                   {prefix: ".tmp-", content: []byte("?"), size: 1 << 30, aside: 1},
		"unfinished, with a head":      {prefix: ".tmp-", content: marshaled(1 << 30), size: 1 << 30, aside: 1},
		"with a head":                  {content: marshaled(1 << 30), size: 1 << 30, aside: 1, corrupt: 9},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			abandon(t, dir, request(signal.Traces, 1, "good"), request(signal.Traces, 2, "and good"))
			path := beside(t, dir, tt.prefix, tt.content, tt.size)

			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s := open(t, spool.Config{Dir: dir, MaxBytes: bound})
			require.Equal(t, []string{"good", "and good"}, drain(t, s, signal.Traces))
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "it is not read")
			balanced(t, s)
			b := s.Snapshot(signal.Traces)
			require.Equal(t, []int64{tt.corrupt, 0, 0}, []int64{b.Corrupt, b.Full, b.Held})
			_, aside := s.Usage()
			require.Equal(t, tt.aside, aside)
			if tt.aside == 0 {
				require.FileExists(t, path, "a process with a larger bound may send it")
			}
		})
	}
}

// An older version of this library finds what a newer one has left, as after a rollback, and leaves
// it to that.
func TestNewerVersionsAreLeftWhereTheyAre(t *testing.T) {
	dir := t.TempDir()
	abandon(t, dir, request(signal.Traces, 1, "good"))
	newer := spool.Marshal(sized(9))
	copy(newer, "FTS2")
	kept := []string{beside(t, dir, "", newer, 0), beside(t, dir, ".tmp-", []byte("FTS9 short"), 0)}
	var said []string
	s := open(t, spool.Config{Dir: dir, OnNotice: func(m lines.Line) { said = append(said, m.Text()) }})
	for range 20 {
		s.Adopt(time.Now().Add(time.Hour))
	}
	require.Equal(t, []string{"good"}, drain(t, s, signal.Traces))
	require.Len(t, said, 1, "it is said once")
	require.Contains(t, said[0], "2 spool files cannot be sent and are left in place")
	require.Contains(t, said[0], "another version")
	require.Zero(t, s.Snapshot(signal.Traces).Lost())
	balanced(t, s)
	s.Close()
	for _, path := range kept {
		require.FileExists(t, path)
	}
}
