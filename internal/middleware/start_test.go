package middleware

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/global"
	"github.com/fleetotel/telemetry/internal/sampling"
)

// startRecorder keeps the attributes that spans start with, and those they end with.
type startRecorder struct {
	tracetest.SpanRecorder
	starts [][]attribute.KeyValue
}

func (r *startRecorder) OnStart(ctx context.Context, span sdktrace.ReadWriteSpan) {
	r.starts = append(r.starts, span.Attributes())
	r.SpanRecorder.OnStart(ctx, span)
}

// newProvider is a provider whose sampler is adaptive; one that serves gets the first attributes of
// a request's span from the middleware itself.
func newProvider(t *testing.T, serves bool, rules ...sampling.Rule) (*sdktrace.TracerProvider, *startRecorder) {
	t.Helper()
	sampler, err := sampling.New(sampling.Config{Rules: rules, HeadOnly: true})
	require.NoError(t, err)
	t.Cleanup(sampler.Close)
	recorder := &startRecorder{}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(recorder))
	if serves {
		sampler.Serve(provider)
	}
	return provider, recorder
}

// What a span, its processors and the sampler's rules see does not depend on the way of the
// attributes.
func TestAttributesThroughTheSamplerAreThoseOfOptions(t *testing.T) {
	nested := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		provider := trace.SpanFromContext(r.Context()).TracerProvider()
		_, inner := provider.Tracer("inner").Start(r.Context(), "inner", trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.Int("own", 1)))
		inner.End()
		answers(w, r)
	})
	var want *startRecorder
	for _, serves := range []bool{false, true} {
		provider, recorder := newProvider(t, serves)
		h := NewHandler(nested, configOf(provider))
		for range 3 {
			serveOne(h)
		}
		require.Len(t, recorder.Ended(), 6)
		if want == nil {
			want = recorder
			continue
		}
		require.Equal(t, want.starts, recorder.starts)
		for i, span := range recorder.Ended() {
			require.Equal(t, want.Ended()[i].Attributes(), span.Attributes())
			require.Zero(t, span.DroppedAttributes())
		}
	}
}

func TestRulesSeeTheAttributesThatTheSamplerGets(t *testing.T) {
	for _, seen := range []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String("GET"), semconv.UserAgentOriginal("benchmark/1.0"),
	} {
		provider, recorder := newProvider(t, true, sampling.Rule{Attribute: seen, Drop: true})
		serveOne(NewHandler(answers, configOf(provider)))
		require.Empty(t, recorder.starts, seen.Key)
	}
}

// paramsRecorder is a service's own sampler.
type paramsRecorder struct{ attributes []attribute.KeyValue }

func (r *paramsRecorder) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	r.attributes = append([]attribute.KeyValue(nil), p.Attributes...)
	return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
}
func (*paramsRecorder) Description() string { return "paramsRecorder" }

// The globals may change to a provider with another sampler between two requests.
func TestSamplersOfServicesSeeAllAttributes(t *testing.T) {
	adaptive, recorder := newProvider(t, true)
	own := &paramsRecorder{}
	wrapped := &startRecorder{}
	other := sdktrace.NewTracerProvider(sdktrace.WithSampler(own), sdktrace.WithSpanProcessor(wrapped))
	set := global.New()
	h := NewHandler(answers, configOf(set.TracerProvider()))
	for range 2 {
		set.Use(adaptive, nil, nil)
		serveOne(h)
		set.Use(other, nil, nil)
		serveOne(h)
		require.Equal(t, recorder.starts[0], own.attributes)
	}
	require.Len(t, recorder.starts, 2)
	require.Equal(t, recorder.starts, wrapped.starts)
	for _, span := range append(recorder.Ended(), wrapped.Ended()...) {
		require.Contains(t, span.Attributes(), semconv.HTTPResponseStatusCode(http.StatusAccepted))
	}
}
