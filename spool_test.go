package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	grpccodes "google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestTheSpoolCoversAnOutage(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			c, dir := otlptest.New(t), t.TempDir()
			guard, console := spooled(t, c, protocol, dir)
			require.NoError(t, c.Down())
			emit(guard, 0, 100)
			require.NoError(t, guard.ForceFlush(t.Context()), "on disk is safe")
			total := sum(t, guard)
			require.Equal(t, total.accepted, total.spooled)
			require.Positive(t, guard.Health().Metrics.Spooled)
			require.Error(t, guard.Health().Traces.LastError, "an operator sees why")
			require.NotContains(t, console.String(), "lost")

			require.NoError(t, c.Up())
			eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool empties")
			emit(guard, 100, 50)
			require.NoError(t, guard.Shutdown(t.Context()))
			total = sum(t, guard)
			require.Equal(t, total.accepted, total.exported)
			require.Equal(t, total.exported, arrived(c))
			requireOnce(t, c, 150)
			require.Empty(t, spoolFiles(t, dir))
			require.False(t, guard.Health().Traces.LastSuccess.IsZero())
		})
	}
}

func TestTheSpoolSendsTheOldestFirst(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := spooled(t, c, telemetry.ProtocolHTTP, t.TempDir(),
		telemetry.WithSpanBatch(telemetry.Batch{MaxConcurrentExports: 1}))
	require.NoError(t, c.Down())
	for i := range 20 {
		emit(guard, i, 1)
		require.NoError(t, guard.ForceFlush(t.Context()))
	}
	require.NoError(t, c.Up())
	eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool empties")
	want := spanNames(c)
	require.Len(t, want, 20)
	for i, name := range want {
		require.Equal(t, fmt.Sprint("item ", i), name)
	}
}

// What one process spools over one protocol, the next one sends over the other, with its own
// headers.
func TestTheNextProcessSendsTheSpool(t *testing.T) {
	for i, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			c, dir := otlptest.New(t), t.TempDir()
			require.NoError(t, c.Down())
			guard, console := spooled(t, c, protocol, dir,
				telemetry.WithHeaders(map[string]string{"api-key": "old-s3cr3t", "x-tenant": "acme-7"}),
				telemetry.WithCompression(telemetry.CompressionNone))
			emit(guard, 0, 50)
			require.NoError(t, guard.Shutdown(t.Context()), "what is on disk is not lost")
			before := sum(t, guard)
			require.Equal(t, before.accepted, before.spooled)
			require.Contains(t, console.String(), `"spooled":50`)
			found := spoolFiles(t, dir)
			require.NotEmpty(t, found)
			for path, content := range found {
				for _, secret := range []string{"s3cr3t", "acme-7", "api-key"} {
					require.NotContains(t, content, secret)
				}
				info, err := os.Stat(path)
				require.NoError(t, err)
				require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
			}

			require.NoError(t, c.Up())
			guard, _ = spooled(t, c, protocols[1-i], dir,
				telemetry.WithHeaders(map[string]string{"api-key": "new-s3cr3t"}))
			eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool empties")
			after := sum(t, guard)
			require.Equal(t, before.spooled, after.recovered)
			require.Equal(t, after.recovered, arrived(c)-after.accepted)
			require.NoError(t, guard.Shutdown(t.Context()))
			after = sum(t, guard)
			require.Equal(t, after.recovered+after.accepted, after.exported)
			require.Equal(t, after.exported, arrived(c))
			requireOnce(t, c, 50)
			for _, r := range c.Requests() {
				require.Equal(t, []string{"new-s3cr3t", "gzip"}, []string{r.Header.Get("api-key"), r.Encoding})
			}
			require.Empty(t, spoolFiles(t, dir))
		})
	}
}

