package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// rare is a sampler that chooses no trace at its start.
var rare = telemetry.WithAdaptiveSampling(telemetry.Sampling{Rules: []telemetry.Rule{{Ratio: 0x1p-50}}})

// served is a service of a fleet: its guard, and what it is called by.
type served struct {
	guard *telemetry.Guard
	call  func(context.Context) error // by the service that comes before it
}

// serveFunc starts a service over one protocol. It works as work does, and caller is the guard of
// the service that calls it.
func serveFunc(t *testing.T, protocol telemetry.Protocol, caller, own *telemetry.Guard,
	work func(context.Context) error) served {
	t.Helper()
	if protocol == telemetry.ProtocolGRPC {
		s := grpc.NewServer(telemetry.ServerOptions(telemetry.WithGuard(own))...)
		testpb.RegisterTestServiceServer(s, workServer{work: work})
		conn := dialGRPC(t, startGRPC(t, s),
			grpc.WithStatsHandler(telemetry.ClientHandler(telemetry.WithGuard(caller))))
		client := testpb.NewTestServiceClient(conn)
		return served{own, func(ctx context.Context) error {
			_, err := client.EmptyCall(ctx, &testpb.Empty{})
			return err
		}}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /work", func(w http.ResponseWriter, r *http.Request) {
		if err := work(r.Context()); err != nil {
			http.Error(w, "failed", http.StatusInternalServerError)
		}
	})
	server := httptest.NewServer(telemetry.Handler(mux, telemetry.WithGuard(own)))
	t.Cleanup(server.Close)
	client := &http.Client{Transport: telemetry.Transport(nil, telemetry.WithGuard(caller))}
	return served{own, func(ctx context.Context) error {
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/work", nil)
		response, err := client.Do(r)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode >= 500 {
			return errors.New(response.Status)
		}
		return nil
	}}
}

type workServer struct {
	testpb.UnimplementedTestServiceServer
	work func(context.Context) error
}

func (s workServer) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	if err := s.work(ctx); err != nil {
		return nil, status.Error(grpccodes.Internal, err.Error())
	}
	return &testpb.Empty{}, nil
}

// named starts the guard of one service of a fleet.
func named(t *testing.T, c *otlptest.Collector, name string, opts ...telemetry.Option) *telemetry.Guard {
	t.Helper()
	guard, _ := start(t, c, rare, telemetry.WithServiceName(name), telemetry.WithoutRuntimeMetrics(),
		telemetry.WithOptions(opts...))
	return guard
}

// shop is four services: the edge calls orders, which calls inventory, payment, which fails, and
// shipping. The function makes n requests to the edge.
func shop(t *testing.T, protocol telemetry.Protocol, c *otlptest.Collector, swallow bool,
	opts ...telemetry.Option) (request func(n int), flush func()) {
	t.Helper()
	guards := map[string]*telemetry.Guard{}
	for _, name := range []string{"edge", "orders", "inventory", "payment", "shipping"} {
		guards[name] = named(t, c, name, opts...)
	}
	declined := errors.New("declined")
	fine := func(context.Context) error { return nil }
	inventory := serveFunc(t, protocol, guards["orders"], guards["inventory"], fine)
	payment := serveFunc(t, protocol, guards["orders"], guards["payment"],
		func(context.Context) error { return declined })
	shipping := serveFunc(t, protocol, guards["orders"], guards["shipping"], fine)
	orders := serveFunc(t, protocol, guards["edge"], guards["orders"], func(ctx context.Context) error {
		if err := inventory.call(ctx); err != nil {
			return err
		}
		if err := payment.call(ctx); err != nil && !swallow {
			return err
		}
		return shipping.call(ctx)
	})
	edge := serveFunc(t, protocol, guards["edge"], guards["edge"], orders.call)
	return func(n int) {
			for range n {
				_ = edge.call(t.Context())
			}
		}, func() {
			for _, guard := range guards {
				flushed(t, guard)
			}
		}
}

// services are the services of which a trace has spans, each once.
func services(spans []otlptest.Span) map[string]bool {
	found := map[string]bool{}
	for _, s := range spans {
		found[fmt.Sprint(s.Resource["service.name"])] = true
	}
	return found
}

// byTrace groups spans.
func byTrace(spans []otlptest.Span) map[string][]otlptest.Span {
	traces := map[string][]otlptest.Span{}
	for _, s := range spans {
		traces[s.TraceID] = append(traces[s.TraceID], s)
	}
	return traces
}

