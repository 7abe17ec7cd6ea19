package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// asProgram in the environment makes the test binary behave as the program. Only one service: a
// child that would launch a fleet of its own is refused, so that no mistake here can make processes
// without end.
const asProgram = "SHOP_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		if len(os.Args) < 3 || os.Args[1] != "-service" {
			os.Exit(3)
		}
		main()
		return
	}
	for _, name := range os.Environ() {
		name, _, _ = strings.Cut(name, "=")
		if strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "TELEMETRY_") || name == "DATABASE_URL" ||
			name == "ENVIRONMENT" {
			os.Unsetenv(name) // what the developer has set must not decide whether tests pass
		}
	}
	os.Setenv(asProgram, "1") // for the processes that tests start
	goleak.VerifyTestMain(m)
}

// testFleet is a running shop that keeps every span.
type testFleet struct {
	*fleet
	t *testing.T
}

func startTestFleet(t *testing.T, env ...string) testFleet {
	t.Helper()
	env = append([]string{quietly, "OTEL_TRACES_SAMPLER=always_on"}, env...)
	f, err := startFleet(t.Context(), filepath.Join(t.TempDir(), "orders.db"), env...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.stop() }) // again, which does nothing, unless the test has failed before
	require.NoError(t, newProber().waitReady(t.Context(), f.processes))
	return testFleet{f, t}
}

// stranger is the trace context that every customer in the tests sends. It must have no effect.
const stranger = "00-5742a9c1b1e0f3d8a6b7c8d9e0f1a2b3-00f067aa0ba902b7-01"

// order places an order and returns the status of the answer and the id of its trace.
func (f testFleet) order(ctx context.Context, product, card string) (status int, traceID string, err error) {
	body := `{"product": "` + product + `", "card": "` + card + `"}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.storefrontURL()+"/orders", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("traceparent", stranger)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, "", err
	}
	found := regexp.MustCompile(`00-([0-9a-f]{32})-`).FindStringSubmatch(resp.Header.Get("Server-Timing"))
	if found == nil {
		return resp.StatusCode, "", errors.New("the answer does not name its trace")
	}
	return resp.StatusCode, found[1], nil
}

// A service without a collector does its work, stops in order, and reports what was not delivered.
func TestWithoutCollector(t *testing.T) {
	f := startTestFleet(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "TELEMETRY_SHUTDOWN_TIMEOUT=500")
	status, _, err := f.order(t.Context(), "mug", "card_good")
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, status)
	require.NoError(t, f.stop())
	for name, closing := range f.closings() {
		require.Contains(t, closing.Undelivered, "127.0.0.1:1", name)
		require.Positive(t, closing.Traces.Lost, name)
	}
	require.Len(t, f.closings(), len(services))
}

func TestReadiness(t *testing.T) {
	collector := otlptest.New(t)
	p, err := startProcess(t.Context(), "fulfilment", []string{
		"LISTEN_ADDR=127.0.0.1:0", "NATS_URL=nats://127.0.0.1:1", "OTEL_EXPORTER_OTLP_ENDPOINT=" +
			collector.HTTPEndpoint(),
	})
	require.NoError(t, err)
	prober := newProber()
	require.ErrorContains(t, prober.ask(t.Context(), p), "503", "what it needs is away")
	resp, err := prober.http.Get("http://" + p.addr + "/healthz")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode, "but it is alive")
	_, err = p.stop()
	require.NoError(t, err)
	require.Empty(t, collector.Spans(), "probes leave no trace")
	require.NotEmpty(t, collector.LogRecords(), "but why it was not ready is in the log")
}

// Whatever becomes of the launcher, no service outlives it.
func TestServicesEndWithTheirLauncher(t *testing.T) {
	p, err := startProcess(t.Context(), "payment", []string{"LISTEN_ADDR=127.0.0.1:0", "OTEL_SDK_DISABLED=true"})
	require.NoError(t, err)
	require.NoError(t, p.stdin.Close())
	select {
	case <-p.ended:
		require.NoError(t, p.err)
		require.NotNil(t, p.closing)
	case <-time.After(stopTimeout):
		t.Fatal("the service goes on")
	}
}

func TestSettingsThatAreMissing(t *testing.T) {
	for name, want := range map[string][]string{
		"storefront": {"CHECKOUT_URL is not set"},
		"checkout": {"PAYMENT_ADDR is not set", "INVENTORY_ADDR is not set", "NATS_URL is not set",
			`DATABASE_URL has the scheme "mysql"`},
		"fulfilment": {"NATS_URL is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := startProcess(t.Context(), name, []string{
				"LISTEN_ADDR=127.0.0.1:0", "DATABASE_URL=mysql://root:secret@db", "OTEL_SDK_DISABLED=true",
			})
			require.ErrorContains(t, err, name+" ended before it was ready")
			for _, text := range want {
				require.ErrorContains(t, err, text)
			}
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"-duration 999ms":   "-duration 999ms: want 1s to 10m",
		"-duration 601s":    "-duration 10m1s: want 1s to 10m",
		"-rate 0":           "-rate 0: want more than 0, and at most 1000",
		"-rate 1001":        "-rate 1001: want",
		"-rate NaN":         "-rate NaN: want",
		"-service bank":     `-service "bank": want one of payment, inventory, fulfilment, checkout, storefront, load`,
		"-service payment,": `-service "payment,": want one of`,
		"storefront":        `"storefront" is not a flag`,
		"-seed x":           "invalid value",
		"-service load":     "STOREFRONT_URL is not set",
	} {
		t.Run(args, func(t *testing.T) {
			require.ErrorContains(t, run(t.Context(), new(bytes.Buffer), strings.Fields(args)), want)
		})
	}
	for _, args := range []string{"-duration 1s", "-duration 10m", "-rate 1000", "-rate 0.001"} {
		_, err := parse(strings.Fields(args), io.Discard)
		require.NoError(t, err, args)
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-help"}))
	require.Contains(t, out.String(), "-service")
}

// closingOf fails the test unless the service has said its last word.
func closingOf(t *testing.T, p *process) *platform.Closing {
	t.Helper()
	closing, err := p.stop()
	require.NoError(t, err)
	return closing
}
