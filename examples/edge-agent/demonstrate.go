package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

const (
	// phase is how long each part of the demonstration takes.
	phase = 3 * time.Second
	// patience limits the wait for events that take some tenths of a second.
	patience = 30 * time.Second
)

// stage is a demonstration: a collector, a spool, and the agents that use them one after another.
type stage struct {
	out       io.Writer
	began     time.Time
	collector *otlptest.Collector
	spool     string
	running   *agent
}

// story records the events that only the stage knows.
type story struct {
	killedPID  int
	killedMade int                // scans that the killed agent made
	arrived    signals            // before the collector went down
	cut        map[string]spooled // on disk when the agent was killed
	resident   uint64             // memory of the second agent
	books      books              // of the second agent
}

// demonstrate runs the story and reports what arrived.
func demonstrate(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "edge-agent-")
	if err != nil {
		return fmt.Errorf("make a directory for the spool: %w", err)
	}
	defer os.RemoveAll(dir)
	collector, err := otlptest.Start()
	if err != nil {
		return err
	}
	defer collector.Close()
	s := &stage{out: out, began: time.Now(), collector: collector, spool: filepath.Join(dir, "spool")}
	defer func() {
		if s.running != nil {
			s.running.kill()
		}
	}()
	told, err := s.play(ctx)
	if err != nil {
		return err
	}
	return told.report(out, collector)
}

// play runs an outage with a power cut in the middle.
func (s *stage) play(ctx context.Context) (told story, err error) {
	s.say("a collector listens at %s", s.collector.HTTPEndpoint())
	if err := s.start("it delivers"); err != nil {
		return told, err
	}
	if err := s.pass(ctx, phase); err != nil {
		return told, err
	}
	if err := s.collector.Down(); err != nil {
		return told, err
	}
	told.arrived = count(s.collector)
	s.say("the collector goes away; %s have arrived", told.arrived)
	if err := s.pass(ctx, phase); err != nil {
		return told, err
	}
	if err := s.until(ctx, "something of each signal is on disk", func() bool {
		held, err := inSpool(s.spool)
		return err == nil && len(held) == 3
	}); err != nil {
		return told, err
	}

	s.running.kill()
	told.killedPID, told.killedMade = s.running.pid(), s.running.made()
	if told.cut, err = inSpool(s.spool); err != nil {
		return told, err
	}
	s.say("the power fails: kill -9; %s are on disk", itemsOf(told.cut))
	if err := s.start("the collector is still away"); err != nil {
		return told, err
	}
	if err := s.pass(ctx, phase); err != nil {
		return told, err
	}
	if err := s.collector.Up(); err != nil {
		return told, err
	}
	s.say("the collector is back")
	if err := s.until(ctx, "the spool is empty", func() bool {
		held, err := inSpool(s.spool)
		return err == nil && len(held) == 0
	}); err != nil {
		return told, err
	}
	s.say("the spool is empty, live data goes on")
	if err := s.pass(ctx, phase/3); err != nil {
		return told, err
	}
	told.resident = s.running.resident()
	told.books, err = s.running.stop()
	s.say("SIGTERM: the agent has flushed and ended")
	s.running = nil
	return told, err
}

func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%6.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *stage) start(what string) (err error) {
	s.running, err = startAgent(s.collector.HTTPEndpoint(), s.spool)
	if err == nil {
		s.say("agent %d starts; %s", s.running.pid(), what)
	}
	return err
}

// pass waits for d, or until ctx ends.
func (s *stage) pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupted after %.1f s", time.Since(s.began).Seconds())
	}
}

// until waits for what must come soon.
func (s *stage) until(ctx context.Context, what string, there func() bool) error {
	for end := time.Now().Add(patience); !there(); {
		if time.Now().After(end) {
			return fmt.Errorf("after %v it is still not so that %s", patience, what)
		}
		if err := s.pass(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
