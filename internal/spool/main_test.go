package spool_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request returns one whose body is text, which must be longer than its items.
func request(signal signal.Signal, items int64, text string) spool.Request {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	_, _ = zw.Write([]byte(text))
	_ = zw.Close()
	return spool.Request{Signal: signal, Items: items, Plain: int64(len(text)), Gzip: b.Bytes()}
}

func sized(items int64) spool.Request { return request(signal.Traces, items, strings.Repeat("x", 100)) }

// sizeOf is the size of a request's file.
func sizeOf(r spool.Request) int64 { return int64(len(spool.Marshal(r))) }

func open(t *testing.T, cfg spool.Config) *spool.Store {
	t.Helper()
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 20
	}
	s, err := spool.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// drain claims and settles everything of a signal, and returns the bodies in order.
func drain(t *testing.T, s *spool.Store, signal signal.Signal) []string {
	t.Helper()
	var bodies []string
	for {
		seg, _, _ := s.Claim(signal, 0, time.Now())
		if seg == nil {
			return bodies
		}
		r, err := s.Load(seg)
		if err != nil {
			require.ErrorIs(t, err, spool.ErrUnreadable)
			continue
		}
		body, err := r.Body()
		require.NoError(t, err)
		bodies = append(bodies, string(body))
		s.Settle(seg, spool.Result{Exported: seg.Items})
	}
}

// balanced checks the identity of the books of every signal.
func balanced(t *testing.T, s *spool.Store) {
	t.Helper()
	for _, signal := range []signal.Signal{signal.Traces, signal.Metrics, signal.Logs} {
		b := s.Snapshot(signal)
		require.Equal(t, b.Recovered+b.Added, b.Held+b.Exported+b.Rejected+b.Failed+b.Full+b.TooLarge+b.Corrupt, "%+v",
			b)
	}
}

// files lists all files below dir but the locks.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Name() != "lock" {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

// abandon leaves a directory as a process does that is killed: its files stay, and the system takes
// its locks.
func abandon(t *testing.T, dir string, requests ...spool.Request) {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 1 << 20})
	require.NoError(t, err)
	for _, r := range requests {
		require.NoError(t, s.Put(r))
	}
	s.Close()
}
