package platform

import (
	"bytes"
	"fmt"
	"os"
)

// peakMemory is the greatest resident memory of this process in bytes, 0 where /proc does not say. The figure that wait
// gives its parent would be no use: it starts with the parent's own.
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
