//go:build unix

package main

import "syscall"

// ownGroup starts a process outside the terminal's foreground group, to which Ctrl-C is sent.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
