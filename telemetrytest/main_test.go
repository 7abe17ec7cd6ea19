package telemetrytest_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	telemetrytest.SetPatience(1500 * time.Millisecond)
	_ = flag.Set("test.parallel", "8") // the parallel tests wait rather than work
	goleak.VerifyTestMain(m)
}

// childVariable marks a test binary that a test has started, to see a test fail for real.
const childVariable = "GO_TEST_CHILD"

func isChild() bool { return os.Getenv(childVariable) != "" }

// failingChild runs the calling test once more in a process of its own, in which it must fail, and
// returns the output.
func failingChild(t *testing.T) string {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=60s")
	child.Env = append(os.Environ(), childVariable+"=1")
	output, err := child.CombinedOutput()
	require.Error(t, err, "%s", output)
	return string(output)
}

// fakeTest is a test of somebody else's, that may fail. It has a real one's name, context and
// output.
type fakeTest struct {
	testing.TB
	name string

	mu       sync.Mutex
	failures []string
	logs     []string
	cleanups []func()
	output   io.Writer
}

func (f *fakeTest) Helper() {}
func (f *fakeTest) Name() string {
	return f.name
}
func (f *fakeTest) Output() io.Writer { return f.output }
func (f *fakeTest) Cleanup(do func()) { f.cleanups = append(f.cleanups, do) }
func (f *fakeTest) Logf(format string, args ...any) {
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}

func (f *fakeTest) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func (f *fakeTest) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// end runs the cleanups, the last one first.
func (f *fakeTest) end() {
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
}

// run is a test of somebody else's from its beginning to its end.
func run(t testing.TB, test func(tb testing.TB)) *fakeTest {
	t.Helper()
	f := &fakeTest{TB: t, name: t.Name() + "/fake", output: t.Output()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer f.end()
		test(f)
	}()
	<-done
	return f
}

// failure is the message of a test that must fail, once.
func failure(t testing.TB, test func(tb testing.TB)) string {
	t.Helper()
	f := run(t, test)
	require.Len(t, f.failures, 1)
	return f.failures[0]
}

// order is a service's work in one trace: three spans, two log records, an error and a metric.
func order(guard *telemetry.Guard) {
	tracer := guard.TracerProvider().Tracer("shop")
	placed, _ := guard.MeterProvider().Meter("shop").Int64Counter("orders")
	ctx, root := tracer.Start(context.Background(), "POST /orders", serverSpan)
	root.SetAttributes(route)
	guard.Logger().InfoContext(ctx, "order received", "order.id", 7)
	checked, check := tracer.Start(ctx, "check_stock")
	guard.Logger().WarnContext(checked, "stock is low", "left", 1)
	check.AddEvent("reserved", inWarehouse)
	check.End()
	_, charge := tracer.Start(ctx, "charge card", clientSpan)
	charge.SetStatus(codes.Error, "card declined")
	charge.End()
	root.End()
	placed.Add(ctx, 1, declined)
}

func parallel(t *testing.T, opts ...telemetry.Option) *telemetrytest.Recorder {
	t.Helper()
	t.Parallel()
	return telemetrytest.Start(t, append(opts, telemetry.WithoutGlobals())...)
}

func names(spans []*telemetrytest.Span) (all []string) {
	for _, s := range spans {
		all = append(all, s.Name)
	}
	return all
}
