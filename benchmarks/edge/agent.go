package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fleetotel/telemetry/benchmarks/internal/child"
	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
	"github.com/fleetotel/telemetry/examples/edge-agent/host"
)

// program is one of the two agents, built.
type program struct {
	name string
	ours bool
	path string
	size int64
}

// buildAll builds the agents as their users would: neither holds what only the other needs.
func buildAll(dir string) ([]program, error) {
	const root = "github.com/fleetotel/telemetry/"
	var all []program
	for _, p := range []struct{ name, pkg string }{{"stock", root + "benchmarks/edge/stock"},
		{"ours", root + "examples/edge-agent"}} {
		path := filepath.Join(dir, p.name)
		if said, err := exec.Command("go", "build", "-o", path, p.pkg).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s (run this with go run -C benchmarks ./edge): %w: %s", p.pkg, err, said)
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		all = append(all, program{p.name, p.name == "ours", path, info.Size()})
	}
	return all, nil
}

// agent is one of them, running.
type agent struct {
	program   program
	collector string
	spool     string

	cmd     *exec.Cmd
	read    chan struct{} // closed when all it printed has been read
	samples []usage.Process
	cpu     time.Duration
	held    files

	mu   sync.Mutex
	last host.Memory // what it said last
}

func (a *agent) start(endpoint string, s settings) error {
	args := []string{"-scan", s.scan.String(), "-full", fmt.Sprint(s.full)}
	if a.program.ours {
		args = append(args, "-serve", "-json", "-spool", a.spool)
	}
	a.cmd = exec.Command(a.program.path, args...)
	a.cmd.Env = append(child.Environment(), "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint, "GOMEMLIMIT="+s.memoryLimit)
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := a.cmd.Start(); err != nil {
		return err
	}
	a.read = make(chan struct{})
	go func() {
		defer close(a.read)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var said struct{ Memory *host.Memory }
			if json.Unmarshal(lines.Bytes(), &said) == nil && said.Memory != nil {
				a.mu.Lock()
				a.last = *said.Memory
				a.mu.Unlock()
			}
		}
	}()
	return nil
}

func (a *agent) memory() host.Memory {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

func (a *agent) sample() { a.samples = append(a.samples, usage.Of(a.cmd.Process.Pid)) }

// stop ends the agent in order, and notes what it has used and left.
func (a *agent) stop() (err error) {
	if a.held, err = filesIn(a.spool); err != nil {
		return err
	}
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-a.read
	err = a.cmd.Wait()
	a.cpu = a.cmd.ProcessState.UserTime() + a.cmd.ProcessState.SystemTime()
	return err
}

// kill ends it if it has not ended.
func (a *agent) kill() {
	if a.cmd.ProcessState == nil {
		_ = a.cmd.Process.Kill()
		<-a.read
		_ = a.cmd.Wait()
	}
}

// files is what a spool holds.
type files struct {
	files int
	bytes int64
}

func filesIn(dir string) (f files, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || filepath.Ext(path) != ".otlp" {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil // sent meanwhile
		}
		f.files, f.bytes = f.files+1, f.bytes+info.Size()
		return nil
	})
	return f, err
}
