package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/spans"
	"github.com/fleetotel/telemetry/internal/version"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// Do runs fn in a span with the given name, a child of the span in ctx, and returns fn's error
// unchanged.
//
// If fn returns an error, the span's status becomes Error with the error's text, and an exception
// event is added. error.type is the type of the error inside any fmt.Errorf wrapping, or
// context.Canceled, context.DeadlineExceeded, or the result of an ErrorType() string method in its
// chain. A panic is recorded in the same way, with its stack, and continues with the same value.
// http.ErrAbortHandler is not recorded, because it is a way to end a request. The span always ends,
// even if fn calls runtime.Goexit.
//
// The tracer is that of the span in ctx, so a guard with WithoutGlobals is respected; otherwise it
// is the global one. A root span is marked random like in [Extract], whether ctx has no span or
// opts contain [trace.WithNewRoot]. Use only a few different names and put variable data into
// attributes. Do is safe for concurrent use.
func Do(ctx context.Context, name string, fn func(context.Context) error, opts ...trace.SpanStartOption) error {
	ctx = orBackground(ctx)
	tracer := spans.ProviderFor(ctx).Tracer(version.Scope, trace.WithInstrumentationVersion(version.Version))
	if config := trace.NewSpanStartConfig(opts...); config.NewRoot() {
		ctx, opts = trace.ContextWithSpanContext(ctx, w3c.RandomRoot), spans.OptionsInPlace(config)
	}
	ctx, span := tracer.Start(w3c.WithRandomRoot(ctx), name, opts...)
	defer span.End()
	defer spans.EndOnPanic(span)

	err := fn(ctx)
	spans.RecordError(span, err)
	return err
}
