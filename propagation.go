package telemetry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/encodable"
	"github.com/fleetotel/telemetry/internal/nonrecording"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// Inject writes the trace context and the baggage of ctx into carrier, for a request, message or job that leaves this
// process. A nil carrier is left alone.
//
// The global propagator rules: after [Init] that is what OTEL_PROPAGATORS or [WithPropagators] says, "none" included.
// As long as none was set, the headers are those of W3C Trace Context and W3C Baggage. Inject is safe for
// concurrent use as far as carrier is.
//
// Of the baggage, as many whole members go out as W3C Baggage lets the next service count on: at most 64 members and
// 8,192 bytes, in the order of their keys. Beyond that, many services drop all of it or refuse the request. The log says
// once that members are left out. Nothing is written of a trace that began in a process whose traces are off: the callee
// then decides for itself whether to record.
func Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	if !isNil(carrier) {
		currentPropagator().Inject(orBackground(ctx), carrier)
	}
}

// Extract returns ctx with the trace context and the baggage that carrier holds; a span started from it becomes a child
// of the caller's. What is missing or malformed is ignored, as W3C Trace Context §3.2 asks, so that a bad header never
// costs more than the connection between two traces. A nil carrier holds nothing.
//
// Keys of a tracestate may be those of W3C Trace Context Level 2, of which OpenTelemetry knows Level 1. Members that its
// [trace.TraceState] refuses are kept in ctx and go out again with the same trace, at their old places, OpenTelemetry's own
// in front, at most 32 members and 512 bytes in all. They are not in the trace_state of exported spans. Of members with the
// same key the first counts.
//
// Without a caller, the trace that starts here is marked random (the random-trace-id flag of W3C Trace Context
// Level 2 §3.2.2.5), which is what lets samplers of different services agree on it. A trace id that came from
// elsewhere keeps the flags it came with.
//
// The propagator is chosen as for [Inject].
func Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	ctx = orBackground(ctx)
	if !isNil(carrier) {
		ctx = currentPropagator().Extract(ctx, carrier)
	}
	return withRandomRoot(ctx)
}

// orBackground is ctx, empty for a nil one, which the compiler cannot rule out.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// InjectHTTP is [Inject] into the header of an HTTP request; a nil header is left alone. Requests sent through
// [Transport] have it done for them.
func InjectHTTP(ctx context.Context, header http.Header) {
	if header != nil {
		Inject(ctx, propagation.HeaderCarrier(header))
	}
}

// ExtractHTTP is [Extract] from the header of an HTTP request, which may be nil. Requests served through [Handler] have
// it done for them.
func ExtractHTTP(ctx context.Context, header http.Header) context.Context {
	return Extract(ctx, propagation.HeaderCarrier(header))
}

// ExtractEnv is [Extract] from the environment of this process: TRACEPARENT, TRACESTATE and BAGGAGE, as the
// OpenTelemetry specification's "Environment Variables as Context Propagation Carriers" defines them. It is how a batch
// job, a CI step or a command joins the trace of the process that started it; call it once, at the start of main.
func ExtractEnv(ctx context.Context) context.Context {
	return Extract(ctx, readEnviron(os.Environ()))
}

// InjectEnv returns environ with the trace context and the baggage of ctx, for a process about to be started:
//
//	cmd := exec.CommandContext(ctx, "reindex")
//	cmd.Env = telemetry.InjectEnv(ctx, cmd.Environ())
//
// Nil stands for the environment of this process, as in [os/exec.Cmd]. The child gets what ctx holds and nothing else:
// the variables this process was itself started with are not handed on. environ is not modified, so that each of several
// children can have its own copy. Other processes can read an environment: keep secrets out of baggage.
func InjectEnv(ctx context.Context, environ []string) []string {
	if environ == nil {
		environ = os.Environ()
	}
	vars := environCarrier{}
	Inject(ctx, vars)

	owned := maps.Clone(vars)
	for _, field := range currentPropagator().Fields() {
		owned.Set(field, "")
	}
	child := make([]string, 0, len(environ)+len(vars))
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if _, ours := owned[name]; !ours {
			child = append(child, entry)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		child = append(child, name+"="+vars[name])
	}
	return child
}

// environCarrier holds environment variables by their names. Names that propagation would not write are not read either.
type environCarrier map[string]string

func readEnviron(environ []string) environCarrier {
	vars := environCarrier{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if _, seen := vars[name]; !seen && name == variableName(name) {
			vars[name] = value
		}
	}
	return vars
}

func (c environCarrier) Get(key string) string { return c[variableName(key)] }
func (c environCarrier) Set(key, value string) { c[variableName(key)] = value }
func (c environCarrier) Keys() []string        { return slices.Collect(maps.Keys(c)) }

