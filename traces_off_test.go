package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestUnexportedTracesStillHaveIDs(t *testing.T) {
	incoming := http.Header{"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-01"}, "Tracestate": {"vendor=1"}}
	unsampled := http.Header{"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-00"}}
	type want struct {
		ids      bool // in the log
		joined   bool // the callee's span is of the logged trace
		recorded bool // by the callee
		same     bool // the callee's parent is the caller's own span
	}
	for name, tc := range map[string]struct {
		env      map[string]string
		opts     []telemetry.Option
		failing  bool // Init has an error
		incoming http.Header
		want     want
		exported bool
	}{
		"exporter none": {env: map[string]string{"OTEL_TRACES_EXPORTER": "none"},
			want: want{ids: true, joined: true, recorded: true}},
		"exporter none, the sampler says no": {env: map[string]string{"OTEL_TRACES_EXPORTER": "none",
			"OTEL_TRACES_SAMPLER": "always_off"},
			want: want{ids: true, joined: true}},
		"exporter none, adaptive": {env: map[string]string{"OTEL_TRACES_EXPORTER": "none",
			"OTEL_TRACES_SAMPLER": "adaptive"},
			want: want{ids: true, joined: true, recorded: true}},
		"exporter none, with a caller": {env: map[string]string{"OTEL_TRACES_EXPORTER": "none",
			"OTEL_TRACES_SAMPLER": "adaptive"}, incoming: incoming,
			want: want{ids: true, joined: true, recorded: true}},
		"exporter none, with an unsampled caller": {env: map[string]string{"OTEL_TRACES_EXPORTER": "none",
			"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, incoming: unsampled,
			want: want{ids: true, joined: true}},
		"WithoutTraces": {opts: []telemetry.Option{telemetry.WithoutTraces()},
			want: want{ids: true, recorded: true}},
		"WithoutTraces, with a caller": {opts: []telemetry.Option{telemetry.WithoutTraces()}, incoming: incoming,
			want: want{ids: true, joined: true, recorded: true, same: true}},
		"WithoutTraces, with an unsampled caller": {opts: []telemetry.Option{telemetry.WithoutTraces()},
			incoming: unsampled,
			want:     want{ids: true, joined: true, same: true}},
		"a wrong setting": {opts: []telemetry.Option{telemetry.ForTraces(telemetry.WithEndpoint("x://y"))},
			failing: true,
			want:    want{ids: true, recorded: true}},
		"a caller who sends the mark of another process": {incoming: marked(),
			want: want{ids: true, joined: true, recorded: true}, exported: true},
		"WithoutTraces, a caller who sends the mark of another process": {opts: []telemetry.Option{telemetry.WithoutTraces()}, incoming: marked(),
			want: want{ids: true, joined: true, recorded: true, same: true}},
		"disabled": {env: map[string]string{"OTEL_SDK_DISABLED": "true"},
			want: want{recorded: true}},
		"WithDisabled": {opts: []telemetry.Option{telemetry.WithDisabled(true)},
			want: want{recorded: true}},
		"WithDisabled, with a caller": {opts: []telemetry.Option{telemetry.WithDisabled(true)}, incoming: incoming,
			want: want{ids: true, joined: true, recorded: true, same: true}},
		"disabled, with a caller": {env: map[string]string{"OTEL_SDK_DISABLED": "true"}, incoming: incoming,
			want: want{ids: true, joined: true, recorded: true, same: true}},
	} {
		for way, call := range callers() {
			t.Run(name+"/"+way, func(t *testing.T) {
				for variable, value := range tc.env {
					t.Setenv(variable, value)
				}
				c := otlptest.New(t)
				guard, console, err := startGlobally(t, c, tc.opts...)
				require.Equal(t, tc.failing, err != nil)
				called := newCallee(t)
				call(t, tc.incoming, called)

				require.Len(t, called.sdk.spans.Started(), boolCount(tc.want.recorded))
				seen := loggedIDs(t, console)
				require.Equal(t, tc.want.ids, seen.TraceID != "" && seen.SpanID != "")
				if tc.want.recorded {
					span := called.sdk.spans.Ended()[0]
					require.Equal(t, tc.want.joined, span.SpanContext().TraceID().String() == seen.TraceID)
					require.Equal(t, tc.want.joined, span.Parent().IsValid())
					require.Equal(t, tc.want.same, span.Parent().SpanID().String() == callerSpan)
					require.Contains(t, span.Parent().TraceState().String(), tc.incoming.Get("Tracestate"))
					if tc.incoming.Get("Tracestate") == "" {
						require.NotContains(t, span.Parent().TraceState().String(), "fleetotel",
							"what marks a span context stays here")
					}
				}
				require.NoError(t, guard.Shutdown(context.Background()))
				require.Equal(t, tc.exported, len(c.Spans()) > 0)
			})
		}
	}
}

