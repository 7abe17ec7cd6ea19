package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// A service is called and calls back, as in the suite's harness: the callback carries what was
// propagated.
func TestW3CTraceContextThroughTheMiddleware(t *testing.T) {
	recordW3C(t)
	handedOn := make(chan http.Header, 1)
	harness := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { handedOn <- r.Header }))
	client := &http.Client{Transport: telemetry.Transport(nil)}
	t.Cleanup(client.CloseIdleConnections)
	service := serve(t, telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		callback, err := http.NewRequestWithContext(r.Context(), http.MethodPost, harness.URL, http.NoBody)
		if err == nil {
			var response *http.Response
			if response, err = client.Do(callback); err == nil {
				err = response.Body.Close()
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})))
	eachW3CCase(t, func(t *testing.T, c w3cCase) (traceparent, tracestate string) {
		response := request(t, service, http.MethodPost, "/", c.header())
		require.Equal(t, http.StatusOK, response.StatusCode)
		header := <-handedOn
		require.LessOrEqual(t, len(header.Values("tracestate")), 1)
		return header.Get("traceparent"), header.Get("tracestate")
	})
}

func TestW3CTraceContextThroughTheHelpers(t *testing.T) {
	recordW3C(t)
	eachW3CCase(t, func(t *testing.T, c w3cCase) (traceparent, tracestate string) {
		received := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
		for name, values := range c.header() {
			for _, value := range values {
				received.Header.Add(name, value)
			}
		}
		var sent http.Header
		ctx := telemetry.ExtractHTTP(context.Background(), received.Header)
		require.NoError(t, telemetry.Do(ctx, "call", func(ctx context.Context) error {
			sent = http.Header{}
			telemetry.InjectHTTP(ctx, sent)
			return nil
		}))
		return sent.Get("traceparent"), sent.Get("tracestate")
	})
}

// gRPC metadata keeps several values of a key apart, as HTTP does.
func TestW3CTraceContextOverGRPC(t *testing.T) {
	recordW3C(t)
	service := &contextServer{}
	client := testpb.NewTestServiceClient(grpcConn(t, service, telemetry.ServerHandler(), nil))
	eachW3CCase(t, func(t *testing.T, c w3cCase) (traceparent, tracestate string) {
		ctx := context.Background()
		for _, h := range c.sent {
			if len(h.value) > 1<<16 {
				t.Skip("gRPC refuses a header of this size")
			}
			// A gRPC client sends no tabs, and no white space around a value.
			ctx = metadata.AppendToOutgoingContext(ctx, h.name,
				strings.TrimSpace(strings.ReplaceAll(h.value, "\t", " ")))
		}
		_, err := client.EmptyCall(ctx, &testpb.Empty{})
		require.NoError(t, err)
		return service.handedOn["traceparent"], service.handedOn["tracestate"]
	})
}

// A member that leaves no room for itself does not cause an empty header.
func TestAnOversizedTraceStateMemberIsNotSent(t *testing.T) {
	in := http.Header{}
	in.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	in.Set("tracestate", "1"+strings.Repeat("a", 255)+"="+strings.Repeat("v", 256))
	out := http.Header{}
	telemetry.InjectHTTP(telemetry.ExtractHTTP(t.Context(), in), out)
	require.NotEmpty(t, out.Get("traceparent"))
	require.NotContains(t, out, "Tracestate")
}

// TestProxiesSendNoTraceStateOfAnotherTrace has what a proxy passes on: the header of a caller that
// is not believed, in which the service's own trace context replaces the caller's.
func TestProxiesSendNoTraceStateOfAnotherTrace(t *testing.T) {
	guard := named(t, otlptest.New(t), "proxy")
	ctx, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "own")
	defer span.End()
	const foreign = "ot=rv:ffffffffffffff;th:0"
	header := http.Header{"Tracestate": {"", foreign}}
	md := metadata.MD{"tracestate": {foreign}}
	message := map[string]string{"TraceState": foreign}
	plain := propagation.MapCarrier{"tracestate": foreign}
	for _, carrier := range []propagation.TextMapCarrier{
		propagation.HeaderCarrier(header), telemetry.MetadataCarrier(md), telemetry.MessageCarrier(message), plain,
	} {
		guard.Propagator().Inject(ctx, carrier)
		require.Contains(t, carrier.Get("traceparent"), span.SpanContext().TraceID().String())
	}
	require.NotContains(t, header, "Tracestate")
	require.NotContains(t, md, "tracestate")
	require.Len(t, message, 1)
	require.Empty(t, plain["tracestate"])

	var sent http.Header
	client := telemetry.Transport(roundTripFunc(func(r *http.Request) (*http.Response, error) {
		sent = r.Header
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}), telemetry.WithGuard(guard))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://checkout/", nil)
	require.NoError(t, err)
	r.Header["Tracestate"] = []string{foreign}
	response, err := client.RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Contains(t, sent, "Traceparent")
	require.NotContains(t, sent, "Tracestate")
}