// requireWhole asserts that a trace has one root, and the parent of each other span.
func requireWhole(t *testing.T, spans []otlptest.Span) {
	t.Helper()
	ids := map[string]bool{}
	for _, s := range spans {
		ids[s.SpanID] = true
	}
	roots := 0
	for _, s := range spans {
		if s.ParentSpanID == "" {
			roots++
		} else {
			require.True(t, ids[s.ParentSpanID], "%s of %s is an orphan", s.Name, s.Resource["service.name"])
		}
	}
	require.Equal(t, 1, roots)
}

// TestFailingTracesHaveTheirRoot has an error in the fourth service of a chain, of which every
// trace arrives from the root on, whether the error is passed up or swallowed. The service that was
// called before the error is missing, and the one that was called after it is there.
func TestFailingTracesHaveTheirRoot(t *testing.T) {
	const requests = 30
	type how struct{ swallow bool }
	atOnce(t, overProtocols(how{false}, how{true}), func(c protocolCase[how]) string {
		return fmt.Sprintf("%s swallow=%t", c.protocol, c.of.swallow)
	}, func(t *testing.T, c protocolCase[how]) {
		collector := otlptest.New(t)
		request, flush := shop(t, c.protocol, collector, c.of.swallow)
		request(requests)
		flush()
		traces := byTrace(collector.Spans())
		require.Len(t, traces, requests)
		want := map[string]bool{"edge": true, "orders": true, "payment": true}
		if c.of.swallow {
			want["shipping"] = true
		}
		for _, spans := range traces {
			requireWhole(t, spans)
			require.Equal(t, want, services(spans))
			for _, s := range spans {
				require.Equal(t, "ot=th:0", s.TraceState, "%s of %s stands for itself alone", s.Name,
					s.Resource["service.name"])
			}
		}
	})
}

// TestLongChainsOfBothProtocols has six services in a row, of which the last fails, and each of the
// others swallows that.
func TestLongChainsOfBothProtocols(t *testing.T) {
	const length, requests = 6, 10
	c := otlptest.New(t)
	var guards []*telemetry.Guard
	for i := range length {
		guards = append(guards, named(t, c, fmt.Sprint("service ", i)))
	}
	work := func(context.Context) error { return errors.New("failed") }
	for i := length - 1; i >= 0; i-- {
		next := serveFunc(t, protocols[i%len(protocols)], guards[max(i-1, 0)], guards[i], work)
		work = func(ctx context.Context) error { _ = next.call(ctx); return nil }
	}
	for range requests {
		_ = work(t.Context())
	}
	for _, guard := range guards {
		flushed(t, guard)
	}
	traces := byTrace(c.Spans())
	require.Len(t, traces, requests)
	for _, spans := range traces {
		requireWhole(t, spans)
		require.Len(t, services(spans), length)
	}
}

// TestFailuresAreKnownBeforeTheBodyIsClosed has a service without this library that fails. Its
// caller closes the body when it returns, which is after it has called another and has answered.
func TestFailuresAreKnownBeforeTheBodyIsClosed(t *testing.T) {
	c := otlptest.New(t)
	edge, orders, shipping := named(t, c, "edge"), named(t, c, "orders"), named(t, c, "shipping")
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "declined", http.StatusPaymentRequired)
	}))
	defer foreign.Close()
	client := &http.Client{Transport: telemetry.Transport(nil, telemetry.WithGuard(orders))}
	ship := serveFunc(t, telemetry.ProtocolHTTP, orders, shipping, func(context.Context) error { return nil })
	server := httptest.NewServer(telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pay, _ := http.NewRequestWithContext(r.Context(), http.MethodGet, foreign.URL, nil)
		response, err := client.Do(pay)
		if !assert.NoError(t, err) {
			return
		}
		defer response.Body.Close()
		assert.NoError(t, ship.call(r.Context()))
		w.WriteHeader(http.StatusOK)
	}), telemetry.WithGuard(orders)))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	response, err := telemetry.Transport(nil, telemetry.WithGuard(edge)).RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	for _, guard := range []*telemetry.Guard{edge, orders, shipping} {
		flushed(t, guard)
	}
	requireWhole(t, c.Spans())
	require.Len(t, services(c.Spans()), 3)
}

