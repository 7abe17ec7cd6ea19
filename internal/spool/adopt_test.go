package spool_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

func TestNextProcessRecoversInOrder(t *testing.T) {
	dir := t.TempDir()
	abandon(t, dir, request(signal.Traces, 2, "first"), request(signal.Logs, 5, "a record"))
	abandon(t, dir, request(signal.Traces, 3, "second"))
	s := open(t, spool.Config{Dir: dir})
	require.EqualValues(t, 5, s.Snapshot(signal.Traces).Recovered)
	require.EqualValues(t, 5, s.Snapshot(signal.Traces).Held)
	require.EqualValues(t, 5, s.Snapshot(signal.Logs).Recovered)
	balanced(t, s)
	require.NoError(t, s.Put(request(signal.Traces, 1, "third")))
	require.Equal(t, []string{"first", "second", "third"}, drain(t, s, signal.Traces))
	require.Equal(t, []string{"a record"}, drain(t, s, signal.Logs))
	balanced(t, s)
	s.Close()
	require.Empty(t, files(t, dir))
}

func TestTwoStoresOnOneDirectoryShareNothing(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, spool.Config{Dir: dir}), open(t, spool.Config{Dir: dir})
	require.NoError(t, a.Put(request(signal.Traces, 1, "of a")))
	require.NoError(t, b.Put(request(signal.Traces, 1, "of b")))
	for range 3 {
		a.Adopt(time.Now().Add(time.Hour))
		b.Adopt(time.Now().Add(time.Hour))
	}
	require.Equal(t, []string{"of b"}, drain(t, b, signal.Traces))
	require.NoError(t, b.Put(request(signal.Traces, 1, "of b, later")))
	b.Close()
	a.Adopt(time.Now())
	require.EqualValues(t, 0, a.Snapshot(signal.Traces).Recovered, "it does not look all the time")
	a.Adopt(time.Now().Add(time.Hour))
	require.Equal(t, []string{"of a", "of b, later"}, drain(t, a, signal.Traces))
	require.EqualValues(t, 1, a.Snapshot(signal.Traces).Recovered)
	balanced(t, a)
	balanced(t, b)
}

func TestRecoveredBeyondTheBoundIsDropped(t *testing.T) {
	dir := t.TempDir()
	abandon(t, dir, sized(1), sized(2), sized(4))
	s := open(t, spool.Config{Dir: dir, MaxBytes: 2 * sizeOf(sized(1))})
	b := s.Snapshot(signal.Traces)
	require.Equal(t, []int64{7, 1, 6}, []int64{b.Recovered, b.Full, b.Held})
	require.Len(t, files(t, dir), 2)
	balanced(t, s)
}

// Each damage is done to the file of 3 items, between one of 1 and one of 5.
func TestDamagedFilesAreSetAside(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"empty": func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) },
		"torn in the header": func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(path, 20))
		},
		"torn by a byte": func(t *testing.T, path string) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(path, info.Size()-1))
		},
		"a byte too much": func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { return append(b, 0) })
		},
		"a bit in the body": func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		},
		"a bit in the count": func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { b[8] ^= 1; return b })
		},
		"another program's": func(t *testing.T, path string) {
			edit(t, path, func([]byte) []byte { return []byte(strings.Repeat("?", 200)) })
		},
		"another segment's": func(t *testing.T, path string) {
			edit(t, path, func([]byte) []byte { return spool.Marshal(sized(99)) })
		},
		"a directory instead": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Mkdir(path, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			abandon(t, dir, request(signal.Traces, 1, "before"), request(signal.Traces, 3, "damaged"),
				request(signal.Traces, 5, "after"))
			damage(t, fileOf(t, dir, "-3.otlp"))
			var said []string
			s := open(t, spool.Config{Dir: dir, OnNotice: func(m lines.Line) { said = append(said, m.Text()) }})
			balanced(t, s)
			require.Equal(t, []string{"before", "after"}, drain(t, s, signal.Traces))
			balanced(t, s)
			b := s.Snapshot(signal.Traces)
			require.EqualValues(t, 6, b.Exported)
			require.Zero(t, b.Held)
			if name == "a directory instead" {
				require.EqualValues(t, 6, b.Recovered, "it is none of ours")
				return
			}
			require.EqualValues(t, 3, b.Corrupt)
			require.Error(t, b.LastError)
			_, aside := s.Usage()
			require.EqualValues(t, 1, aside)
			require.Len(t, said, 1)
			left := files(t, dir)
			require.Len(t, left, 1)
			require.True(t, strings.HasSuffix(left[0], "-3.otlp.corrupt"), left[0])
			require.Equal(t, dir, filepath.Dir(left[0]))
			s.Close()
			require.Empty(t, drain(t, open(t, spool.Config{Dir: dir}), signal.Traces), "what is set aside stays so")
		})
	}
}

