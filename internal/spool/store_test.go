package spool_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

func TestOldestComesFirst(t *testing.T) {
	dir := t.TempDir()
	s := open(t, spool.Config{Dir: dir})
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("request ", i))
		require.NoError(t, s.Put(request(signal.Logs, 1, want[i])))
		require.NoError(t, s.Put(request(signal.Metrics, 2, "other")))
	}
	balanced(t, s)
	require.EqualValues(t, 20, s.Snapshot(signal.Logs).Held)
	require.EqualValues(t, 40, s.Snapshot(signal.Metrics).Held)
	require.Equal(t, want, drain(t, s, signal.Logs))
	require.Len(t, drain(t, s, signal.Metrics), 20)
	balanced(t, s)
	require.Empty(t, files(t, dir), "what is sent is removed")
	require.EqualValues(t, 20, s.Snapshot(signal.Logs).Exported)
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, spool.Config{Dir: dir})
	require.NoError(t, s.Put(sized(1)))
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		require.NoError(t, err)
		want := os.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		}
		require.Equal(t, want, info.Mode().Perm(), path)
		return nil
	}))
}

func TestMaxBytesAtTheBoundAndOnePastIt(t *testing.T) {
	one := sizeOf(sized(1))
	for _, tt := range []struct {
		name       string
		maxBytes   int64
		held, full int64 // of 1 + 2 + 4 items
		left       int
	}{
		{"three fit exactly", 3 * one, 7, 0, 3},
		{"one byte is missing", 3*one - 1, 6, 1, 2},
		{"one fits exactly", one, 4, 3, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, spool.Config{Dir: dir, MaxBytes: tt.maxBytes})
			for _, items := range []int64{1, 2, 4} {
				require.NoError(t, s.Put(sized(items)))
				used, _ := s.Usage()
				require.LessOrEqual(t, used, tt.maxBytes)
			}
			b := s.Snapshot(signal.Traces)
			require.Equal(t, []int64{tt.held, tt.full}, []int64{b.Held, b.Full})
			require.Len(t, files(t, dir), tt.left)
			balanced(t, s)
			require.Len(t, drain(t, s, signal.Traces), tt.left)
			balanced(t, s)
		})
	}
	s := open(t, spool.Config{Dir: t.TempDir(), MaxBytes: one - 1})
	require.Error(t, s.Put(sized(1)), "a request that never fits is refused")
	require.EqualValues(t, 1, s.Snapshot(signal.Traces).WriteErrors)
	balanced(t, s)
}

func TestManySmallFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, spool.Config{Dir: dir, MaxBytes: 100_000, Write: quickly})
	for range 100 {
		require.NoError(t, s.Put(request(signal.Traces, 1, "tiny")))
	}
	require.Len(t, files(t, dir), 64)
	balanced(t, s)
}

func quickly(path string, data []byte) error { return os.WriteFile(path, data, 0o600) }

func TestRoomIsMadeAmongAllSignalsOldestFirst(t *testing.T) {
	one := sizeOf(sized(1))
	s := open(t, spool.Config{Dir: t.TempDir(), MaxBytes: 3 * one})
	for _, signal := range []signal.Signal{signal.Logs, signal.Traces, signal.Metrics} {
		r := sized(1)
		r.Signal = signal
		require.NoError(t, s.Put(r))
	}
	seg, _, _ := s.Claim(signal.Logs, 0, time.Now())
	require.NotNil(t, seg)
	require.NoError(t, s.Put(sized(1)))
	require.EqualValues(t, 1, s.Snapshot(signal.Traces).Full, "the oldest that is not on its way")
	require.EqualValues(t, 1, s.Snapshot(signal.Logs).Held)
	s.Release(seg)
	balanced(t, s)
}

// The last resort is the segment that is on its way; should it arrive, it is not counted as
// dropped.
func TestSegmentOnItsWayIsTheLastToGo(t *testing.T) {
	for name, deliver := range map[string]bool{"delivered": true, "given back": false} {
		t.Run(name, func(t *testing.T) {
			s := open(t, spool.Config{Dir: t.TempDir(), MaxBytes: sizeOf(sized(1))})
			require.NoError(t, s.Put(sized(3)))
			seg, _, _ := s.Claim(signal.Traces, 0, time.Now())
			require.NoError(t, s.Put(sized(5)))
			balanced(t, s)
			require.EqualValues(t, 3, s.Snapshot(signal.Traces).Full)
			_, err := s.Load(seg)
			require.ErrorIs(t, err, spool.ErrUnreadable)
			require.Zero(t, s.Snapshot(signal.Traces).Corrupt)
			if deliver {
				s.Settle(seg, spool.Result{Exported: 3})
				require.EqualValues(t, 3, s.Snapshot(signal.Traces).Exported)
				require.Zero(t, s.Snapshot(signal.Traces).Full)
			} else {
				s.Release(seg)
			}
			balanced(t, s)
			require.Len(t, drain(t, s, signal.Traces), 1)
			balanced(t, s)
		})
	}
}

