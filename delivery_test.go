package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	grpccodes "google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestTLSFromFilesAndOption(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Run("certificate files", func(t *testing.T) {
				c := otlptest.New(t, otlptest.WithTLS(certs.MutualServer))
				t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", certs.CAFile)
				t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certs.ClientCertFile)
				t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", certs.ClientKeyFile)
				guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
					telemetry.WithProtocol(protocol))
				record(t.Context(), guard, "x")
				require.NoError(t, guard.Shutdown(t.Context()))
				require.Equal(t, []string{"x"}, spanNames(c))
				require.Equal(t, []string{"x"}, logBodies(c))
				require.Contains(t, metricNames(c), "x")
			})
			t.Run("option", func(t *testing.T) {
				c := otlptest.New(t, otlptest.WithTLS(certs.MutualServer))
				guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
					telemetry.WithProtocol(protocol), telemetry.WithTLSConfig(certs.Client))
				record(t.Context(), guard, "x")
				require.NoError(t, guard.Shutdown(t.Context()))
				require.Equal(t, []string{"x"}, spanNames(c))
			})
			t.Run("https is never downgraded", func(t *testing.T) {
				c := otlptest.New(t, otlptest.WithTLS(certs.Server))
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.Endpoint(string(protocol)))
				t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", string(protocol))
				t.Setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
				t.Setenv("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true")
				t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", certs.CAFile)
				guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(),
					telemetry.WithLogOutput(&syncBuffer{}))
				require.NoError(t, err)
				record(t.Context(), guard, "x")
				require.NoError(t, guard.Shutdown(t.Context()))
				require.Equal(t, []string{"x"}, spanNames(c))
				require.Zero(t, c.PlaintextBytes())

				t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "")
				guard, err = telemetry.Init(t.Context(), telemetry.WithoutGlobals(),
					telemetry.WithLogOutput(&syncBuffer{}), telemetry.WithShutdownTimeout(time.Second))
				require.NoError(t, err)
				record(t.Context(), guard, "y")
				require.Error(t, guard.Shutdown(t.Context()), "an unknown authority is refused")
				require.Equal(t, []string{"x"}, spanNames(c))
				require.Zero(t, c.PlaintextBytes())
			})
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	c := otlptest.New(t)
	redirect := httptest.NewServer(http.RedirectHandler(c.HTTPEndpoint()+"/v1/traces", http.StatusTemporaryRedirect))
	defer redirect.Close()
	guard, _ := start(t, c, telemetry.WithEndpoint(redirect.URL),
		telemetry.WithHeaders(map[string]string{"api-key": "s3cr3t"}), telemetry.WithoutMetrics(),
		telemetry.WithoutLogs())
	record(t.Context(), guard, "x")
	_ = guard.Shutdown(t.Context())
	require.Empty(t, c.Requests(), "the headers' secrets stay with the configured host")
}

func TestHeadersTravelWithEachSignal(t *testing.T) {
	for _, protocol := range protocols {
		c := otlptest.New(t)
		guard, console := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
			telemetry.WithProtocol(protocol),
			telemetry.WithHeaders(map[string]string{"api-key": "s3cr3t"}),
			telemetry.ForLogs(telemetry.WithHeaders(map[string]string{"api-key": "other"})))
		record(t.Context(), guard, "x")
		require.NoError(t, guard.Shutdown(t.Context()))
		for _, request := range c.Requests() {
			want := "s3cr3t"
			if request.Signal == otlptest.Logs {
				want = "other"
			}
			require.Equal(t, want, request.Header.Get("api-key"), request.Signal)
		}
		require.NotContains(t, console.String(), "s3cr3t")
	}
}

func TestMissingEndpointDoesNotDelayTheStart(t *testing.T) {
	begin := time.Now()
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(&syncBuffer{}),
		telemetry.WithEndpoint("http://127.0.0.1:1"), telemetry.WithShutdownTimeout(500*time.Millisecond))
	require.NoError(t, err)
	require.Less(t, time.Since(begin), 2*time.Second)
	require.ErrorContains(t, guard.Shutdown(t.Context()), "metrics", "the runtime metrics could not be delivered")
}

