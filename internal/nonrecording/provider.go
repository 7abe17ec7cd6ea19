// Package nonrecording has the tracer provider of a process whose traces are off. Its spans record
// nothing and are not exported, but they have ids, so that the log lines of one request can be
// found.
package nonrecording

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"
)

// mark is the tracestate of the span contexts of this package. Unlike a type, it is still there
// when a service copies the span context into another context. It is never sent, see [Made], and
// its value is random for each process, so that a caller cannot send it.
var mark = func() trace.TraceState {
	state, _ := trace.TraceState{}.Insert(markKey, markValue) // valid, which a test holds
	return state
}()

const markKey = "fleetotel"

var markValue = fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())

// Made tells whether the span context is of a trace that began in this process and is recorded
// nowhere. It must not be sent: the receiver would take it for a trace that was not sampled,
// although it should decide for itself.
func Made(sc trace.SpanContext) bool {
	return !sc.IsRemote() && sc.IsValid() && sc.TraceState().Get(markKey) == markValue
}

// NewProvider returns the provider. With a nil generator, ids are random.
func NewProvider(ids sdktrace.IDGenerator) trace.TracerProvider {
	if ids == nil {
		ids = randomIDs{}
	}
	return &provider{ids: ids}
}

type provider struct {
	embedded.TracerProvider
	ids sdktrace.IDGenerator
}

func (p *provider) Tracer(string, ...trace.TracerOption) trace.Tracer { return tracer{provider: p} }

type tracer struct {
	embedded.Tracer
	provider *provider
}

// Start returns the span in ctx unchanged, as a no-op tracer does, if that came from another
// process or another provider. Otherwise it makes new ids.
func (t tracer) Start(ctx context.Context, _ string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if ctx == nil {
		ctx = context.Background()
	}
	parent := trace.SpanContextFromContext(ctx)
	config := trace.NewSpanStartConfig(opts...)
	own := trace.SpanContextConfig{TraceFlags: parent.TraceFlags() & trace.FlagsRandom, TraceState: mark}
	switch {
	case config.NewRoot() || !parent.IsValid():
		own.TraceID, own.SpanID = t.provider.ids.NewIDs(ctx)
	case Made(parent):
		own.TraceID, own.SpanID = parent.TraceID(), t.provider.ids.NewSpanID(ctx, parent.TraceID())
	default:
		ctx = trace.ContextWithSpanContext(ctx, parent) // it cannot be ended here
		return ctx, trace.SpanFromContext(ctx)
	}
	s := span{sc: trace.NewSpanContext(own), provider: t.provider}
	return trace.ContextWithSpan(ctx, s), s
}

type span struct {
	noop.Span
	sc       trace.SpanContext
	provider *provider
}

func (s span) SpanContext() trace.SpanContext       { return s.sc }
func (s span) TracerProvider() trace.TracerProvider { return s.provider }

// randomIDs makes ids as the SDK does.
type randomIDs struct{}

func (randomIDs) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	var id trace.TraceID
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id, newSpanID()
}

func (randomIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return newSpanID() }

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
