package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// started is an agent in a separate process, killed at the end of the test if it still runs.
func started(t *testing.T, c *otlptest.Collector, spool string, env ...string) *agent {
	t.Helper()
	a, err := startAgent(c.HTTPEndpoint(), spool, append(env, asProgram+"=1")...)
	require.NoError(t, err)
	t.Cleanup(func() {
		if a.cmd.ProcessState == nil {
			a.kill()
		}
	})
	return a
}

func held(t *testing.T, spool string) map[string]spooled {
	t.Helper()
	s, err := inSpool(spool)
	require.NoError(t, err)
	return s
}

// soon waits for an event that takes some tenths of a second on an idle machine.
func soon(t *testing.T, what string, there func() bool) {
	t.Helper()
	require.Eventually(t, there, time.Minute, 20*time.Millisecond, what)
}

// file is one of the files of a signal.
func file(t *testing.T, spool, signal string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(spool, "*", "*-"+signal+"-*.otlp"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	return paths[0]
}

// The collector is down, the power fails, and two files are damaged: a truncated one of spans, and
// one of log records without its final name. The next agent sets both aside, counts the contents of
// the first as lost, and delivers everything else.
func TestPowerCutWithTornFiles(t *testing.T) {
	t.Parallel()
	c, spool := otlptest.New(t), filepath.Join(t.TempDir(), "spool")
	require.NoError(t, c.Down())
	first := started(t, c, spool)
	soon(t, "three files of each signal", func() bool {
		s := held(t, spool)
		return s["traces"].files >= 3 && s["metrics"].files >= 3 && s["logs"].files >= 3
	})
	first.kill()

	torn := file(t, spool, "traces")
	info, err := os.Stat(torn)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(torn, info.Size()/2))
	unnamed := file(t, spool, "logs")
	require.NoError(t, os.Truncate(unnamed, 40))
	require.NoError(t, os.Rename(unnamed, filepath.Join(filepath.Dir(unnamed), ".tmp-"+filepath.Base(unnamed))))
	cut := held(t, spool)

	second := started(t, c, spool)
	require.NoError(t, c.Up())
	soon(t, "the spool empties", func() bool { return len(held(t, spool)) == 0 })
	b, err := second.stop()
	require.NoError(t, err)

	require.EqualValues(t, cut["traces"].items, b.Spans.Recovered)
	require.EqualValues(t, cut["metrics"].items, b.Points.Recovered)
	require.EqualValues(t, cut["logs"].items, b.Records.Recovered, "what has no name yet is not known")
	require.EqualValues(t, 1, b.Spans.Corrupt, "the scan of the torn file")
	require.Equal(t, b.Spans.Corrupt, b.Spans.Lost)
	require.Zero(t, b.Points.Lost+b.Records.Lost)
	require.Zero(t, b.Spans.Spooled+b.Points.Spooled+b.Records.Spooled)
	for _, i := range []items{b.Spans, b.Points, b.Records} {
		require.Equal(t, i.in(), i.Exported+i.Lost)
	}
	require.Equal(t, signals{int(b.Spans.Exported), int(b.Points.Exported), int(b.Records.Exported)}, count(c))

	aside, err := filepath.Glob(filepath.Join(spool, "*.corrupt"))
	require.NoError(t, err)
	require.Len(t, aside, 2)
	require.Equal(t, 2, strings.Count(second.log.String(), "is unreadable and was moved to"),
		"a person is told of each")
}

// Every scan of an agent that survives an outage arrives.
func TestEachScanArrivesAfterAnOutage(t *testing.T) {
	t.Parallel()
	c, spool := otlptest.New(t), filepath.Join(t.TempDir(), "spool")
	a := started(t, c, spool)
	soon(t, "scans arrive", func() bool { return len(c.Spans()) > 0 })
	require.NoError(t, c.Down())
	before := a.made()
	soon(t, "scans are on disk", func() bool { return a.made() > before+3 && held(t, spool)["traces"].files > 2 })
	require.NoError(t, c.Up())
	soon(t, "the spool empties", func() bool { return len(held(t, spool)) == 0 })
	b, err := a.stop()
	require.NoError(t, err)
	numbers, _ := scansOf(c.Spans(), a.pid())
	require.Len(t, numbers, int(b.Spans.Accepted))
	require.EqualValues(t, a.made(), b.Spans.Accepted)
	require.Zero(t, b.Spans.Lost+b.Points.Lost+b.Records.Lost)
}

// An outage that exceeds the spool loses the oldest data, and uses no more disk than allowed.
func TestSpoolIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 32 << 10
	c, spool := otlptest.New(t), filepath.Join(t.TempDir(), "spool")
	require.NoError(t, c.Down())
	a := started(t, c, spool, "TELEMETRY_SPOOL_MAX_BYTES=32768")
	most, largest := 0, 0
	soon(t, "more is made than fits", func() bool {
		now := 0
		for _, s := range held(t, spool) {
			now += s.bytes
			largest = max(largest, s.bytes/s.files)
		}
		most = max(most, now)
		return a.made() >= 14 // of some 6 KiB each, metrics included
	})
	require.Greater(t, most, limit/2)
	require.LessOrEqual(t, most, limit+2*largest,
		"a directory is not read in an instant: one may come while another goes")
	require.NoError(t, c.Up())
	soon(t, "the spool empties", func() bool { return len(held(t, spool)) == 0 })
	b, err := a.stop()
	require.NoError(t, err)
	lost := b.Spans.Lost + b.Points.Lost + b.Records.Lost
	require.Positive(t, lost)
	require.Contains(t, a.log.String(), "the spool is full: dropping its oldest requests")
	numbers, _ := scansOf(c.Spans(), a.pid())
	require.Equal(t, a.made(), numbers[len(numbers)-1], "the newest are kept")
	require.Len(t, numbers, a.made()-int(b.Spans.Lost))
}

// SIGTERM without a collector: nothing is lost, and the data is on disk at once for the next start.
func TestStoppedWhileTheCollectorIsAway(t *testing.T) {
	t.Parallel()
	c, spool := otlptest.New(t), filepath.Join(t.TempDir(), "spool")
	require.NoError(t, c.Down())
	a := started(t, c, spool)
	soon(t, "some scans", func() bool { return a.made() >= 3 })
	b, err := a.stop()
	require.NoError(t, err)
	for _, i := range []items{b.Spans, b.Points, b.Records} {
		require.Positive(t, i.Accepted)
		require.Equal(t, i.Accepted, i.Spooled)
		require.Zero(t, i.Lost)
	}
	s := held(t, spool)
	require.Equal(t, signals{int(b.Spans.Spooled), int(b.Points.Spooled), int(b.Records.Spooled)}, itemsOf(s))
}
