package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
)

// startTimeout limits how long a service takes to get ready, and stopTimeout how long it takes to
// stop: draining and telemetry take at most 10 s each.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
)

// process is one service that this program has started.
type process struct {
	name    string
	addr    string // where it listens
	closing *platform.Closing
	cpu     time.Duration // user and system

	cmd    *exec.Cmd
	stdin  io.Closer
	ready  chan string
	ended  chan struct{} // closed when the process has exited; closing and cpu are then set
	err    error         // how it ended
	stderr *tail
}

// overGRPC reports whether the service is probed over gRPC.
func (p *process) overGRPC() bool { return p.name == "payment" || p.name == "inventory" }

// startProcess starts this program as a single service and waits until it is ready.
func startProcess(ctx context.Context, name string, env []string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, ready: make(chan string, 1), ended: make(chan struct{}), stderr: &tail{}}
	p.cmd = exec.Command(self, "-service", name, "-attached")
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = ownGroup() // only this process gets Ctrl-C; it stops the others in order
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go p.listen(stdout)

	select {
	case p.addr = <-p.ready:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("%s ended before it was ready: %w\n%s", name, p.err, p.stderr)
	case <-time.After(startTimeout):
		err = fmt.Errorf("%s is not ready after %v", name, startTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	_, stopErr := p.stop()
	return nil, errors.Join(err, stopErr)
}

// listen reads the service's events until it exits.
func (p *process) listen(stdout io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event platform.Event
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		switch event.Event {
		case "ready":
			p.ready <- event.Addr
		case "stopped":
			p.closing = event.Closing
		}
	}
	_, _ = io.Copy(io.Discard, stdout)
	p.err = p.cmd.Wait()
	p.cpu = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// stop works like an orchestrator: it sends SIGTERM, then SIGKILL after a timeout. It returns the
// service's final report.
func (p *process) stop() (*platform.Closing, error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return nil, fmt.Errorf("%s did not stop within %v and was killed", p.name, stopTimeout)
	}
	_ = p.stdin.Close()
	if p.err != nil {
		return p.closing, fmt.Errorf("%s: %w\n%s", p.name, p.err, p.stderr)
	}
	if p.closing == nil {
		return nil, fmt.Errorf("%s ended without a last word\n%s", p.name, p.stderr)
	}
	return p.closing, nil
}

// tail keeps the last log lines of a service, in case it fails. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
