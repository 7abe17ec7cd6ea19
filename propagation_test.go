package telemetry_test

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestExtractTraceparent(t *testing.T) {
	const ids = callerTrace + "-" + callerSpan
	for name, tc := range map[string]struct {
		header string
		flags  trace.TraceFlags
		valid  bool
	}{
		"not sampled":                      {"00-" + ids + "-00", 0, true},
		"sampled":                          {"00-" + ids + "-01", trace.FlagsSampled, true},
		"random":                           {"00-" + ids + "-02", trace.FlagsRandom, true},
		"sampled and random":               {"00-" + ids + "-03", trace.FlagsSampled | trace.FlagsRandom, true},
		"later version":                    {"01-" + ids + "-01", trace.FlagsSampled, true},
		"later version with more":          {"cc-" + ids + "-01-what-the-future-brings", trace.FlagsSampled, true},
		"later version, more flags":        {"cc-" + ids + "-ff", trace.FlagsSampled | trace.FlagsRandom, true},
		"missing":                          {"", 0, false},
		"version ff":                       {"ff-" + ids + "-01", 0, false},
		"version 00 with more":             {"00-" + ids + "-01-more", 0, false},
		"later version, more undelimited":  {"cc-" + ids + "-01.more", 0, false},
		"no version":                       {ids + "-01", 0, false},
		"no flags":                         {"00-" + ids, 0, false},
		"trace id of zeros":                {"00-" + strings.Repeat("0", 32) + "-" + callerSpan + "-01", 0, false},
		"span id of zeros":                 {"00-" + callerTrace + "-" + strings.Repeat("0", 16) + "-01", 0, false},
		"short trace id":                   {"00-" + callerTrace[1:] + "-" + callerSpan + "-01", 0, false},
		"long span id":                     {"00-" + callerTrace + "-" + callerSpan + "0-01", 0, false},
		"upper-case trace id":              {"00-" + strings.ToUpper(callerTrace) + "-" + callerSpan + "-01", 0, false},
		"not hexadecimal":                  {"00-" + callerTrace[:31] + "g-" + callerSpan + "-01", 0, false},
		"one digit of flags":               {"00-" + ids + "-1", 0, false},
		"three digits of flags":            {"00-" + ids + "-001", 0, false},
		"other separators":                 {strings.ReplaceAll("00-"+ids+"-01", "-", "_"), 0, false},
		"two headers joined":               {"00-" + ids + "-01,00-" + ids + "-01", 0, false},
		"a novel":                          {strings.Repeat("00-"+ids+"-01", 10_000), 0, false},
		"bytes that are not text":          {"00-\xff\xfe\x00-" + callerSpan + "-01", 0, false},
		"digits that are not ASCII":        {"00-" + strings.Repeat("٣", 16) + "-" + callerSpan + "-01", 0, false},
		"flags unknown to the version":     {"00-" + ids + "-04", 0, false},
		"leading space within the version": {" 0-" + ids + "-01", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			recordGlobals(t)
			ctx := telemetry.Extract(context.Background(), propagation.MapCarrier{"traceparent": tc.header})
			got := trace.SpanContextFromContext(ctx)
			require.Equal(t, tc.valid, got.IsValid())
			if !tc.valid {
				require.Equal(t, trace.NewSpanContext(trace.SpanContextConfig{TraceFlags: trace.FlagsRandom}), got)
				return
			}
			require.True(t, got.IsRemote())
			require.Equal(t, callerTrace, got.TraceID().String())
			require.Equal(t, callerSpan, got.SpanID().String())
			require.Equal(t, tc.flags, got.TraceFlags())
		})
	}
}

func TestARootSpanAfterExtractIsRandom(t *testing.T) {
	sdk := recordGlobals(t)
	tracer := sdk.tracing.Tracer("service")
	start := func(ctx context.Context, name string) { _, s := tracer.Start(ctx, name); s.End() }

	start(telemetry.Extract(context.Background(), propagation.MapCarrier{}), "empty carrier")
	start(telemetry.Extract(context.Background(), nil), "nil carrier")
	start(telemetry.ExtractHTTP(context.Background(), nil), "nil header")
	for _, s := range sdk.spans.Ended() {
		requireRandomRoot(t, s)
	}
	require.Len(t, sdk.names(), 3)

	header := http.Header{"Traceparent": {"00-" + callerTrace + "-" + callerSpan + "-01"}}
	start(telemetry.ExtractHTTP(context.Background(), header), "child")
	child := sdk.span(t, "child")
	require.Equal(t, callerTrace, child.SpanContext().TraceID().String())
	require.False(t, child.SpanContext().IsRandom(), "a caller that did not say random is not made to")

	ctx, local := tracer.Start(context.Background(), "local")
	require.Equal(t, ctx, telemetry.Extract(ctx, propagation.MapCarrier{}), "a span in ctx stays the parent")
	local.End()
}

