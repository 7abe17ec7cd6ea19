package telemetry

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/sampling"
)

// Sampling says which traces to keep. The zero value of every field is its default; the zero Sampling keeps about 50
// traces per second, all errors, and everything that took a second or longer.
//
// # When the rate goes up and down
//
// While a process handles fewer traces than TracesPerSecond, all are kept. When there are more, each operation (span
// name and kind; for HTTP spans named after their method, the route or path as well) gets a share: half of
// TracesPerSecond is dealt out evenly, so that an operation called once a minute is kept whole beside one called 10,000
// times a second, and half goes by volume. When traffic grows the share of traces that is kept falls, and when it
// shrinks it rises, within some two seconds. Per second the number fluctuates by its square root (50 ± 7), as any random
// sample does. A process that makes up a new span name for every request stays within TracesPerSecond too, and within
// 1 MiB of memory: beyond 512 operations the rest share one rate.
//
// A poller, a batch consumer or a cron job makes everything at once and then nothing. Such a burst is sampled by what is
// known of the operation, its average and its busiest second of the last 15 minutes, until it has used the burst budget of
// about 4 × TracesPerSecond, at least 16 traces. Only then is it taken for a rise of the load, and the share falls to what the present rate asks
// for. So a first burst of 200 traces is kept whole, and 2,000 traces every ten seconds are kept at 1 in 6, each with a
// weight near 6. Bursts that come once in ten minutes are sampled evenly from their second time on. Where bursts are usual,
// the budget grows to about 7 × TracesPerSecond.
//
// The bounds are: at most 6 × TracesPerSecond in the first second of a burst or a rise, 9 × where bursts are usual, and at
// most 1.6 × TracesPerSecond on average over any ten seconds. What a burst takes beyond TracesPerSecond is repaid in the
// half minute after it, at a tenth of TracesPerSecond.
//
// TracesPerSecond is for one process, and for the traces that begin in it. A trace whose caller has been sampled is
// kept because the caller is.
//
// # What "errors are kept" means
//
// A trace that is not chosen at its start is recorded all the same, and held until its local root span, the first one
// in this process, ends. If by then a span has failed, or panicked, or was marked with [Keep], or the local root took
// SlowThreshold or longer, all of its spans in this process are exported; else they are forgotten.
//
//   - It is this process's part of the trace. The services it called were told that the trace is not sampled; they keep
//     their part if they use this sampler and see an error or a slow request as well. A server error usually shows in the
//     caller and slowness always does; an error that a caller swallows shows only where it happened.
//   - It holds within three bounds: HeldBytes of memory (16 MiB, about 4,000 requests of four spans in flight),
//     RecordedSpansPerSecond of CPU (20,000, with bursts of five seconds' worth), and TailTracesPerSecond of exports (500,
//     with bursts of ten seconds' worth). Beyond a bound a part is kept, and its weight says exactly how large a part:
//     if everything fails at 10,000 requests per second, about 500 traces per second are kept and each says that it
//     stands for 20.
//   - A process that is killed loses what it holds. One that is shut down exports what has failed so far.
//   - A trace that is open for 30 seconds (SlowThreshold, if that is longer) is taken for slow and exported from there on
//     as its spans end. For endpoints that stream, use a [Rule] with a negative SlowThreshold: their spans are forgotten
//     every 30 seconds, and a failure within an hour is kept with those since. Each stream takes 1.3 kB of HeldBytes.
//   - At most 1,000 spans and 512 KiB of one trace are held, as much again for failed spans, and once more for local roots;
//     further ones are dropped, and the local root says how many in the attribute sampling.dropped_spans.
//   - Requests that share a trace ID and overlap are kept together. While more fails than TailTracesPerSecond allows, at most
//     1,000 spans of one such trace follow it, so that nobody has everything exported by sending one ID.
//
// Recording costs what a sampled span costs, without its export: about 1.5 µs and 1.1 kB of garbage per span
// (BenchmarkRequest in internal/sampling). HeadOnly spares it.
//
// # Counts stay true
//
// Every span whose fate this sampler decides says how many it stands for, in the th value of its tracestate, as the
// OpenTelemetry specification defines it. [AdjustedCount] reads it, and has an example.
type Sampling struct {
	// TracesPerSecond is how many of the traces that begin in this process are kept per second, besides errors and slow
	// ones. Default 50, at most 1,000,000 (TELEMETRY_TRACES_PER_SECOND, or OTEL_TRACES_SAMPLER=adaptive with
	// OTEL_TRACES_SAMPLER_ARG).
	TracesPerSecond float64

	// SlowThreshold is how long a local root must take for its trace to be kept. Default 1 s, at most 10 minutes;
	// negative: duration is no reason to keep a trace (TELEMETRY_SLOW_THRESHOLD, in milliseconds; -1: none).
	SlowThreshold time.Duration

	// HeadOnly decides at the start of a trace and for good: nothing is held, and errors are kept like everything else.
	HeadOnly bool

	// Rules are tried in order before anything else; the first that matches counts. After them, traces of the usual probe
	// endpoints are dropped: servers' spans for /health, /healthz, /livez, /live, /readyz, /ready, /metrics, /ping,
	// /favicon.ico and grpc.health.v1.Health. A rule with Keep for one of these paths brings it back.
	Rules []Rule

	// Untrusted reports whether the caller of a request is a stranger, whose sampled flag and tracestate must not decide
	// anything; the context holds its span context. Such a trace is treated as if it began here, and its trace ID is kept.
	// Nil: every caller is trusted, up to RemoteTracesPerSecond. It runs at the start of every span with a remote parent
	// and must be fast and safe for concurrent use.
	Untrusted func(context.Context) bool

	// RemoteTracesPerSecond is how many traces per second trusted callers can force on this process by their sampled flag, all
	// together, with the same burst budget as TracesPerSecond. Default 4 × TracesPerSecond. Beyond it, it is shared out
	// evenly among the callers, so that one which asks for less than its share is followed always: of the others a part is
	// kept, with its weight. Callers are told apart by the address of their connection (network.peer.address of HTTP
	// spans, the connection of gRPC calls), up to 256 of them; behind one proxy they are one. A caller whose trace IDs or rv
	// values are not random, but chosen to pass, gains nothing: its traces are drawn by lot, and carry no weight.
	RemoteTracesPerSecond float64

	// TailTracesPerSecond is how many traces per second are kept because they failed, were slow or marked, with a burst budget
	// of ten seconds' worth. Default 10 × TracesPerSecond.
	TailTracesPerSecond float64

	// HeldBytes bounds the memory of undecided traces, for each SpanProcessor. It counts by estimate, on the high side: full
	// with spans as otelhttp makes them, the heap grows by about 15 % less. Default 16 MiB, at least 64 KiB.
	HeldBytes int64

	// RecordedSpansPerSecond bounds the spans that are recorded only because their trace may turn out to be interesting.
	// Default 20,000, which takes about 3 % of a core.
	RecordedSpansPerSecond float64
}

