//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// ownGroup starts a process outside the terminal's foreground group, to which Ctrl-C is sent.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func usageOf(state *os.ProcessState) usage {
	u := usage{CPU: state.UserTime() + state.SystemTime()}
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.RSS = int64(r.Maxrss)
		if runtime.GOOS != "darwin" { // which counts bytes, where the others count KiB
			u.RSS <<= 10
		}
	}
	return u
}