// header is one header line of a request.
type header struct{ name, value string }

// w3cCase is a request of the test suite of the W3C Trace Context specification (w3c/trace-context,
// test/test.py of June 2026, strict level 2) and what it expects to be propagated.
type w3cCase struct {
	sent       []header
	newTrace   bool   // the trace id must be neither of those sent
	tracestate string // handed on, as it is
}

const (
	w3cTrace       = "12345678901234567890123456789012"
	w3cTraceparent = "00-" + w3cTrace + "-1234567890123456-00"
)

// parented is a request with a valid traceparent and these tracestate headers.
func parented(tracestate ...string) []header {
	sent := []header{{"traceparent", w3cTraceparent}}
	for _, value := range tracestate {
		sent = append(sent, header{"tracestate", value})
	}
	return sent
}

// inherits is a case whose tracestate is propagated as want.
func inherits(want string, tracestate ...string) w3cCase {
	return w3cCase{sent: parented(tracestate...), tracestate: want}
}

// discards is a case whose tracestate is not propagated, while the trace continues.
func discards(tracestate ...string) w3cCase { return inherits("", tracestate...) }

// restarts is a case whose traceparent is invalid.
func restarts(traceparents ...string) w3cCase {
	c := w3cCase{newTrace: true}
	for _, value := range traceparents {
		c.sent = append(c.sent, header{"traceparent", value})
	}
	return c
}

// continues is a case whose traceparent is valid.
func continues(name, traceparent string) w3cCase {
	return w3cCase{sent: []header{{name, traceparent}}}
}

// numbered is a list of members bar01=01 and so on.
func numbered(from, to int) string {
	var members []string
	for i := from; i <= to; i++ {
		members = append(members, fmt.Sprintf("bar%02d=%02d", i, i))
	}
	return strings.Join(members, ",")
}

