package sampling

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// figures is the environment variable that turns on the long versions and the measurements.
const figures = "SAMPLING_FIGURES"

// TestDecisionCost compares ShouldSample with the SDK's on a machine that others use too: it takes turns, and the best
// of many short rounds, which is what a quiet machine would show.
//
//	SAMPLING_FIGURES=1 go test ./internal/sampling -run DecisionCost -v
func TestDecisionCost(t *testing.T) {
	if os.Getenv(figures) == "" {
		t.Skip("set " + figures + "=1 to measure")
	}
	for _, s := range situations {
		rivals := []sdktrace.Sampler{
			sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01)), adaptive(t, false), adaptive(t, true), nothing{},
		}
		best := make([]time.Duration, len(rivals))
		for i := range best {
			best[i] = time.Hour
		}
		p := newProbe(s.operations, s.parent, s.name[0] != 'r' || s.name[1] == 'e')
		const calls = 20_000
		for range 60 {
			for i, rival := range rivals {
				start := time.Now()
				for range calls {
					rival.ShouldSample(*p.next())
				}
				best[i] = min(best[i], time.Since(start))
			}
		}
		empty := best[3]
		ns := func(i int) float64 { return float64(best[i]-empty) / calls }
		t.Logf("%-16s stock %5.1f ns | adaptive %5.1f ns = %.2f | with tail %5.1f ns = %.2f  (loop %.1f ns)",
			s.name, ns(0), ns(1), ns(1)/ns(0), ns(2), ns(2)/ns(0), float64(empty)/calls)
		if s.name[0] == 'c' {
			assert.LessOrEqual(t, ns(1)/ns(0), 0.7)
		} else if s.name != "remote/sampled" {
			assert.LessOrEqual(t, ns(1)/ns(0), 0.8)
		}
	}
}

// nothing is what the loop costs without a decision.
type nothing struct{}

func (nothing) ShouldSample(sdktrace.SamplingParameters) (r sdktrace.SamplingResult) { return r }
func (nothing) Description() string                                                  { return "" }
