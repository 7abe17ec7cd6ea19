package platform

import (
	"bytes"
	"fmt"
	"os"
)

// peakMemory is the peak resident memory of this process in bytes, or 0 without /proc. The figure
// that wait gives its parent is not usable, because it starts with the parent's own.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	var kib int64
	if _, err := fmt.Sscan(string(rest[:min(len(rest), 32)]), &kib); err != nil {
		return 0
	}
	return kib << 10
}