func w3cCases() map[string][]w3cCase {
	const (
		tail    = "-1234567890123456-01"
		valid   = "00-" + w3cTrace + tail
		letters = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
	)
	var printable strings.Builder
	for c := byte(0x20); c <= 0x7e; c++ {
		if c != ',' && c != '=' {
			printable.WriteByte(c)
		}
	}
	long := func(c string, n int) string { return strings.Repeat(c, n) }
	return map[string][]w3cCase{
		"both_traceparent_and_tracestate_missing": {{newTrace: true}},
		"traceparent_included_tracestate_missing": {continues("traceparent", valid)},
		"traceparent_duplicated": {restarts("00-12345678901234567890123456789011"+tail, valid),
			restarts(valid, valid)},
		"traceparent_header_name": {{sent: []header{{"trace-parent", valid}}, newTrace: true},
			{sent: []header{{"trace.parent", valid}}, newTrace: true}},
		"traceparent_header_name_valid_casing": {continues("TraceParent", valid), continues("TrAcEpArEnT", valid),
			continues("TRACEPARENT", valid)},
		"traceparent_version_0x00": {restarts(valid + "."),
			restarts(valid + "-what-the-future-will-be-like")},
		"traceparent_version_0xcc": {continues("traceparent", "cc-"+w3cTrace+tail),
			continues("traceparent", "cc-"+w3cTrace+tail+"-what-the-future-will-be-like"),
			restarts("cc-" + w3cTrace + tail + ".what-the-future-will-be-like")},
		"traceparent_version_0xff": {restarts("ff-" + w3cTrace + tail)},
		"traceparent_version_illegal_characters": {restarts(".0-" + w3cTrace + tail),
			restarts("0.-" + w3cTrace + tail)},
		"traceparent_version_too_long": {restarts("000-" + w3cTrace + tail),
			restarts("0000-" + w3cTrace + tail)},
		"traceparent_version_too_short": {restarts("0-" + w3cTrace + tail)},
		"traceparent_trace_id_all_zero": {restarts("00-" + long("0", 32) + tail)},
		"traceparent_trace_id_illegal_characters": {restarts("00-.2345678901234567890123456789012" + tail),
			restarts("00-1234567890123456789012345678901." + tail)},
		"traceparent_trace_id_too_long":  {restarts("00-123456789012345678901234567890123" + tail)},
		"traceparent_trace_id_too_short": {restarts("00-1234567890123456789012345678901" + tail)},
		"traceparent_parent_id_all_zero": {restarts("00-" + w3cTrace + "-0000000000000000-01")},
		"traceparent_parent_id_illegal_characters": {restarts("00-" + w3cTrace + "-.234567890123456-01"),
			restarts("00-" + w3cTrace + "-123456789012345.-01")},
		"traceparent_parent_id_too_long":  {restarts("00-" + w3cTrace + "-12345678901234567-01")},
		"traceparent_parent_id_too_short": {restarts("00-" + w3cTrace + "-123456789012345-01")},
		"traceparent_trace_flags_illegal_characters": {restarts("00-" + w3cTrace + "-1234567890123456-.0"),
			restarts("00-" + w3cTrace + "-1234567890123456-0.")},
		"traceparent_trace_flags_too_long":  {restarts("00-" + w3cTrace + "-1234567890123456-001")},
		"traceparent_trace_flags_too_short": {restarts("00-" + w3cTrace + "-1234567890123456-1")},
		"traceparent_ows_handling": {continues("traceparent", " "+valid),
			continues("traceparent", "\t"+valid), continues("traceparent", valid+" "),
			continues("traceparent", "\t "+valid+" \t")},
		"tracestate_included_traceparent_missing":  {{sent: []header{{"tracestate", "foo=1,bar=2"}}, newTrace: true}},
		"tracestate_included_traceparent_included": {inherits("foo=1,bar=2", "foo=1,bar=2")},
		"tracestate_header_name": {{sent: append(parented(), header{"trace-state", "foo=1"})},
			{sent: append(parented(), header{"trace.state", "foo=1"})}},
		"tracestate_header_name_valid_casing": {{sent: append(parented(), header{"TrAcEsTaTe", "foo=1"}),
			tracestate: "foo=1"}},
		"tracestate_empty_header": {discards(""), inherits("foo=1", "foo=1", ""),
			inherits("foo=1", "", "foo=1"), inherits("foo=1,bar=2", "foo=1, ,,bar=2")},
		"tracestate_multiple_headers_different_keys": {inherits("foo=1,bar=2,rojo=1,congo=2,baz=3", "foo=1,bar=2",
			"rojo=1,congo=2", "baz=3")},
		"tracestate_duplicated_keys": {inherits("foo=1", "foo=1,foo=1"),
			inherits("foo=1", "foo=1,foo=2"), inherits("foo=1", "foo=1", "foo=1"), inherits("foo=1", "foo=1", "foo=2")},
		"tracestate_all_allowed_characters": {inherits(letters+"="+printable.String(),
			letters+"="+printable.String()),
			inherits(letters+"@a-z0-9_-*/="+printable.String(), letters+"@a-z0-9_-*/="+printable.String())},
		"tracestate_ows_handling": {inherits("foo=1,bar=2,baz=3", "foo=1 \t , \t bar=2, \t baz=3"),
			inherits("foo=1,bar=2,baz=3", "foo=1\t \t,\t \tbar=2,\t \tbaz=3"), inherits("foo=1", "\t foo=1 \t")},
		"tracestate_key_illegal_characters": {discards("foo =1"), discards("FOO=1"), discards("foo.bar=1")},
		"tracestate_key_illegal_vendor_format": {inherits("foo@=1,bar=2", "foo@=1,bar=2"),
			discards("@foo=1,bar=2"), inherits("foo@@bar=1,bar=2", "foo@@bar=1,bar=2"),
			inherits("foo@bar@baz=1,bar=2", "foo@bar@baz=1,bar=2")},
		"tracestate_member_count_limit": {inherits(numbered(1, 32), numbered(1, 10), numbered(11, 20),
			numbered(21, 32)), discards(numbered(1, 10), numbered(11, 20), numbered(21, 33))},
		"tracestate_key_length_limit": {
			inherits("foo=1,"+long("z", 256)+"=1", "foo=1", long("z", 256)+"=1"),
			discards("foo=1", long("z", 257)+"=1"),
			inherits("foo=1,"+long("t", 241)+"@"+long("v", 14)+"=1", "foo=1", long("t", 241)+"@"+long("v", 14)+"=1"),
			inherits("foo=1,"+long("t", 242)+"@v=1", "foo=1", long("t", 242)+"@v=1"),
			inherits("foo=1,t@"+long("v", 15)+"=1", "foo=1", "t@"+long("v", 15)+"=1"),
		},
		"tracestate_value_illegal_characters":              {discards("foo=bar=baz"), discards("foo=,bar=3")},
		"not in the suite: a key that begins with a digit": {inherits("1a=1,foo=2", "1a=1,foo=2")},
		"not in the suite: duplicates beside other keys": {inherits("a@=1,foo=2,b@=3", "a@=1,foo=2,a@=9,foo=8",
			"b@=3")},
		"not in the suite: a wrong member among those of Level 2": {discards("foo@=1,bar@=", "baz=3"),
			discards("foo@=1,Bar=2"), discards("foo@=1,bar"), discards("foo@=1,bar=" + long("v", 257))},
		"not in the suite: 32 members of Level 2, and 33": {inherits(numberedBeside(32), numberedBeside(32)),
			discards(numberedBeside(33))},
		"not in the suite: OpenTelemetry's own goes in front": {inherits("ot=th:8,foo@=1,bar=2",
			"foo@=1,bar=2,ot=th:8")},
		"not in the suite: beyond 512 bytes the large go first, then the last": {
			inherits("a@="+long("v", 120)+",b@="+long("v", 120)+",c@="+long("v", 120)+",d@="+long("v", 120),
				"a@="+long("v", 120), "b@="+long("v", 120), "large@="+long("v", 200), "c@="+long("v", 120),
				"d@="+long("v", 120), "e@="+long("v", 120)),
			inherits("ot=th:8,foo@=1,"+long("y", 256)+"=1", "foo@=1,"+long("y", 256)+"=1", long("z", 256)+"=2,ot=th:8"),
		},
		"not in the suite: the longest list there is":   {inherits(longestState(), longestState())},
		"not in the suite: a megabyte of empty members": {discards(long(",", 500_000))},
	}
}