// The service's own setting disables what OTEL_SDK_DISABLED does, and nothing else.
func TestWithDisabledSendsNothing(t *testing.T) {
	c := otlptest.New(t)
	dir := t.TempDir()
	guard, console := start(t, c, telemetry.WithDisabled(true), telemetry.WithSpool(dir, 0))
	record(t.Context(), guard, "x")
	guard.Logger().Info("with a secret", "password", "hunter2")
	require.NoError(t, guard.ForceFlush(t.Context()))
	require.Zero(t, guard.Health())
	require.NoError(t, guard.Shutdown(t.Context()))

	require.Empty(t, c.Requests())
	require.Empty(t, c.Probes())
	require.Contains(t, console.String(), `"msg":"x"`)
	require.NotContains(t, console.String(), "hunter2")
	require.Contains(t, console.String(),
		`"traces":"off: WithDisabled","metrics":"off: WithDisabled","logs":"off: WithDisabled"`)
	require.NotContains(t, console.String(), `"level":"WARN"`)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// Without an exporter there is nothing to keep or to queue, whatever the sampler has not yet
// decided.
func TestExporterNoneRetainsNoSpans(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	t.Setenv("OTEL_TRACES_SAMPLER", "adaptive")
	c := otlptest.New(t)
	observed := &observedSpans{}
	guard, console := start(t, c, telemetry.WithSpanProcessors(observed),
		telemetry.WithAdaptiveSampling(telemetry.Sampling{Rules: []telemetry.Rule{{SpanName: "rare", Ratio: 0x1p-56}}}))
	tracer := guard.TracerProvider().Tracer("x")
	for range 500 {
		_, rare := tracer.Start(context.Background(), "rare")
		require.False(t, rare.IsRecording(), "recorded without an exporter")
		require.True(t, rare.SpanContext().IsValid())
	}
	ctx, kept := tracer.Start(context.Background(), "kept")
	require.True(t, trace.SpanContextFromContext(ctx).IsSampled())
	kept.RecordError(errors.New("declined"))
	kept.End()
	require.Equal(t, []string{"kept"}, observed.ended, "the service's own processors are no exporters")

	health := guard.Health()
	require.Equal(t, telemetry.SignalHealth{DroppedBy: health.Traces.DroppedBy}, health.Traces)
	require.True(t, health.Sampling.On)
	require.Positive(t, health.Sampling.Started)
	require.Zero(t, health.Sampling.HeldTraces)
	require.Zero(t, health.Sampling.HeldBytes)
	const traces = "off: OTEL_TRACES_EXPORTER=none; spans have ids, and the sampler decides for the services that " +
		"are called"
	require.Contains(t, console.String(), `"traces":"`+traces+`","metrics"`)
	require.Contains(t, console.String(), `"sampler":"adaptive 50/s`)
	require.Regexp(t, `(?m)^  traces +`+traces+`$`, guard.Describe())

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, guard.Shutdown(ctx))
	require.Empty(t, c.Spans())
}

