package sampling

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Config configures a Sampler. The zero value of a field is its default.
type Config struct {
	TracesPerSecond float64       // kept by the head, per process: 50
	SlowThreshold   time.Duration // of a local root: 1 s; negative: off
	HeadOnly        bool          // no tail
	Rules           []Rule
	Untrusted       func(context.Context) bool // nil: every caller is trusted

	RemoteTracesPerSecond  float64 // that all sampled callers together can force: 4 × TracesPerSecond
	TailTracesPerSecond    float64 // kept by the tail: 10 × TracesPerSecond, and a burst of 10 s of it
	HeldBytes              int64   // by each tail: 16 MiB
	RecordedSpansPerSecond float64 // only for the tail: 20,000, and a burst of 5 s of it

	// For tests.
	seed uint64               // 0: random
	now  func() time.Duration // nil: the clock, and a goroutine that ticks
}

// DefaultTracesPerSecond is the target if none is set.
const DefaultTracesPerSecond = 50

const (
	defaultSlow          = time.Second
	defaultRemoteFactor  = 4
	defaultTailFactor    = 10
	defaultHeldBytes     = 16 << 20
	defaultRecordedSpans = 20_000
	// defaultFairness is the share of the target that is divided evenly, see allocate.
	defaultFairness = 0.5

	maxTarget    = 1e6
	minHeldBytes = 64 << 10
	// maxSlow is the longest SlowThreshold: a trace is held at least as long as it takes to be
	// slow.
	maxSlow = 10 * time.Minute
)

// Validate returns an error that names everything out of range, or nil.
func (c Config) Validate() error {
	c, err := c.complete()
	_, rulesErr := compileRules(c.Rules, func() time.Duration { return 0 })
	return errors.Join(err, rulesErr)
}

// complete fills in the defaults, and returns an error that names everything out of range.
func (c Config) complete() (Config, error) {
	var errs []error
	rate := func(name string, value *float64, standard float64) {
		if *value == 0 {
			*value = standard
		}
		if !(*value > 0 && *value <= maxTarget) {
			errs = append(errs, fmt.Errorf("%s is %v; it must be more than 0 and at most %v, or 0 for %v",
				name, *value, float64(maxTarget), standard))
		}
	}
	rate("TracesPerSecond", &c.TracesPerSecond, DefaultTracesPerSecond)
	target := c.TracesPerSecond
	if errs != nil {
		target = DefaultTracesPerSecond // what follows from a wrong value is not wrong by itself
	}
	rate("RemoteTracesPerSecond", &c.RemoteTracesPerSecond, min(defaultRemoteFactor*target, maxTarget))
	rate("TailTracesPerSecond", &c.TailTracesPerSecond, min(defaultTailFactor*target, maxTarget))
	rate("RecordedSpansPerSecond", &c.RecordedSpansPerSecond, defaultRecordedSpans)
	if c.SlowThreshold == 0 {
		c.SlowThreshold = defaultSlow
	}
	if c.HeldBytes == 0 {
		c.HeldBytes = defaultHeldBytes
	}
	if c.HeldBytes < minHeldBytes {
		errs = append(errs, fmt.Errorf("HeldBytes is %d; it must be at least %d, or 0 for %d", c.HeldBytes,
			minHeldBytes, defaultHeldBytes))
	}
	slow := c.SlowThreshold
	for _, r := range c.Rules {
		slow = max(slow, r.SlowThreshold)
	}
	if slow > maxSlow {
		errs = append(errs, fmt.Errorf("SlowThreshold is %v; it must be at most %v", slow, maxSlow))
	}
	if c.seed == 0 {
		c.seed = rand.Uint64()
	}
	return c, errors.Join(errs...)
}

// hold is how long a tail holds a trace whose local root does not end. It is long enough for the
// longest SlowThreshold.
func (c *Config) hold() time.Duration {
	hold := max(minHold, c.SlowThreshold)
	for _, r := range c.Rules {
		hold = max(hold, r.SlowThreshold)
	}
	return hold
}
