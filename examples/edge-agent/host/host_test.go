package host

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") ||
			strings.HasPrefix(name, "TELEMETRY_") {
			_ = os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}

// observed runs do on an observed machine and returns the collector that all of it has reached.
func observed(t *testing.T, full float64, do func(*Host)) *otlptest.Collector {
	t.Helper()
	c := otlptest.New(t)
	guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("host"),
		telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithLogOutput(io.Discard), telemetry.WithoutRuntimeMetrics())
	require.NoError(t, err)
	h, err := Observe(full)
	require.NoError(t, err)
	do(h)
	require.NoError(t, guard.Shutdown(context.Background()))
	require.NoError(t, h.Close())
	return c
}

// points are the last data points of a metric, by the values of the given attributes.
func points(t *testing.T, c *otlptest.Collector, name, unit, kind string, attributes ...string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, m := range c.Metrics() {
		if m.Name != name {
			continue
		}
		require.Equal(t, []string{unit, kind}, []string{m.Unit, m.Kind}, name)
		for _, p := range m.Points {
			var parts []string
			for _, key := range attributes {
				value, ok := p.Attributes[key].(string)
				require.True(t, ok, "%s has %s: %v", name, key, p.Attributes)
				parts = append(parts, value)
			}
			require.Len(t, p.Attributes, len(attributes), "%s: %v", name, p.Attributes)
			values[strings.Join(parts, " ")] = p.Value
		}
	}
	return values
}

func sum(values map[string]float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

// The values that arrive are the system's, under the names of the semantic conventions.
func TestMachineIsReported(t *testing.T) {
	c := observed(t, 1, func(*Host) {
		// something to see in the processor times
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
		}
	})
	seconds := points(t, c, "system.cpu.time", "s", "sum", "cpu.mode")
	require.Len(t, seconds, 7)
	require.Positive(t, seconds["user"])
	after, err := cpu.Times(false)
	require.NoError(t, err)
	for mode, is := range map[string]float64{
		"user": after[0].User, "nice": after[0].Nice, "system": after[0].System, "idle": after[0].Idle,
		"interrupt": after[0].Irq + after[0].Softirq, "steal": after[0].Steal,
	} {
		require.InDelta(t, is, seconds[mode], 60, mode) // a minute of all processors since the collection
	}
	shares := points(t, c, "system.cpu.utilization", "1", "gauge", "cpu.mode")
	require.InDelta(t, 1, sum(shares), 1e-9)
	require.Positive(t, shares["user"]+shares["system"])

	total, err := mem.VirtualMemory()
	require.NoError(t, err)
	usage := points(t, c, "system.memory.usage", "By", "sum", "system.memory.state")
	require.Len(t, usage, 4)
	require.EqualValues(t, total.Total, sum(usage), "the states add up to the memory there is")
	require.InDelta(t, 1, sum(points(t, c, "system.memory.utilization", "1", "gauge", "system.memory.state")), 1e-9)

	labels := []string{"system.device", "system.filesystem.mode", "system.filesystem.mountpoint",
		"system.filesystem.type"}
	filesystems, err := readFilesystems()
	require.NoError(t, err)
	require.NotEmpty(t, filesystems)
	states := points(t, c, "system.filesystem.usage", "By", "sum", append(labels, "system.filesystem.state")...)
	used := points(t, c, "system.filesystem.utilization", "1", "gauge", labels...)
	for _, f := range filesystems {
		name := strings.Join([]string{f.device, f.mode, f.mountpoint, f.kind}, " ")
		is, err := disk.Usage(f.mountpoint)
		require.NoError(t, err)
		require.EqualValues(t, is.Total, states[name+" used"]+states[name+" free"]+states[name+" reserved"], name)
		require.InDelta(t, is.UsedPercent/100, used[name], 0.05, "as df sees it")
	}

	disks, err := readDisks()
	require.NoError(t, err)
	require.Len(t, points(t, c, "system.disk.io", "By", "sum", "system.device", "disk.io.direction"), 2*len(disks))
	interfaces, err := readInterfaces()
	require.NoError(t, err)
	carried := points(t, c, "system.network.io", "By", "sum", "network.interface.name", "network.io.direction")
	require.Len(t, carried, 2*len(interfaces))
	for _, i := range interfaces {
		require.LessOrEqual(t, carried[i.name+" receive"], float64(i.in))
		require.LessOrEqual(t, carried[i.name+" transmit"], float64(i.out))
		require.Positive(t, carried[i.name+" receive"]+carried[i.name+" transmit"])
	}
}

// With a bound of 0 everything is worth a record, and with 1 nothing is; a record belongs to the
// scan that made it.
func TestScan(t *testing.T) {
	var found Scan
	c := observed(t, 0, func(h *Host) {
		h.Scan(t.Context())
		found = h.Scan(t.Context())
	})
	filesystems, err := readFilesystems()
	require.NoError(t, err)
	require.Equal(t, Scan{Number: 2, Notable: len(filesystems) + 1}, found)
	require.Len(t, c.Spans(), 2)
	require.Len(t, c.LogRecords(), 2*found.Notable)
	byScan := map[string]int{}
	for _, r := range c.LogRecords() {
		byScan[r.SpanID]++
		require.Equal(t, "WARN", r.SeverityText)
	}
	for i, s := range c.Spans() {
		require.Equal(t, "scan", s.Name)
		require.EqualValues(t, i+1, s.Attributes["scan.number"])
		require.EqualValues(t, found.Notable, s.Attributes["scan.notable"])
		require.Equal(t, found.Notable, byScan[s.SpanID])
	}

	c = observed(t, 1, func(h *Host) { found = h.Scan(t.Context()) })
	require.Equal(t, Scan{Number: 1}, found)
	require.Empty(t, c.LogRecords())
	require.Len(t, c.Spans(), 1)
}

func TestRunScansUntilTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var numbers []int
	c := observed(t, 1, func(h *Host) {
		h.Run(ctx, time.Millisecond, func(s Scan) {
			if numbers = append(numbers, s.Number); s.Number == 3 {
				cancel()
			}
		})
	})
	require.GreaterOrEqual(t, len(numbers), 3)
	require.Len(t, c.Spans(), len(numbers))
}

func TestObserveRefusesWhatIsNoShare(t *testing.T) {
	for _, full := range []float64{-0.1, 1.1} {
		_, err := Observe(full)
		require.ErrorContains(t, err, "want 0 to 1")
	}
}

func TestSharesOfProcessorTime(t *testing.T) {
	before := cpuTimes{10, 0, 5, 100, 7, 0, 0}
	shares, ok := cpuTimes{11, 0, 6, 102, 6, 0, 0}.sharesSince(before)
	require.True(t, ok)
	require.Equal(t, [len(modes)]float64{0.25, 0, 0.25, 0.5, 0, 0, 0}, shares, "iowait ran backwards")
	_, ok = before.sharesSince(before)
	require.False(t, ok, "no time, no share")
}

func TestMemoryOfThisProcess(t *testing.T) {
	m := ReadMemory()
	require.Positive(t, m.Runtime)
	require.Less(t, m.Live, m.Runtime)
}