func TestWithoutTracesHasIDs(t *testing.T) {
	c := otlptest.New(t)
	guard, _, err := startGlobally(t, c, telemetry.WithoutTraces())
	require.NoError(t, err)
	require.False(t, guard.Health().Traces.On)
	tracer := otel.Tracer("x")

	ctx, outer := tracer.Start(context.Background(), "outer")
	require.False(t, outer.IsRecording())
	inner, innerSpan := tracer.Start(ctx, "inner")
	a, b := trace.SpanContextFromContext(ctx), trace.SpanContextFromContext(inner)
	require.Equal(t, a.TraceID(), b.TraceID())
	require.NotEqual(t, a.SpanID(), b.SpanID())
	require.False(t, a.IsSampled() || b.IsSampled())
	innerSpan.End()
	_, other := tracer.Start(ctx, "other", trace.WithNewRoot())
	require.NotEqual(t, a.TraceID(), other.SpanContext().TraceID())

	sent := propagation.MapCarrier{}
	bag := withBaggage(t, "team=cards")
	require.NoError(t, telemetry.Do(bag, "request", func(ctx context.Context) error {
		telemetry.Inject(ctx, sent)
		return nil
	}))
	require.Equal(t, propagation.MapCarrier{"baggage": "team=cards"}, sent, "baggage has nothing to do with it")

	response := request(t, serve(t, telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))), http.MethodGet, "/", nil)
	require.Empty(t, response.Header.Values("Server-Timing"), "a browser would link to a trace that is nowhere")

	slog.InfoContext(inner, "exported")
	flushed(t, guard)
	require.Eventually(t, func() bool { return len(c.LogRecords()) > 0 }, waitFor, tick)
	for _, r := range c.LogRecords() {
		if r.Body == "exported" {
			require.Equal(t, b.TraceID().String(), fmt.Sprint(r.TraceID))
			require.Equal(t, b.SpanID().String(), fmt.Sprint(r.SpanID))
		}
	}
}

func TestWithoutTracesUsesTheGivenIDs(t *testing.T) {
	guard, _ := start(t, otlptest.New(t), telemetry.WithoutTraces(), telemetry.WithIDGenerator(sameIDs{}))
	ctx, span := guard.TracerProvider().Tracer("x").Start(context.Background(), "x")
	require.Equal(t, trace.TraceID{7}, span.SpanContext().TraceID())
	require.NoError(t, telemetry.Do(ctx, "y", func(ctx context.Context) error {
		require.Equal(t, trace.SpanID{9}, trace.SpanContextFromContext(ctx).SpanID(),
			"Do stays with the guard of the span")
		return nil
	}))
}

// callee is a service that records every trace that begins in it, and follows its callers'
// decisions.
type callee struct {
	testpb.UnimplementedTestServiceServer
	sdk *sdkRecord
}

func newCallee(t *testing.T) *callee {
	return &callee{sdk: recordSDK(t, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))}
}

func (c *callee) serve(carrier propagation.TextMapCarrier) {
	ctx := propagation.TraceContext{}.Extract(context.Background(), carrier)
	_, span := c.sdk.tracing.Tracer("callee").Start(ctx, "serve")
	span.End()
}

func (c *callee) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	c.serve(telemetry.MetadataCarrier(md))
	return &testpb.Empty{}, nil
}

// caller is a request in the service whose traces are off: what arrives with it, and the call that
// it makes.
type caller func(t *testing.T, incoming http.Header, callee *callee)

