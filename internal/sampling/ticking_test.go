package sampling

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// ticksWithin counts the ticks of a while.
func (p *process) ticksWithin(d time.Duration) int {
	number := func() uint64 { return p.floor.tickNumber.Load() }
	before := number()
	time.Sleep(d)
	synctest.Wait()
	return int(number() - before)
}

func TestIdleSamplerRests(t *testing.T) {
	inProcess(t, Config{SlowThreshold: -1, Rules: []Rule{{SpanName: "probe", Drop: true}}},
		func(t *testing.T, p *process) {
			inFull := int(time.Minute / tickInterval)
			assert.InDelta(t, inFull, p.ticksWithin(pauseAfter), 2)
			assert.LessOrEqual(t, p.ticksWithin(24*time.Hour), 2)
			_, probe := p.start(unsampled, "probe")
			assert.False(t, probe.IsRecording())
			assert.Zero(t, p.ticksWithin(time.Minute), "a probe does not wake it")

			ctx, root := p.start(unsampled, "root")
			_, late := p.start(ctx, "late")
			root.End()
			assert.InDelta(t, inFull, p.ticksWithin(time.Minute), 2)
			late.End()
			assert.Equal(t, uint64(1), p.Snapshot().Tail.Discarded, "in time")
			p.ticksWithin(pauseAfter)
			assert.Zero(t, p.ticksWithin(time.Minute))

			_, stream := p.start(unsampled, "stream")
			assert.InDelta(t, 10*inFull, p.ticksWithin(10*time.Minute), 2, "it does not pause while something is held")
			stream.End()
			p.ticksWithin(pauseAfter)
			assert.Zero(t, p.ticksWithin(time.Minute))

			caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: high, SpanID: trace.SpanID{1}, Remote: true,
				TraceFlags: trace.FlagsSampled})
			_, called := p.start(trace.ContextWithSpanContext(unsampled, caller), "called")
			called.End()
			assert.InDelta(t, inFull, p.ticksWithin(pauseAfter), 2)
			assert.LessOrEqual(t, p.ticksWithin(time.Minute), 2)
		})
}

// TestRestChangesNothing has a burst after an hour of silence: the first second is that of a
// sampler that has just begun.
func TestRestChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{seed: 1})
		require.NoError(t, err)
		defer s.Close()
		kept := func() (n int) {
			p := newProbe(3, trace.SpanContextConfig{}, false)
			for range 2000 {
				if s.ShouldSample(*p.next()).Decision == sdktrace.RecordAndSample {
					n++
				}
				time.Sleep(500 * time.Microsecond)
			}
			return n
		}
		first := kept()
		time.Sleep(time.Hour)
		assert.InDelta(t, first, kept(), 0.3*target)
		assert.Less(t, first, int(mostInASecond))
		time.Sleep(2 * pauseAfter)
		assert.Equal(t, 1.0, s.head.overflow.current.Load().p)
		for _, cl := range s.head.classes {
			assert.Equal(t, 1.0, cl.current.Load().p, cl.name)
		}
	})
}

// TestTraceThatBeginsAsTheSamplerPauses begins traces at the very tick at which the sampler would
// pause.
func TestTraceThatBeginsAsTheSamplerPauses(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		for i := range 200 {
			_, root := p.start(unsampled, "root")
			root.End()
			assert.GreaterOrEqual(t, p.ticksWithin(time.Second), 4)
			time.Sleep(pauseAfter - time.Second + time.Duration(i%2)*tickInterval)
		}
	})
}

// TestCloseOfARestingSampler closes it while others begin traces.
func TestCloseOfARestingSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{})
		require.NoError(t, err)
		time.Sleep(2 * pauseAfter)
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				p := newProbe(1, trace.SpanContextConfig{}, false)
				for range 1000 {
					s.ShouldSample(*p.next())
				}
			})
		}
		s.Close()
		callers.Wait()
	})
}
