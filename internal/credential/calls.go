package credential

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/contain"
)

// Calls makes calls that may never return: to a service's own function, or to a file system whose
// server does not answer. A goroutine cannot be ended from outside, so [Do] stops waiting for such
// a call. The zero value is ready, and safe for concurrent use.
type Calls struct {
	mu         sync.Mutex
	unreturned map[any]*unreturned // by what was called
}

// unreturned counts the abandoned calls of one key that have still not returned.
type unreturned struct {
	what  string
	calls int
	last  time.Time // when the last call was made
}

// freeCalls is how many calls may hang without a pause before the next one. It is more than are in
// flight at a time by default, so that a function that hangs only in its first calls is called
// again at once.
const freeCalls = 16

// pause returns how long to wait before the next call: the square of how many hang beyond the
// sixteenth, in seconds. Each may hold a thread of the operating system. At this rate there are
// some 80 after a day and 500 after a year.
func (l *unreturned) pause() time.Duration {
	beyond := time.Duration(max(l.calls-freeCalls+1, 0))
	return beyond * beyond * time.Second
}

// Do calls f, and returns what f returns, or an error as soon as ctx ends. key tells what is
// called, and what names it in errors. While many calls of the same key have not returned, it makes
// no further one and returns an error at once.
func Do[T any](ctx context.Context, c *Calls, key any, what string, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var (
		none   T
		answer = make(chan result, 1)
		start  = time.Now()
	)
	this, err := c.begin(key, what)
	if err != nil {
		return none, err
	}
	go func() {
		r := result{err: fmt.Errorf("%s ended its goroutine", what)}
		defer func() {
			this.end()
			answer <- r
		}()
		r.err = contain.CatchIn(what, func() (err error) {
			r.value, err = f(ctx)
			return err
		})
	}()
	select {
	case r := <-answer:
		return r.value, r.err
	case <-ctx.Done():
		this.abandon()
		return none, fmt.Errorf("%s has not returned after %v", what, time.Since(start).Round(time.Millisecond))
	}
}

// oneCall is one call, and those of its key that have not returned.
type oneCall struct {
	calls            *Calls
	others           *unreturned
	ended, abandoned bool
}

// begin returns a call that may be made now, or an error if too many of its key hang.
func (c *Calls) begin(key any, what string) (*oneCall, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unreturned == nil {
		c.unreturned = map[any]*unreturned{}
	}
	l := c.unreturned[key]
	if l == nil {
		l = &unreturned{what: what}
		c.unreturned[key] = l
	}
	if time.Since(l.last) < l.pause() {
		return nil, fmt.Errorf("%s has not returned from %d calls", what, l.calls)
	}
	l.last = time.Now()
	return &oneCall{calls: c, others: l}, nil
}

func (o *oneCall) end() {
	o.calls.mu.Lock()
	defer o.calls.mu.Unlock()
	o.ended = true
	if o.abandoned {
		o.others.calls--
	}
}

func (o *oneCall) abandon() {
	o.calls.mu.Lock()
	defer o.calls.mu.Unlock()
	if !o.ended {
		o.abandoned = true
		o.others.calls++
	}
}

// Hanging reports whether a call of that key did not return in time, and still has not.
func (c *Calls) Hanging(key any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.unreturned[key]
	return l != nil && l.calls > 0
}

// Left describes what has not returned, one text for each key, sorted.
func (c *Calls) Left() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.unreturned {
		if l.calls > 0 {
			all = append(all, fmt.Sprintf("%s has not returned (%d calls)", l.what, l.calls))
		}
	}
	slices.Sort(all)
	return all
}