func TestDiskFullIsSaidOnceAndPasses(t *testing.T) {
	var (
		full  error
		said  []string
		dir   = t.TempDir()
		store = open(t, spool.Config{Dir: dir, OnNotice: func(m lines.Line) { said = append(said, m.Text()) },
			Write: func(path string, data []byte) error {
				if full != nil {
					// As a disk does: some of it is written.
					_ = os.WriteFile(path, data[:len(data)/2], 0o600)
					return full
				}
				return quickly(path, data)
			}})
	)
	require.NoError(t, store.Put(sized(1)))
	full = &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	for range 5 {
		require.ErrorIs(t, store.Put(sized(7)), syscall.ENOSPC)
	}
	require.Len(t, files(t, dir), 1, "nothing half-written stays")
	full = nil
	require.NoError(t, store.Put(sized(1)))
	b := store.Snapshot(signal.Traces)
	require.EqualValues(t, 5, b.WriteErrors)
	require.EqualValues(t, 2, b.Held)
	require.Len(t, said, 2)
	require.Contains(t, said[0], "no space left")
	require.Contains(t, said[1], "again")
	used, _ := store.Usage()
	require.Equal(t, 2*sizeOf(sized(1)), used)
	balanced(t, store)
}

func TestUnusableDirectory(t *testing.T) {
	parent := t.TempDir()
	file := filepath.Join(parent, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var said []string
	s, err := spool.Open(spool.Config{Dir: filepath.Join(file, "spool"), MaxBytes: 1000,
		OnNotice: func(m lines.Line) { said = append(said, m.Text()) }})
	require.Error(t, err)
	defer s.Close()
	require.Error(t, s.Put(sized(3)))
	require.EqualValues(t, 1, s.Snapshot(signal.Traces).WriteErrors)
	require.Len(t, said, 1)
	balanced(t, s)

	// The volume is mounted later.
	require.NoError(t, os.Remove(file))
	s.Adopt(time.Now())
	require.Error(t, s.Put(sized(3)), "it does not look all the time")
	s.Adopt(time.Now().Add(time.Minute))
	require.NoError(t, s.Put(sized(3)))
	require.Len(t, said, 2)
	balanced(t, s)
}

func TestDirectoryIsRemovedMeanwhile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, spool.Config{Dir: dir})
	require.NoError(t, s.Put(sized(1)))
	require.NoError(t, os.RemoveAll(dir))
	require.Error(t, s.Put(sized(2)))
	s.Adopt(time.Now().Add(time.Minute))
	require.NoError(t, s.Put(sized(4)))
	require.Len(t, drain(t, s, signal.Traces), 1)
	b := s.Snapshot(signal.Traces)
	require.Equal(t, []int64{4, 1, 0}, []int64{b.Exported, b.Corrupt, b.Held})
	_, aside := s.Usage()
	require.Zero(t, aside, "there is nothing to set aside")
	balanced(t, s)
}

func TestSettle(t *testing.T) {
	for _, tt := range []struct {
		name   string
		result spool.Result
		want   spool.Books
	}{
		{"all", spool.Result{Exported: 10}, spool.Books{Exported: 10}},
		{"partly", spool.Result{Exported: 7, Rejected: 3}, spool.Books{Exported: 7, Rejected: 3}},
		{"too large", spool.Result{TooLarge: 10}, spool.Books{TooLarge: 10}},
		{"nothing is named", spool.Result{}, spool.Books{Failed: 10}},
		{"too much is named", spool.Result{Exported: 8, Rejected: 99}, spool.Books{Exported: 8, Rejected: 2}},
		{"nonsense", spool.Result{Exported: -1, TooLarge: 4}, spool.Books{TooLarge: 4, Failed: 6}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, spool.Config{Dir: t.TempDir()})
			require.NoError(t, s.Put(sized(10)))
			seg, _, _ := s.Claim(signal.Traces, 0, time.Now())
			s.Settle(seg, tt.result)
			got := s.Snapshot(signal.Traces)
			got.LastSuccess = time.Time{}
			tt.want.Added = 10
			require.Equal(t, tt.want, got)
		})
	}
}

