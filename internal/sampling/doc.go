// Package sampling decides which traces a process keeps: an adaptive, fair head sampler, and a
// local tail that keeps what turned out to be an error or slow. Both write the exact probability
// into the tracestate, so that counts taken from sampled data stay true.
//
// Every decision is R >= T. R, the randomness, is 56 bits of the trace ID; T is a threshold. The
// head (sampler.go) takes T from a controller (controller.go), which watches arrivals per operation
// and never looks at the R of the trace it decides. The bounds of the tail are thresholds on R too,
// so that what survives is a sample whose probability is known.
//
// # The life of a trace
//
//  1. ShouldSample (sampler.go) decides a local root by R >= T. If it is sampled, its spans are
//     recorded and exported whatever follows. Otherwise it is undecided: its spans are recorded for
//     the tail, provided that R is at or above the floor (floor.go); else it is dropped.
//  2. tail.OnStart (tail.go) begins a heldTrace (held.go) at the first local root, and counts the
//     spans that start after it.
//  3. tail.OnEnd reads each span that ends (observe.go) and adds it to its heldTrace. An error, a
//     panic, a slow local root or KeepKey makes the trace interesting.
//  4. The trace is decided (decide.go) when its local root has ended and it is interesting, or when
//     all its spans have ended. A trace whose other spans outlive the local root waits 5 s for
//     them. One whose local root does not end waits 30 s, or as long as the longest SlowThreshold,
//     and is slow then.
//  5. If memory is short meanwhile (memory.go), the traces with the lowest R are evicted, which
//     means decided early as not interesting, and the floor rises above them.
//  6. An interesting trace is kept if R is at or above the threshold of the tail's own controller,
//     and above each floor since its start. The highest of these is its threshold. Otherwise it is
//     outbid, and is discarded as if it were not interesting.
//  7. The spans go to the next processor (release.go), with the threshold in their tracestate: all
//     spans of a trace that is kept, and only those that the head has sampled of one that is
//     discarded.
//  8. Spans that end after the decision follow it: as long as the trace has open spans, and for the
//     4,096 kept traces that ended last (recentlyKept).
//
// # Late routes
//
// A framework's router names the route of a request after its span has started (late.go). As long
// as the trace is held, its late route counts as if it had been known: Drop and SlowThreshold
// replace what applied until then, and Keep, Ratio, TracesPerSecond or the class of the operation
// give it a second threshold, T_route. A trace that the head has sampled stays sampled, since other
// services have been told so. Every other one is kept if R is at or above T_route and the floor.
// All spans of both weigh
//
//	min(T_head, max(min(T_route, T_tail), floor))
//
// with T_tail for interesting traces only. A trace is kept exactly if R reaches that threshold:
// sampled ones are at or above T_head, and the others are below it, so that only the second term
// can keep them. So the weights are exact, provided that none of the terms depends on R.
//
//   - T_route comes from a controller of its own, Sampler.routes, or from a rule's. What the head
//     has kept does not influence it, or R would: by the head's decision, which it precedes. For
//     the same reason such a controller decides only once for each trace. A second route of the
//     same trace can change Drop, SlowThreshold, Keep and Ratio, which are constants.
//   - The floor is the highest until the decision. A trace with a lower R is not recorded, or it is
//     evicted, and then its sampled spans leave with T_head, which is below the floor. So a late
//     route is ignored below the floor, and an arrival above it counts for those that are not seen.
//   - Spans of a trace that is open for too long leave before its end (holdOn). Later routes do not
//     raise its rate then, and neither do they for a trace whose spans the same wait has discarded.
//   - A trusted caller has decided for all services, so that T_route does not apply behind it.
//
// The target is shared. The head divides it among its own classes, by the arrivals that have not
// moved to a route, and those of the routes; what its own do not need is the target of
// Sampler.routes. A class of the head whose arrivals move has at most the probability of the
// busiest route that they move to, so that it does not keep more of any route than is due to that.
// What a route keeps beyond that is kept late, and counts in the head's budget, too. Where the path
// tells the operation, as in "/users/17", the two probabilities are the same and nearly nothing is
// kept late.
//
// # Decisions that travel
//
// A service that keeps its part of a trace tells its caller with the answer, and what it calls with
// the request (commit.go). What travels is the threshold at which the part is kept, so that it is
// one more term of the receiver's:
//
//	min(T_head, T_told, max(min(T_route, T_tail, T_callee, …), floor))
//
// The callee has told it exactly if R reaches T_callee; if R does not, that term would keep
// nothing. The same goes for a service that is called with the flag and the threshold. The point at
// which a trace commits does not depend on R: the header of an answer is written, or a call begins.
// What was told is not taken back: T_told does not rise with the floor, and such a trace is not
// evicted. A later reason with a lower threshold still counts, for every R.
//
//   - The tail's controller decides once for each trace, when it commits or at its end, since the
//     decision moves the thresholds.
//   - If only committed traces are left when memory is short, the first is released. Whatever its R
//     were, it would have been evicted by then, so that no later reason counts.
//   - Half of the tail's target bounds what others say (tail.callees). Its controller knows each
//     called service as a class, and gets the position of R between T_callee and 2^56, as with
//     callers. Each decision is lowered by the share of its own service. The first of several
//     decisions must not set the share, since which one is first may depend on R.
//   - Until all spans of a trace have ended, a decision of a called service does not end the wait,
//     unless it holds for every R above the floor: later reasons would count only for some R.
//
// # Glossary
//
//   - arrival: a trace that the sampler has to decide;
//   - class: the arrivals that share one threshold, usually those of one operation, of one caller,
//     or of one reason to keep; the overflow class is for operations beyond the size of the table,
//     the class of new operations for first arrivals;
//   - candidate: an operation of the overflow class that may be busy enough for a class of its own;
//   - point: a threshold with its probability and its tracestate, usually one of the grid
//     (grid.go);
//   - target: the traces per second to keep; budget: what a burst may take beyond it; surplus: what
//     has been taken;
//   - usual, recent, latest: the rates of a class by the last ten seconds and the busiest second of
//     the last quarter of an hour, by the last second, and by the fraction of a second since the
//     tick before the last;
//   - burst, rise: arrivals above the target within the budget, and beyond it;
//   - tick: what happens every 200 ms; it pauses when nothing has begun for a minute;
//   - nextCheck: the number of kept traces at which the budget is checked between ticks, since it
//     may be at a limit;
//   - countMask: the bits of R by which a busy class counts only a part of its arrivals;
//   - position: where R is between the threshold of a caller and 2^56; chosen: more positions are
//     high than chance explains, so a caller may have chosen its trace IDs;
//   - route: an operation by its late route; arrivals move to it from their class;
//   - untrusted caller: one whose flag, threshold and R do not count (Config.Untrusted);
//   - local root: a span without a parent in this process; undecided: a trace that the head has not
//     sampled and the tail has not decided yet;
//   - committed: kept, as other services were told (told is the threshold); callee: a service that
//     was called, or its threshold;
//   - interesting: has a reason to be kept by the tail; eligible: may have one, since no rule
//     excludes it;
//   - floor: the lowest R that is recorded; it has a bound by memory, and one by CPU.
//
// Everything here is safe for concurrent use unless a comment says otherwise. Time is an argument:
// only sampler.go and ticking.go read the clock.
//
// Sources: OpenTelemetry specification, trace/tracestate-probability-sampling.md and
// trace/tracestate-handling.md; N. Duffield, C. Lund, M. Thorup, "Priority sampling for estimation
// of arbitrary subset sums" (J. ACM 54, 2007); D. Ting, "Adaptive Threshold Sampling"
// (arXiv:1708.04970).
package sampling
