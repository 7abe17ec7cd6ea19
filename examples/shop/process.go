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

// startTimeout is how long a service may take until it is ready, and stopTimeout until it has stopped: draining and
// telemetry take 10 s each at most.
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
	ended  chan struct{} // the process is gone, closing and cpu are set
	err    error         // how it ended
	stderr *tail
}

// overGRPC says whether it is probed over gRPC.
func (p *process) overGRPC() bool { return p.name == "payment" || p.name == "inventory" }

// startProcess starts this program as one service and waits until it is ready.
func startProcess(ctx context.Context, name string, env []string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, ready: make(chan string, 1), ended: make(chan struct{}), stderr: &tail{}}
	p.cmd = exec.Command(self, "-service", name, "-attached")
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = ownGroup() // Ctrl-C is for this process alone, which stops the others in order
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

// listen reads what the service says until it ends.
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

// stop is what an orchestrator does: SIGTERM, and SIGKILL for those who do not listen. It returns the service's last
// word.
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

// tail keeps the last lines of what a service logs, for the case that it fails. It is safe for concurrent use.
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
