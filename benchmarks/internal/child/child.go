// Package child runs parts of a benchmark in processes of their own, so that the processor time and
// the memory of the process under test are its alone. A child is the same program once more; the
// two talk JSON lines over its standard input and output.
package child

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// roleVariable tells a process that it is a child, and which part it plays.
const roleVariable = "BENCHMARK_ROLE"

// killAfter is how long Stop waits for a child to end by itself.
const killAfter = 15 * time.Second

// Pipe is one end of the conversation. It is not safe for concurrent use.
type Pipe struct {
	dec *json.Decoder
	enc *json.Encoder
}

// Receive reads the next message; io.EOF means that the other end is gone.
func (p *Pipe) Receive(message any) error { return p.dec.Decode(message) }

// Send writes a message.
func (p *Pipe) Send(message any) error { return p.enc.Encode(message) }

// Ask sends a message and receives the answer.
func (p *Pipe) Ask(question, answer any) error {
	if err := p.Send(question); err != nil {
		return err
	}
	return p.Receive(answer)
}

// Main plays the role that this process was started for and exits, or returns at once if it is no
// child. Call it first in main.
func Main(roles map[string]func(*Pipe) error) {
	role := os.Getenv(roleVariable)
	if role == "" {
		return
	}
	play, ok := roles[role]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", role)
		os.Exit(2)
	}
	err := play(&Pipe{json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)})
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Process is a running child.
type Process struct {
	Pipe
	cmd   *exec.Cmd
	stdin io.Closer
}

// Start runs this program once more in the given role, with none of the variables that configure
// telemetry.
func Start(role string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(Environment(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return &Process{Pipe{json.NewDecoder(stdout), json.NewEncoder(stdin)}, cmd, stdin}, nil
}

// Stop ends the child by closing its input, and after a while by force.
func (p *Process) Stop() error {
	_ = p.stdin.Close()
	force := time.AfterFunc(killAfter, func() { _ = p.cmd.Process.Kill() })
	defer force.Stop()
	return p.cmd.Wait()
}

// Environment is that of this process without what would configure one side of a comparison and not
// the other.
func Environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "OTEL_") && !strings.HasPrefix(name, "TELEMETRY_") && name != "LOG_LEVEL" {
			kept = append(kept, entry)
		}
	}
	return kept
}
