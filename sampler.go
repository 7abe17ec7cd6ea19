package telemetry

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/settings"
)

// Sampling sets which traces are kept. The zero value of every field is its default. The zero
// Sampling keeps about 50 traces per second, all errors, and every trace that took a second or
// longer.
//
// # How the sampling rate changes
//
// If a process handles fewer traces than TracesPerSecond, all are kept. Otherwise each operation
// gets a share. An operation is a span name and kind, plus the route or path for HTTP spans named
// after their method. Half of TracesPerSecond is divided evenly, so an operation called once a
// minute is kept whole next to one called 10,000 times a second. The other half is divided by
// volume. The share of traces that is kept falls as traffic grows and rises as it shrinks, within
// about two seconds. The number per second varies by its square root (50 ± 7), as in any random
// sample. A process that makes a new span name for every request also stays within TracesPerSecond
// and within 1 MiB of memory: beyond 512 operations, the rest share one rate.
//
// A poller, a batch consumer or a cron job starts many traces at once and then none. Such a burst
// is sampled by the operation's average and its busiest second of the last 15 minutes, until it has
// used the burst budget. The budget is about 4 × TracesPerSecond, at least 16 traces. After that,
// the burst counts as a load increase and is sampled by the current rate. So a first burst of 200
// traces is kept whole. With 2,000 traces every ten seconds, 1 in 6 is kept, each with a weight
// near 6. Bursts every ten minutes are sampled evenly from the second one on. If bursts are usual,
// the budget grows to about 7 × TracesPerSecond.
//
// The limits are: at most 6 × TracesPerSecond in the first second of a burst or an increase (9 × if
// bursts are usual), and at most 1.6 × TracesPerSecond on average over any ten seconds. Traces that
// a burst takes beyond TracesPerSecond are repaid in the next half minute, at a tenth of
// TracesPerSecond. Where routes become known late, these limits are up to half as much again.
//
// TracesPerSecond applies to one process and to the traces that begin in it. If the caller sampled
// a trace, it is kept here too.
//
// # Routes that become known late
//
// A router such as gin's or chi's knows the route of a request after its span has started.
// [SetRoute] tells the sampler. As long as the trace is held, its late route then counts as if it
// had been known at the start: the rules apply, and each operation has its own share of
// TracesPerSecond, even if all requests start as "GET". The weights stay exact. These are the
// differences:
//
//   - A trace that was chosen at its start stays chosen, because the services it has called were
//     told so. Its weight falls if its route has a higher rate. A rule that drops a late route
//     drops the errors and slow requests of the others. To drop a route entirely, use PathPrefix.
//   - A trace that is kept for its late route was not chosen at its start. So only this process's
//     part of it is kept. There are few of these where the path without its identifiers tells the
//     operation, as in /users/17: the sampler learns at which rate to choose.
//   - Once a span of the trace has been exported, or the span of the request has ended, a late
//     route changes nothing. The first route of a trace decides its share; a later one only changes
//     what rules with Drop, Keep, Ratio or SlowThreshold do.
//   - With HeadOnly, late routes do not count.
//
// # What "errors are kept" means
//
// A trace that is not chosen at its start is still recorded. It is held until its local root span,
// the first span in this process, ends. If by then a span has failed, panicked or been marked with
// [Keep], or the local root took SlowThreshold or longer, all of the trace's spans in this process
// are exported. Otherwise they are discarded.
//
//   - Each service decides on its own part of the trace, and tells the services around it; see the
//     next section.
//   - Three limits apply: HeldBytes of memory (16 MiB, about 4,000 requests of four spans in
//     flight), RecordedSpansPerSecond of CPU (20,000, with bursts of up to five seconds' worth),
//     and TailTracesPerSecond of exports (500, with bursts of up to ten seconds' worth). Beyond a
//     limit only a part is kept, and its weight says exactly how large that part is. If everything
//     fails at 10,000 requests per second, about 500 traces per second are kept, each with a weight
//     of 20.
//   - A killed process loses the traces it holds. At shutdown, traces that have failed so far are
//     exported.
//   - A trace that is open for 30 seconds (or SlowThreshold, if longer) counts as slow. From then
//     on its spans are exported as they end. For streaming endpoints, use a [Rule] with a negative
//     SlowThreshold: their spans are discarded every 30 seconds, and a failure within an hour is
//     kept with the spans since then. Each stream takes 1.3 kB of HeldBytes.
//   - At most 1,000 spans and 512 KiB of one trace are held, as much again for failed spans, and as
//     much again for local roots. Further spans are dropped, and the local root has their number in
//     the attribute sampling.dropped_spans.
//   - Requests that share a trace ID and overlap are kept together. While more traces fail than
//     TailTracesPerSecond allows, at most 1,000 spans of such a trace follow it, so a caller cannot
//     have everything exported by sending the same ID.
//
// # What travels between services
//
// A service that keeps a trace for an error, for slowness or for [Keep] tells its caller with the
// response, and the services that it calls from then on with the request. So a failing trace
// arrives with its root, even if a service on the way swallows the error:
//
//	edge ───── orders ──┬── inventory   called before the error: its part is not kept
//	  ▲          ▲      │
//	  └── told ──┴─ told ├── payment     fails: kept, and so are orders and the edge
//	                     │
//	                told └─▶ shipping    called after the error: kept
//
// In detail:
//
//   - Kept are the part of the service that failed, of each caller up to the root, and of each
//     service that is called once it is known. Not kept are the parts of services that were called
//     before, and of those that a slow request has called before it was slow.
//   - Responses tell it in the header, "Server-Timing: trace;desc=…;th=…" (W3C Trace Context Level
//     3, with the threshold added), in at most 120 bytes, and only if the trace is kept. What is
//     known by then counts: failed spans and calls, a status of 500 and above, Keep, the time
//     taken. Later errors go into a trailer if the client sent "TE: trailers" and the response is
//     chunked or HTTP/2; Transport does not ask for it. gRPC servers use a trailer, which needs
//     [ServerOptions]. Messages and jobs have no response: they are told, and tell nothing.
//   - Requests tell it by the sampled flag and the th of the tracestate, with the W3C propagator of
//     this library. Others, such as B3, send the flag that the trace had at its start.
//   - [Transport] and [ClientHandler] believe a response about its own trace only, from the hosts
//     of [WithTrustedHosts]. Without the option these are loopback, private addresses (RFC 1918,
//     RFC 4193, RFC 6598), names without a dot that begin with a letter, and names that end in
//     .localhost, .local (such as .svc.cluster.local), .svc or .internal. For gRPC the address of
//     the connection counts. Traces that are kept only because a response says so take at most half
//     of TailTracesPerSecond. [WithPublicEndpoint] tells callers nothing.
//   - The weights stay exact, because what travels is the threshold. What is told is final: such a
//     trace is not evicted, and its weight does not grow. The root of each kept part has the
//     attribute sampling.reason: error, panic, slow, keep, or callee if a called service said so.
//   - It takes this library, with the tail on, in each service on the way. Behind a service without
//     it, or a proxy that drops the header, each service keeps its own part, as far as it sees the
//     error.
//
// Recording costs as much as a sampled span without its export: about 1.5 µs and 1.1 kB of garbage
// per span (BenchmarkRequest in internal/sampling). HeadOnly avoids it.
//
// # Counts stay true
//
// Every span that this sampler decides has its weight, the number of spans it stands for, in the th
// value of its tracestate, as the OpenTelemetry specification defines it. [AdjustedCount] reads it,
// and has an example.
type Sampling struct {
	// TracesPerSecond is how many of the traces that begin in this process are kept per second, not
	// counting errors and slow ones. Default 50, at most 1,000,000 (TELEMETRY_TRACES_PER_SECOND, or
	// OTEL_TRACES_SAMPLER=adaptive with OTEL_TRACES_SAMPLER_ARG).
	TracesPerSecond float64

	// SlowThreshold is how long a local root must take for its trace to be kept as slow. Default 1
	// s, at most 10 min. If it is negative, no trace is kept for its duration
	// (TELEMETRY_SLOW_THRESHOLD, in milliseconds; -1: none).
	SlowThreshold time.Duration

	// HeadOnly makes every decision final at the start of a trace. Nothing is held, and errors are
	// sampled like other traces.
	HeadOnly bool

	// Rules are tried in order before anything else; the first match applies. After them, traces of
	// common probe endpoints are dropped: server spans for /health, /healthz, /livez, /live,
	// /readyz, /ready, /metrics, /ping, /favicon.ico and grpc.health.v1.Health. A rule with Keep
	// for one of these paths keeps its traces.
	Rules []Rule

	// Untrusted reports whether the caller of a request is unknown, so that its sampled flag and
	// tracestate must be ignored. The context holds the caller's span context. Such a trace is
	// sampled as if it began here and keeps its trace ID. Nil means that every caller is trusted,
	// up to RemoteTracesPerSecond. It is called at the start of every span with a remote parent,
	// and must be fast and safe for concurrent use.
	Untrusted func(context.Context) bool

	// RemoteTracesPerSecond is how many traces per second all trusted callers together can force
	// with their sampled flag, with the same burst budget as TracesPerSecond. Default 4 ×
	// TracesPerSecond. Beyond it, the limit is divided evenly among the callers. A caller that uses
	// less than its share is always followed. For the others a part is kept, with its weight.
	//
	// Callers are distinguished by the address of their connection (network.peer.address of HTTP
	// spans, the connection of gRPC calls), up to 256 of them. Callers behind one proxy count as
	// one. A caller gains nothing by choosing trace IDs or rv values that pass: its traces are then
	// chosen at random and have no weight.
	RemoteTracesPerSecond float64

	// TailTracesPerSecond is how many traces per second are kept because they failed, were slow or
	// were marked, with a burst budget of ten seconds' worth. Default 10 × TracesPerSecond.
	TailTracesPerSecond float64

	// HeldBytes limits the memory of undecided traces, for each SpanProcessor. The estimate is
	// slightly high: with spans like those of otelhttp, a full store grows the heap by about 15 %
	// less. Default 16 MiB, at least 64 KiB.
	HeldBytes int64

	// RecordedSpansPerSecond limits the spans that are recorded only because their trace may still
	// be kept. Default 20,000, which takes about 3 % of a core.
	RecordedSpansPerSecond float64
}