func TestAnOutageLosesNothing(t *testing.T) {
	atOnce(t, overProtocols(outages()...),
		func(c protocolCase[outage]) string { return c.of.name + " " + string(c.protocol) },
		func(t *testing.T, c protocolCase[outage]) {
			collector := otlptest.New(t)
			guard, console := start(t, collector,
				telemetry.WithEndpoint(collector.Endpoint(string(c.protocol))), telemetry.WithProtocol(c.protocol),
				// for a busy machine
				telemetry.WithSampler(sdktrace.AlwaysSample()), telemetry.WithShutdownTimeout(time.Minute),
				telemetry.WithSpanBatch(outageBatch), telemetry.WithLogBatch(outageBatch))
			stop, offered := make(chan struct{}), make(chan int, 1)
			go func() { offered <- offer(guard, stop) }()
			noticed := func() bool {
				return strings.Contains(console.String(), "cannot be delivered: each ")
			}
			err := c.of.play(t, collector, noticed)
			close(stop)
			n := <-offered
			require.NoError(t, err)
			require.NoError(t, guard.Shutdown(t.Context()))

			requireComplete(t, names(collector.Spans(), number), n, c.of.cutsAnswers(c.protocol))
			requireComplete(t, names(collector.LogRecords(), recordNumber), n, c.of.cutsAnswers(c.protocol))
			requireBooks(t, guard)
			for _, h := range []telemetry.SignalHealth{guard.Health().Traces, guard.Health().Logs} {
				require.EqualValues(t, n, h.Accepted)
				require.EqualValues(t, n, h.Exported)
			}
			require.Equal(t, !c.of.patient, noticed(), console)
			require.NotRegexp(t, "(was|were) lost", console.String())
		})
}

// TestAnIPv6AddressWithAZone delivers to an IPv6 address that says on which interface it is.
func TestAnIPv6AddressWithAZone(t *testing.T) {
	zone := loopbackInterface(t)
	for _, protocol := range []telemetry.Protocol{telemetry.ProtocolHTTP, telemetry.ProtocolGRPC} {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			_, port, err := net.SplitHostPort(forwardFrom(t, "[::1]:0", address(c.Endpoint(string(protocol)))))
			require.NoError(t, err)
			console := &syncBuffer{}
			guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithServiceName("x"),
				telemetry.WithLogOutput(console),
				telemetry.WithEndpoint("http://[::1%25"+zone+"]:"+port), telemetry.WithProtocol(protocol))
			require.NoError(t, err)
			record(t.Context(), guard, "x")
			require.NoError(t, guard.Shutdown(t.Context()))
			require.Equal(t, []string{"x"}, spanNames(c))
			require.Len(t, c.LogRecords(), 1)
			require.NotEmpty(t, c.Metrics())
			require.NotContains(t, console.String(), `"WARN"`)
		})
	}
}

// The outages below are those of benchmarks/outage, in which 1,000 spans and 1,000 records a second
// meet a collector that misbehaves for 10 s of 15 s. Here time, rate, queue and batch are a tenth
// or less.
const (
	outageLasts = time.Second
	outageRate  = 500 // of each signal, in a second
	// outageItems leave room in the queue, because what is in flight beside it depends on how full
	// the batches are. A test that gets no processor for seconds goes on with a trickle, so that
	// there is always something to fail.
	outageItems = 1000
	trickle     = 10
)

var outageBatch = telemetry.Batch{MaxQueueSize: 1024, MaxExportBatchSize: 128, ScheduleDelay: 100 * time.Millisecond}

// outage is a way in which a collector fails for a while.
type outage struct {
	name  string
	begin func(c *otlptest.Collector) error
	end   func(c *otlptest.Collector) error
	// cutsAnswers says that a request may have been accepted although its answer never arrived. A
	// duplicate is then unavoidable. Over gRPC this concerns all requests on the connection.
	cutsAnswers func(protocol telemetry.Protocol) bool
	// patient says that nothing fails: it only takes long.
	patient bool
}

func always(telemetry.Protocol) bool { return true }

func never(telemetry.Protocol) bool { return false }

func overGRPC(p telemetry.Protocol) bool {
	return p == telemetry.ProtocolGRPC
}

