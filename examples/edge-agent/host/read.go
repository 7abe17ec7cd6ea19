package host

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
	"go.opentelemetry.io/otel/semconv/v1.43.0/systemconv"
)

// modes are the modes of a processor, in the order of cpuTimes.
var modes = [...]systemconv.CPUModeAttr{
	systemconv.CPUModeUser, systemconv.CPUModeNice, systemconv.CPUModeSystem, systemconv.CPUModeIdle,
	systemconv.CPUModeIOWait, systemconv.CPUModeInterrupt, systemconv.CPUModeSteal,
}

// cpuTimes are seconds since the host started, summed over all processors.
type cpuTimes [len(modes)]float64

func readCPU() (cpuTimes, error) {
	all, err := cpu.Times(false)
	if err != nil || len(all) == 0 {
		return cpuTimes{}, fmt.Errorf("processor times: %w", cmp.Or(err, errNothing))
	}
	t := all[0]
	// The time of a guest is already included in user and nice.
	return cpuTimes{t.User, t.Nice, t.System, t.Idle, t.Iowait, t.Irq + t.Softirq, t.Steal}, nil
}

var errNothing = errors.New("the system names none")

// sharesSince is the share of the time that was spent in each mode since before, 0 to 1; false if
// no time has passed. A mode that runs backwards, as the kernel's iowait may, has spent none.
func (t cpuTimes) sharesSince(before cpuTimes) (shares [len(modes)]float64, ok bool) {
	total := 0.0
	for i := range t {
		shares[i] = max(t[i]-before[i], 0)
		total += shares[i]
	}
	for i := range shares {
		shares[i] /= total
	}
	return shares, total > 0
}

// memory describes the main memory, in bytes. The four parts add up to all of it.
type memory struct{ used, free, buffers, cached uint64 }

func readMemory() (memory, error) {
	v, err := mem.VirtualMemory()
	if err != nil {
		return memory{}, fmt.Errorf("memory: %w", err)
	}
	m := memory{free: v.Free, buffers: v.Buffers, cached: v.Cached}
	m.used = v.Total - min(v.Total, m.free+m.buffers+m.cached)
	return m, nil
}

// utilization is the used share, 0 to 1.
func (m memory) utilization() float64 { return share(m.used, m.free+m.buffers+m.cached) }

func share(part, rest uint64) float64 {
	if part+rest == 0 {
		return 0
	}
	return float64(part) / float64(part+rest)
}

// filesystem is a mounted file system, in bytes.
type filesystem struct {
	device, mountpoint, kind, mode string
	used, free, reserved           uint64
}

// utilization is the used share of what ordinary users may use, 0 to 1, as df shows it.
func (f filesystem) utilization() float64 { return share(f.used, f.free) }

// readFilesystems reads the file systems that are on a device, each device once, because a
// container mounts the same one many times. Those that cannot be read are omitted and named in the
// error.
func readFilesystems() (all []filesystem, err error) {
	partitions, err := disk.Partitions(false)
	if err != nil {
		return nil, fmt.Errorf("file systems: %w", err)
	}
	slices.SortStableFunc(partitions, func(a, b disk.PartitionStat) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(len(a.Mountpoint), len(b.Mountpoint)))
	})
	partitions = slices.CompactFunc(partitions, func(a, b disk.PartitionStat) bool { return a.Device == b.Device })
	var errs []error
	for _, p := range partitions {
		usage, err := disk.Usage(p.Mountpoint)
		if err != nil {
			errs = append(errs, fmt.Errorf("file system %s: %w", p.Mountpoint, err))
			continue
		}
		f := filesystem{
			device: p.Device, mountpoint: p.Mountpoint, kind: p.Fstype, mode: "rw",
			used: usage.Used, free: usage.Free, reserved: usage.Total - min(usage.Total, usage.Used+usage.Free),
		}
		if slices.Contains(p.Opts, "ro") {
			f.mode = "ro"
		}
		all = append(all, f)
	}
	return all, errors.Join(errs...)
}

// traffic is what a disk or a network interface has transferred since the host started, in bytes.
type traffic struct {
	name    string
	in, out uint64 // read and written, received and transmitted
}

// readDisks skips devices that have never transferred anything, such as a kernel's spare loop
// devices.
func readDisks() (all []traffic, err error) {
	disks, err := disk.IOCounters()
	if err != nil {
		return nil, fmt.Errorf("disks: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(disks)) {
		if d := disks[name]; d.ReadBytes+d.WriteBytes > 0 {
			all = append(all, traffic{name, d.ReadBytes, d.WriteBytes})
		}
	}
	return all, nil
}

// readInterfaces skips interfaces that have never transferred anything.
func readInterfaces() (all []traffic, err error) {
	interfaces, err := net.IOCounters(true)
	if err != nil {
		return nil, fmt.Errorf("network interfaces: %w", err)
	}
	for _, i := range interfaces {
		if i.BytesRecv+i.BytesSent > 0 {
			all = append(all, traffic{i.Name, i.BytesRecv, i.BytesSent})
		}
	}
	return all, nil
}

// signed converts n to the type that OpenTelemetry's instruments take.
func signed(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