// Rule sets how certain traces are sampled. The span that begins the trace in this process must
// meet all conditions that are set. A rule with no condition matches everything. A rule with no
// action samples the trace as usual, and only changes its SlowThreshold.
//
// A rule applies to traces that begin in this process. Traces of a trusted caller follow the
// caller; Drop applies to them unless the caller sampled them.
//
// The rules are tried again when [SetRoute] names a route, with that route and the name that the
// span gets from it. The first that matches then replaces the one that matched at the start, except
// that a trace that was chosen stays chosen; see "Routes that become known late" in [Sampling].
type Rule struct {
	Route      string // equals http.route, such as "/orders/{id}"
	PathPrefix string // url.path (or http.target) starts with it
	// equals the span's name at its start, or the one that a late route gives it; "payment.*"
	// matches all that start with "payment."
	SpanName  string
	Kind      trace.SpanKind     // unspecified: any
	Attribute attribute.KeyValue // equals one of the start attributes; with an empty value, the key must exist

	Drop            bool    // nothing is kept, not even errors
	Keep            bool    // everything is kept
	Ratio           float64 // this part is kept, 2^-56 to 1, plus errors
	TracesPerSecond float64 // this many are kept, separate from Sampling.TracesPerSecond; same bursts and errors

	SlowThreshold time.Duration // replaces the sampler's; 0: the sampler's; negative: off
}

