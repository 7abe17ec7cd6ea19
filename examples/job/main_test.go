package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// asProgram in the environment makes the test binary behave as the program, and so does its child.
const asProgram = "JOB_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "TELEMETRY_") ||
			strings.HasPrefix(name, "TRACE") || name == "BAGGAGE" {
			_ = os.Unsetenv(name) // the developer's environment must not affect the tests
		}
	}
	goleak.VerifyTestMain(m)
}

// The trace of a scheduler. Tests append the last two digits of TRACEPARENT.
const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentID    = "00f067aa0ba902b7"
	traceparent = "TRACEPARENT=00-" + traceID + "-" + parentID + "-"
)

// ended is the result of a process.
type ended struct {
	status         int
	stdout, stderr string
}

// result is the job's output.
func (e ended) result(t *testing.T) (r result) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(e.stdout), &r), "%s%s", e.stdout, e.stderr)
	return r
}

// program prepares the program as a process.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	return cmd
}

// runProgram runs the program to its end.
func runProgram(t *testing.T, env []string, args ...string) ended {
	t.Helper()
	cmd := program(t, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		require.IsType(t, new(exec.ExitError), err)
	}
	return ended{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func endpoint(c *otlptest.Collector) string { return "OTEL_EXPORTER_OTLP_ENDPOINT=" + c.HTTPEndpoint() }

// spansByName are the spans that arrived; each name must be there once.
func spansByName(t *testing.T, c *otlptest.Collector) map[string]otlptest.Span {
	t.Helper()
	spans := map[string]otlptest.Span{}
	for _, s := range c.Spans() {
		require.NotContains(t, spans, s.Name)
		spans[s.Name] = s
	}
	return spans
}

// requireAllArrived compares what the job says it sent with what the collector decoded.
func requireAllArrived(t *testing.T, c *otlptest.Collector, r result) {
	t.Helper()
	points := 0
	for _, m := range c.Metrics() {
		points += len(m.Points)
	}
	require.Zero(t, r.Lost)
	require.Equal(t, []int{int(r.Spans), int(r.Records), int(r.Points)},
		[]int{len(c.Spans()), len(c.LogRecords()), points})
}

// settled adds up the counter of the job.
func settled(c *otlptest.Collector) (n float64) {
	for _, m := range c.Metrics() {
		if m.Name == "payments.settled" {
			for _, p := range m.Points {
				n += p.Value
			}
		}
	}
	return n
}

func TestSchedulerAndJobShareOneTrace(t *testing.T) {
	t.Parallel()
	e := runProgram(t, nil)
	require.Zero(t, e.status, "%s%s", e.stdout, e.stderr)
	require.Contains(t, e.stdout, "job        started with TRACEPARENT=00-")
	require.Contains(t, e.stdout, "to settle 40 payments of 5 merchants")
	require.Contains(t, e.stdout, "└─ settle payments              settlement")
	require.NotContains(t, e.stdout, "DIFFERS")
	require.Equal(t, 5, strings.Count(e.stdout, "  ok\n"))
}

func TestSchedulerSaysWhyAJobFailed(t *testing.T) {
	t.Parallel()
	e := runProgram(t, nil, "-payments", "/no/such/file")
	require.Equal(t, 1, e.status)
	require.Contains(t, e.stdout, "ended with status 1")
	require.Contains(t, e.stdout, "error: open /no/such/file")
	require.Contains(t, e.stderr, "the job failed: exit status 1: job: open /no/such/file")
	require.NotContains(t, e.stdout, "DIFFERS")
}

func TestJobContinuesTheTraceOfItsScheduler(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			e := runProgram(t, []string{
				"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.Endpoint(protocol), "OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol,
				traceparent + "01",
			}, "-pace", "0s")
			require.Zero(t, e.status, e.stderr)
			r := e.result(t)
			require.Equal(t, []int{40, 5, 4, 5}, []int{r.Payments, r.Merchants, int(r.Spans), int(r.Records)})
			requireAllArrived(t, c, r)
			require.EqualValues(t, 40, settled(c))

			spans := spansByName(t, c)
			job := spans["settle payments"]
			require.Equal(t, []string{traceID, parentID}, []string{job.TraceID, job.ParentSpanID})
			require.Equal(t, jobName, job.Resource["service.name"])
			for _, step := range []string{"read payments", "pay merchants", "check books"} {
				require.Equal(t, []string{traceID, job.SpanID}, []string{spans[step].TraceID, spans[step].ParentSpanID},
					step)
			}
			for _, record := range c.LogRecords() {
				require.Equal(t, []string{traceID, spans["pay merchants"].SpanID},
					[]string{record.TraceID, record.SpanID})
			}
		})
	}
}

// A job without a valid TRACEPARENT starts its own trace.
func TestJobWithoutASchedulersTrace(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]string{"none": "TRACEPARENT=", "malformed": "TRACEPARENT=00-nonsense-01"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			e := runProgram(t, []string{endpoint(c), env}, "-pace", "0s")
			require.Zero(t, e.status, e.stderr)
			requireAllArrived(t, c, e.result(t))
			require.Empty(t, spansByName(t, c)["settle payments"].ParentSpanID)
		})
	}
}

