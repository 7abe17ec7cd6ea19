package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/examples/internal/demo"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// asProgram in the environment makes the test binary behave as the program, so that a test can
// signal a real process without building it a second time.
const asProgram = "PAYMENTS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	for _, name := range os.Environ() {
		if name, _, _ = strings.Cut(name, "="); strings.HasPrefix(name, "OTEL_") ||
			strings.HasPrefix(name, "TELEMETRY_") {
			os.Unsetenv(name) // the developer's environment must not affect the tests
		}
	}
	goleak.VerifyTestMain(m)
}

// runAt runs the program with telemetry to the test's own collector, and returns both.
func runAt(t *testing.T, args ...string) (*otlptest.Collector, string) {
	t.Helper()
	collector := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTPEndpoint())
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, args), "%s", &out)
	return collector, out.String()
}

func TestDemoAddsUp(t *testing.T) {
	for _, protocol := range []string{"", "grpc"} {
		t.Run("protocol "+protocol, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			var out bytes.Buffer
			require.NoError(t, run(t.Context(), &out, nil), "%s", &out)
			require.Contains(t, out.String(), "requests   200 in ")
			require.Contains(t, out.String(),
				"160 paid, 10 declined, 10 invalid, 20 read\n           and 5 × GET /health")
			require.NotContains(t, out.String(), "DIFFERS")
			for line := range strings.Lines(out.String()) {
				require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 80, "%s", line)
			}
		})
	}
}

func TestDemoInterruptedStillAddsUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	require.NoError(t, run(ctx, &out, []string{"-requests", "10000"}), "%s", &out)
	require.Contains(t, out.String(), "interrupted: ")
	require.NotContains(t, out.String(), "DIFFERS")
}

func TestDemoSaysWhatWasSentElsewhere(t *testing.T) {
	collector, out := runAt(t, "-requests", "20")
	require.Contains(t, out, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.HTTPEndpoint())
	require.Contains(t, out, "Recorded: 20 traces, 158 spans, 37 log records")
	require.Len(t, collector.Spans(), 158)
	require.Len(t, collector.LogRecords(), 37)
	id := regexp.MustCompile("one of the traces: ([0-9a-f]{32})\n").FindStringSubmatch(out)
	require.NotNil(t, id, "%s", out)
	require.Len(t, arrivedAt(collector).traces[id[1]], paid.spans)
	require.NotContains(t, out, "in this process")
}

func TestDemoFailsWhenNothingIsDelivered(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("TELEMETRY_SHUTDOWN_TIMEOUT", "500")
	var out bytes.Buffer
	err := run(t.Context(), &out, []string{"-requests", "5"})
	require.Error(t, err)
	require.Contains(t, err.Error(), "127.0.0.1:1")
}

func TestDemoFailsWhenTelemetryIsDegraded(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlptest.New(t).HTTPEndpoint())
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "carrier-pigeon://x")
	var out bytes.Buffer
	require.ErrorContains(t, run(t.Context(), &out, []string{"-requests", "5"}), "telemetry is degraded")
	require.Equal(t, 1, strings.Count(out.String(), `="carrier-pigeon://x"`), "%s", &out)
	require.Contains(t, out.String(), "5 paid", "payments go on")
}

func TestPrintFindsEachDifference(t *testing.T) {
	arrived := arrival{
		spans:  []otlptest.Span{{TraceID: "t1", SpanID: "s1"}},
		traces: map[string][]otlptest.Span{"t1": {{TraceID: "t1", SpanID: "s1"}}},
	}
	one := kind{"one", 200, 1, 0}
	add := func(change func(*tally, *arrival)) (string, error) {
		did, got := tally{requests: 1, by: map[kind]int{one: 1}}, arrived
		change(&did, &got)
		var out bytes.Buffer
		err := got.print(&out, &did)
		return out.String(), err
	}
	_, err := add(func(*tally, *arrival) {})
	require.NoError(t, err)
	for name, change := range map[string]func(*tally, *arrival){
		"trace":      func(did *tally, _ *arrival) { did.requests++ },
		"span":       func(_ *tally, got *arrival) { got.spans = nil },
		"log record": func(_ *tally, got *arrival) { got.logs = []otlptest.LogRecord{{}} },
		"order":      func(_ *tally, got *arrival) { got.metrics = []otlptest.Metric{sumOf("orders.total", 1)} },
		"count": func(_ *tally, got *arrival) {
			got.metrics = []otlptest.Metric{histogramOf("order.value", 1,
				0)}
		},
		"value": func(did *tally, got *arrival) { did.cents = 1 },
	} {
		out, err := add(change)
		require.ErrorIs(t, err, demo.ErrDoesNotAddUp, name)
		require.Contains(t, out, "DIFFERS", name)
	}
}

func sumOf(name string, value float64) otlptest.Metric {
	return otlptest.Metric{Name: name, Kind: "sum", Points: []otlptest.Point{{Value: value}}}
}

func histogramOf(name string, count uint64, sum float64) otlptest.Metric {
	return otlptest.Metric{Name: name, Kind: "histogram", Points: []otlptest.Point{{Count: count, Sum: sum}}}
}

func TestCommandLine(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlptest.New(t).HTTPEndpoint())
	for args, want := range map[string]string{
		"-requests 0":         "-requests 0: want 1 to 10000",
		"-requests 10001":     "-requests 10001: want 1 to 10000",
		"-gateway-delay -1s":  "-gateway-delay -1s: want 0 or more",
		"serve":               `"serve" is not a flag`,
		"-requests many":      "invalid value",
		"-db /no/such/dir/db": "create table in /no/such/dir/db",
		"-serve -addr nope":   "listen tcp: ",
	} {
		t.Run(args, func(t *testing.T) {
			require.ErrorContains(t, run(t.Context(), new(bytes.Buffer), strings.Fields(args)), want)
		})
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-help"}))
	require.Contains(t, out.String(), "-serve")
}
