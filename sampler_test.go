package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/telemetrytest"
)

func TestSamplerKeepsErrorsAtOnePerCent(t *testing.T) {
	const requests = 1500
	spans := sampled(t, telemetry.Sampling{Rules: []telemetry.Rule{{Ratio: 0.01}}}, func(tracer trace.Tracer) {
		for i := range requests {
			ctx, root := tracer.Start(t.Context(), "request")
			_, child := tracer.Start(ctx, "query")
			if i%20 == 0 {
				child.RecordError(errors.New("refused"))
				child.SetStatus(codes.Error, "refused")
			}
			child.End()
			root.End()
		}
	})
	failing, fine := map[trace.TraceID]float64{}, 0.0
	for _, s := range spans {
		if s.Status.Code == codes.Error {
			count, ok := telemetry.AdjustedCount(s.SpanContext)
			require.True(t, ok)
			failing[s.SpanContext.TraceID()] = count
		}
	}
	for _, s := range spans {
		count, ok := telemetry.AdjustedCount(s.SpanContext)
		require.True(t, ok)
		if of, isError := failing[s.SpanContext.TraceID()]; isError {
			assert.Equal(t, of, count, "all spans of the trace weigh the same")
		} else if s.Name == "request" {
			fine += count
			assert.InDelta(t, 100, count, 0.01)
		}
	}
	assert.Len(t, failing, requests/20, "every failing request is exported")
	for _, count := range failing {
		assert.Equal(t, 1.0, count)
	}
	assert.Less(t, fine, 3.0*requests)
}

func TestSamplerKeepsEverythingAtLowTraffic(t *testing.T) {
	spans := sampled(t, telemetry.Sampling{}, func(tracer trace.Tracer) {
		for i := range 15 {
			_, s := tracer.Start(t.Context(), fmt.Sprint("request ", i%3))
			s.End()
		}
	})
	assert.Len(t, spans, 15)
	for _, s := range spans {
		assert.Equal(t, "ot=th:0", s.SpanContext.TraceState().String())
	}
}

// TestSamplerBursts is for services that create all their traces at once and then none, for five
// minutes after a minute of warm-up.
func TestSamplerBursts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		size   int
		period time.Duration
	}{
		{"a poller", 200, time.Second},
		{"a batch consumer", 500, 5 * time.Second},
		{"a job", 2000, 10 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				truth, begin := 0.0, time.Now()
				spans := sampled(t, telemetry.Sampling{HeadOnly: true}, func(tracer trace.Tracer) {
					for time.Since(begin) < 6*time.Minute {
						for range tc.size {
							_, s := tracer.Start(t.Context(), "poll")
							s.End()
							if time.Since(begin) >= time.Minute {
								truth++
							}
						}
						time.Sleep(tc.period)
					}
				})
				kept, estimate, heaviest := 0.0, 0.0, 0.0
				for _, s := range spans {
					if s.StartTime.Sub(begin) < time.Minute {
						continue
					}
					count, ok := telemetry.AdjustedCount(s.SpanContext)
					require.True(t, ok)
					kept++
					estimate += count
					heaviest = max(heaviest, count)
				}
				t.Logf("%.1f kept a second, Σ weights/truth %.3f, heaviest %.5f of the truth", kept/300, estimate/truth,
					heaviest/truth)
				assert.InDelta(t, 52.5, kept/300, 22.5)
				assert.InDelta(t, 1, estimate/truth, 0.1)
				assert.Less(t, heaviest/truth, 0.01)
			})
		})
	}
}

func TestSamplerRules(t *testing.T) {
	server := trace.WithSpanKind(trace.SpanKindServer)
	spans := sampled(t, telemetry.Sampling{Rules: []telemetry.Rule{
		{SpanName: "noise", Drop: true},
		{Route: "/pay", Keep: true},
		{SpanName: "rare", Ratio: 1e-9},
	}}, func(tracer trace.Tracer) {
		start := func(name string, opts ...trace.SpanStartOption) trace.Span {
			_, s := tracer.Start(t.Context(), name, opts...)
			return s
		}
		noise := start("noise")
		noise.SetStatus(codes.Error, "")
		noise.End()
		start("GET", server, trace.WithAttributes(attribute.String("url.path", "/healthz"))).End()
		start("POST", server, trace.WithAttributes(attribute.String("http.route", "/pay"))).End()
		start("rare").End()
		ctx, marked := tracer.Start(t.Context(), "rare")
		telemetry.Keep(ctx)
		marked.End()
	})
	names := []string{}
	for _, s := range spans {
		names = append(names, s.Name)
	}
	assert.Equal(t, []string{"POST", "rare"}, names)
	telemetry.Keep(context.Background()) // without a span it does nothing
}

func TestSamplerSlowRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := sampled(t, telemetry.Sampling{Rules: []telemetry.Rule{{Ratio: 1e-9}}}, func(tracer trace.Tracer) {
			for _, d := range []time.Duration{time.Millisecond, time.Second - 1, time.Second, 2 * time.Second} {
				_, s := tracer.Start(t.Context(), d.String())
				time.Sleep(d)
				s.End()
			}
		})
		require.Len(t, spans, 2)
		assert.Equal(t, "1s", spans[0].Name)
		assert.Contains(t, spans[0].Attributes, attribute.String("sampling.reason", "slow"))
	})
}

func TestSamplerInAProviderOfTheCaller(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	sampler, err := telemetry.NewAdaptiveSampler(telemetry.Sampling{Rules: []telemetry.Rule{{Ratio: 1e-9}}})
	require.NoError(t, err)
	assert.Equal(t, "AdaptiveSampler{50 traces/s, tail}", sampler.Description())
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))
	_, s := provider.Tracer("").Start(t.Context(), "undecided")
	assert.False(t, s.IsRecording(), "without a processor the undecided are dropped")
	processor := sampler.SpanProcessor(nil)
	provider.RegisterSpanProcessor(processor)
	_, s = provider.Tracer("").Start(t.Context(), "undecided")
	assert.True(t, s.IsRecording())
	s.End()
	require.NoError(t, provider.Shutdown(t.Context()))
	require.NoError(t, sampler.Close())
	_, s = provider.Tracer("").Start(t.Context(), "after Close")
	s.End()
}

func TestSamplerReportsEveryInvalidField(t *testing.T) {
	sampler, err := telemetry.NewAdaptiveSampler(telemetry.Sampling{
		TracesPerSecond: -5, SlowThreshold: time.Hour, Rules: []telemetry.Rule{{Keep: true, Drop: true}},
	})
	assert.Nil(t, sampler)
	for _, part := range []string{"sampling:", "TracesPerSecond is -5", "SlowThreshold is 1h",
		"rule 1: set at most one"} {
		assert.ErrorContains(t, err, part)
	}
}

// ExampleAdjustedCount estimates totals from exported spans: successful requests, of which head
// sampling has kept one in a hundred, and failed ones, all of which the tail has kept.
func ExampleAdjustedCount() {
	exported := func(threshold string) trace.SpanContext {
		state, err := trace.ParseTraceState("ot=th:" + threshold)
		if err != nil {
			fmt.Println(err)
		}
		return trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1, 9: 0xff}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled,
			TraceState: state,
		})
	}
	requests, failed := 0.0, 0.0
	for range 98 {
		count, _ := telemetry.AdjustedCount(exported("fd70a"))
		requests += count
	}
	for range 200 {
		count, _ := telemetry.AdjustedCount(exported("0"))
		requests += count
		failed += count
	}
	fmt.Printf("about %.0f requests, of which %.0f failed\n", requests, failed)
	// Output: about 10000 requests, of which 200 failed
}

func ExampleNewAdaptiveSampler() {
	sampler, err := telemetry.NewAdaptiveSampler(telemetry.Sampling{TracesPerSecond: 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sampler.Close()
	exporter := tracetest.NewInMemoryExporter() // in a service, an OTLP exporter
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sampler),
		sdktrace.WithSpanProcessor(sampler.SpanProcessor(sdktrace.NewBatchSpanProcessor(exporter))),
	)
	defer provider.Shutdown(context.Background())

	tracer := provider.Tracer("example")
	for i := range 10_000 {
		_, span := tracer.Start(context.Background(), "order")
		if i%100 == 0 {
			span.SetStatus(codes.Error, "out of stock")
		}
		span.End()
	}
	if err := provider.ForceFlush(context.Background()); err != nil {
		fmt.Println(err)
	}
	failed := 0.0
	for _, span := range exporter.GetSpans() {
		if span.Status.Code == codes.Error {
			count, _ := telemetry.AdjustedCount(span.SpanContext)
			failed += count
		}
	}
	fmt.Println("few are exported:", len(exporter.GetSpans()) < 1000)
	fmt.Println("failed:", failed)
	// Output:
	// few are exported: true
	// failed: 100
}

