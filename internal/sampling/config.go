package sampling

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Config says how to sample. The zero value of a field stands for its default.
type Config struct {
	TracesPerSecond        float64       // kept by the head, per process: 50
	SlowThreshold          time.Duration // of a local root: 1 s; negative: off
	HeadOnly               bool          // no tail
	Rules                  []Rule
	Untrusted              func(context.Context) bool // nil: every caller is trusted
	RemoteTracesPerSecond  float64                    // that sampled callers can force, all together: 4 × TracesPerSecond
	TailTracesPerSecond    float64                    // kept by the tail: 10 × TracesPerSecond, and a burst of 10 s of it
	HeldBytes              int64                      // by each tail: 16 MiB
	RecordedSpansPerSecond float64                    // for the tail's sake: 20,000, and a burst of 5 s of it
	Seed                   uint64                     // 0: random; tests repeat with a fixed one
	Now                    func() time.Duration       // nil: the clock, and a goroutine that ticks
}

// DefaultTracesPerSecond is the target where none is set.
const DefaultTracesPerSecond = 50

const (
	defaultSlow          = time.Second
	defaultRemoteFactor  = 4
	defaultTailFactor    = 10
	defaultHeldBytes     = 16 << 20
	defaultRecordedSpans = 20_000
	// defaultFairness is the share of the target that is dealt out evenly, see allocate.
	defaultFairness = 0.5

	maxTarget    = 1e6
	minHeldBytes = 64 << 10
	// maxSlow is the longest SlowThreshold: a trace is held at least as long as it takes to be slow.
	maxSlow = 10 * time.Minute
)

// Validate reports everything that is out of range, or nil.
func (c Config) Validate() error {
	c, err := c.complete()
	_, rulesErr := compileRules(c.Rules, func() time.Duration { return 0 })
	return errors.Join(err, rulesErr)
}

// complete puts the defaults in and reports everything that is out of range.
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
		errs = append(errs, fmt.Errorf("HeldBytes is %d; it must be at least %d, or 0 for %d", c.HeldBytes, minHeldBytes, defaultHeldBytes))
	}
	slow := c.SlowThreshold
	for _, r := range c.Rules {
		slow = max(slow, r.SlowThreshold)
	}
	if slow > maxSlow {
		errs = append(errs, fmt.Errorf("SlowThreshold is %v; it must be at most %v", slow, maxSlow))
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	return c, errors.Join(errs...)
}

// hold is how long a tail keeps a trace whose local root does not end: long enough for the slowest threshold.
func (c *Config) hold() time.Duration {
	hold := minHold
	hold = max(hold, c.SlowThreshold)
	for _, r := range c.Rules {
		hold = max(hold, r.SlowThreshold)
	}
	return hold
}