// callers are the kinds of incoming and outgoing calls.
func callers() map[string]caller {
	logged := func(ctx context.Context) { slog.InfoContext(ctx, "handled") }
	return map[string]caller{
		"HTTP middleware": func(t *testing.T, incoming http.Header, callee *callee) {
			called := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				callee.serve(propagation.HeaderCarrier(r.Header))
			}))
			client := &http.Client{Transport: telemetry.Transport(called.Client().Transport)}
			service := serve(t, telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				logged(r.Context())
				out, err := http.NewRequestWithContext(r.Context(), http.MethodGet, called.URL, http.NoBody)
				if err == nil {
					var response *http.Response
					if response, err = client.Do(out); err == nil {
						err = response.Body.Close()
					}
				}
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadGateway)
				}
			})))
			require.Equal(t, http.StatusOK, request(t, service, http.MethodGet, "/", incoming).StatusCode)
		},
		"Do and the helpers": func(t *testing.T, incoming http.Header, callee *callee) {
			ctx := telemetry.ExtractHTTP(context.Background(), incoming)
			require.NoError(t, telemetry.Do(ctx, "outer", func(ctx context.Context) error {
				return telemetry.Do(ctx, "inner", func(ctx context.Context) error {
					logged(ctx)
					sent := http.Header{}
					telemetry.InjectHTTP(ctx, sent)
					callee.serve(propagation.HeaderCarrier(sent))
					return nil
				})
			}))
		},
		"a context made anew": func(t *testing.T, incoming http.Header, callee *callee) {
			ctx := telemetry.ExtractHTTP(context.Background(), incoming)
			require.NoError(t, telemetry.Do(ctx, "request", func(ctx context.Context) error {
				detached := trace.ContextWithSpanContext(context.Background(), trace.SpanContextFromContext(ctx))
				logged(detached)
				sent := map[string]string{}
				telemetry.Inject(detached, telemetry.MessageCarrier(sent))
				callee.serve(telemetry.MessageCarrier(sent))
				return nil
			}))
		},
		"environment": func(t *testing.T, incoming http.Header, callee *callee) {
			ctx := telemetry.ExtractHTTP(context.Background(), incoming)
			require.NoError(t, telemetry.Do(ctx, "job", func(ctx context.Context) error {
				logged(ctx)
				sent := propagation.MapCarrier{}
				for _, entry := range telemetry.InjectEnv(ctx, []string{}) {
					name, value, _ := strings.Cut(entry, "=")
					sent[strings.ToLower(name)] = value
				}
				callee.serve(sent)
				return nil
			}))
		},
		"gRPC": func(t *testing.T, incoming http.Header, called *callee) {
			out := testpb.NewTestServiceClient(grpcConn(t, called, telemetry.ServerHandler(),
				telemetry.ClientHandler()))
			service := &forwarder{func(ctx context.Context) error {
				logged(ctx)
				_, err := out.EmptyCall(ctx, &testpb.Empty{})
				return err
			}, testpb.UnimplementedTestServiceServer{}}
			client := testpb.NewTestServiceClient(grpcConn(t, service, telemetry.ServerHandler(), nil))
			ctx := context.Background()
			for name, values := range incoming {
				ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), values[0])
			}
			_, err := client.EmptyCall(ctx, &testpb.Empty{}, grpc.WaitForReady(true))
			require.NoError(t, err)
		},
	}
}

type forwarder struct {
	forward func(context.Context) error
	testpb.UnimplementedTestServiceServer
}

func (f *forwarder) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, f.forward(ctx)
}

// ids are those of the log line.
type ids struct {
	Message string `json:"msg"`
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
}

func loggedIDs(t *testing.T, console *syncBuffer) ids {
	t.Helper()
	for line := range strings.Lines(console.String()) {
		var found ids
		require.NoError(t, json.Unmarshal([]byte(line), &found))
		if found.Message == "handled" {
			return found
		}
	}
	require.Fail(t, "not logged", console.String())
	return ids{}
}

// startGlobally is start with the globals.
func startGlobally(
	t *testing.T, c *otlptest.Collector, opts ...telemetry.Option,
) (*telemetry.Guard, *syncBuffer, error) {
	t.Helper()
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("test"), telemetry.WithLogOutput(console),
		telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithOptions(opts...))
	t.Cleanup(func() { _ = guard.Shutdown(context.Background()) })
	return guard, console, err
}

// marked is a caller who imitates the library's internal marker.
func marked() http.Header {
	return http.Header{
		"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-01"}, "Tracestate": {"fleetotel=nonrecording"},
	}
}

func boolCount(b bool) int {
	if b {
		return 1
	}
	return 0
}

type observedSpans struct{ ended []string }

func (*observedSpans) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (o *observedSpans) OnEnd(s sdktrace.ReadOnlySpan) { o.ended = append(o.ended, s.Name()) }

func (*observedSpans) Shutdown(context.Context) error { return nil }

func (*observedSpans) ForceFlush(context.Context) error { return nil }

type sameIDs struct{}

func (sameIDs) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	return trace.TraceID{7}, trace.SpanID{8}
}

func (sameIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return trace.SpanID{9} }
