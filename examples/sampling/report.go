package main

import (
	"fmt"
	"io"
	"math"

	"github.com/fleetotel/telemetry/examples/internal/spanview"
)

// totals are computed only from the spans that arrived.
type totals struct {
	traces, failedTraces int
	requests, failures   float64 // the sums of the weights
	variance             float64 // of requests
}

func (s *shop) totals() (t totals) {
	for _, span := range s.collector.Spans() {
		if span.ParentSpanID != "" {
			continue
		}
		t.traces++
		weight, ok := spanview.Weight(span)
		if !ok {
			continue
		}
		t.requests += weight
		t.variance += weight * (weight - 1)
		if span.Status.Code == "error" {
			t.failedTraces++
			t.failures += weight
		}
	}
	return t
}

// report prints the estimates next to the true numbers.
func (s *shop) report(out io.Writer) error {
	t := s.totals()
	fmt.Fprintf(out, "\n%d of %d traces arrived. Estimated from their weights:\n", t.traces, s.requests.Load())
	fmt.Fprintf(out, "%10s %10s %10s\n", "", "estimate", "true")
	fmt.Fprintf(out, "%10s %10.0f %10d  (standard error %.0f)\n", "requests", t.requests, s.requests.Load(),
		math.Sqrt(t.variance))
	_, err := fmt.Fprintf(out, "%10s %10.0f %10d\n", "failed", t.failures, s.failed.Load())
	return err
}