// Rule says what to do with certain traces. All of its conditions that are set must hold for the span that begins the
// trace in this process; with none set it matches everything. With no action set, the trace is sampled as usual, and
// the rule serves for its SlowThreshold.
//
// A rule decides traces that begin in this process. Those of a trusted caller follow the caller; Drop applies to them
// unless the caller was sampled.
type Rule struct {
	Route      string             // equals http.route, such as "/orders/{id}"
	PathPrefix string             // url.path (or http.target) starts with it
	SpanName   string             // equals the span's name at its start; "payment.*" matches all that start with "payment."
	Kind       trace.SpanKind     // unspecified: any
	Attribute  attribute.KeyValue // equals one of the start attributes; with an empty value: the key is there

	Drop            bool    // nothing is kept, not even errors
	Keep            bool    // everything is kept
	Ratio           float64 // this part is kept, 2^-56 to 1; errors besides
	TracesPerSecond float64 // this many are kept, apart from Sampling.TracesPerSecond; bursts and errors as there

	SlowThreshold time.Duration // instead of the sampler's: default that one; negative: off
}

// AdaptiveSampler keeps a steady number of traces per second, and errors and slow requests besides; see [Sampling] for
// what that means. It is an SDK sampler: give it to [WithSampler], or to a tracer provider of your own together with the
// processor that SpanProcessor returns. All methods are safe for concurrent use.
type AdaptiveSampler struct{ core *sampling.Sampler }

var _ sdktrace.Sampler = (*AdaptiveSampler)(nil)

// NewAdaptiveSampler returns a sampler, or an error that names every value that is out of range. It starts one
// goroutine, which wakes five times a second, sleeps after a minute in which no trace begins until one does, and ends
// with Close.
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