// TestGRPCServersBehindAHandlerTell has a server that answers through an http.ResponseWriter: the
// handler around it tells in the header what is known by then.
func TestGRPCServersBehindAHandlerTell(t *testing.T) {
	own := named(t, otlptest.New(t), "own")
	s := grpc.NewServer(telemetry.ServerOptions(telemetry.WithGuard(own))...)
	testpb.RegisterTestServiceServer(s, workServer{work: func(ctx context.Context) error {
		telemetry.Keep(ctx)
		return nil
	}})
	for name, opts := range map[string][]telemetry.HandlerOption{
		"public": {telemetry.WithPublicEndpoint()}, "inside": nil,
	} {
		t.Run(name, func(t *testing.T) {
			c := otlptest.New(t)
			caller := named(t, c, "caller")
			server := httptest.NewUnstartedServer(telemetry.Handler(s, append(opts, telemetry.WithGuard(own))...))
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			server.Start()
			defer server.Close()
			client := testpb.NewTestServiceClient(dialGRPC(t, server.Listener.Addr().String(),
				grpc.WithStatsHandler(telemetry.ClientHandler(telemetry.WithGuard(caller)))))
			var header, trailer metadata.MD
			_, err := client.EmptyCall(t.Context(), &testpb.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer))
			require.NoError(t, err)
			flushed(t, caller)
			told := 0
			if name == "inside" {
				told = 1
			}
			require.Equal(t, told, strings.Count(fmt.Sprint(header, trailer), "trace;desc="))
			require.Len(t, c.Spans(), told)
		})
	}
}

// TestExemplarsNameTracesThatArrived is for the server metrics: each error series has an exemplar,
// and every exemplar names a trace that arrived.
func TestExemplarsNameTracesThatArrived(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			collector := otlptest.New(t)
			request, flush := shop(t, protocol, collector, false)
			request(10)
			flush()
			traces := byTrace(collector.Spans())
			found := map[string]int{}
			for _, m := range collector.Metrics() {
				if !strings.HasSuffix(m.Name, ".duration") {
					continue
				}
				for _, p := range m.Points {
					for _, e := range p.Exemplars {
						require.Contains(t, traces, e.TraceID, "%s of %s", m.Name, m.Resource["service.name"])
						found[fmt.Sprint(m.Name, " ", m.Resource["service.name"])]++
					}
				}
			}
			name := "http.server.request.duration"
			if protocol == telemetry.ProtocolGRPC {
				name = "rpc.server.call.duration"
			}
			for _, service := range []string{"edge", "orders", "payment"} {
				require.Positive(t, found[name+" "+service], service)
			}
			require.Zero(t, found[name+" inventory"])
		})
	}
}

// decisionOf is the entry of Server-Timing that tells a decision.
func decisionOf(header http.Header) string {
	for _, value := range header["Server-Timing"] {
		if strings.HasPrefix(value, "trace;") {
			return value
		}
	}
	return ""
}

// called is the header of a caller that has not sampled its trace.
func called(r *http.Request, id trace.TraceID) {
	r.Header.Set("traceparent", "00-"+id.String()+"-00f067aa0ba902b7-00")
}

var someTrace = trace.TraceID{1, 2, 3, 15: 4}

