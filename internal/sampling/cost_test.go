package sampling

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// figures is the environment variable that turns on the long versions and the measurements.
const figures = "SAMPLING_FIGURES"

// TestDecisionCost compares ShouldSample with the SDK's on a machine that others use too: it takes
// turns, and the best of many short rounds, which is what a quiet machine would show.
//
//	SAMPLING_FIGURES=1 go test ./internal/sampling -run DecisionCost -v
func TestDecisionCost(t *testing.T) {
	if os.Getenv(figures) == "" {
		t.Skip("set " + figures + "=1 to measure")
	}
	for _, threads := range []int{1, 2} {
		for _, s := range situations {
			rivals := []sdktrace.Sampler{
				sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01)), adaptive(t, false), adaptive(t, true),
				nothing{},
			}
			best := make([]time.Duration, len(rivals))
			const calls = 20_000
			for range 60 {
				for i, rival := range rivals {
					if d := elapsed(threads, calls, s.operations, s.parent, s.isChild(), rival); best[i] == 0 ||
						d < best[i] {
						best[i] = d
					}
				}
			}
			empty := best[3]
			ns := func(i int) float64 { return float64(best[i]-empty) / calls }
			t.Logf("%d threads, %-16s stock %5.1f ns | adaptive %5.1f ns = %.2f | with tail %5.1f ns = %.2f  (loop "+
				"%.1f ns)", threads, s.name, ns(0), ns(1), ns(1)/ns(0), ns(2), ns(2)/ns(0), float64(empty)/calls)
			switch {
			case s.parent.Remote:
			case s.isChild():
				assert.LessOrEqual(t, ns(1)/ns(0), 0.7)
			default:
				assert.LessOrEqual(t, ns(1)/ns(0), 0.8)
			}
		}
	}
}

// elapsed is how long some threads take, each for so many decisions.
func elapsed(threads, calls, operations int, parent trace.SpanContextConfig, child bool,
	s sdktrace.Sampler) time.Duration {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for thread := range threads {
		ready.Add(1)
		done.Go(func() {
			p := newProbe(operations, parent, child)
			p.random += uint64(thread)
			ready.Done()
			<-begin
			for range calls {
				s.ShouldSample(*p.next())
			}
		})
	}
	ready.Wait()
	start := time.Now()
	close(begin)
	done.Wait()
	return time.Since(start)
}

// nothing is what the loop costs without a decision.
type nothing struct{}

func (nothing) ShouldSample(sdktrace.SamplingParameters) (r sdktrace.SamplingResult) { return r }
func (nothing) Description() string                                                  { return "" }
