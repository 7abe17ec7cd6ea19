//go:build unix

package main

import "syscall"

// ownGroup starts a process outside the terminal's foreground group, so that it does not get
// Ctrl-C.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
