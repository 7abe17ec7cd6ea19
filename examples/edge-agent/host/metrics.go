package host

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/systemconv"
)

// gauges are the instruments. Their names, units and attributes are those of the semantic
// conventions for system metrics. Utilizations are fractions from 0 to 1, so they are floats; the
// generated instruments are integers.
type gauges struct {
	cpuTime        systemconv.CPUTime
	cpuUtilization metric.Float64ObservableGauge
	memoryUsage    systemconv.MemoryUsage
	memoryShare    metric.Float64ObservableGauge
	filesystem     systemconv.FilesystemUsageObservable
	filesystemUsed metric.Float64ObservableGauge
	diskIO         systemconv.DiskIOObservable
	networkIO      systemconv.NetworkIO

	mu   sync.Mutex
	last cpuTimes // at the last collection
}

// observe registers the instruments with one callback, so that a collection reads each value only
// once.
func observe(meter metric.Meter) (metric.Registration, error) {
	var g gauges
	var errs [9]error
	utilization := func(name, what string) (metric.Float64ObservableGauge, error) {
		return meter.Float64ObservableGauge(name, metric.WithUnit("1"), metric.WithDescription(what))
	}
	g.cpuTime, errs[0] = systemconv.NewCPUTime(meter)
	g.cpuUtilization, errs[1] = utilization(systemconv.CPUUtilization{}.Name(),
		"Share of the time that all logical CPUs together spent in each mode since the last collection.")
	g.memoryUsage, errs[2] = systemconv.NewMemoryUsage(meter)
	g.memoryShare, errs[3] = utilization(systemconv.MemoryUtilization{}.Name(), "Share of the memory in each state.")
	g.filesystem, errs[4] = systemconv.NewFilesystemUsageObservable(meter)
	g.filesystemUsed, errs[5] = utilization(systemconv.FilesystemUtilization{}.Name(),
		"Used share of what ordinary users may use.")
	g.diskIO, errs[6] = systemconv.NewDiskIOObservable(meter)
	g.networkIO, errs[7] = systemconv.NewNetworkIO(meter)
	g.last, errs[8] = readCPU()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("observe the host: %w", err)
	}
	return meter.RegisterCallback(g.collect, g.cpuTime.Inst(), g.cpuUtilization, g.memoryUsage.Inst(), g.memoryShare,
		g.filesystem.Inst(), g.filesystemUsed, g.diskIO.Inst(), g.networkIO.Inst())
}

// collect reads the host. Values that cannot be read are omitted and named in the error.
func (g *gauges) collect(_ context.Context, o metric.Observer) error {
	return errors.Join(g.collectCPU(o), g.collectMemory(o), g.collectFilesystems(o), g.collectDisks(o),
		g.collectNetwork(o))
}

func (g *gauges) collectCPU(o metric.Observer) error {
	now, err := readCPU()
	if err != nil {
		return err
	}
	g.mu.Lock()
	shares, passed := now.sharesSince(g.last)
	g.last = now
	g.mu.Unlock()
	for i, mode := range modes {
		in := metric.WithAttributes(g.cpuTime.AttrCPUMode(mode))
		o.ObserveFloat64(g.cpuTime.Inst(), now[i], in)
		if passed {
			o.ObserveFloat64(g.cpuUtilization, shares[i], in)
		}
	}
	return nil
}

func (g *gauges) collectMemory(o metric.Observer) error {
	m, err := readMemory()
	if err != nil {
		return err
	}
	all := m.used + m.free + m.buffers + m.cached
	for state, n := range map[systemconv.MemoryStateAttr]uint64{
		systemconv.MemoryStateUsed: m.used, systemconv.MemoryStateFree: m.free,
		systemconv.MemoryStateBuffers: m.buffers, systemconv.MemoryStateCached: m.cached,
	} {
		in := metric.WithAttributes(g.memoryUsage.AttrMemoryState(state))
		o.ObserveInt64(g.memoryUsage.Inst(), signed(n), in)
		o.ObserveFloat64(g.memoryShare, share(n, all-n), in)
	}
	return nil
}

func (g *gauges) collectFilesystems(o metric.Observer) error {
	all, err := readFilesystems() // with an error, the readable ones
	for _, f := range all {
		of := []attribute.KeyValue{
			g.filesystem.AttrDevice(f.device), g.filesystem.AttrFilesystemMountpoint(f.mountpoint),
			g.filesystem.AttrFilesystemMode(f.mode), semconv.SystemFilesystemTypeKey.String(f.kind),
		}
		for state, n := range map[systemconv.FilesystemStateAttr]uint64{
			systemconv.FilesystemStateUsed: f.used, systemconv.FilesystemStateFree: f.free,
			systemconv.FilesystemStateReserved: f.reserved,
		} {
			o.ObserveInt64(g.filesystem.Inst(), signed(n), metric.WithAttributes(of...),
				metric.WithAttributes(g.filesystem.AttrFilesystemState(state)))
		}
		o.ObserveFloat64(g.filesystemUsed, f.utilization(), metric.WithAttributes(of...))
	}
	return err
}

func (g *gauges) collectDisks(o metric.Observer) error {
	all, err := readDisks()
	for _, d := range all {
		device := g.diskIO.AttrDevice(d.name)
		o.ObserveInt64(g.diskIO.Inst(), signed(d.in),
			metric.WithAttributes(device, g.diskIO.AttrDiskIODirection(systemconv.DiskIODirectionRead)))
		o.ObserveInt64(g.diskIO.Inst(), signed(d.out),
			metric.WithAttributes(device, g.diskIO.AttrDiskIODirection(systemconv.DiskIODirectionWrite)))
	}
	return err
}

func (g *gauges) collectNetwork(o metric.Observer) error {
	all, err := readInterfaces()
	for _, i := range all {
		name := semconv.NetworkInterfaceName(i.name)
		o.ObserveInt64(g.networkIO.Inst(), signed(i.in),
			metric.WithAttributes(name, g.networkIO.AttrNetworkIODirection(systemconv.NetworkIODirectionReceive)))
		o.ObserveInt64(g.networkIO.Inst(), signed(i.out),
			metric.WithAttributes(name, g.networkIO.AttrNetworkIODirection(systemconv.NetworkIODirectionTransmit)))
	}
	return err
}
