package telemetry_test

import (
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestProbeExplainsWhyNothingAnswers(t *testing.T) {
	t.Parallel()
	var all []diagnosis
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		in := func(address string) map[string]string {
			return map[string]string{protocolVariable: protocol, endpointVariable: "http://" + address}
		}
		waiting := func(address string) map[string]string {
			env := in(address)
			env[timeoutVariable] = "1000"
			return env
		}
		closed, silent, reset := otlptest.FreeAddress(t), silentPeer(t), resetPeer(t)
		cases := []diagnosis{
			{
				name: "name that does not resolve", env: in("no-such-host.invalid:4318"),
				want: "the host name no-such-host.invalid does not resolve: correct it in OTEL_EXPORTER_OTLP_ENDPOINT",
			},
			{
				name: "closed port", env: in(closed),
				want: "nothing listens at " + closed +
					": start the collector, or correct the host and port in OTEL_EXPORTER_OTLP_ENDPOINT (in a " +
					"container, 127.0.0.1 is the container itself)",
			},
			{
				name: "silent peer", env: waiting(silent),
				want: silent + " does not answer within 1s: something else listens there, or the collector is stuck; " +
					"check OTEL_EXPORTER_OTLP_ENDPOINT, or raise OTEL_EXPORTER_OTLP_TIMEOUT",
			},
			{
				name: "peer that resets", env: in(reset),
				want: reset + " closes every connection without answering: no OTLP receiver listens there, or the " +
					"load balancer has none behind it; check the host, port and scheme in OTEL_EXPORTER_OTLP_ENDPOINT",
			},
		}
		for _, hole := range blackHoles() {
			address := hole.open(t)
			cases = append(cases, diagnosis{
				name: hole.name, env: waiting(address),
				want: "cannot connect to " + address +
					" within 1s: a firewall or network policy drops the packets, or the address in " +
					"OTEL_EXPORTER_OTLP_ENDPOINT is wrong",
			})
		}
		for _, d := range cases {
			d.name, d.want = protocol+": "+d.name, "traces, metrics and logs: "+d.want
			all = append(all, d)
		}
	}
	atOnce(t, all, func(d diagnosis) string { return d.name }, func(t *testing.T, d diagnosis) {
		d.collector = otlptest.New(t)
		d.repair = func() map[string]string {
			return map[string]string{endpointVariable: d.collector.Endpoint(d.env[protocolVariable]),
				timeoutVariable: "10000"}
		}
		d.check(t)
	})
}

// TestProbeWithoutAnEndpoint runs without an endpoint setting and with nothing at the default one.
// The line says how to get output, and the profile that it names gives output.
func TestProbeWithoutAnEndpoint(t *testing.T) {
	skipWithDefaultCollector(t)
	want := func(port string) string {
		return "telemetry: traces, metrics and logs: nothing listens at localhost:" + port +
			" and no endpoint is set: start a collector there (in a container, localhost is the container itself), " +
			"set OTEL_EXPORTER_OTLP_ENDPOINT, or set TELEMETRY_PROFILE=development to see everything on this console"
	}
	require.Equal(t, []string{want("4318")}, warningsOf(t, nil))
	require.Equal(t, []string{want("4317")}, warningsOf(t, map[string]string{protocolVariable: "grpc"}))

	output := stdout(t, func() {
		guard, console := inEnvironment(t, map[string]string{"TELEMETRY_PROFILE": "development"})
		record(t.Context(), guard, "visible")
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Contains(t, console.String(), "visible")
	})
	require.Contains(t, output, "visible")
}

// The probe and the exports meet the same problem and report it once. A loss of data is a second,
// short line.
func TestProbeAndExportsReportOneCauseOnce(t *testing.T) {
	t.Parallel()
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) },
		func(t *testing.T, protocol telemetry.Protocol) {
			address := otlptest.FreeAddress(t)
			guard, console := inEnvironment(t, map[string]string{
				endpointVariable: "http://" + address, protocolVariable: string(protocol),
				"OTEL_BSP_SCHEDULE_DELAY": "10",
				"OTEL_BSP_EXPORT_TIMEOUT": "3000",
				"OTEL_METRICS_EXPORTER":   "none", "OTEL_LOGS_EXPORTER": "none",
			})
			const reason = "nothing listens at "
			diagnosed := reason + address +
				": start the collector, or correct the host and port in OTEL_EXPORTER_OTLP_ENDPOINT (in a container, " +
				"127.0.0.1 is the container itself)"
			require.Eventually(t, func() bool { return len(warnings(console.String())) == 1 }, time.Minute,
				time.Millisecond)
			record(t.Context(), guard, "x")
			require.Eventually(t, func() bool { return guard.Health().Traces.Failed == 1 }, time.Minute,
				time.Millisecond)
			require.NoError(t, guard.Shutdown(t.Context()))
			require.Equal(t, []string{"telemetry: traces: " + diagnosed,
				"telemetry: 1 span was lost: " + reason + address,
				"telemetry: stopped"}, warnings(console.String()))
		})
}