// TestAnswersTellWhatIsKept has answers of one service: only what is kept is told, once, in at most
// 120 bytes, and only to a caller that has a trace.
func TestAnswersTellWhatIsKept(t *testing.T) {
	collector := otlptest.New(t)
	guard := named(t, collector, "told")
	serve := func(handle http.HandlerFunc, prepare func(*http.Request),
		opts ...telemetry.HandlerOption) *http.Response {
		server := httptest.NewServer(telemetry.Handler(handle, append(opts, telemetry.WithGuard(guard))...))
		defer server.Close()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		require.NoError(t, err)
		prepare(r)
		response, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		buffer := make([]byte, 1<<20)
		for err == nil {
			_, err = response.Body.Read(buffer)
		}
		require.NoError(t, response.Body.Close())
		return response
	}
	unsampled := func(r *http.Request) { called(r, someTrace) }
	failing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	const told = `^trace;desc=00-01020300000000000000000000000004-[0-9a-f]{16}-01;th=0$`

	for name, handle := range map[string]http.HandlerFunc{
		"a status": failing,
		"a failed child": func(w http.ResponseWriter, r *http.Request) {
			_ = telemetry.Do(r.Context(), "child", func(context.Context) error { return errors.New("failed") })
		},
		"a failed span": func(_ http.ResponseWriter, r *http.Request) {
			trace.SpanFromContext(r.Context()).SetStatus(1, "failed")
		},
		"Keep": func(w http.ResponseWriter, r *http.Request) {
			telemetry.Keep(r.Context())
			_, _ = w.Write([]byte("hello"))
		},
		"a forwarded decision": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server-Timing", "trace;desc=00-"+someTrace.String()+"-00f067aa0ba902b7-01;th=8, db;dur=5")
			w.WriteHeader(http.StatusBadGateway)
		},
	} {
		t.Run(name, func(t *testing.T) {
			header := serve(handle, unsampled).Header
			require.Regexp(t, told, decisionOf(header))
			require.LessOrEqual(t, len("Server-Timing: \r\n")+len(decisionOf(header)), 120)
			require.Equal(t, 1, strings.Count(strings.Join(header["Server-Timing"], ","), "trace;"))
			require.Contains(t, strings.Join(header["Server-Timing"], ","), "traceparent;desc=", "browsers look for it")
			if name == "a forwarded decision" {
				require.Contains(t, header["Server-Timing"], "db;dur=5")
			}
		})
	}

	require.Empty(t, decisionOf(serve(ok, unsampled).Header), "nothing is wrong")
	require.Empty(t, decisionOf(serve(failing, func(*http.Request) {}).Header), "the caller has no trace")
	require.Empty(t, decisionOf(serve(failing, unsampled, telemetry.WithPublicEndpoint()).Header))

	late := func(flush bool, size int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(make([]byte, size))
			if flush {
				w.(http.Flusher).Flush()
			}
			trace.SpanFromContext(r.Context()).SetStatus(1, "too late for the header")
		}
	}
	takes := func(r *http.Request) { unsampled(r); r.Header.Set("TE", "trailers") }
	for _, handle := range []http.HandlerFunc{late(true, 1), late(false, 5000)} {
		response := serve(handle, takes)
		require.Regexp(t, told, decisionOf(response.Trailer))
		require.Empty(t, decisionOf(response.Header))
		require.Empty(t, serve(handle, unsampled).Trailer, "the client has not asked for one")
	}
	small := serve(late(false, 1), takes)
	require.EqualValues(t, 1, small.ContentLength, "the framing is the same")
	require.Empty(t, small.Trailer)
}

// TestDecisionsOfStrangersDoNotCount has answers that claim to be kept.
func TestDecisionsOfStrangersDoNotCount(t *testing.T) {
	entry := func(id trace.TraceID, th string) string {
		return "trace;desc=00-" + id.String() + "-00f067aa0ba902b7-01;th=" + th
	}
	type answer struct {
		host  string
		timed func(id trace.TraceID) []string
		opts  []telemetry.TransportOption
	}
	kept := func(id trace.TraceID) []string { return []string{entry(id, "0")} }
	for name, c := range map[string]struct {
		answer
		kept bool
	}{
		"a cluster's name":  {answer{host: "checkout", timed: kept}, true},
		"a private address": {answer{host: "10.1.2.3", timed: kept}, true},
		"among others": {answer{host: "checkout",
			timed: func(id trace.TraceID) []string { return []string{`cache;desc="a,b;c", ` + entry(id, "0")} }}, true},
		"a named host": {answer{host: "api.example.com", timed: kept,
			opts: []telemetry.TransportOption{telemetry.WithTrustedHosts("api.example.com")}}, true},
		"a host of the net": {answer{host: "api.example.com", timed: kept}, false},
		"a public address":  {answer{host: "8.8.8.8", timed: kept}, false},
		"not among the named": {answer{host: "checkout", timed: kept,
			opts: []telemetry.TransportOption{telemetry.WithTrustedHosts("orders")}}, false},
		"another trace": {answer{host: "checkout",
			timed: func(trace.TraceID) []string { return []string{entry(someTrace, "0")} }}, false},
		"an absurd threshold": {answer{host: "checkout",
			timed: func(id trace.TraceID) []string { return []string{entry(id, "ffffffffffffff")} }}, false},
		"a threshold too long": {answer{host: "checkout",
			timed: func(id trace.TraceID) []string { return []string{entry(id, "000000000000000")} }}, false},
		"no threshold": {answer{host: "checkout",
			timed: func(id trace.TraceID) []string { return []string{strings.TrimSuffix(entry(id, ""), ";th=")} }},
			false},
		"unsampled": {answer{host: "checkout",
			timed: func(id trace.TraceID) []string {
				return []string{strings.Replace(entry(id, "0"), "-01;", "-00;",
					1)}
			}}, false},
		"far too late": {answer{host: "checkout",
			timed: func(id trace.TraceID) []string { return []string{strings.Repeat("x", 5000), entry(id, "0")} }},
			false},
	} {
		t.Run(name, func(t *testing.T) {
			collector := otlptest.New(t)
			guard := named(t, collector, "caller")
			base := roundTripFunc(func(r *http.Request) (*http.Response, error) {
				id := trace.SpanContextFromContext(r.Context()).TraceID()
				return &http.Response{StatusCode: 200, Header: http.Header{"Server-Timing": c.timed(id)},
					Body: http.NoBody}, nil
			})
			client := telemetry.Transport(base, append(c.opts, telemetry.WithGuard(guard))...)
			ctx, root := guard.TracerProvider().Tracer("test").Start(t.Context(), "root")
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.host+"/", nil)
			response, err := client.RoundTrip(r)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			root.End()
			flushed(t, guard)
			want := 0
			if c.kept {
				want = 2
			}
			require.Len(t, collector.Spans(), want)
			for _, s := range collector.Spans() {
				if s.Name == "root" {
					require.Equal(t, "callee", s.Attributes["sampling.reason"])
				}
			}
		})
	}
}