// TestTheSpoolSurvivesAKill kills a real process without warning and starts another one.
func TestTheSpoolSurvivesAKill(t *testing.T) {
	if isChild() {
		guard, err := telemetry.Init(t.Context(), telemetry.WithoutRuntimeMetrics(),
			telemetry.WithLogOutput(io.Discard))
		require.NoError(t, err)
		for i := 0; ; i++ {
			emit(guard, 10*i, 10)
			_ = guard.ForceFlush(t.Context())
			h := guard.Health()
			fmt.Printf("on disk: %d %d %d\n", h.Traces.Spooled, h.Metrics.Spooled, h.Logs.Spooled)
		}
	}
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c, dir := otlptest.New(t), t.TempDir()
			require.NoError(t, c.Down())
			child := exec.Command(os.Args[0], "-test.run=^TestTheSpoolSurvivesAKill$", "-test.timeout=30s")
			child.Env = append(os.Environ(), childVariable+"=1", "TELEMETRY_SPOOL_DIR="+dir,
				"OTEL_EXPORTER_OTLP_ENDPOINT="+c.Endpoint(string(protocol)), "OTEL_EXPORTER_OTLP_PROTOCOL="+
					string(protocol),
				"OTEL_EXPORTER_OTLP_HEADERS=api-key=s3cr3t")
			output := &syncBuffer{}
			child.Stdout = output
			require.NoError(t, child.Start())
			eventually(t, func() bool { return strings.Count(output.String(), "on disk") > 5 }, "the child spools")
			require.NoError(t, child.Process.Kill())
			_ = child.Wait()
			var traces, metrics, logs int64
			for line := range strings.Lines(output.String()) {
				_, _ = fmt.Sscanf(line, "on disk: %d %d %d\n", &traces, &metrics, &logs)
			}
			require.Positive(t, traces)
			for _, content := range spoolFiles(t, dir) {
				require.NotContains(t, content, "s3cr3t")
			}

			require.NoError(t, c.Up())
			guard, _ := spooled(t, c, protocol, dir)
			h := guard.Health()
			require.GreaterOrEqual(t, h.Traces.Recovered, traces, "everything that was spooled")
			require.GreaterOrEqual(t, h.Metrics.Recovered, metrics)
			require.GreaterOrEqual(t, h.Logs.Recovered, logs)
			eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool empties")
			require.NoError(t, guard.Shutdown(t.Context()))
			total := sum(t, guard)
			require.Zero(t, total.lost)
			require.Equal(t, total.recovered+total.accepted, arrived(c), "and the metrics of this process")
			require.Len(t, c.Spans(), int(h.Traces.Recovered))
			names := slices.Sorted(slices.Values(spanNames(c)))
			require.Equal(t, slices.Compact(slices.Clone(names)), names, "nothing twice")
		})
	}
}

func TestTwoGuardsShareOneSpoolDirectory(t *testing.T) {
	c, dir := otlptest.New(t), t.TempDir()
	require.NoError(t, c.Down())
	a, _ := spooled(t, c, telemetry.ProtocolHTTP, dir)
	b, _ := spooled(t, c, telemetry.ProtocolGRPC, dir)
	emit(a, 0, 30)
	emit(b, 30, 30)
	require.NoError(t, a.ForceFlush(t.Context()))
	require.NoError(t, b.ForceFlush(t.Context()))
	require.NoError(t, c.Up())
	for _, guard := range []*telemetry.Guard{a, b} {
		eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool empties")
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Zero(t, sum(t, guard).recovered)
	}
	requireOnce(t, c, 60)
	require.Equal(t, arrived(c), sum(t, a).exported+sum(t, b).exported)
	require.Empty(t, spoolFiles(t, dir))
}

