package sampling

import (
	"math"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// Probabilities move on a grid of 2^(-j/32), in steps of 2.2 %. There are few enough points to make
// the tracestate of each only once, so a sampled root needs no allocation.
const (
	gridSteps   = 32
	gridOctaves = 40
	gridSize    = gridSteps*gridOctaves + 1
)

// point is a threshold, its probability, and the tracestate of a root that it keeps. It is
// immutable.
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

// pointFor returns the grid point nearest to p.
func pointFor(p float64) *point {
	return gridPoint(gridIndex(p))
}

// gridIndex is the index of the grid point nearest to p.
func gridIndex(p float64) int {
	switch {
	case !(p < 1):
		return 0
	case p <= 0:
		return gridSize - 1
	}
	return int(math.Round(min(-math.Log2(p)*gridSteps, gridSize)))
}

// newPoint makes a point for a threshold, which need not be on the grid.
func newPoint(threshold uint64) *point {
	return &point{
		threshold: threshold,
		p:         probability(threshold),
		state:     withMember(trace.TraceState{}, thresholdKey+":"+FormatThreshold(threshold)),
	}
}

// pointAt returns a point with exactly this threshold, the grid's if there is one.
func pointAt(threshold uint64) *point {
	if pt := pointFor(probability(threshold)); pt.threshold == threshold {
		return pt
	}
	return newPoint(threshold)
}