// WithSampler sets the sampler (OTEL_TRACES_SAMPLER with OTEL_TRACES_SAMPLER_ARG; default adaptive,
// see [WithAdaptiveSampling]). An [AdaptiveSampler] passed here unwrapped keeps errors like the
// default one. The caller closes it. If the option is given twice, or together with
// WithAdaptiveSampling, the last one wins.
func WithSampler(s sdktrace.Sampler) Option {
	if adaptive, ok := s.(*AdaptiveSampler); ok && adaptive != nil && adaptive.core != nil {
		s = adaptive.core
	}
	return record(func(o *settings.Asked) { o.Sampler = &settings.Sampler{Given: &s} })
}

// WithAdaptiveSampling configures the adaptive sampler. It is the default sampler: without this
// option, a process keeps about 50 traces per second, plus all errors and slow requests. The option
// replaces an earlier [WithSampler] and wins over OTEL_TRACES_SAMPLER. If a field is zero, its
// environment variable applies: TELEMETRY_TRACES_PER_SECOND (or OTEL_TRACES_SAMPLER=adaptive with
// OTEL_TRACES_SAMPLER_ARG) and TELEMETRY_SLOW_THRESHOLD, in milliseconds, -1 for none. If the
// option is given twice, the fields merge: the last non-zero value of each field wins, a true stays
// true, and later Rules are tried before earlier ones.
func WithAdaptiveSampling(s Sampling) Option {
	return record(func(o *settings.Asked) {
		o.Sampling = settings.Merge(o.Sampling, s.config())
		o.Sampler = &settings.Sampler{Name: settings.SamplerAdaptive, Adaptive: o.Sampling}
	})
}

