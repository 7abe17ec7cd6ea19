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
	u := usage{cpu: state.UserTime() + state.SystemTime()}
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.rss = int64(r.Maxrss)
		if runtime.GOOS != "darwin" { // which counts bytes, where the others count KiB
			u.rss <<= 10
		}
	}
	return u
}