// show is the sampler in a few words.
func (s Sampling) show() string {
	rate := s.TracesPerSecond
	if rate == 0 {
		rate = sampling.DefaultTracesPerSecond
	}
	text := samplerAdaptive + " " + strconv.FormatFloat(rate, 'g', -1, 64) + "/s"
	if s.HeadOnly {
		text += ", head only"
	}
	return text
}

// show is the rule in one line: what becomes of the traces, and of which.
func (r Rule) show() string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	action := "sample as usual"
	switch {
	case r.Drop:
		action = "drop"
	case r.Keep:
		action = "keep"
	case r.Ratio != 0:
		action = "keep a ratio of " + number(r.Ratio)
	case r.TracesPerSecond != 0:
		action = "keep " + number(r.TracesPerSecond) + "/s"
	}
	switch {
	case r.SlowThreshold < 0:
		action += ", slowness is no reason"
	case r.SlowThreshold > 0:
		action += ", slow from " + r.SlowThreshold.String()
	}
	var conditions []string
	for _, c := range []struct{ name, value string }{
		{"route", r.Route}, {"path prefix", r.PathPrefix}, {"span name", r.SpanName}, {"attribute", string(r.Attribute.Key)},
	} {
		if c.value != "" {
			conditions = append(conditions, c.name+" "+c.value)
		}
	}
	if value := r.Attribute.Value.String(); r.Attribute.Valid() && value != "" {
		conditions[len(conditions)-1] += "=" + value
	}
	if r.Kind != trace.SpanKindUnspecified {
		conditions = append(conditions, "kind "+r.Kind.String())
	}
	if conditions == nil {
		conditions = []string{"everything"}
	}
	return action + ": " + strings.Join(conditions, ", ")
}

// ShouldSample implements the SDK's sampler. It takes no lock and, for roots and children, allocates nothing.
func (s *AdaptiveSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	return s.core.ShouldSample(p)
}

// Description names the sampler and its target.
func (s *AdaptiveSampler) Description() string { return s.core.Description() }

// SpanProcessor returns a processor that holds undecided traces and hands those to be kept to next, usually a batch
// processor. It must be registered before the first span starts, and no other processor that exports must see the
// spans. Until it is called, and with HeadOnly, traces that are not chosen at their start are dropped.
//
// Its ForceFlush flushes next, and leaves undecided traces undecided: forcing them would lose errors or bend the
// weights. Its Shutdown hands on the sampled spans and the failed traces that it holds, forgets the others, and shuts
// next down. With several processors, each holds the traces it sees.
func (s *AdaptiveSampler) SpanProcessor(next sdktrace.SpanProcessor) sdktrace.SpanProcessor {
	if isNil(next) {
		next = discard{}
	}
	return s.core.Processor(next)
}

// Close ends the sampler's goroutine. Call it after the tracer provider's Shutdown; a sampler that is used after Close
// no longer raises its rate. It is idempotent and always returns nil.
func (s *AdaptiveSampler) Close() error {
	s.core.Close()
	return nil
}

// AdjustedCount says how many spans the exported span with this context stands for: its weight. It is not ok if the
// span is not sampled or does not say, as is the case when the trace was sampled by a caller without a th. Use the span
// context of an exported span, as a [sdktrace.SpanProcessor] or exporter sees it: that of a running span does not have
// its final weight yet.
//
// To estimate a total from sampled spans, add their weights. Of 10,000 requests, let 1 % be sampled at random, and let
// all 200 failed ones be kept. About 98 of the 9,800 that succeeded are exported, with weight 100 each, and all 200 that
// failed, with weight 1 each; the sums are about 9,800 and exactly 200. The same sum over spans slower than a bound, or of
// one customer, estimates how many of those there were. Its standard error is at most the square root of Σ w·(w−1): here
// √(98 · 100 · 99) ≈ 985 for the first sum, and 0 for the second.
func AdjustedCount(sc trace.SpanContext) (count float64, ok bool) {
	return sampling.AdjustedCount(sc)
}

// Keep asks to keep the trace of the span in ctx, like an error would: it sets the attribute sampling.keep on the span.
// It must be called before the span ends, and has no effect on a span that is not recorded.
func Keep(ctx context.Context) {
	trace.SpanFromContext(ctx).SetAttributes(sampling.KeepKey.Bool(true))
}

// discard is a span processor that does nothing.
type discard struct{}

func (discard) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (discard) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (discard) ForceFlush(context.Context) error                { return nil }
func (discard) Shutdown(context.Context) error                  { return nil }
