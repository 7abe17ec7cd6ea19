package sampling

import (
	"math"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// Probabilities move on a grid of 2^(-j/32), steps of 2.2 %: few enough that every one can have its tracestate built
// once, which is what makes a sampled root free of allocations.
const (
	gridSteps   = 32
	gridOctaves = 40
	gridSize    = gridSteps*gridOctaves + 1
)

// point is a threshold, its probability, and the tracestate of a root that it keeps. It is immutable.
type point struct {
	threshold uint64
	p         float64
	state     trace.TraceState
	index     int
}

// gridPoints is a cache, filled as the points are first used.
var gridPoints [gridSize]atomic.Pointer[point]

// gridPoint returns the point with p = 2^(-index/32).
func gridPoint(index int) *point {
	index = max(0, min(index, gridSize-1))
	if pt := gridPoints[index].Load(); pt != nil {
		return pt
	}
	pt := newPoint(thresholdFor(math.Exp2(-float64(index)/gridSteps), standardDigits))
	pt.index = index
	gridPoints[index].Store(pt)
	return pt
}

// pointFor returns the grid's point nearest to p.
func pointFor(p float64) *point {
	return gridPoint(gridIndex(p))
}

func gridIndex(p float64) int {
	switch {
	case !(p < 1):
		return 0
	case p <= 0:
		return gridSize - 1
	}
	return int(math.Round(min(-math.Log2(p)*gridSteps, gridSize)))
}

// newPoint makes a point off the grid, for a ratio that somebody chose.
func newPoint(threshold uint64) *point {
	return &point{
		threshold: threshold,
		p:         probability(threshold),
		state:     withMember(trace.TraceState{}, thresholdKey+":"+encodeThreshold(threshold)),
	}
}

// pointAt returns a point with exactly this threshold, the grid's if it has one.
func pointAt(threshold uint64) *point {
	if pt := pointFor(probability(threshold)); pt.threshold == threshold {
		return pt
	}
	return newPoint(threshold)
}
