package sampling

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observedOperations limits the operations in metrics to the busiest ones.
const observedOperations = 20

// RegisterMetrics lets meter observe the sampler until the registration ends:
//
//	telemetry.sampler.target                  {trace}/s  gauge
//	telemetry.sampler.operation.rate          {trace}/s  gauge by operation (the 20 busiest): arrivals
//	telemetry.sampler.operation.probability   1          gauge by operation
//	telemetry.sampler.decisions               {trace}    counter by decision: sampled, unsampled, rule_sampled,
//	                                                     rule_dropped, caller_sampled, caller_refused
//	telemetry.sampler.inconsistent_parents    {trace}    counter
//	telemetry.sampler.tail.decisions          {trace}    counter by decision: kept, routed, discarded, outbid,
//	                                                     evicted
//	telemetry.sampler.tail.spans              {span}     counter by fate: recorded, late, truncated
//	telemetry.sampler.tail.held               {trace}    gauge
//	telemetry.sampler.tail.held_bytes         By         gauge
//	telemetry.sampler.floor                   1          gauge by bound: memory, cpu; the share not recorded
func (s *Sampler) RegisterMetrics(meter metric.Meter) (metric.Registration, error) {
	var errs []error
	gauge := func(name, unit, description string) metric.Float64ObservableGauge {
		g, err := meter.Float64ObservableGauge("telemetry.sampler."+name, metric.WithUnit(unit),
			metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	counter := func(name, unit, description string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter("telemetry.sampler."+name, metric.WithUnit(unit),
			metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	target := gauge("target", "{trace}/s", "Traces per second that the head keeps.")
	rate := gauge("operation.rate", "{trace}/s", "Traces per second that begin.")
	ratio := gauge("operation.probability", "1", "The share of traces that the head keeps.")
	decisions := counter("decisions", "{trace}", "Traces decided at their start.")
	inconsistent := counter("inconsistent_parents", "{trace}", "Callers whose sampling threshold was not credible.")
	outcomes := counter("tail.decisions", "{trace}", "Traces decided at their end.")
	spans := counter("tail.spans", "{span}", "Spans recorded for the tail, and those that it could not keep.")
	held := gauge("tail.held", "{trace}", "Traces that are held.")
	bytes := gauge("tail.held_bytes", "By", "Memory that they take, estimated.")
	floor := gauge("floor", "1", "The share of undecided traces that is not recorded.")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	by := func(key, value string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
	}
	var unsampled atomic.Uint64 // the highest difference so far: a counter must not fall
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		snap := s.Snapshot()
		storeMax(&unsampled, snap.Arrivals-snap.Kept)
		o.ObserveFloat64(target, snap.Target)
		operations := byName(snap.Operations)
		for _, op := range operations[:min(len(operations), observedOperations)] {
			o.ObserveFloat64(rate, op.Rate, by("operation", op.Name))
			o.ObserveFloat64(ratio, op.Probability, by("operation", op.Name))
		}
		for decision, n := range map[string]uint64{
			"sampled": snap.Kept, "unsampled": unsampled.Load(), "rule_sampled": snap.RuleKept,
			"rule_dropped": snap.RuleDropped, "caller_sampled": snap.Followed, "caller_refused": snap.Refused,
		} {
			o.ObserveInt64(decisions, int64(n), by("decision", decision))
		}
		o.ObserveInt64(inconsistent, int64(snap.Inconsistent))
		for decision, n := range map[string]uint64{
			"kept": snap.Tail.Kept, "routed": snap.Tail.Routed, "discarded": snap.Tail.Discarded,
			"outbid": snap.Tail.Outbid, "evicted": snap.Tail.Evicted,
		} {
			o.ObserveInt64(outcomes, int64(n), by("decision", decision))
		}
		for fate, n := range map[string]uint64{
			"recorded": snap.Recorded, "late": snap.Tail.Late, "truncated": snap.Tail.Truncated,
		} {
			o.ObserveInt64(spans, int64(n), by("fate", fate))
		}
		o.ObserveFloat64(held, float64(snap.HeldTraces))
		o.ObserveFloat64(bytes, float64(snap.HeldBytes))
		o.ObserveFloat64(floor, snap.MemoryFloor, by("bound", "memory"))
		o.ObserveFloat64(floor, snap.CPUFloor, by("bound", "cpu"))
		return nil
	}, target, rate, ratio, decisions, inconsistent, outcomes, spans, held, bytes, floor)
}

// byName joins the operations with the same name, such as "GET" with several paths, because a
// metric has one value for each name. The busiest come first.
func byName(operations []Operation) (joined []Operation) {
	index := make(map[string]int)
	for _, op := range operations {
		i, known := index[op.Name]
		if !known {
			index[op.Name] = len(joined)
			joined = append(joined, op)
			continue
		}
		sum := &joined[i]
		if rate := sum.Rate + op.Rate; rate > 0 {
			sum.Probability = (sum.Probability*sum.Rate + op.Probability*op.Rate) / rate
			sum.Rate = rate
		}
	}
	slices.SortStableFunc(joined, busier)
	return joined
}