// TestFloodOfDecisionsIsBounded has a service that claims to keep everything: it takes half of
// TailTracesPerSecond, the own errors have the other half, and all counts stay true.
func TestFloodOfDecisionsIsBounded(t *testing.T) {
	collector := otlptest.New(t)
	guard, _ := start(t, collector, telemetry.WithAdaptiveSampling(telemetry.Sampling{
		TailTracesPerSecond: 20, Rules: []telemetry.Rule{{Ratio: 0x1p-50}},
	}))
	base := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		id := trace.SpanContextFromContext(r.Context()).TraceID()
		return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{
			"Server-Timing": {"trace;desc=00-" + id.String() + "-00f067aa0ba902b7-01;th=0"},
		}}, nil
	})
	client := telemetry.Transport(base, telemetry.WithGuard(guard))
	begin := time.Now()
	for range 5000 {
		ctx, root := guard.TracerProvider().Tracer("test").Start(t.Context(), "root")
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://checkout/", nil)
		response, err := client.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		root.End()
	}
	seconds := time.Since(begin).Seconds()
	flushed(t, guard)
	// Ten traces per second, with a burst of ten seconds of it, and what is kept until that is
	// noticed.
	t.Log(len(byTrace(collector.Spans())))
	require.Less(t, float64(len(byTrace(collector.Spans()))), 150+20*seconds)
	require.NotEmpty(t, collector.Spans())
}

// TestWhatIsCalledLaterIsTold is for messages and jobs, which have no response: what is sent after
// the error carries the decision, what was sent before does not.
func TestWhatIsCalledLaterIsTold(t *testing.T) {
	collector := otlptest.New(t)
	guard := named(t, collector, "job")
	sent := func(ctx context.Context) propagation.MapCarrier {
		carrier := propagation.MapCarrier{}
		guard.Propagator().Inject(ctx, carrier)
		return carrier
	}
	tracer := guard.TracerProvider().Tracer("test")
	ctx, job := tracer.Start(t.Context(), "job")
	before := sent(ctx)
	require.Regexp(t, "-00$", before["traceparent"])
	require.Empty(t, before["tracestate"])

	_, attempt := tracer.Start(ctx, "attempt")
	attempt.SetStatus(codes.Error, "failed")
	attempt.End()
	after := sent(ctx)
	require.Regexp(t, "-01$", after["traceparent"])
	require.Equal(t, "ot=th:0", after["tracestate"])
	job.End()
	require.Equal(t, after, sent(ctx), "it stays so")
	flushed(t, guard)
	require.ElementsMatch(t, []string{"job", "attempt"}, spanNames(collector))
}

// TestServersThatTellNothing has gRPC servers that fail: with the stats handler alone, and one that
// anyone may call. The third tells.
func TestServersThatTellNothing(t *testing.T) {
	collector := otlptest.New(t)
	guard := telemetry.WithGuard(named(t, collector, "told"))
	for name, c := range map[string]struct {
		opts []grpc.ServerOption
		told bool
	}{
		"ServerHandler": {[]grpc.ServerOption{grpc.StatsHandler(telemetry.ServerHandler(guard))},
			false},
		"ServerOptions, WithPublicEndpoint": {telemetry.ServerOptions(guard, telemetry.WithPublicEndpoint()), false},
		"ServerOptions":                     {telemetry.ServerOptions(guard), true},
	} {
		t.Run(name, func(t *testing.T) {
			s := grpc.NewServer(c.opts...)
			testpb.RegisterTestServiceServer(s,
				workServer{work: func(context.Context) error { return errors.New("failed") }})
			client := testpb.NewTestServiceClient(dialGRPC(t, startGRPC(t, s)))
			ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent",
				"00-"+someTrace.String()+"-00f067aa0ba902b7-00")
			var trailer metadata.MD
			_, err := client.EmptyCall(ctx, &testpb.Empty{}, grpc.Trailer(&trailer))
			require.Equal(t, grpccodes.Internal, status.Code(err))
			require.Equal(t, c.told, len(trailer["server-timing"]) == 1, "%v", trailer)
		})
	}
}