func TestInjectThenExtractKeepsTheContext(t *testing.T) {
	for name, newCarrier := range map[string]func() propagation.TextMapCarrier{
		"http":     func() propagation.TextMapCarrier { return propagation.HeaderCarrier{} },
		"metadata": func() propagation.TextMapCarrier { return telemetry.MetadataCarrier(metadata.MD{}) },
		"message":  func() propagation.TextMapCarrier { return telemetry.MessageCarrier(map[string]string{}) },
	} {
		t.Run(name, func(t *testing.T) {
			recordGlobals(t)
			carrier, want := newCarrier(), sentContext(t)
			telemetry.Inject(want, carrier)
			requireSameContext(t, want, telemetry.Extract(context.Background(), carrier))
			require.Len(t, carrier.Keys(), 3)
		})
	}
	t.Run("http helpers", func(t *testing.T) {
		recordGlobals(t)
		header, want := http.Header{}, sentContext(t)
		telemetry.InjectHTTP(want, header)
		requireSameContext(t, want, telemetry.ExtractHTTP(context.Background(), header))
	})
	t.Run("environment", func(t *testing.T) {
		recordGlobals(t)
		want := sentContext(t)
		for _, entry := range telemetry.InjectEnv(want, []string{}) {
			name, value, _ := strings.Cut(entry, "=")
			t.Setenv(name, value)
		}
		requireSameContext(t, want, telemetry.ExtractEnv(context.Background()))
	})
}

func TestNilCarriersStayEmpty(t *testing.T) {
	recordGlobals(t)
	ctx := sentContext(t)
	telemetry.Inject(ctx, nil)
	telemetry.InjectHTTP(ctx, nil)
	for _, carrier := range []propagation.TextMapCarrier{telemetry.MetadataCarrier(nil),
		telemetry.MessageCarrier(nil)} {
		telemetry.Inject(ctx, carrier)
		require.Empty(t, carrier.Keys())
		require.False(t, trace.SpanContextFromContext(telemetry.Extract(context.Background(), carrier)).IsValid())
	}
}

func TestInjectUsesThePropagatorThatWasSet(t *testing.T) {
	sc := remoteContext(t, trace.FlagsSampled)
	ctx := trace.ContextWithRemoteSpanContext(withBaggage(t, "team=cards"), sc)

	t.Run("one that was set", func(t *testing.T) {
		setPropagator(t, propagation.Baggage{})
		carrier := propagation.MapCarrier{}
		telemetry.Inject(ctx, carrier)
		require.Equal(t, propagation.MapCarrier{"baggage": "team=cards"}, carrier)
	})
	t.Run("none that was set", func(t *testing.T) {
		setPropagator(t, propagation.NewCompositeTextMapPropagator())
		carrier := propagation.MapCarrier{}
		telemetry.Inject(ctx, carrier)
		require.Empty(t, carrier)
	})
}

func TestMetadataCarrier(t *testing.T) {
	md := metadata.Pairs("x", "1", "x", "2")
	carrier := telemetry.MetadataCarrier(md)
	require.Equal(t, "1", carrier.Get("X"))
	require.Equal(t, []string{"1", "2"}, carrier.(propagation.ValuesGetter).Values("X"))
	require.Empty(t, carrier.Get("y"))
	carrier.Set("X", "3")
	carrier.Set("Traceparent", "t")
	require.Equal(t, metadata.MD{"x": {"3"}, "traceparent": {"t"}}, md, "keys are lower-case")

	recordGlobals(t)
	ctx := telemetry.Extract(context.Background(), telemetry.MetadataCarrier(metadata.MD{"baggage": {"a=1", "b=2"}}))
	require.Equal(t, 2, baggage.FromContext(ctx).Len(), "baggage spread over several values is one baggage")
}