func outages() []outage {
	fault := func(f otlptest.Fault) func(*otlptest.Collector) error {
		return func(c *otlptest.Collector) error { c.SetFault(f); return nil }
	}
	heal := fault(otlptest.Fault{})
	return []outage{
		{name: "down", begin: (*otlptest.Collector).Down, end: (*otlptest.Collector).Up, cutsAnswers: always},
		{name: "cut mid-request", begin: fault(otlptest.Fault{Cut: true}), end: heal, cutsAnswers: overGRPC},
		{name: "unavailable", begin: fault(otlptest.Fault{HTTPStatus: http.StatusServiceUnavailable,
			GRPCCode: grpccodes.Unavailable}), end: heal, cutsAnswers: never},
		{name: "asks to wait", begin: fault(otlptest.Fault{
			HTTPStatus: http.StatusTooManyRequests, GRPCCode: grpccodes.ResourceExhausted, RetryAfter: time.Second,
		}), end: heal, cutsAnswers: never},
		{name: "slow", begin: fault(otlptest.Fault{Delay: 400 * time.Millisecond}),
			end: func(*otlptest.Collector) error { return nil }, cutsAnswers: never, patient: true},
	}
}

// play lets the collector fail under load, for outageLasts and until the library has noticed, and
// then work for a moment.
func (o outage) play(t *testing.T, c *otlptest.Collector, noticed func() bool) error {
	err := c.Wait(t.Context(), func(c *otlptest.Collector) bool { return len(c.Requests()) > 0 })
	err = errors.Join(err, o.begin(c))
	time.Sleep(outageLasts)
	for begin := time.Now(); !o.patient && !noticed() && time.Since(begin) < time.Minute; {
		time.Sleep(10 * time.Millisecond)
	}
	err = errors.Join(err, o.end(c))
	time.Sleep(outageLasts / 5)
	return err
}

// offer makes numbered spans and records at a steady rate until it is stopped, and returns how many
// of each.
func offer(guard *telemetry.Guard, stop <-chan struct{}) (n int) {
	tracer, logger := guard.TracerProvider().Tracer("test"), guard.LoggerProvider().Logger("test")
	begin := time.Now()
	for {
		seconds := time.Since(begin).Seconds()
		for ; n < int(min(seconds*outageRate, outageItems+seconds*trickle)); n++ {
			ctx, span := tracer.Start(context.Background(), "span", trace.WithAttributes(attribute.Int("number", n)))
			var r otellog.Record
			r.SetBody(attribute.IntValue(n))
			logger.Emit(ctx, r)
			span.End()
		}
		select {
		case <-stop:
			return n
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func number(s otlptest.Span) string { return fmt.Sprint(s.Attributes["number"]) }

func recordNumber(r otlptest.LogRecord) string { return fmt.Sprint(r.Body) }

// requireComplete asserts that each of n numbers has arrived, exactly once unless an answer may
// have been cut.
func requireComplete(t *testing.T, arrived []string, n int, twiceIsFine bool) {
	t.Helper()
	require.Positive(t, n)
	times := map[string]int{}
	for _, number := range arrived {
		times[number]++
	}
	for i := range n {
		key := strconv.Itoa(i)
		require.Positive(t, times[key], "number %d of %d has not arrived", i, n)
		if !twiceIsFine {
			require.Equal(t, 1, times[key], "number %d has arrived more than once", i)
		}
	}
	require.Len(t, times, n)
}

func loopbackInterface(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range all {
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			if i.Flags&net.FlagLoopback != 0 && strings.HasPrefix(a.String(), "::1/") {
				return i.Name
			}
		}
	}
	t.Skip("there is no IPv6 here")
	return ""
}

// forwardFrom listens at an address and forwards every connection to another one.
func forwardFrom(t *testing.T, from, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", from)
	require.NoError(t, err)
	return accept(t, l, func(near net.Conn) {
		far, err := net.Dial("tcp", to)
		if err != nil {
			_ = near.Close()
			return
		}
		join := func(a, b net.Conn) {
			_, _ = io.Copy(a, b)
			_ = a.Close()
		}
		go join(near, far)
		go join(far, near)
	})
}
