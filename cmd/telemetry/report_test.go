package main

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// The whole output of a check that fails, as an operator reads it.
func TestCheckReads(t *testing.T) {
	closed := otlptest.FreeAddress(t)
	require.Len(t, closed, len("127.0.0.1:54318"), "lines are broken by their length")
	status, out, diagnostics := command(t, map[string]string{
		"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACE_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "5s",
		"OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret",
	}, "check", "-timeout", "1s", "http://"+closed)
	require.Equal(t, 1, status)
	require.Empty(t, diagnostics)
	require.Equal(t, `A service started with this environment
  service.name  checked (OTEL_SERVICE_NAME)
  traces        http/protobuf http://127.0.0.1:54318/v1/traces (the argument)
  metrics       http/protobuf http://127.0.0.1:54318/v1/metrics (the argument)
  logs          http/protobuf http://127.0.0.1:54318/v1/logs (the argument)
  sampler       always_on (OTEL_TRACES_SAMPLER)
  profile       service

Settings that differ from the defaults
  service.name  checked (OTEL_SERVICE_NAME)
  endpoint      http://127.0.0.1:54318 (the argument)
  headers       api-key=<redacted> (OTEL_EXPORTER_OTLP_HEADERS)
  sampler       always_on (OTEL_TRACES_SAMPLER)

Warnings
  OTEL_BSP_SCHEDULE_DELAY="5s" must be a whole number of milliseconds, from 1
    to 86400000 (a day); the variable is ignored
  OTEL_TRACE_EXPORTER is not a known variable and is ignored; did you mean
    OTEL_TRACES_EXPORTER?

Does it arrive?
  traces   not delivered
  metrics  not delivered
  logs     not delivered

Why not?
  traces, metrics and logs: nothing listens at 127.0.0.1:54318: start the
    collector, or correct the host and port in the argument (in a container,
    127.0.0.1 is the container itself)
`, waiting.ReplaceAllString(strings.ReplaceAll(out, closed, "127.0.0.1:54318"), ""))
}

// waiting is the line about what a check waits for: it depends on the machine.
var waiting = regexp.MustCompile(`(?m)^  \(waiting up to .*\n`)

// One signal has an endpoint of its own, and that is wrong: the advice names its variable.
func TestCheckTellsSignalsApart(t *testing.T) {
	c := otlptest.New(t)
	closed := otlptest.FreeAddress(t)
	status, out, _ := command(t, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": c.HTTPEndpoint(), "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://" + closed +
			"/v1/logs", "OTEL_METRICS_EXPORTER": "none",
	}, "check", "-timeout", "1s")
	require.Equal(t, 1, status)
	said := sections(t, out)
	require.Equal(t, []string{"traces   delivered: 1 span", "metrics  not sent over OTLP", "logs     not delivered"},
		said["Does it arrive?"])
	require.Equal(t, "logs: nothing listens at "+closed+
		": start the collector, or correct the host and port in OTEL_EXPORTER_OTLP_LOGS_ENDPOINT (in a container, "+
		"127.0.0.1 is the container itself)", unwrapped(said["Why not?"]))
	settings := unwrapped(said["Settings that differ from the defaults"])
	require.Contains(t, settings, "traces endpoint "+c.HTTPEndpoint()+" (OTEL_EXPORTER_OTLP_ENDPOINT)")
	require.Contains(t, settings, "logs endpoint http://"+closed+"/v1/logs (OTEL_EXPORTER_OTLP_LOGS_ENDPOINT)")
}