// A damaged file that cannot be moved, as on a full disk, is not counted again at each look.
func TestDamagedFileThatCannotBeSetAside(t *testing.T) {
	dir := t.TempDir()
	abandon(t, dir, request(signal.Traces, 3, "damaged"))
	path := fileOf(t, dir, "-3.otlp")
	require.NoError(t, os.Truncate(path, 20))
	inTheWay := filepath.Join(dir, filepath.Base(path)+".corrupt")
	require.NoError(t, os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700))
	var said []string
	s := open(t, spool.Config{Dir: dir, OnNotice: func(m lines.Line) { said = append(said, m.Text()) }})
	s.Adopt(time.Now().Add(time.Hour))
	require.Zero(t, s.Snapshot(signal.Traces).Recovered)
	require.Len(t, said, 1)
	require.Contains(t, said[0], "cannot be moved")

	require.NoError(t, os.RemoveAll(inTheWay))
	for range 2 {
		s.Adopt(time.Now().Add(time.Hour))
		require.EqualValues(t, 3, s.Snapshot(signal.Traces).Recovered)
		require.EqualValues(t, 3, s.Snapshot(signal.Traces).Corrupt)
	}
	balanced(t, s)
}

func TestUnfinishedFiles(t *testing.T) {
	dir := t.TempDir()
	abandon(t, dir, request(signal.Traces, 1, "complete"), request(signal.Logs, 2, "half of it"))
	for _, suffix := range []string{"traces-1.otlp", "logs-2.otlp"} {
		path := fileOf(t, dir, suffix)
		if strings.HasPrefix(suffix, "logs") {
			require.NoError(t, os.Truncate(path, 40))
		}
		require.NoError(t, os.Rename(path, filepath.Join(filepath.Dir(path), ".tmp-"+filepath.Base(path))))
	}
	s := open(t, spool.Config{Dir: dir})
	require.Equal(t, []string{"complete"}, drain(t, s, signal.Traces), "killed between writing and renaming")
	require.Zero(t, s.Snapshot(signal.Logs).Recovered)
	_, aside := s.Usage()
	require.EqualValues(t, 1, aside)
	balanced(t, s)
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	abandon(t, dir, sized(1))
	own := filepath.Dir(fileOf(t, dir, ".otlp"))
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, spool.Marshal(sized(1)), 0o600))
	foreign := []string{
		filepath.Join(dir, "notes.txt"), filepath.Join(own, "notes.txt"), filepath.Join(own, "17-x-traces-1.otlp"),
		filepath.Join(own, "0000000000000001-00000001-traces-0.otlp"),
		filepath.Join(own, "0000000000000001-00000001-traces-999999999.otlp"),
		filepath.Join(dir, "p-file"), filepath.Join(dir, "somebody", "else"),
	}
	for _, path := range foreign {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	}
	link := filepath.Join(own, "0000000000000001-00000001-traces-1.otlp")
	require.NoError(t, os.Symlink(outside, link))
	s := open(t, spool.Config{Dir: dir})
	require.EqualValues(t, 1, s.Snapshot(signal.Traces).Recovered)
	require.Len(t, drain(t, s, signal.Traces), 1)
	s.Close()
	for _, path := range append(foreign, link, outside) {
		_, err := os.Lstat(path)
		require.NoError(t, err)
	}
}

func TestSetAsideFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, spool.Config{Dir: dir})
	for range 15 {
		require.NoError(t, s.Put(sized(1)))
	}
	for _, path := range files(t, dir) {
		require.NoError(t, os.Truncate(path, 1))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "0.corrupt"), nil, 0o600))
	require.Empty(t, drain(t, s, signal.Traces))
	require.EqualValues(t, 15, s.Snapshot(signal.Traces).Corrupt)
	require.Len(t, files(t, dir), 11)
	require.FileExists(t, filepath.Join(dir, "0.corrupt"), "only our own are removed")
	balanced(t, s)
}

// A process dies between making its subdirectory and locking it, or is just there.
func TestSubdirectoryWithoutALock(t *testing.T) {
	dir := t.TempDir()
	abandon(t, dir, sized(1))
	own := filepath.Dir(fileOf(t, dir, ".otlp"))
	require.NoError(t, os.Remove(filepath.Join(own, "lock")))
	s := open(t, spool.Config{Dir: dir})
	require.Zero(t, s.Snapshot(signal.Traces).Recovered, "it may be just being made")
	long := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(own, long, long))
	s.Adopt(time.Now().Add(time.Hour))
	require.EqualValues(t, 1, s.Snapshot(signal.Traces).Recovered)
	require.NoDirExists(t, own)
}

func fileOf(t *testing.T, dir, suffix string) string {
	t.Helper()
	for _, path := range files(t, dir) {
		if strings.HasSuffix(path, suffix) {
			return path
		}
	}
	require.Fail(t, fmt.Sprint("no file ends in ", suffix))
	return ""
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, change(data), 0o600))
}
