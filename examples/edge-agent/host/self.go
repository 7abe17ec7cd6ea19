package host

import "runtime/metrics"

// Memory is the memory that this process's Go runtime uses, in bytes.
type Memory struct {
	Live    uint64 `json:"live"`    // heap that the last garbage collection found in use
	Runtime uint64 `json:"runtime"` // mapped and not given back: what GOMEMLIMIT limits
}

// ReadMemory is cheap: it neither collects garbage nor stops the world.
func ReadMemory() *Memory {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 { return samples[i].Value.Uint64() }
	return &Memory{Live: value(0), Runtime: value(1) - value(2)}
}
