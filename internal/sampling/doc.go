// Package sampling decides which traces a process keeps: an adaptive, fair head sampler, and a local tail that keeps
// what turned out to be an error or slow. Both write the exact probability into the tracestate, so that counts taken
// from sampled data stay true.
//
// The head (sampler.go) decides by R >= T. R, the randomness, is 56 bits of the trace ID; T, the rejection threshold,
// comes from a controller (controller.go) that watches arrivals per operation and never looks at the R of the trace it
// decides. The tail (tail.go) holds the spans of undecided traces until their local root ends; its bounds are
// thresholds on R too: the memory floor (floor.go) rises from the bottom, so that what survives is a sample whose
// probability is known.
//
// Everything here is safe for concurrent use unless a comment says otherwise. Time is an argument: only sampler.go and
// ticking.go know the clock.
//
// Sources: OpenTelemetry specification, trace/tracestate-probability-sampling.md and trace/tracestate-handling.md;
// N. Duffield, C. Lund, M. Thorup, "Priority sampling for estimation of arbitrary subset sums" (J. ACM 54, 2007);
// D. Ting, "Adaptive Threshold Sampling" (arXiv:1708.04970).
package sampling