// When an export fails first it logs the problem, and the probe does not repeat it.
func TestProbeDoesNotRepeatWhatExportsHaveReported(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true}, otlptest.Traces) // keeps the probe waiting
	guard, console := inEnvironment(t,
		map[string]string{endpointVariable: c.HTTPEndpoint(), "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
			"OTEL_BSP_SCHEDULE_DELAY": "10", "OTEL_BLRP_SCHEDULE_DELAY": "10"})
	require.Eventually(t, func() bool { return len(c.Probes()) == 1 }, time.Minute, time.Millisecond)
	record(t.Context(), guard, "x")
	require.Eventually(t, func() bool { return len(c.LogRecords()) == 1 }, time.Minute, time.Millisecond)
	require.NoError(t, c.Down())
	guard.Logger().InfoContext(context.Background(), "y")
	require.Eventually(t, func() bool { return strings.Contains(console.String(), "logs cannot be delivered") },
		time.Minute, time.Millisecond)
	require.Contains(t, console.String(), "nothing listens at "+address(c.HTTPEndpoint()))
	require.NoError(t, c.Up())
	c.SetFault(otlptest.Fault{})
	require.NoError(t, guard.Shutdown(t.Context()))
	require.NotContains(t, console.String(), "telemetry: logs: ")
}

// No part of a probe remains after Shutdown, which does not wait for an answer either. goleak
// checks the rest.
func TestShutdownEndsTheProbe(t *testing.T) {
	for _, d := range deadEnds() {
		for _, protocol := range protocols {
			guard, console := inEnvironment(t,
				map[string]string{endpointVariable: d.endpointOf(t, protocol), protocolVariable: string(protocol)})
			begin := time.Now()
			require.NoError(t, guard.Shutdown(t.Context()))
			require.Less(t, time.Since(begin), 5*time.Second, d.name)
			if d.name != "closed port" {
				require.Empty(t, warnings(console.String()), d.name)
			}
		}
	}
}

// Init takes as long with a dead end as without: nothing waits for the network. On a busy machine
// one of several calls is fast enough; BenchmarkInit has the figure.
func TestInitDoesNotWait(t *testing.T) {
	var shutdowns sync.WaitGroup // which wait for what cannot be delivered
	defer shutdowns.Wait()
	for name, endpoint := range initEndpoints(t) {
		for _, protocol := range protocols {
			t.Setenv(endpointVariable, endpoint)
			const fast = 300 * time.Millisecond
			fastest := time.Hour
			for tries := 0; fastest > fast && tries < 5; tries++ {
				begin := time.Now()
				guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard),
					telemetry.WithProtocol(protocol))
				fastest = min(fastest, time.Since(begin))
				require.NoError(t, err)
				shutdowns.Go(func() { _ = guard.Shutdown(cancelled(t)) }) // runtime metrics are lost
			}
			require.LessOrEqual(t, fastest, fast, name)
		}
	}
}

// The text is explained, and callers can still classify the error.
func TestExplainedErrorsKeepTheirCause(t *testing.T) {
	var mu sync.Mutex
	var handled []error
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithoutMetrics(),
		telemetry.WithoutLogs(), telemetry.WithEndpoint("http://"+otlptest.FreeAddress(t)),
		telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: time.Millisecond,
			ExportTimeout: 300 * time.Millisecond}),
		telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(err error) {
			mu.Lock()
			defer mu.Unlock()
			handled = append(handled, err)
		})))
	require.NoError(t, err)
	record(t.Context(), guard, "x")
	require.Eventually(t, func() bool { return guard.Health().Traces.Failed == 1 }, time.Minute, time.Millisecond)
	require.NoError(t, guard.Shutdown(t.Context()))
	mu.Lock()
	defer mu.Unlock()
	lost := slices.IndexFunc(handled,
		func(err error) bool { return strings.Contains(err.Error(), "1 span was lost: nothing listens at") })
	require.GreaterOrEqual(t, lost, 0, handled)
	require.ErrorIs(t, handled[lost], syscall.ECONNREFUSED)
}

// BenchmarkInit measures how long a service's start waits for Init when the collector is down.
func BenchmarkInit(b *testing.B) {
	b.Setenv("TELEMETRY_SELF_METRICS", "false") // leaves nothing to deliver, for which Shutdown would wait
	for name, endpoint := range initEndpoints(b) {
		for _, protocol := range protocols {
			b.Run(name+"/"+string(protocol), func(b *testing.B) {
				for b.Loop() {
					guard, err := telemetry.Init(b.Context(), telemetry.WithoutGlobals(),
						telemetry.WithLogOutput(io.Discard),
						telemetry.WithEndpoint(endpoint), telemetry.WithProtocol(protocol),
						telemetry.WithoutRuntimeMetrics())
					b.StopTimer()
					require.NoError(b, err)
					_ = guard.Shutdown(cancelled(b)) // which is about Init
					b.StartTimer()
				}
			})
		}
	}
}

// resetPeer accepts connections and resets each when something is written to it.
func resetPeer(t *testing.T) string {
	return accept(t, listen(t), func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 1))
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
}

// stdout returns what run writes to the process's standard output.
func stdout(t *testing.T, run func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	before := os.Stdout
	os.Stdout = w
	read := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(r)
		read <- string(all)
	}()
	func() {
		defer func() { os.Stdout = before }()
		run()
	}()
	require.NoError(t, w.Close())
	output := <-read
	require.NoError(t, r.Close())
	return output
}

// cancelled leaves Shutdown no time for what cannot be delivered anyway.
func cancelled(t testing.TB) context.Context {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	t.Cleanup(cancel)
	return ctx
}

// initEndpoints are endpoints that never answer, for every reason.
func initEndpoints(t testing.TB) map[string]string {
	endpoints := map[string]string{
		"unreachable":   "http://" + otlptest.FreeAddress(t),
		"silent":        "http://" + silentPeer(t),
		"non-resolving": "http://no-such-host.invalid:4318",
	}
	for _, hole := range blackHoles() {
		endpoints["hanging"] = "http://" + hole.open(t)
	}
	return endpoints
}

const timeoutVariable = "OTEL_EXPORTER_OTLP_TIMEOUT"