// variableName is the environment variable of a propagation key: upper-case letters, digits and underscores, not
// starting with a digit (specification, "Environment Variable Names").
func variableName(key string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, key)
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return "_" + name
	}
	return name
}

var (
	w3cPropagator = newOutbound(propagation.NewCompositeTextMapPropagator(traceContext{}, propagation.Baggage{}), handleLine)

	// A type, because a propagator may be a slice, which == would panic on.
	unsetPropagator = reflect.TypeOf(otel.GetTextMapPropagator())

	// ofTheService keeps the propagators that the service has set itself to the rules of outbound.
	ofTheService = newOutbound(nil, handleLine)
)

func handleLine(line string) { otel.Handle(errors.New(line)) }

// currentPropagator tells a propagator that was not set, which has no fields, from one that was set to do nothing,
// which has none either but is an operator's decision (OTEL_PROPAGATORS=none).
func currentPropagator() propagation.TextMapPropagator {
	p := otel.GetTextMapPropagator()
	switch {
	case p == nil || reflect.TypeOf(p) == unsetPropagator && len(p.Fields()) == 0:
		return w3cPropagator
	case p == propagation.TextMapPropagator(process.propagator):
		return p
	}
	return outbound{p, ofTheService.say}
}

// outbound is a propagator that lets out what may leave this process: as much baggage as the next service has to take,
// and no trace that is recorded nowhere.
type outbound struct {
	propagation.TextMapPropagator
	say *saidOnce
}

// saidOnce is a line that is said the first time.
type saidOnce struct {
	sync.Once
	say func(line string)
}

func newOutbound(p propagation.TextMapPropagator, say func(line string)) outbound {
	return outbound{p, &saidOnce{say: say}}
}

func (p outbound) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	if nonrecording.Made(trace.SpanContextFromContext(ctx)) {
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	bag := baggage.FromContext(ctx)
	if bounded, left := w3c.BoundBaggage(bag); left != nil {
		ctx = baggage.ContextWithBaggage(ctx, bounded)
		if slices.Contains(p.Fields(), "baggage") {
			p.say.Do(func() { p.say.say(baggageLine(bag.Len(), left)) })
		}
	}
	p.TextMapPropagator.Inject(ctx, carrier)
}

// Extract gives long baggage texts of its own: a member that is kept, in an attribute say, must not keep all of the header.
func (p outbound) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	received := p.TextMapPropagator.Extract(ctx, carrier)
	size := 0
	for _, value := range valuesOf(carrier, "baggage") {
		size += len(value)
	}
	if bag := baggage.FromContext(received); size > encodable.Slack && bag.Len() > 0 {
		return baggage.ContextWithBaggage(received, w3c.OwnBaggage(bag))
	}
	return received
}

// baggageLine says what is left out of a request, and that more may follow.
func baggageLine(members int, left []string) string {
	return fmt.Sprintf("outbound baggage is beyond the limits of W3C Baggage, %d members and %d bytes: %d of %d members "+
		"are left out, %.60q first; put less into baggage (said once)",
		w3c.MaxBaggageMembers, w3c.MaxBaggageBytes, len(left), members, left[0])
}

// isGlobalPropagator tells what otel.GetTextMapPropagator returns when only OpenTelemetry or Init has set it: it leads to
// whatever is global next.
func isGlobalPropagator(p propagation.TextMapPropagator) bool {
	t := reflect.TypeOf(p)
	return t == reflect.TypeFor[*propagator]() || t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "go.opentelemetry.io/otel/internal/global"
}

// globalPropagator looks the propagator up for each call, so that middleware built before Init follows it.
type globalPropagator struct{}

func (globalPropagator) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	currentPropagator().Inject(ctx, carrier)
}

func (globalPropagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	return currentPropagator().Extract(ctx, carrier)
}

func (globalPropagator) Fields() []string { return currentPropagator().Fields() }

// propagator is what otel.SetTextMapPropagator gets, each time the same one: OpenTelemetry's own global and whoever has
// asked for it once keep what they get, and have to follow the guard that holds the globals. After a Shutdown the last
// one stays, for requests that are still on their way.
type propagator struct {
	current atomic.Pointer[propagation.TextMapPropagator]
}

func (p *propagator) use(one propagation.TextMapPropagator) { p.current.Store(&one) }

func (p *propagator) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	(*p.current.Load()).Inject(ctx, carrier)
}

func (p *propagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	return (*p.current.Load()).Extract(ctx, carrier)
}

func (p *propagator) Fields() []string { return (*p.current.Load()).Fields() }