func TestClaim(t *testing.T) {
	s := open(t, spool.Config{Dir: t.TempDir()})
	now := time.Now()
	seg, came, wait := s.Claim(signal.Traces, 0, now)
	require.Nil(t, seg)
	require.Zero(t, wait)
	for i := range 3 {
		require.NoError(t, s.Put(sized(int64(i+1))))
	}
	<-came
	items := func(skip int) int64 {
		seg, _, _ := s.Claim(signal.Traces, skip, now)
		require.NotNil(t, seg)
		defer s.Release(seg)
		return seg.Items
	}
	require.Equal(t, []int64{1, 2, 3, 1, 2}, []int64{items(0), items(1), items(2), items(3), items(4)})

	first, _, _ := s.Claim(signal.Traces, 0, now)
	require.EqualValues(t, 2, items(0), "no other caller gets a claimed segment")
	first.NotBefore = now.Add(time.Minute)
	s.Release(first)
	require.EqualValues(t, 2, items(0), "a postponed one does not hold up the others")
	for range 2 {
		seg, _, _ := s.Claim(signal.Traces, 0, now)
		s.Settle(seg, spool.Result{Exported: seg.Items})
	}
	seg, _, wait = s.Claim(signal.Traces, 0, now)
	require.Nil(t, seg)
	require.Equal(t, time.Minute, wait)
	seg, _, _ = s.Claim(signal.Traces, 0, now.Add(time.Minute))
	require.NotNil(t, seg)
}

func TestReplaceKeepsThePlace(t *testing.T) {
	var fail error
	writes := 0
	dir := t.TempDir()
	s := open(t, spool.Config{Dir: dir, Write: func(path string, data []byte) error {
		if writes++; writes == 4 && fail != nil {
			return fail
		}
		return quickly(path, data)
	}})
	require.NoError(t, s.Put(request(signal.Traces, 4, "large")))
	require.NoError(t, s.Put(request(signal.Traces, 1, "next")))
	seg, _, _ := s.Claim(signal.Traces, 0, time.Now())
	a, b := request(signal.Traces, 2, "left"), request(signal.Traces, 2, "right")
	require.Error(t, s.Replace(seg, a, request(signal.Traces, 3, "right")), "items must not appear or vanish")
	fail = errors.New("disk full")
	require.ErrorIs(t, s.Replace(seg, a, b), fail)
	require.Len(t, files(t, dir), 2)
	balanced(t, s)
	require.NoError(t, s.Replace(seg, a, b))
	balanced(t, s)
	require.EqualValues(t, 5, s.Snapshot(signal.Traces).Held)
	require.Equal(t, []string{"left", "right", "next"}, drain(t, s, signal.Traces))
	balanced(t, s)
	used, _ := s.Usage()
	require.Zero(t, used)
}

func TestStoreConcurrentSafe(t *testing.T) {
	one := sizeOf(sized(1))
	dir := t.TempDir()
	s := open(t, spool.Config{Dir: dir, MaxBytes: 8 * one, Write: quickly})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				_ = s.Put(sized(1))
				used, _ := s.Usage()
				if used > 8*one {
					t.Errorf("%d bytes in a spool of %d", used, 8*one)
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				if seg, _, _ := s.Claim(signal.Traces, 1, time.Now()); seg != nil {
					_, _ = s.Load(seg)
					s.Settle(seg, spool.Result{Exported: 1})
				}
				s.Adopt(time.Now().Add(time.Hour))
			}
		})
	}
	wg.Wait()
	balanced(t, s)
	b := s.Snapshot(signal.Traces)
	require.Len(t, files(t, dir), int(b.Held))
	require.Zero(t, b.Corrupt)
}

func TestClosedStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, spool.Config{Dir: dir})
	s.Close()
	require.Error(t, s.Put(sized(1)))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "a process that leaves nothing leaves no directory")
	s.Close()
	s.Adopt(time.Now().Add(time.Hour))
}

func TestUnreasonableRequestsAreRefused(t *testing.T) {
	s := open(t, spool.Config{Dir: t.TempDir()})
	require.Error(t, s.Put(request(signal.Traces, 0, "x")))
	r := sized(1)
	r.Plain = spool.MaxPlain + 1
	require.Error(t, s.Put(r))
	balanced(t, s)
}