func TestMessageCarrier(t *testing.T) {
	headers := map[string]string{"TraceParent": "upper", "other": "o"}
	carrier := telemetry.MessageCarrier(headers)
	require.Equal(t, "upper", carrier.Get("traceparent"))
	carrier.Set("traceparent", "mine")
	require.Equal(t, map[string]string{"traceparent": "mine", "other": "o"}, headers,
		"one header, in any case of its letters")

	several := telemetry.MessageCarrier(map[string]string{"B3": "exact", "b3": "lower"})
	require.Equal(t, "exact", several.Get("B3"))
	several = telemetry.MessageCarrier(map[string]string{"bAGGAGE": "2", "BAGGAGE": "1"})
	for range 20 {
		require.Equal(t, "1", several.Get("baggage"), "the same message gives the same answer")
	}
}

func TestExtractEnvReadsTheSpecifiedNames(t *testing.T) {
	recordGlobals(t)
	t.Setenv("TRACEPARENT", "00-"+callerTrace+"-"+callerSpan+"-01")
	t.Setenv("TRACESTATE", "vendor=1")
	t.Setenv("BAGGAGE", "team=cards")
	t.Setenv("baggage", "team=lower")
	ctx := telemetry.ExtractEnv(context.Background())
	sc := trace.SpanContextFromContext(ctx)
	require.Equal(t, callerTrace, sc.TraceID().String())
	require.Equal(t, "vendor=1", sc.TraceState().String())
	require.Equal(t, "team=cards", baggage.FromContext(ctx).String())
}

func TestInjectEnv(t *testing.T) {
	recordGlobals(t)
	inherited := []string{"HOME=/root", "TRACEPARENT=stale", "TRACESTATE=stale=1", "BAGGAGE=stale=1", "odd"}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), remoteContext(t, trace.FlagsSampled))

	child := telemetry.InjectEnv(ctx, inherited)
	require.Equal(t, []string{"HOME=/root", "odd", "TRACEPARENT=00-" + callerTrace + "-" + callerSpan + "-01"}, child,
		"neither tracestate nor baggage of another trace remains")
	require.Equal(t, "TRACEPARENT=stale", inherited[1], "the argument is left alone")
	require.Equal(t, []string{"HOME=/root", "odd"}, telemetry.InjectEnv(context.Background(), inherited))

	cmd := exec.Command("sh", "-c", `printf %s "$TRACEPARENT"`)
	cmd.Env = telemetry.InjectEnv(ctx, nil)
	output, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "00-"+callerTrace+"-"+callerSpan+"-01", string(output), "a real child finds it")
	require.Greater(t, len(cmd.Env), 1, "nil stands for this process's environment")
}

func TestInjectEnvConvertsHeaderNamesToVariables(t *testing.T) {
	setPropagator(t, oddlyNamed{})
	require.Equal(t, []string{"X_B3_TRACE_ID=v", "_3SCALE=v"}, telemetry.InjectEnv(context.Background(), []string{}))
}

func TestBaggageAtTheBound(t *testing.T) {
	members := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("k%02d=v", i)
		}
		return strings.Join(list, ",")
	}
	bytes := func(n int) string { return "k=" + strings.Repeat("v", n-len("k=")) }
	for name, tc := range map[string]struct {
		header string
		length int
	}{
		"64 members": {members(64), 64},
		"65 members": {members(65), 64},
		"8192 bytes": {bytes(8192), 1},
		"8193 bytes": {bytes(8193), 0},
	} {
		for kind, carrier := range map[string]propagation.TextMapCarrier{
			"http":     propagation.HeaderCarrier{"Baggage": {tc.header}},
			"metadata": telemetry.MetadataCarrier(metadata.MD{"baggage": {tc.header}}),
			"message":  telemetry.MessageCarrier(map[string]string{"baggage": tc.header}),
		} {
			t.Run(name+" in "+kind, func(t *testing.T) {
				recordGlobals(t)
				ctx := telemetry.Extract(context.Background(), carrier)
				require.Equal(t, tc.length, baggage.FromContext(ctx).Len())
			})
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add("00-"+callerTrace+"-"+callerSpan+"-01", "a=1,b@c=2", "k=v,sp=a%20b;p=1")
	f.Add("cc-"+callerTrace+"-"+callerSpan+"-ff-more", "=", "k=%,=v,\xff=\xfe")
	f.Add("", "", "")
	setPropagator(f, propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))

	f.Fuzz(func(t *testing.T, traceparent, tracestate, bag string) {
		first := telemetry.Extract(context.Background(),
			telemetry.MessageCarrier(map[string]string{"TraceParent": traceparent, "tracestate": tracestate,
				"BAGGAGE": bag}))

		again := map[string]string{}
		telemetry.Inject(first, telemetry.MessageCarrier(again))
		require.LessOrEqual(t, len(again["baggage"]), 8192)
		if len(baggage.FromContext(first).String()) > 8192 {
			return // percent-encoding can make a legal header too long to go out whole
		}
		requireSameContext(t, first, telemetry.Extract(context.Background(), telemetry.MessageCarrier(again)))
	})
}