// TestAdaptiveSamplingIsTheDefault creates far more traces than are kept. All errors arrive, with
// weights that add up.
func TestAdaptiveSamplingIsTheDefault(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "")
	for name, option := range map[string]telemetry.Option{
		"default":              telemetry.WithOptions(),
		"by option":            telemetry.WithAdaptiveSampling(telemetry.Sampling{TracesPerSecond: 20}),
		"a sampler of its own": telemetry.WithSampler(newSampler(t, telemetry.Sampling{TracesPerSecond: 20})),
	} {
		t.Run(name, func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, option)
			tracer := guard.TracerProvider().Tracer("x")
			const requests, failing = 3000, 30
			for i := range requests {
				ctx, root := tracer.Start(t.Context(), "request", trace.WithSpanKind(trace.SpanKindServer))
				_, child := tracer.Start(ctx, "query")
				if i%(requests/failing) == 0 {
					child.RecordError(errors.New("no"))
					child.SetStatus(codes.Error, "no")
				}
				child.End()
				root.End()
			}
			health := guard.Health().Sampling
			require.True(t, health.On)
			require.Positive(t, health.TailKept)
			require.NotEmpty(t, health.Operations)
			require.NoError(t, guard.Shutdown(t.Context()))
			requireBalanced(t, guard)

			failed := failedTraces(t, c)
			require.Len(t, failed, failing, "no error is lost to sampling")
			require.Less(t, len(c.Spans()), requests, "the rest is a sample")
			for _, s := range c.Spans() {
				require.Contains(t, s.TraceState, "ot=th:", "every span carries its weight")
			}
			require.Contains(t, metricNames(c), "telemetry.sampler.decisions")
		})
	}
}

func TestAGivenSamplerHasNoSamplingHealth(t *testing.T) {
	rec := telemetrytest.Start(t, telemetry.WithoutGlobals(), telemetry.WithSampler(sdktrace.AlwaysSample()))
	require.Zero(t, rec.Guard.Health().Sampling)
}

// TestTailSamplingAppliesToGivenExporters checks that an exporter given by option gets only sampled
// traces.
func TestTailSamplingAppliesToGivenExporters(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	rec := telemetrytest.Start(t, telemetry.WithoutGlobals(), telemetry.WithSpanExporter(exporter),
		telemetry.WithAdaptiveSampling(telemetry.Sampling{TracesPerSecond: 0.001}))
	tracer := rec.Guard.TracerProvider().Tracer("x")
	for i := range 200 {
		_, span := tracer.Start(t.Context(), "request")
		if i == 199 {
			span.SetStatus(codes.Error, "no")
		}
		span.End()
	}
	require.NoError(t, rec.Guard.ForceFlush(t.Context()))
	var failed int
	for _, s := range exporter.GetSpans() {
		require.True(t, s.SpanContext.IsSampled(), fmt.Sprint(s.Name))
		if s.Status.Code == codes.Error {
			failed++
		}
	}
	require.Equal(t, 1, failed)
	require.Less(t, len(exporter.GetSpans()), 100)
}