// The collector accepts connections and never answers: Shutdown writes to disk what is in flight
// and what waits.
func TestShutdownSpoolsWhatItCannotDeliver(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			c, dir := otlptest.New(t), t.TempDir()
			c.SetFault(otlptest.Fault{Hang: true})
			guard, console := spooled(t, c, protocol, dir)
			emit(guard, 0, 200)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			begin := time.Now()
			require.NoError(t, guard.Shutdown(ctx))
			require.Less(t, time.Since(begin), 6*time.Second)
			total := sum(t, guard)
			require.Equal(t, total.accepted, total.spooled)
			require.NotContains(t, console.String(), "lost:")

			// The requests that hung are gone for good. Otherwise the items would arrive from them
			// and from the disk.
			require.NoError(t, c.Down())
			c.SetFault(otlptest.Fault{})
			require.NoError(t, c.Up())
			guard, _ = spooled(t, c, protocol, dir)
			eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool empties")
			require.NoError(t, guard.Shutdown(t.Context()))
			requireOnce(t, c, 200)
			require.Equal(t, sum(t, guard).exported, arrived(c))
		})
	}
}

// The periodic reader is in an export that hangs, and collects once more at the end.
func TestShutdownSpoolsMetricsOfTheLastMinute(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			c.SetFault(otlptest.Fault{Hang: true}, otlptest.Metrics)
			guard, console := spooled(t, c, protocol, t.TempDir(), telemetry.WithMetricInterval(20*time.Millisecond))
			emit(guard, 0, 5)
			require.NoError(t, c.Wait(t.Context(), func(c *otlptest.Collector) bool {
				return slices.ContainsFunc(c.Requests(),
					func(r otlptest.Request) bool { return r.Signal == otlptest.Metrics })
			}))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			require.NoError(t, guard.Shutdown(ctx), console.String())
			h := guard.Health().Metrics
			sum(t, guard)
			require.Equal(t, h.Accepted, h.Spooled)
			require.GreaterOrEqual(t, h.Accepted, int64(6), "twice")
		})
	}
}

func TestAFullSpoolDropsTheOldestAndLogsIt(t *testing.T) {
	c, dir := otlptest.New(t), t.TempDir()
	require.NoError(t, c.Down())
	guard, _ := spooled(t, c, telemetry.ProtocolHTTP, dir, telemetry.WithSpool(dir, 8000),
		telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: time.Hour, MaxExportBatchSize: 100}),
		telemetry.WithoutMetrics(), telemetry.WithoutLogs())
	for i := range 20 {
		emit(guard, 10*i, 10)
		require.NoError(t, guard.ForceFlush(t.Context()))
	}
	h := guard.Health().Traces
	sum(t, guard)
	require.Equal(t, h.Dropped, h.DroppedBy["spool_full"])
	require.Positive(t, h.Dropped)
	require.Positive(t, h.Spooled)
	size := 0
	for path := range spoolFiles(t, dir) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		size += int(info.Size())
	}
	require.LessOrEqual(t, size, 8000)
	emit(guard, 200, 99) // larger than two of the others; a full batch would not wait for Shutdown
	require.ErrorContains(t, guard.Shutdown(t.Context()), "items of the spool were lost")
	sum(t, guard)

	require.NoError(t, c.Up())
	guard, _ = spooled(t, c, telemetry.ProtocolHTTP, dir, telemetry.WithoutMetrics(), telemetry.WithoutLogs())
	eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool empties")
	require.Contains(t, spanNames(c), "item 298")
	old := slices.DeleteFunc(spanNames(c), func(name string) bool { return len(name) > len("item 99") })
	require.LessOrEqual(t, len(old), 10, "of the first hundred only what was on its way may stay: %v", old)
}