func TestANilContextCountsAsEmpty(t *testing.T) {
	var none context.Context
	header := http.Header{}
	telemetry.InjectHTTP(none, header)
	require.Empty(t, header)
	require.Equal(t, []string{"A=1"}, telemetry.InjectEnv(none, []string{"A=1"}))

	header.Set("traceparent", "00-"+callerTrace+"-"+callerSpan+"-01")
	require.Equal(t, callerTrace, trace.SpanContextFromContext(telemetry.ExtractHTTP(none, header)).TraceID().String())
	require.True(t, trace.SpanContextFromContext(telemetry.ExtractHTTP(none, nil)).TraceFlags().IsRandom())
	require.NoError(t, telemetry.Do(none, "x", func(ctx context.Context) error {
		telemetry.Inject(ctx, propagation.MapCarrier{})
		return ctx.Err()
	}))
}

func TestOutboundBaggageIsBounded(t *testing.T) {
	for name, tc := range map[string]struct{ members, size, arrive int }{
		"60 members of 180 bytes, 22 kB encoded": {60, 360, 22},
		"65 small members":                       {65, 6, 64},
		"64 small members":                       {64, 6, 64},
		"one of 10 kB":                           {1, 10_000, 0},
	} {
		for way, send := range outward() {
			t.Run(name+"/"+way, func(t *testing.T) {
				guard, _ := start(t, otlptest.New(t))
				ctx := overfull(t, tc.members, tc.size)
				arrived := send(t, ctx, guard)
				require.LessOrEqual(t, len(arrived), 8192)
				bag, err := baggage.Parse(arrived)
				require.NoError(t, err)
				require.Equal(t, tc.arrive, bag.Len())
				for _, m := range bag.Members() {
					require.Equal(t, baggage.FromContext(ctx).Member(m.Key()).Value(), m.Value(),
						"members arrive whole")
				}
			})
		}
	}
}

func TestDroppedOutboundBaggageIsLoggedOnce(t *testing.T) {
	guard, console := start(t, otlptest.New(t))
	for range 100 {
		guard.Propagator().Inject(overfull(t, 70, 6), propagation.MapCarrier{})
	}
	const line = "outbound baggage exceeds the limits of W3C Baggage (64 members, 8192 bytes): dropping 6 of 70 " +
		"members, starting with \\\"key064\\\""
	require.Equal(t, 1, strings.Count(console.String(), line), console.String())
	require.NotContains(t, console.String(), "\u00fc", "values must not be shown")

	t.Run("not where no baggage goes out", func(t *testing.T) {
		guard, console := start(t, otlptest.New(t), telemetry.WithPropagators(propagation.TraceContext{}))
		guard.Propagator().Inject(overfull(t, 70, 6), propagation.MapCarrier{})
		require.NotContains(t, console.String(), "baggage")
	})
	t.Run("to OpenTelemetry's error handler where there is no guard", func(t *testing.T) {
		if !isChild() {
			require.Equal(t, 1, strings.Count(runTest(t, t.Name()), "dropping 6 of 70 members"))
			return
		}
		previous := otel.GetErrorHandler()
		defer otel.SetErrorHandler(previous)
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Log(err) }))
		for range 3 {
			telemetry.Inject(overfull(t, 70, 6), propagation.MapCarrier{})
		}
	})
}