// The argument is named wherever the endpoint is at fault, and no variable in its place.
func TestCheckNamesTheArgument(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	plain, secure := otlptest.New(t), otlptest.New(t, otlptest.WithTLS(certs.Server))
	at := func(url string) string { _, address, _ := strings.Cut(url, "://"); return address }
	for _, tt := range []struct{ endpoint, section, want string }{
		{"https://" + at(plain.HTTPEndpoint()), "Why not?",
			"the endpoint is https://: use the TLS port, or use http://" + at(plain.HTTPEndpoint()) +
				" if the data may go unencrypted"},
		{"http://" + at(secure.GRPCEndpoint()), "Why not?",
			"use https://" + at(secure.GRPCEndpoint()) +
				" and set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, and set OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file"},
		{"ftp://collector", "Invalid settings", `the argument "ftp://collector": scheme "ftp" is not http or https`},
		{"ftp://collector", "A service started with this environment", "traces off: the argument is invalid"},
		{at(plain.HTTPEndpoint()), "Warnings",
			"the argument has no scheme: http is assumed; write " + plain.HTTPEndpoint() + " to be explicit"},
	} {
		status, out, _ := command(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4318"}, "check",
			"-timeout", "1s", tt.endpoint)
		require.Contains(t, unwrapped(sections(t, out)[tt.section]), tt.want)
		require.NotContains(t, out, "OTEL_EXPORTER_OTLP_ENDPOINT")
		require.Equal(t, "http://elsewhere:4318", os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
		if tt.section != "Warnings" {
			require.Equal(t, 1, status, out)
		}
	}
}

func TestReport(t *testing.T) {
	long := "http://collector.observability.svc.cluster.local:4318/a/path/that/goes/on/and/on/and/on"
	var b strings.Builder
	r := &report{out: &b}
	r.settings(settings.Description{
		Start: []settings.Choice{{Name: "traces",
			Value: "http/protobuf " + long + "/v1/traces (OTEL_EXPORTER_OTLP_ENDPOINT)"},
			{Name: "logs", Value: "off: WithoutLogs"}},
		Settings: []settings.Choice{
			{Name: "traces endpoint", Value: long, Origin: "the argument"},
			{Name: "traces timeout", Value: "3s", Origin: "A"},
			{Name: "metrics endpoint", Value: long, Origin: "the argument"},
			{Name: "metrics timeout", Value: "3s", Origin: "A"},
			{Name: "logs endpoint", Value: long, Origin: "the argument"},
			{Name: "logs timeout", Value: "3s", Origin: "B"},
			{Name: "a name that is longer than any row of the table of settings", Origin: "OTEL_LONG"},
		},
	}, nil, errors.Join(errors.New("telemetry: one"), errors.New("telemetry: two\n of two lines")))
	r.section("Does it arrive?")
	r.outcomes([]outcome{
		{signal: signal.Traces, verdict: "rejected",
			reason: "http://c:4318/v1/traces: the server rejected 1 item: too old"},
		{signal: signal.Metrics, verdict: "not delivered", reason: "http://c:4318/v1/metrics: no"},
		{signal: signal.Logs, verdict: "rejected",
			reason: "http://c:4318/v1/logs: the server rejected 1 item: too old"},
	})
	require.Equal(t, `A service started with this environment
  traces  http/protobuf
          `+long+`/v1/traces
          (OTEL_EXPORTER_OTLP_ENDPOINT)
  logs    off: WithoutLogs

Settings that differ from the defaults
  endpoint                                        `+long+`
                                                  (the argument)
  traces timeout                                  3s (A)
  metrics timeout                                 3s (A)
  logs timeout                                    3s (B)
  a name that is longer than any row of the table of settings - (OTEL_LONG)

Invalid settings
  one
  two of two lines

Does it arrive?
  traces   rejected
  metrics  not delivered
  logs     rejected

Why not?
  traces and logs: http://c:4318/v1/*: the server rejected 1 item: too old
  metrics: http://c:4318/v1/metrics: no
`, b.String())
}

// Where it goes can be read while the command waits for an answer.
func TestReportIsNotHeldBack(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true})
	read, write, err := os.Pipe()
	require.NoError(t, err)
	t.Setenv("OTEL_SERVICE_NAME", "checked")
	done := make(chan int, 1)
	go func() {
		done <- run(t.Context(), []string{"check", "-timeout", "1m", c.HTTPEndpoint()}, write, write)
		_ = write.Close()
	}()
	var out string
	for buf := make([]byte, 4096); !strings.HasSuffix(out, "Does it arrive?\n"); {
		require.NoError(t, read.SetReadDeadline(time.Now().Add(time.Minute)))
		n, err := read.Read(buf)
		require.NoError(t, err)
		out += string(buf[:n])
	}
	require.Contains(t, out, c.HTTPEndpoint())
	select {
	case <-done:
		t.Fatal("the collector hangs")
	default:
	}
	c.SetFault(otlptest.Fault{})
	require.Zero(t, <-done)
	_ = read.Close()
}

func TestLinesAreBrokenBetweenWords(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", []string{""}},
		{"abc defg", []string{"abc defg"}},
		{"abc  defgh", []string{"abc", "defgh"}},
		{"äöü defg\nx", []string{"äöü defg", "x"}},
		{"abcdefghij k l", []string{"abcdefghij", "k l"}},
	} {
		require.Equal(t, tt.want, wrapped(tt.text, 8))
	}
}
