// Package usage reads what a process and the machine have used. Memory and the machine's share are
// Linux's to tell; elsewhere they are zero.
package usage

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// CPU returns the user and system time of this process.
func CPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// RSS returns the resident memory of this process in bytes.
func RSS() int64 { return Of(os.Getpid()).RSS }

// Process is the memory of a process in bytes.
type Process struct {
	RSS       int64 // resident
	Anonymous int64 // of it, what is no page of a file: heap and stacks
}

// Of reads the memory of the process with this id.
func Of(pid int) Process {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return Process{}
	}
	return Process{RSS: sizeIn(status, "VmRSS:"), Anonymous: sizeIn(status, "RssAnon:")}
}

// sizeIn reads a line of /proc/self/status such as "VmRSS: 2048 kB".
func sizeIn(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			fields := bytes.Fields(value)
			if len(fields) == 2 {
				kib, _ := strconv.ParseInt(string(fields[0]), 10, 64)
				return kib << 10
			}
		}
	}
	return 0
}

// Machine is a reading of the time all processors have spent, by everybody.
type Machine struct{ busy, total int64 }

// ReadMachine returns the reading of this moment.
func ReadMachine() Machine {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Machine{}
	}
	return parseMachine(stat)
}

// parseMachine reads the first line of /proc/stat (proc(5)): user nice system idle iowait irq
// softirq steal, and guest times, which user and nice include.
func parseMachine(stat []byte) (m Machine) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return Machine{}
	}
	for i, field := range fields[1:9] {
		n, _ := strconv.ParseInt(string(field), 10, 64)
		m.total += n
		if i != 3 && i != 4 {
			m.busy += n
		}
	}
	return m
}

// BusySince returns the share of all processors that was in use between the two readings, from 0 to
// 1.
func (m Machine) BusySince(earlier Machine) float64 {
	if m.total <= earlier.total {
		return 0
	}
	return float64(m.busy-earlier.busy) / float64(m.total-earlier.total)
}