// oddlyNamed writes keys that are not names of environment variables.
type oddlyNamed struct{}

func (oddlyNamed) Inject(_ context.Context, c propagation.TextMapCarrier) {
	c.Set("x-b3.trace-id", "v")
	c.Set("3scale", "v")
}

func (oddlyNamed) Extract(ctx context.Context, _ propagation.TextMapCarrier) context.Context {
	return ctx
}

func (oddlyNamed) Fields() []string { return []string{"x-b3.trace-id", "3scale"} }

// sentContext has all that W3C propagation carries.
func sentContext(t testing.TB) context.Context {
	t.Helper()
	state, err := trace.ParseTraceState("ot=th:c,vendor=1")
	require.NoError(t, err)
	sc := remoteContext(t, trace.FlagsSampled|trace.FlagsRandom).WithTraceState(state)
	return trace.ContextWithRemoteSpanContext(withBaggage(t, "team=cards,greeting=gr%C3%BC%C3%9Fe%2C%20all;p=1"), sc)
}

func requireSameContext(t testing.TB, want, got context.Context) {
	t.Helper()
	require.True(t, trace.SpanContextFromContext(want).Equal(trace.SpanContextFromContext(got)),
		"span context %v came back as %v", trace.SpanContextFromContext(want), trace.SpanContextFromContext(got))
	require.ElementsMatch(t, baggage.FromContext(want).Members(), baggage.FromContext(got).Members())
}

// overfull is baggage that a service has filled member by member, without a limit.
func overfull(t testing.TB, members, size int) context.Context {
	t.Helper()
	var bag baggage.Baggage
	for i := range members {
		member, err := baggage.NewMemberRaw(fmt.Sprintf("key%03d", i), strings.Repeat("\u00fc", size/6))
		require.NoError(t, err)
		bag, err = bag.SetMember(member)
		require.NoError(t, err)
	}
	return baggage.ContextWithBaggage(context.Background(), bag)
}

// outward are the ways in which baggage leaves a process. Each returns the baggage that arrives.
func outward() map[string]func(t *testing.T, ctx context.Context, guard *telemetry.Guard) string {
	return map[string]func(*testing.T, context.Context, *telemetry.Guard) string{
		"Transport": func(t *testing.T, ctx context.Context, guard *telemetry.Guard) string {
			var arrived []string
			server := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				arrived = r.Header.Values("Baggage")
			}))
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
			require.NoError(t, err)
			response, err := telemetry.Transport(server.Client().Transport, telemetry.WithGuard(guard)).RoundTrip(r)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			return strings.Join(arrived, ",")
		},
		"ClientHandler": func(t *testing.T, ctx context.Context, guard *telemetry.Guard) string {
			service := &baggageServer{}
			client := testpb.NewTestServiceClient(grpcConn(t, service, telemetry.ServerHandler(),
				telemetry.ClientHandler(telemetry.WithGuard(guard))))
			_, err := client.EmptyCall(ctx, &testpb.Empty{})
			require.NoError(t, err)
			return strings.Join(service.arrived, ",")
		},
		"Guard.Propagator": func(_ *testing.T, ctx context.Context, guard *telemetry.Guard) string {
			carrier := propagation.MapCarrier{}
			guard.Propagator().Inject(ctx, carrier)
			return carrier["baggage"]
		},
		"Inject, with a propagator of the service's own": func(t *testing.T, ctx context.Context,
			_ *telemetry.Guard) string {
			setPropagator(t, propagation.Baggage{})
			headers := map[string]string{}
			telemetry.Inject(ctx, telemetry.MessageCarrier(headers))
			return headers["baggage"]
		},
		"InjectEnv": func(t *testing.T, ctx context.Context, guard *telemetry.Guard) string {
			setPropagator(t, guard.Propagator())
			for _, entry := range telemetry.InjectEnv(ctx, []string{}) {
				if value, ok := strings.CutPrefix(entry, "BAGGAGE="); ok {
					return value
				}
			}
			return ""
		},
	}
}

type baggageServer struct {
	testpb.UnimplementedTestServiceServer
	arrived []string
}

func (s *baggageServer) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.arrived = md.Get("baggage")
	return &testpb.Empty{}, nil
}