// AdaptiveSampler keeps a steady number of traces per second, plus errors and slow requests; see
// [Sampling]. It is an SDK sampler: pass it to [WithSampler], or to your own tracer provider
// together with the processor from SpanProcessor. All methods are safe for concurrent use.
type AdaptiveSampler struct{ core *sampling.Sampler }

var _ sdktrace.Sampler = (*AdaptiveSampler)(nil)

// NewAdaptiveSampler returns a sampler, or an error that names every value that is out of range. It
// starts one goroutine, which wakes five times a second and stops at Close. After a minute without
// a new trace, the goroutine sleeps until one begins.
func NewAdaptiveSampler(s Sampling) (*AdaptiveSampler, error) {
	core, err := sampling.New(s.config())
	if err != nil {
		return nil, fmt.Errorf("sampling: %w", err)
	}
	return &AdaptiveSampler{core}, nil
}

func (s Sampling) config() sampling.Config {
	cfg := sampling.Config{
		TracesPerSecond:        s.TracesPerSecond,
		SlowThreshold:          s.SlowThreshold,
		HeadOnly:               s.HeadOnly,
		Untrusted:              s.Untrusted,
		RemoteTracesPerSecond:  s.RemoteTracesPerSecond,
		TailTracesPerSecond:    s.TailTracesPerSecond,
		HeldBytes:              s.HeldBytes,
		RecordedSpansPerSecond: s.RecordedSpansPerSecond,
	}
	for _, r := range s.Rules {
		cfg.Rules = append(cfg.Rules, sampling.Rule(r))
	}
	return cfg
}

// ShouldSample implements the SDK's sampler. It takes no lock and does not allocate for roots and
// children.
func (s *AdaptiveSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	return s.core.ShouldSample(p)
}

// Description names the sampler and its target.
func (s *AdaptiveSampler) Description() string { return s.core.Description() }

// SpanProcessor returns a processor that holds undecided traces and passes the kept ones to next,
// usually a batch processor. Register it before the first span starts. No other exporting processor
// may see the spans. Until SpanProcessor is called, and with HeadOnly, traces that are not chosen
// at their start are dropped.
//
// Its ForceFlush flushes next and leaves undecided traces undecided, because an early decision
// would lose errors or bias the weights. Its Shutdown passes on the sampled spans and failed traces
// that it holds, discards the others, and shuts next down. With several processors, each holds the
// traces it sees.
func (s *AdaptiveSampler) SpanProcessor(next sdktrace.SpanProcessor) sdktrace.SpanProcessor {
	if settings.IsNil(next) {
		next = nil
	}
	return s.core.Processor(next)
}

// Close stops the sampler's goroutine. Call it after the tracer provider's Shutdown. A sampler that
// is used after Close no longer raises its rate. It is idempotent and always returns nil.
func (s *AdaptiveSampler) Close() error {
	s.core.Close()
	return nil
}

// AdjustedCount returns how many spans the exported span with this context stands for: its weight.
// ok is false if the span is not sampled or has no weight, for example because a caller sampled the
// trace without a th. Use the span context of an exported span, as a [sdktrace.SpanProcessor] or
// exporter sees it. A running span does not have its final weight yet.
//
// To estimate a total from sampled spans, add their weights. For example, of 10,000 requests 1 %
// are sampled at random, and all 200 failed ones are kept. About 98 of the 9,800 successful
// requests are exported, with weight 100 each, and all 200 failed ones, with weight 1 each. The
// sums are about 9,800 and exactly 200. The same sum over spans slower than a limit, or of one
// customer, estimates the number of those spans. Its standard error is at most the square root of Σ
// w·(w−1): here √(98 · 100 · 99) ≈ 985 for the first sum, and 0 for the second.
func AdjustedCount(sc trace.SpanContext) (count float64, ok bool) {
	return sampling.AdjustedCount(sc)
}

// Keep keeps the trace of the span in ctx, as an error would, in the callers and in what is called
// from now on, too. It sets the attribute sampling.keep on the span. Call it before the span ends.
// It has no effect on a span that is not recorded.
func Keep(ctx context.Context) {
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(sampling.KeepKey.Bool(true))
	sampling.Mark(span)
}