func TestFailedJob(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "payments.csv")
	require.NoError(t, os.WriteFile(file, []byte("payment,merchant,amount\npay_1,bakery,4.20\npay_2,bakery,much\n"),
		0o600))
	c := otlptest.New(t)
	e := runProgram(t, []string{endpoint(c), traceparent + "01"}, "-payments", file)
	require.Equal(t, 1, e.status)
	require.Contains(t, e.stderr, `payments.csv, line 3: amount "much": want a number above 0`)
	requireAllArrived(t, c, e.result(t))
	spans := spansByName(t, c)
	require.Len(t, spans, 2, "the steps after the one that failed are not made")
	for _, name := range []string{"settle payments", "read payments"} {
		require.Equal(t, "error", spans[name].Status.Code, name)
		require.Contains(t, spans[name].Status.Message, `amount "much"`)
	}
	require.Len(t, c.LogRecords(), 1)
	require.Equal(t, "the program failed", c.LogRecords()[0].Body)
	require.Contains(t, c.LogRecords()[0].Attributes["error"], `amount "much"`)
}

// If the scheduler did not sample its trace, the spans of a successful job are not sent. Those of a
// failed job are, under the scheduler's ids. Log records and metrics are always sent.
func TestJobOfAnUnsampledScheduler(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	e := runProgram(t, []string{endpoint(c), traceparent + "00"}, "-pace", "0s")
	require.Zero(t, e.status, e.stderr)
	r := e.result(t)
	require.Zero(t, r.Spans)
	require.EqualValues(t, 5, r.Records)
	requireAllArrived(t, c, r)
	require.EqualValues(t, 40, settled(c))

	c.Reset()
	e = runProgram(t, []string{endpoint(c), traceparent + "00"}, "-payments", "/no/such/file")
	require.Equal(t, 1, e.status)
	requireAllArrived(t, c, e.result(t))
	spans := spansByName(t, c)
	require.Len(t, spans, 2)
	require.Equal(t, []string{traceID, parentID},
		[]string{spans["settle payments"].TraceID, spans["settle payments"].ParentSpanID})
	require.Equal(t, "error", spans["read payments"].Status.Code)
}

// SIGTERM in mid-work: the job stops between two merchants, and all that it did until then arrives.
func TestJobStoppedBySignal(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			cmd := program(t, []string{endpoint(c), traceparent + "01", "OTEL_BLRP_SCHEDULE_DELAY=1"}, "-pace", "500ms")
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			require.NoError(t, cmd.Start())
			_, err := c.WaitLogRecords(t.Context(), 1) // a merchant has been paid
			require.NoError(t, err)
			require.NoError(t, cmd.Process.Signal(signal))
			require.ErrorContains(t, cmd.Wait(), "exit status 1")

			e := ended{1, stdout.String(), stderr.String()}
			r := e.result(t)
			require.Positive(t, r.Merchants)
			require.Less(t, r.Merchants, 5)
			requireAllArrived(t, c, r)
			spans := spansByName(t, c)
			require.Len(t, spans, 3)
			for _, name := range []string{"settle payments", "pay merchants"} {
				require.Equal(t, "error", spans[name].Status.Code, name)
				require.Equal(t, "context.Canceled", spans[name].Attributes["error.type"], name)
			}
			require.Contains(t, e.stderr, "stopped before ")
		})
	}
}

// If the collector is down or never answers, the job only loses the shutdown timeout.
func TestJobWithoutACollector(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*otlptest.Collector) error{
		"away":   (*otlptest.Collector).Down,
		"silent": func(c *otlptest.Collector) error { c.SetFault(otlptest.Fault{Hang: true}); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			require.NoError(t, fail(c))
			e := runProgram(t, []string{endpoint(c), traceparent + "01", "TELEMETRY_SHUTDOWN_TIMEOUT=3000"})
			require.Zero(t, e.status, "no trouble with telemetry is the job's")
			r := e.result(t)
			require.Equal(t, 5, r.Merchants)
			require.Equal(t, r.Spans+r.Records+r.Points, r.Lost)
			require.Positive(t, r.Points)
			require.Less(t, time.Duration(float64(r.ShutdownMS)*float64(time.Millisecond)), 15*time.Second)
			require.Contains(t, e.stderr, "lost")
			require.Empty(t, c.Spans())
		})
	}
}

func TestCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"-pace -1s": "-pace -1s: want 0 or more",
		"-pace x":   "invalid value",
		"now":       `"now" is not a flag`,
	} {
		require.ErrorContains(t, run(t.Context(), new(bytes.Buffer), strings.Fields(args)), want)
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-help"}))
	require.Contains(t, out.String(), "-payments")
}

func TestReadSaysWhatIsWrongAndWhere(t *testing.T) {
	for content, want := range map[string]string{
		"":                   "line 1: want the head",
		"a,b,c\nx,y":         "line 2: record on line 2: wrong number of fields",
		"a,b,c\nx,y,0":       `line 2: amount "0"`,
		"a,b,c\nx,y,NaN":     `line 2: amount "NaN"`,
		"a,b,c\nx,y,1e9":     `line 2: amount "1e9"`,
		"a,b,c\nx,y,1\nz,,y": `line 3: amount "y"`,
	} {
		file := filepath.Join(t.TempDir(), "payments.csv")
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		_, err := read(file)
		require.ErrorContains(t, err, want)
	}
	payments, err := read("")
	require.NoError(t, err)
	require.NoError(t, check(payments, sumOf(payments)))
	require.ErrorContains(t, check(payments, sumOf(payments)+1), "0.01 EUR too much was paid")
}

func sumOf(payments []payment) (cents int64) {
	for _, p := range payments {
		cents += p.cents
	}
	return cents
}
