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
// The words of the code:
//
//   - class: the traces that share one threshold, usually those of one operation, of one caller, or of one reason to keep;
//   - target: the traces per second to keep; budget: what a burst may take beyond it; surplus: what has been taken;
//   - usual, recent, sudden: the rates of a class by the last ten seconds and the busiest second of the last quarter of an
//     hour, by the last second, and by the fraction of a second since the tick before the last;
//   - burst, rise: arrivals above the target within the budget, and beyond it;
//   - tick: what happens every 200 ms; look: the same between ticks, when the budget may be at one of its limits;
//   - position: where R is between the threshold of a caller and 2^56; chosen: more positions pass than chance explains;
//   - fragment: this process's part of a trace, while it is held; interesting: to be kept by the tail;
//   - floor: the lowest R that is recorded, of memory and of CPU.
//
// Everything here is safe for concurrent use unless a comment says otherwise. Time is an argument: only sampler.go and
// ticking.go know the clock.
//
// Sources: OpenTelemetry specification, trace/tracestate-probability-sampling.md and trace/tracestate-handling.md;
// N. Duffield, C. Lund, M. Thorup, "Priority sampling for estimation of arbitrary subset sums" (J. ACM 54, 2007);
// D. Ting, "Adaptive Threshold Sampling" (arXiv:1708.04970).
package sampling
