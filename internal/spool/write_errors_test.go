package spool_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// A volume that goes and comes back brings what is on it: nothing of it is lost, nothing is taken
// twice.
func TestDirectoryComesBack(t *testing.T) {
	parent := t.TempDir()
	dir, aside := filepath.Join(parent, "spool"), filepath.Join(parent, "elsewhere")
	for name, meanwhile := range map[string]func(*spool.Store){
		"unnoticed":  func(*spool.Store) {},
		"noticed":    func(s *spool.Store) { require.Error(t, s.Put(sized(8))) },
		"new place":  func(s *spool.Store) { require.Error(t, s.Put(sized(8))); s.Adopt(time.Now().Add(time.Minute)) },
		"being sent": func(s *spool.Store) { require.Error(t, s.Put(sized(8))); s.Adopt(time.Now().Add(time.Minute)) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(dir))
			s := open(t, spool.Config{Dir: dir})
			for _, text := range []string{"first", "second", "third"} {
				require.NoError(t, s.Put(request(signal.Traces, 1, text)))
			}
			var seg *spool.Segment
			want := []string{"first", "second", "third"}
			if name == "being sent" {
				seg, _, _ = s.Claim(signal.Traces, 0, time.Now())
				want = want[1:]
			}
			require.NoError(t, os.Rename(dir, aside))
			meanwhile(s)
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Rename(aside, dir))
			s.Adopt(time.Now().Add(2 * time.Minute))
			_ = s.Put(sized(8)) // may notice only now that its place is gone
			s.Adopt(time.Now().Add(4 * time.Minute))

			if seg != nil {
				s.Settle(seg, spool.Result{Exported: 1})
			}
			got := drain(t, s, signal.Traces)
			for i, body := range got {
				if strings.HasPrefix(body, "xx") {
					got = append(got[:i], got[i+1:]...)
					break
				}
			}
			require.Equal(t, want, got)
			b := s.Snapshot(signal.Traces)
			require.Zero(t, b.Corrupt+b.Recovered+b.Held, "%+v", b)
			require.Empty(t, files(t, dir))
			used, _ := s.Usage()
			require.Zero(t, used)
			balanced(t, s)
		})
	}
}

// Cleaners of temporary directories remove what has not been touched for long: the lock, or all of
// a subdirectory that holds nothing else.
func TestLockIsRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, spool.Config{Dir: dir})
	for range 2 {
		require.NoError(t, s.Put(sized(1)))
	}
	locks, err := filepath.Glob(filepath.Join(dir, "*", "lock"))
	require.NoError(t, err)
	require.Len(t, locks, 1)
	require.NoError(t, os.Remove(locks[0]))
	s.Adopt(time.Now().Add(time.Minute))

	long := time.Now().Add(-time.Hour)
	require.NoError(t, filepath.Walk(dir,
		func(path string, _ os.FileInfo, _ error) error { return os.Chtimes(path, long, long) }))
	other := open(t, spool.Config{Dir: dir})
	require.Zero(t, other.Snapshot(signal.Traces).Recovered, "a living process keeps what it has")
	require.Len(t, drain(t, s, signal.Traces), 2)
	require.Zero(t, s.Snapshot(signal.Traces).Recovered)
	balanced(t, s)
}

func TestOwnPlaceIsRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, spool.Config{Dir: dir})
	places, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(places[0]))
	abandon(t, dir, sized(3))
	s.Adopt(time.Now().Add(time.Minute))
	require.EqualValues(t, 3, s.Snapshot(signal.Traces).Recovered)
	require.NoError(t, s.Put(sized(1)))
	require.Len(t, drain(t, s, signal.Traces), 2)
	balanced(t, s)
}
