// Package spans records errors and panics on a span, for Do and the middleware, and finds the
// provider that a new span belongs to.
package spans

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

	"github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// OptionsInPlace returns the options of config without WithNewRoot, which makes the SDK ignore the
// parent and its flags.
func OptionsInPlace(config trace.SpanConfig) []trace.SpanStartOption {
	return []trace.SpanStartOption{
		trace.WithAttributes(config.Attributes()...),
		trace.WithLinks(config.Links()...),
		trace.WithSpanKind(config.SpanKind()),
		trace.WithTimestamp(config.Timestamp()),
	}
}

// bareSpan is the type of the span in a context that has only a span context: a remote caller's, or
// one copied to a detached context. The provider of such a span records nothing.
var bareSpan = reflect.TypeOf(trace.SpanFromContext(trace.ContextWithSpanContext(context.Background(), w3c.RandomRoot)))

// ProviderFor returns the provider of the span in ctx or, if there is none, the global one.
func ProviderFor(ctx context.Context) trace.TracerProvider {
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsValid() || reflect.TypeOf(span) == bareSpan {
		return otel.GetTracerProvider()
	}
	return span.TracerProvider()
}

// EndOnPanic must be deferred. It ends the span of a function that panics and raises the panic
// again. Ending the span here keeps a deferred span.End from recording the same panic again.
func EndOnPanic(span trace.Span) {
	value := recover()
	if value == nil {
		return
	}
	if value != any(http.ErrAbortHandler) {
		RecordPanic(span, value)
	}
	span.End()
	panic(value)
}

// RecordError sets the status and error.type and adds an exception event. It does nothing if err is
// nil.
func RecordError(span trace.Span, err error) {
	if err == nil || !span.IsRecording() {
		return
	}
	kind, message := Describe(err)
	span.SetStatus(codes.Error, message)
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(
		semconv.ExceptionType(kind),
		semconv.ExceptionMessage(message),
	))
}

// maxStack limits the stack of a panic, in bytes. It has room for about a hundred frames.
const maxStack = 16 << 10

// RecordPanic records a panic on the span and returns its error.type, even if the span is not
// recorded.
func RecordPanic(span trace.Span, value any) (kind string) {
	kind, message := DescribePanic(value)
	if !span.IsRecording() {
		return kind
	}
	span.SetStatus(codes.Error, "panic: "+message)
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(
		semconv.ExceptionType(kind),
		semconv.ExceptionMessage(message),
		semconv.ExceptionStacktrace(PanicStack()),
	))
	return kind
}

// DescribePanic returns the error.type and the text of a panic's value.
func DescribePanic(value any) (kind, message string) {
	if err, ok := value.(error); ok {
		return Describe(err)
	}
	return fmt.Sprintf("%T", value), logs.Text(value)
}

// PanicStack returns the stack of the goroutine. During a recover it includes the place of the
// panic. Beyond 16 KiB it is cut.
func PanicStack() string {
	stack := make([]byte, maxStack)
	return string(stack[:runtime.Stack(stack, false)])
}

// Describe returns the error.type and the text of err. The methods of err are the service's code,
// and they panic for a nil pointer in an error. The caller may never call them, so Describe must
// not panic either.
func Describe(err error) (kind, message string) {
	defer func() {
		if recover() != nil {
			kind = fmt.Sprintf("%T", err)
			message = kind + " without a text: its methods panic"
		}
	}()
	return errorType(err), err.Error()
}

// errorType returns the error.type. The two errors of context are named themselves, because the
// type of one is *errors.errorString, and that of the other is not exported.
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