// TestCallersShareTheSamplersBudget has one caller that floods with traces that pass every
// threshold, and one at another address with few traces.
func TestCallersShareTheSamplersBudget(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("no second loopback address: ", err)
	}
	require.NoError(t, listener.Close())
	for protocol, serve := range map[string]func(*testing.T, *telemetry.Guard) func(string) call{"HTTP": serveHTTP,
		"gRPC": serveGRPC} {
		t.Run(protocol, func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithAdaptiveSampling(telemetry.Sampling{RemoteTracesPerSecond: 100,
				HeadOnly: true}))
			caller := serve(t, guard)
			flood, good := caller("127.0.0.1"), caller("127.0.0.2")
			const floods, goods = 2000, 20
			for i := range floods {
				flood(t, fmt.Sprintf("00-aaaaaaaa%024x-1111111111111111-01", i+1), "ot=rv:ffffffffffffff;th:0")
			}
			for i := range goods {
				for j := range 20 {
					flood(t, fmt.Sprintf("00-aaaaaaaa%024x-1111111111111111-01", floods+20*i+j+1),
						"ot=rv:ffffffffffffff;th:0")
				}
				good(t, fmt.Sprintf("00-bbbbbbbb%024x-1111111111111111-01", 1<<i), "ot=th:0")
				time.Sleep(50 * time.Millisecond)
			}
			require.NoError(t, guard.Shutdown(t.Context()))
			followed := map[string]int{}
			for _, s := range c.Spans() {
				followed[strings.TrimRight(s.TraceID[:8], "0")]++
			}
			t.Log(followed)
			require.GreaterOrEqual(t, followed["bbbbbbbb"], goods*8/10, "the caller that asks for little is followed")
			require.Less(t, followed["aaaaaaaa"], (floods+20*goods)/2)
		})
	}
}

// sampled runs body with a tracer whose spans go through a sampler, its processor and the SDK's own
// batch processor.
func sampled(t *testing.T, cfg telemetry.Sampling, body func(tracer trace.Tracer)) tracetest.SpanStubs {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	sampler, err := telemetry.NewAdaptiveSampler(cfg)
	require.NoError(t, err)
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler),
		sdktrace.WithSpanProcessor(sampler.SpanProcessor(sdktrace.NewBatchSpanProcessor(exporter))))
	body(provider.Tracer("test"))
	require.NoError(t, provider.ForceFlush(t.Context()))
	spans := exporter.GetSpans()
	require.NoError(t, provider.Shutdown(t.Context()))
	require.NoError(t, sampler.Close())
	require.NoError(t, sampler.Close(), "Close is idempotent")
	return spans
}

// failedTraces are the traces with a failed span, by id.
func failedTraces(t *testing.T, c *otlptest.Collector) map[string]int {
	t.Helper()
	traces := map[string]int{}
	for _, s := range c.Spans() {
		if s.Status.Code == "error" {
			traces[s.TraceID]++
		}
	}
	return traces
}

func newSampler(t *testing.T, s telemetry.Sampling) *telemetry.AdaptiveSampler {
	t.Helper()
	sampler, err := telemetry.NewAdaptiveSampler(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sampler.Close()) })
	return sampler
}

// call makes one request with these headers.
type call func(t *testing.T, traceparent, tracestate string)

// dialFrom dials from a local address.
func dialFrom(ip string) func(context.Context, string, string) (net.Conn, error) {
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext
}

// serveHTTP serves with the library's handler and returns a function that makes callers at an
// address.
func serveHTTP(t *testing.T, g *telemetry.Guard) func(ip string) call {
	server := httptest.NewServer(telemetry.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		telemetry.WithGuard(g)))
	t.Cleanup(server.Close)
	return func(ip string) call {
		client := &http.Client{Transport: &http.Transport{DialContext: dialFrom(ip)}}
		t.Cleanup(client.CloseIdleConnections)
		return func(t *testing.T, traceparent, tracestate string) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			require.NoError(t, err)
			request.Header.Set("traceparent", traceparent)
			request.Header.Set("tracestate", tracestate)
			response, err := client.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
		}
	}
}

// serveGRPC is serveHTTP for gRPC.
func serveGRPC(t *testing.T, g *telemetry.Guard) func(ip string) call {
	address := grpcConn(t, &paymentServer{}, telemetry.ServerHandler(telemetry.WithGuard(g)), nil).Target()
	return func(ip string) call {
		dial := dialFrom(ip)
		client := testpb.NewTestServiceClient(dialGRPC(t, address,
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn,
				error) {
				return dial(ctx, "tcp", address)
			})))
		return func(t *testing.T, traceparent, tracestate string) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", traceparent, "tracestate", tracestate)
			_, err := client.EmptyCall(ctx, &testpb.Empty{})
			require.NoError(t, err)
		}
	}
}
