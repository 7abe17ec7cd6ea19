package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// delays keep the demonstration short: the profile's are 15 s and 60 s. As in the profile, scans
// are further apart than a batch may wait, so that each scan has its own request.
var delays = []string{
	"OTEL_BSP_SCHEDULE_DELAY=200", "OTEL_BLRP_SCHEDULE_DELAY=200", "OTEL_METRIC_EXPORT_INTERVAL=500",
}

const scanEvery = 500 * time.Millisecond

// agent is an agent in a separate process.
type agent struct {
	cmd *exec.Cmd
	log bytes.Buffer // its console log, complete when it has exited

	mu    sync.Mutex
	scans int // made so far
	books *books

	read chan struct{} // closed when all its output has been read
}

// startAgent starts this program again as an agent. Everything counts as notable, so that there are
// log records to lose.
func startAgent(endpoint, spool string, env ...string) (*agent, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a := &agent{read: make(chan struct{})}
	a.cmd = exec.Command(self, "-serve", "-json", "-scan", scanEvery.String(), "-full", "0", "-spool", spool)
	a.cmd.Env = append(append(os.Environ(), delays...), "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint)
	a.cmd.Env = append(a.cmd.Env, env...)
	a.cmd.Stderr = &a.log
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	go func() {
		defer close(a.read)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var l line
			if json.Unmarshal(lines.Bytes(), &l) == nil {
				a.hear(l)
			}
		}
	}()
	return a, nil
}

func (a *agent) hear(l line) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.Scan != nil {
		a.scans = l.Scan.Number
	}
	if l.Books != nil {
		a.books = l.Books
	}
}

func (a *agent) made() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.scans
}

func (a *agent) pid() int { return a.cmd.Process.Pid }

// resident is its resident memory in bytes, or 0 if the system does not report it.
func (a *agent) resident() uint64 {
	p, err := process.NewProcess(int32(a.pid()))
	if err != nil {
		return 0
	}
	m, err := p.MemoryInfo()
	if err != nil {
		return 0
	}
	return m.RSS
}

// kill ends the agent like a power cut, without a signal it could handle.
func (a *agent) kill() {
	_ = a.cmd.Process.Kill()
	<-a.read
	_ = a.cmd.Wait()
}

// stop shuts the agent down and returns its counts.
func (a *agent) stop() (books, error) {
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return books{}, err
	}
	<-a.read
	if err := a.cmd.Wait(); err != nil {
		return books{}, fmt.Errorf("the agent: %w\n%s", err, a.log.Bytes())
	}
	if a.books == nil {
		return books{}, fmt.Errorf("the agent %d did not print its books", a.pid())
	}
	return *a.books, nil
}

// spooled is what a spool directory contains for one signal.
type spooled struct {
	files, items, bytes int
}

// inSpool counts a directory's contents by signal from the file names:
// <time>-<random>-<signal>-<items>.otlp
func inSpool(dir string) (map[string]spooled, error) {
	held := map[string]spooled{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return ifExists(err)
		}
		parts := strings.Split(strings.TrimSuffix(entry.Name(), ".otlp"), "-")
		if filepath.Ext(path) != ".otlp" || strings.HasPrefix(entry.Name(), ".") || len(parts) != 4 {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return ifExists(err) // sent in the meantime
		}
		items, err := strconv.Atoi(parts[3])
		if err != nil {
			return fmt.Errorf("spool file %s: %w", path, err)
		}
		s := held[parts[2]]
		held[parts[2]] = spooled{s.files + 1, s.items + items, s.bytes + int(info.Size())}
		return nil
	})
	return held, err
}

func ifExists(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