// numberedBeside is a list of n members whose keys only Level 2 knows.
func numberedBeside(n int) string {
	var members []string
	for i := range n {
		members = append(members, fmt.Sprintf("%02d@=%02d", i, i))
	}
	return strings.Join(members, ",")
}

// longestState has 32 members of 256 + 1 + 256 characters.
func longestState() string {
	var members []string
	for i := range 32 {
		members = append(members, fmt.Sprintf("%s%02d=%s", strings.Repeat("k", 254), i, strings.Repeat("v", 256)))
	}
	return strings.Join(members, ",")
}

func (c w3cCase) header() http.Header {
	header := http.Header{}
	for _, h := range c.sent {
		header[h.name] = append(header[h.name], h.value)
	}
	return header
}

func eachW3CCase(t *testing.T, handOn func(*testing.T, w3cCase) (traceparent, tracestate string)) {
	for name, cases := range w3cCases() {
		for i, c := range cases {
			t.Run(fmt.Sprintf("%s/%d", name, i+1), func(t *testing.T) {
				traceparent, tracestate := handOn(t, c)
				require.Regexp(t, "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$", traceparent)
				require.NotContains(t, traceparent, "-1234567890123456-", "a span of its own")
				if c.newTrace {
					require.NotContains(t, traceparent, "1234567890123456789012345678901")
					require.NotContains(t, traceparent, strings.Repeat("0", 32))
				} else {
					require.Contains(t, traceparent, w3cTrace)
				}
				require.Equal(t, c.tracestate, tracestate)
			})
		}
	}
}

// contextServer keeps what it would propagate.
type contextServer struct {
	testpb.UnimplementedTestServiceServer
	handedOn map[string]string
}

func (s *contextServer) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	s.handedOn = map[string]string{}
	telemetry.Inject(ctx, telemetry.MessageCarrier(s.handedOn))
	return &testpb.Empty{}, nil
}

// recordW3C is recordGlobals with the propagator that Init makes.
func recordW3C(t *testing.T) {
	t.Helper()
	recordGlobals(t)
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithoutTraces(),
		telemetry.WithoutMetrics(), telemetry.WithoutLogs(), telemetry.WithLogOutput(io.Discard))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, guard.Shutdown(context.Background())) })
	setPropagator(t, guard.Propagator())
}