func TestADamagedSpoolFileIsCounted(t *testing.T) {
	c, dir := otlptest.New(t), t.TempDir()
	require.NoError(t, c.Down())
	guard, _ := spooled(t, c, telemetry.ProtocolHTTP, dir)
	emit(guard, 0, 10)
	require.NoError(t, guard.Shutdown(t.Context()))
	damaged := 0
	for path := range spoolFiles(t, dir) {
		if strings.Contains(path, "-traces-") {
			require.NoError(t, os.Truncate(path, 50))
			damaged++
		}
	}
	require.NoError(t, c.Up())
	guard, console := spooled(t, c, telemetry.ProtocolHTTP, dir)
	eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool empties")
	h := guard.Health()
	require.EqualValues(t, 10, h.Traces.DroppedBy["spool_corrupt"])
	require.EqualValues(t, 10, h.Logs.Exported)
	require.Error(t, h.Traces.LastError)
	require.Contains(t, console.String(), "unreadable and was moved to")
	require.Len(t, spoolFiles(t, dir), damaged)
}

func TestAnUnwritableSpoolDoesNotDisturbTheService(t *testing.T) {
	c := otlptest.New(t)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, c.Down())
	guard, console := spooled(t, c, telemetry.ProtocolHTTP, filepath.Join(file, "spool"))
	emit(guard, 0, 50)
	eventually(t, func() bool { return guard.Health().Traces.SpoolErrors > 0 }, "the failed writes are counted")
	require.Equal(t, 1, strings.Count(console.String(), "the spool cannot be written"))
	require.NoError(t, c.Up())
	require.NoError(t, guard.Shutdown(t.Context()))
	total := sum(t, guard)
	require.Equal(t, total.accepted, total.exported, "retried from memory")
	requireOnce(t, c, 50)
}

func TestDescribeShowsTheSpool(t *testing.T) {
	c, dir := otlptest.New(t), t.TempDir()
	t.Setenv("TELEMETRY_SPOOL_DIR", dir)
	guard, console := start(t, c, telemetry.WithProfile(telemetry.ProfileEdge))
	require.Regexp(t, "spool directory +"+dir+" +TELEMETRY_SPOOL_DIR", guard.Describe())
	require.Regexp(t, "spool bytes +67108864 +profile edge", guard.Describe())
	require.Contains(t, console.String(), dir+", at most 67108864 bytes")
	require.Contains(t, guard.Health().Logs.DroppedBy, "spool_full")

	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithSpool("", -1),
		telemetry.WithLogOutput(io.Discard))
	require.ErrorContains(t, err, "telemetry: WithSpool must not be empty; the option is ignored")
	require.ErrorContains(t, err, `telemetry: WithSpool("-1") must be a whole number of bytes, at least 1; the option is ignored`)
	require.True(t, guard.Health().Traces.On, "a wrong spool stops nothing")
	_ = guard.Shutdown(t.Context())
}

// What the collector refuses because of the credentials or the path waits on disk until that is
// corrected, for all signals.
func TestTheSpoolKeepsWhatIsRefusedForCredentialsOrPath(t *testing.T) {
	faults := map[telemetry.Protocol][]otlptest.Fault{
		telemetry.ProtocolHTTP: {{HTTPStatus: 401}, {HTTPStatus: 403}, {HTTPStatus: 404}, {HTTPStatus: 405},
			{HTTPStatus: 407}},
		telemetry.ProtocolGRPC: {{GRPCCode: grpccodes.Unauthenticated}, {GRPCCode: grpccodes.PermissionDenied},
			{GRPCCode: grpccodes.Unimplemented}},
	}
	for _, protocol := range protocols {
		for _, fault := range faults[protocol] {
			t.Run(fmt.Sprintf("%s %d %v", protocol, fault.HTTPStatus, fault.GRPCCode), func(t *testing.T) {
				t.Setenv("TELEMETRY_PROBE", "false") // its line would come first
				c := otlptest.New(t)
				c.SetFault(fault)
				guard, log := spooled(t, c, protocol, t.TempDir())
				emit(guard, 0, 30)
				flushed(t, guard)
				h := sum(t, guard)
				require.Zero(t, h.lost)
				require.Equal(t, h.accepted, h.spooled)
				require.Contains(t, log.String(), "cannot be delivered", "it is said all the same")

				c.SetFault(otlptest.Fault{})
				emit(guard, 30, 1)
				flushed(t, guard)
				eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool is empty")
				requireOnce(t, c, 31)
				require.NoError(t, guard.Shutdown(t.Context()))
				require.Zero(t, sum(t, guard).lost)
			})
		}
	}
}

