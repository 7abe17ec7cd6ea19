package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	internallogs "github.com/fleetotel/telemetry/internal/logs"
)

// Do runs fn in a span called name, a child of the span in ctx, and returns the error of fn as it is.
//
// An error sets the span's status to Error with the error's text, its error.type to the type of the error inside any
// fmt.Errorf wrapping (or to context.Canceled, context.DeadlineExceeded, or what an ErrorType() string method in its
// chain says), and adds an exception event. A panic is recorded in the same way, with its stack, and goes on with the
// same value; http.ErrAbortHandler is a way to end a request and not recorded. The span ends in every case, also when fn
// calls runtime.Goexit.
//
// The tracer is that of the span in ctx, so that a guard made WithoutGlobals is honoured, and else the global one. A
// root, whether ctx has no span or opts say [trace.WithNewRoot], is marked random as by [Extract]. The name should be
// one of few: put what varies into attributes. Do is safe for concurrent use.
func Do(ctx context.Context, name string, fn func(context.Context) error, opts ...trace.SpanStartOption) error {
	ctx = orBackground(ctx)
	tracer := providerFor(ctx).Tracer(scopeName, trace.WithInstrumentationVersion(Version))
	if config := trace.NewSpanStartConfig(opts...); config.NewRoot() {
		ctx, opts = trace.ContextWithSpanContext(ctx, randomRoot), optionsInPlace(config)
	}
	ctx, span := tracer.Start(withRandomRoot(ctx), name, opts...)
	defer span.End()
	defer endOnPanic(span)

	err := fn(ctx)
	recordError(span, err)
	return err
}

// randomRoot is a parent that gives a new trace no id and no parent, only its random flag: the SDK takes a root's flags
// from the parent context, and never sets this one although its ids deserve it.
var randomRoot = trace.NewSpanContext(trace.SpanContextConfig{TraceFlags: trace.FlagsRandom})

// withRandomRoot makes the next span started from ctx a random root, unless ctx has a trace already. It asks for the
// trace id alone: the SDK continues a trace id that comes without a span id, and such an id comes from elsewhere.
func withRandomRoot(ctx context.Context) context.Context {
	parent := trace.SpanContextFromContext(ctx)
	if parent.HasTraceID() || parent.Equal(randomRoot) {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, randomRoot)
}

// optionsInPlace are the options of config but for WithNewRoot, which makes the SDK ignore the parent and its flags.
func optionsInPlace(config trace.SpanConfig) []trace.SpanStartOption {
	return []trace.SpanStartOption{
		trace.WithAttributes(config.Attributes()...),
		trace.WithLinks(config.Links()...),
		trace.WithSpanKind(config.SpanKind()),
		trace.WithTimestamp(config.Timestamp()),
	}
}

// bareSpan is the type in which a context holds a span context without its span: a remote caller's, or one copied to a
// detached context. Such a span has a provider that records nothing.
var bareSpan = reflect.TypeOf(trace.SpanFromContext(trace.ContextWithSpanContext(context.Background(), randomRoot)))

// providerFor is the provider of the span in ctx or, if there is none, the global one.
func providerFor(ctx context.Context) trace.TracerProvider {
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsValid() || reflect.TypeOf(span) == bareSpan {
		return otel.GetTracerProvider()
	}
	return span.TracerProvider()
}

// endOnPanic, when deferred, ends the span of a panicking function and lets the panic go on. Ending it here keeps a
// deferred span.End from recording the same panic a second time.
func endOnPanic(span trace.Span) {
	value := recover()
	if value == nil {
		return
	}
	if value != any(http.ErrAbortHandler) {
		recordPanic(span, value)
	}
	span.End()
	panic(value)
}

func recordError(span trace.Span, err error) {
	if err == nil || !span.IsRecording() {
		return
	}
	kind, message := describe(err)
	span.SetStatus(codes.Error, message)
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(
		semconv.ExceptionType(kind),
		semconv.ExceptionMessage(message),
	))
}

// maxStack bounds what one panic adds to a batch; it holds about a hundred frames.
const maxStack = 16 << 10

// recordPanic returns the error.type of the panic, also where the span records nothing.
func recordPanic(span trace.Span, value any) (kind string) {
	kind, message := describePanic(value)
	if !span.IsRecording() {
		return kind
	}
	span.SetStatus(codes.Error, "panic: "+message)
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(
		semconv.ExceptionType(kind),
		semconv.ExceptionMessage(message),
		semconv.ExceptionStacktrace(panicStack()),
	))
	return kind
}

func describePanic(value any) (kind, message string) {
	if err, ok := value.(error); ok {
		return describe(err)
	}
	return fmt.Sprintf("%T", value), internallogs.Text(value)
}

// panicStack is the stack of the goroutine, with the place of a panic that is being recovered.
func panicStack() string {
	stack := make([]byte, maxStack)
	return string(stack[:runtime.Stack(stack, false)])
}

// describe gives error.type and text of err. The methods of err are the service's code, and a nil pointer in an error
// makes them panic: its caller may never look at it, so neither may looking at it here do harm.
func describe(err error) (kind, message string) {
	defer func() {
		if recover() != nil {
			kind = fmt.Sprintf("%T", err)
			message = kind + " without a text: its methods panic"
		}
	}()
	return errorType(err), err.Error()
}

// errorType names the context's two errors as a reader knows them: one has no type of its own, the other a private one.
func errorType(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "context.Canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "context.DeadlineExceeded"
	default:
		return semconv.ErrorType(err).Value.AsString()
	}
}