// TestAnswersTellOnlyWhatTheEndKeeps has requests that look slow or failed when their header is
// sent, while what their end says is that they do not count.
func TestAnswersTellOnlyWhatTheEndKeeps(t *testing.T) {
	within := func(pattern string, handle http.HandlerFunc) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc(pattern, handle)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(w, r) })
	}
	slow := func(w http.ResponseWriter, _ *http.Request) { time.Sleep(30 * time.Millisecond) } // beyond SlowThreshold
	for name, c := range map[string]struct {
		handler http.Handler
		rule    telemetry.Rule
		opts    []telemetry.HandlerOption
	}{
		"an event stream": {handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			slow(w, r)
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
		})},
		"a streaming route of a ServeMux within": {handler: within("/poll", slow),
			opts: []telemetry.HandlerOption{telemetry.WithStreamingRoutes("/poll")}},
		"a rule for the route of a ServeMux within": {handler: within("/poll", slow),
			rule: telemetry.Rule{Route: "/poll", SlowThreshold: -1}},
		"a rule that drops the route of a ServeMux within": {
			handler: within("/poll", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }),
			rule:    telemetry.Rule{Route: "/poll", Drop: true}},
	} {
		t.Run(name, func(t *testing.T) {
			collector := otlptest.New(t)
			rules := []telemetry.Rule{{Ratio: 0x1p-50}}
			if c.rule.Route != "" {
				rules = append([]telemetry.Rule{c.rule}, rules...)
			}
			guard, _ := start(t, collector, telemetry.WithAdaptiveSampling(telemetry.Sampling{
				SlowThreshold: 20 * time.Millisecond, Rules: rules}))
			r := httptest.NewRequest(http.MethodGet, "/poll", nil)
			called(r, someTrace)
			answer := httptest.NewRecorder()
			telemetry.Handler(c.handler, append(c.opts, telemetry.WithGuard(guard))...).ServeHTTP(answer, r)
			require.Empty(t, decisionOf(answer.Header()))
			flushed(t, guard)
			require.Empty(t, collector.Spans())
		})
	}
}

// TestProxiesPassNoDecisionsOn has a reverse proxy, which copies the trailers of what is behind it.
func TestProxiesPassNoDecisionsOn(t *testing.T) {
	collector := otlptest.New(t)
	guard := named(t, collector, "proxy")
	told := []string{"trace;desc=00-" + someTrace.String() + "-00f067aa0ba902b7-01;th=0, db;dur=5"}
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := http.TrailerPrefix + "Server-Timing"
		if r.URL.Path == "/announced" {
			key = "Server-Timing"
			w.Header().Set("Trailer", key)
		}
		w.Header()["Server-Timing"] = told
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Server-Timing")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		w.Header()[key] = told
	}))
	defer behind.Close()
	target, err := url.Parse(behind.URL)
	require.NoError(t, err)
	for name, opts := range map[string][]telemetry.HandlerOption{
		"public": {telemetry.WithPublicEndpoint()}, "inside": nil,
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(telemetry.Handler(httputil.NewSingleHostReverseProxy(target),
				append(opts, telemetry.WithGuard(guard))...))
			defer server.Close()
			for _, path := range []string{"/", "/announced"} {
				var early textproto.MIMEHeader
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(_ int, header textproto.MIMEHeader) error { early = header; return nil },
				})
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
				require.NoError(t, err)
				called(r, someTrace)
				r.Header.Set("TE", "trailers")
				response, err := http.DefaultTransport.RoundTrip(r)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, response.Body)
				require.NoError(t, err)
				require.NoError(t, response.Body.Close())
				require.Contains(t, early["Server-Timing"], "db;dur=5")
				require.Contains(t, response.Trailer["Server-Timing"], "db;dur=5")
				require.NotContains(t, fmt.Sprint(early, response.Header, response.Trailer), "trace;")
			}
		})
	}
}