// What it refuses because of the data is lost and counted, as without a spool.
func TestTheSpoolDoesNotKeepWhatIsRefusedForItsData(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			c.SetFault(otlptest.Fault{HTTPStatus: 400, GRPCCode: grpccodes.InvalidArgument})
			guard, _ := spooled(t, c, protocol, t.TempDir())
			emit(guard, 0, 1)
			require.Error(t, guard.ForceFlush(t.Context()))
			h := sum(t, guard)
			require.Zero(t, h.spooled)
			require.Equal(t, h.accepted, h.lost)
		})
	}
}

// An untrusted certificate is handled the same way: the authority's file may be the wrong one.
func TestTheSpoolKeepsWhatAnUntrustedCertificateStops(t *testing.T) {
	ours, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	theirs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			authority := filepath.Join(t.TempDir(), "ca.pem")
			use := func(from string) {
				pem, err := os.ReadFile(from)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(authority, pem, 0o600))
			}
			use(theirs.CAFile)
			t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority)
			c := otlptest.New(t, otlptest.WithTLS(ours.Server))
			guard, _ := spooled(t, c, protocol, t.TempDir())
			emit(guard, 0, 3)
			flushed(t, guard)
			h := sum(t, guard)
			require.Zero(t, h.lost)
			require.Equal(t, h.accepted, h.spooled)

			use(ours.CAFile)
			require.Eventually(t, func() bool {
				emit(guard, 3, 1)
				flushed(t, guard)
				return sum(t, guard).spooled == 0
			}, 20*time.Second, 100*time.Millisecond)
			require.Subset(t, spanNames(c), []string{"item 0", "item 1", "item 2"})
			require.Subset(t, logBodies(c), []string{"item 0", "item 1", "item 2"})
		})
	}
}

// emit makes n items of each signal, numbered from first.
func emit(g *telemetry.Guard, first, n int) {
	for i := first; i < first+n; i++ {
		record(context.Background(), g, fmt.Sprint("item ", i))
	}
}

// sums are the health of all signals together.
type sums struct{ accepted, recovered, exported, lost, queued, spooled int64 }

// sum checks the identity of each signal and returns the totals. The guard must be idle.
func sum(t *testing.T, g *telemetry.Guard) sums {
	t.Helper()
	requireBalanced(t, g)
	var total sums
	for _, s := range healthBySignal(g) {
		for _, n := range []int64{s.Accepted, s.Recovered, s.Exported, s.Lost(), s.Queued, s.Spooled} {
			require.GreaterOrEqual(t, n, int64(0), "%+v", s)
		}
		total.accepted += s.Accepted
		total.recovered += s.Recovered
		total.exported += s.Exported
		total.lost += s.Lost()
		total.queued += s.Queued
		total.spooled += s.Spooled
	}
	return total
}

// arrived counts the spans, data points and log records that the collector took.
func arrived(c *otlptest.Collector) int64 {
	n := len(c.Spans()) + len(c.LogRecords())
	for _, m := range c.Metrics() {
		n += len(m.Points)
	}
	return int64(n)
}

// requireOnce checks that the spans and log records of emit have arrived, each once.
func requireOnce(t *testing.T, c *otlptest.Collector, n int) {
	t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint("item ", i))
	}
	require.ElementsMatch(t, want, spanNames(c))
	require.ElementsMatch(t, want, logBodies(c))
	for _, name := range want {
		require.Contains(t, metricNames(c), strings.ReplaceAll(name, " ", "."))
	}
}

func eventually(t *testing.T, until func() bool, what string) {
	t.Helper()
	require.Eventually(t, until, 10*time.Second, 5*time.Millisecond, what)
}
