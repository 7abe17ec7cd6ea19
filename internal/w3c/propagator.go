package w3c

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/encodable"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/nonrecording"
)

var (
	w3cPropagator = newOutbound(propagation.NewCompositeTextMapPropagator(TraceContext{}, propagation.Baggage{}),
		handleLine)

	// A type, because a propagator may be a slice, for which == panics.
	unsetPropagator = reflect.TypeOf(otel.GetTextMapPropagator())

	// ofTheService applies the rules of outbound to propagators that the service has set itself.
	ofTheService = newOutbound(nil, handleLine)
)

func handleLine(line lines.Line) { otel.Handle(line) }

// Current returns OpenTelemetry's global propagator with the rules of [NewOutbound], or W3C's if
// none was set. Both a propagator that was never set and one that was set to do nothing have no
// fields, but the latter is an operator's decision (OTEL_PROPAGATORS=none).
func Current() propagation.TextMapPropagator {
	p := otel.GetTextMapPropagator()
	switch {
	case p == nil || reflect.TypeOf(p) == unsetPropagator && len(p.Fields()) == 0:
		return w3cPropagator
	case isSwitch(p):
		return p // it applies the rules itself
	}
	return outbound{p, ofTheService.say}
}

func isSwitch(p propagation.TextMapPropagator) bool {
	_, is := p.(*Switch)
	return is
}

// outbound is what NewOutbound returns.
type outbound struct {
	propagation.TextMapPropagator
	say *saidOnce
}

// saidOnce reports a line once.
type saidOnce struct {
	sync.Once
	say func(lines.Line)
}

// NewOutbound returns p with the rules for what may leave this process: as much baggage as the next
// service must accept, and no trace that is recorded nowhere. say gets the line about baggage that
// is left out, once.
func NewOutbound(p propagation.TextMapPropagator, say func(lines.Line)) propagation.TextMapPropagator {
	return newOutbound(p, say)
}

func newOutbound(p propagation.TextMapPropagator, say func(lines.Line)) outbound {
	return outbound{p, &saidOnce{say: say}}
}

func (p outbound) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	if nonrecording.Made(trace.SpanContextFromContext(ctx)) {
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	bag := baggage.FromContext(ctx)
	if bounded, left := BoundBaggage(bag); left != nil {
		ctx = baggage.ContextWithBaggage(ctx, bounded)
		if slices.Contains(p.Fields(), "baggage") {
			p.say.Do(func() { p.say.say(lines.BaggageLeftOut(maxBaggageMembers, maxBaggageBytes, bag.Len(), left)) })
		}
	}
	p.TextMapPropagator.Inject(ctx, carrier)
}

// Extract copies long baggage: a member that is kept, for example in an attribute, must not keep
// the whole header in memory.
func (p outbound) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	received := p.TextMapPropagator.Extract(ctx, carrier)
	size := 0
	for _, value := range valuesOf(carrier, "baggage") {
		size += len(value)
	}
	if bag := baggage.FromContext(received); size > encodable.Slack && bag.Len() > 0 {
		return baggage.ContextWithBaggage(received, OwnBaggage(bag))
	}
	return received
}

// IsGlobal reports whether p stands for the global propagator, whichever that is:
// otel.GetTextMapPropagator returns such a propagator if only OpenTelemetry or Init has set it.
func IsGlobal(p propagation.TextMapPropagator) bool {
	t := reflect.TypeOf(p)
	return t == reflect.TypeFor[*Switch]() || t.Kind() == reflect.Pointer &&
		t.Elem().PkgPath() == "go.opentelemetry.io/otel/internal/global"
}

// Global looks up the propagator for each call, so that middleware made before Init uses the one
// that Init sets.
type Global struct{}

func (Global) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	Current().Inject(ctx, carrier)
}

func (Global) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	return Current().Extract(ctx, carrier)
}

func (Global) Fields() []string { return Current().Fields() }

// Switch is the propagator that Init gives to otel.SetTextMapPropagator. It is always the same one,
// because code that has asked for the global propagator keeps it and must use that of the guard
// that holds the globals. After a Shutdown the last propagator stays, for requests that are still
// in flight. It is safe for concurrent use after the first Use.
type Switch struct {
	current atomic.Pointer[propagation.TextMapPropagator]
}

// Use sets the propagator.
func (p *Switch) Use(one propagation.TextMapPropagator) { p.current.Store(&one) }

func (p *Switch) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	(*p.current.Load()).Inject(ctx, carrier)
}

func (p *Switch) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	return (*p.current.Load()).Extract(ctx, carrier)
}

func (p *Switch) Fields() []string { return (*p.current.Load()).Fields() }
