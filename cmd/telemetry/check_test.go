package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// command runs the command in an environment of its own, which it may change.
func command(t testing.TB, env map[string]string, args ...string) (status int, out, diagnostics string) {
	t.Helper()
	for _, name := range []string{"TELEMETRY_SPOOL_DIR", "TELEMETRY_SELF_METRICS", "OTEL_EXPORTER_OTLP_ENDPOINT",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
		"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"} {
		t.Setenv(name, "") // and back at the end of the test
	}
	t.Setenv("OTEL_SERVICE_NAME", "checked")
	for name, value := range env {
		t.Setenv(name, value)
	}
	var o, d bytes.Buffer
	status = run(t.Context(), args, &o, &d)
	return status, o.String(), d.String()
}

// sections are the output's by title, their lines without the margin.
func sections(t *testing.T, out string) map[string][]string {
	t.Helper()
	all, title := map[string][]string{}, ""
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\n"), "\n") {
		switch text, indented := strings.CutPrefix(line, "  "); {
		case strings.HasPrefix(text, "(waiting up to"): // it depends on the machine
		case indented:
			require.Contains(t, all, title, out)
			all[title] = append(all[title], text)
		case line != "":
			require.NotContains(t, all, line, out)
			title, all[line] = line, nil
		}
		if strings.Contains(strings.TrimSpace(line), " ") { // a single word may be longer
			require.LessOrEqual(t, len(line), 80, out)
		}
	}
	return all
}

// unwrapped is a paragraph in one line.
func unwrapped(lines []string) string {
	return strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
}

func TestCheckDelivers(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		c := otlptest.New(t)
		spool := filepath.Join(t.TempDir(), "spool")
		status, out, diagnostics := command(t, map[string]string{
			"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_TRACES_SAMPLER": "always_off", "LOG_LEVEL": "error",
			"TELEMETRY_SPOOL_DIR":              spool,
			"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://127.0.0.1:1",
		}, "check", c.Endpoint(protocol))
		said := sections(t, out)
		require.Equal(t, []string{"traces   delivered: 1 span", "metrics  delivered: 1 metric",
			"logs     delivered: 1 log record"}, said["Does it arrive?"])
		require.NotContains(t, said, "Why not?")
		require.Zero(t, status)
		require.Empty(t, diagnostics)
		require.Regexp(t, `(?m)^  endpoint +`+c.Endpoint(protocol)+` \(the argument\)$`, out,
			"also of the logs, which have an endpoint of their own")
		require.Regexp(t, `(?m)^  sampler +always_off \(OTEL_TRACES_SAMPLER\)$`, out)
		require.Contains(t, unwrapped(said["A service started with this environment"]),
			"service.name checked (OTEL_SERVICE_NAME) traces "+protocol+" "+c.Endpoint(protocol))

		require.Len(t, c.Spans(), 1)
		require.Equal(t, "telemetry.check", c.Spans()[0].Name)
		require.Equal(t, "checked", c.Spans()[0].Resource["service.name"])
		require.NotEmpty(t, c.Metrics())
		for _, m := range c.Metrics() { // the last collection, at shutdown, reports it once more
			require.Equal(t, "telemetry.check", m.Name)
		}
		require.Len(t, c.LogRecords(), 1)
		require.Equal(t, c.Spans()[0].TraceID, c.LogRecords()[0].TraceID)
		require.NoDirExists(t, spool, "the spool is left alone")
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	c := otlptest.New(t)
	at := func(url string) string { return strings.TrimPrefix(url, "http://") }
	closed := otlptest.FreeAddress(t)
	for _, tt := range []struct {
		name    string
		env     map[string]string
		fault   otlptest.Fault
		args    []string
		verdict string
		reason  string
		status  int
	}{
		{
			name: "another protocol", args: []string{"check", "-timeout", "3s", c.GRPCEndpoint()}, status: 1,
			verdict: "not delivered", reason: "traces, metrics and logs: " + at(c.GRPCEndpoint()) +
				" answers gRPC, but the protocol is http/protobuf: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc or use the " +
				"port for http/protobuf, usually 4318",
		},
		{
			name: "nothing listens", args: []string{"check", "-timeout=1s", "http://" + closed}, status: 1,
			verdict: "not delivered", reason: "traces, metrics and logs: nothing listens at " + closed +
				": start the collector, or correct the host and port in the argument (in a container, 127.0.0.1 is " +
				"the container itself)",
		},
		{
			name: "credentials", args: []string{"check", c.HTTPEndpoint()},
			fault: otlptest.Fault{HTTPStatus: http.StatusUnauthorized, Message: "no"}, status: 1,
			verdict: "not delivered", reason: "traces, metrics and logs: " + c.HTTPEndpoint() +
				"/v1/* requires credentials (401 Unauthorized: no): set OTEL_EXPORTER_OTLP_HEADERS=name=value as its " +
				"operator specifies",
		},
		{
			name: "rejected", args: []string{"check", c.HTTPEndpoint()},
			fault: otlptest.Fault{Rejected: 1, Message: "too old"}, status: 1,
			verdict: "rejected", reason: "traces, metrics and logs: " + c.HTTPEndpoint() +
				"/v1/*: the server rejected 1 item: too old",
		},
		{
			name: "busy for ever", args: []string{"check", "-timeout", "500ms", c.HTTPEndpoint()},
			fault: otlptest.Fault{HTTPStatus: http.StatusServiceUnavailable, Message: "overloaded"}, status: 1,
			verdict: "not delivered", reason: "traces, metrics and logs: " + c.HTTPEndpoint() +
				"/v1/* answers 503 Service Unavailable: overloaded",
		},
		{
			name: "hanging", args: []string{"check", "-timeout", "500ms", c.HTTPEndpoint()},
			fault: otlptest.Fault{Hang: true}, status: 1,
			env:     map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "1000"},
			verdict: "not delivered", reason: "traces, metrics and logs: " + at(c.HTTPEndpoint()) +
				" does not answer within 1s: something else listens there, or the collector is stuck; check the " +
				"argument, or raise OTEL_EXPORTER_OTLP_TIMEOUT",
		},
		{name: "off", args: []string{"check"}, env: map[string]string{"OTEL_SDK_DISABLED": "true"},
			verdict: "not sent over OTLP"},
		{name: "console", args: []string{"check"}, env: map[string]string{"TELEMETRY_PROFILE": "development"},
			verdict: "not sent over OTLP"},
		{name: "wrong endpoint", args: []string{"check", "ftp://collector"}, verdict: "not sent over OTLP", status: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.SetFault(tt.fault)
			status, out, _ := command(t, tt.env, tt.args...)
			said := sections(t, out)
			require.Equal(t, []string{"traces   " + tt.verdict, "metrics  " + tt.verdict, "logs     " + tt.verdict},
				said["Does it arrive?"])
			require.Equal(t, tt.reason, unwrapped(said["Why not?"]))
			require.Equal(t, tt.status, status, out)
		})
	}
}

func TestCheckWarns(t *testing.T) {
	const title = "Warnings"
	c := otlptest.New(t)
	warned := func(env map[string]string) string {
		_, out, _ := command(t, env, "check", c.HTTPEndpoint())
		require.Contains(t, out, "Does it arrive?")
		return unwrapped(sections(t, out)[title])
	}
	require.Empty(t, warned(map[string]string{"OTEL_SERVICE_NAME": ""}), "the command's own name is not the service's")
	require.Contains(t, warned(map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "api-key: s3cr3t"}), "`:` should be `=`")
	require.Equal(t, "OTEL_SDK_DISABLED is true, so nothing is sent: unset it to send data",
		warned(map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_HEADERS": ""}))
}

// A collector that starts while the command waits is found.
func TestCheckWaitsForTheCollector(t *testing.T) {
	c := otlptest.New(t)
	require.NoError(t, c.Down())
	up := make(chan error, 1)
	time.AfterFunc(2*quietTime, func() { up <- c.Up() })
	status, out, _ := command(t, nil, "check", "-timeout", "1m", c.HTTPEndpoint())
	require.NoError(t, <-up)
	require.Zero(t, status, out)
	require.Len(t, c.Spans(), 1)
	require.Contains(t, out, "Does it arrive?\n  (waiting up to 1m0s for a collector at "+
		strings.TrimPrefix(c.HTTPEndpoint(), "http://")+")\n  traces   delivered")
}

// The name of the command's own binary is not the service's.
func TestCheckSaysWhereTheNameComesFrom(t *testing.T) {
	_, out, _ := command(t, map[string]string{"OTEL_SERVICE_NAME": "", "OTEL_SDK_DISABLED": "true"}, "check")
	require.Contains(t, unwrapped(sections(t, out)["A service started with this environment"]),
		"service.name the name of the service's binary, unless it uses WithServiceName (OTEL_SERVICE_NAME is not set)")
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, 2, "telemetry: missing command"},
		{[]string{"chekc"}, 2, `telemetry: unknown command "chekc"`},
		{[]string{"check", "-timeout", "0"}, 2, "telemetry: -timeout 0s: must be above zero, such as 10s"},
		{[]string{"check", "-timeout", "soon"}, 2,
			`telemetry: invalid value "soon" for flag -timeout: write a number with its unit, such as 10s`},
		{[]string{"check", "-timeout", "10"}, 2,
			`telemetry: invalid value "10" for flag -timeout: the unit is missing; write 10s`},
		{[]string{"check", "-verbose"}, 2, "telemetry: flag provided but not defined: -verbose"},
		{[]string{"check", "http://a:1", "http://b:1"}, 2,
			"telemetry: got 2 arguments after the flags; give at most one endpoint"},
		{[]string{"-h"}, 0, "Exit status"},
		{[]string{"check", "-h"}, 0, "Exit status"},
	} {
		status, out, diagnostics := command(t, nil, tt.args...)
		require.Equal(t, tt.status, status)
		if tt.status == 0 {
			require.Contains(t, out, tt.says)
			require.Empty(t, diagnostics)
		} else {
			require.Contains(t, diagnostics, tt.says)
			require.Contains(t, diagnostics, "Usage: telemetry check")
			require.Empty(t, out)
		}
	}
}

// FuzzCheckKeepsSecrets: whatever stands around it in the variable, the secret is in no output, not
// even when the server repeats the headers that it was sent.
func FuzzCheckKeepsSecrets(f *testing.F) {
	for _, seed := range [][2]string{{"api-key=", ""}, {"", ""}, {"api-key ", ""}, {"a=b,", ""},
		{"Authorization=Bearer ", ",x=y"}, {"k=%zz", "%"}, {"a=\"", "\""}, {"k:", "\n"}} {
		f.Add(seed[0], seed[1])
	}
	const secret = "s3cr3t-t0ken"
	f.Fuzz(func(t *testing.T, before, after string) {
		headers := before + secret + after
		if strings.ContainsRune(headers, 0) || isName(headers, secret) {
			t.Skip("no variable can hold it, or it is the name of a header, which is no secret")
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var echo bytes.Buffer
			_ = r.Header.Write(&echo)
			http.Error(w, echo.String(), http.StatusUnauthorized)
		})}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(l) }()
		defer func() { _ = server.Close(); <-done }()

		_, out, diagnostics := command(t, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": headers}, "check", "-timeout",
			"2s", "http://"+l.Addr().String())
		require.NotContains(t, out+diagnostics, secret)
		// mostly 401, and what HTTP does not let a header hold
		require.Contains(t, sections(t, out)["Does it arrive?"], "traces   not delivered")
	})
}

// isName reports whether the secret stands before the first = of its pair.
func isName(headers, secret string) bool {
	for pair := range strings.SplitSeq(headers, ",") {
		if name, _, found := strings.Cut(pair, "="); found && strings.Contains(name, secret) {
			return true
		}
	}
	return false
}

func init() {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") ||
			strings.HasPrefix(name, "TELEMETRY_") || name == "LOG_LEVEL" {
			_ = os.Unsetenv(name)
		}
	}
}

// A server that repeats what it was sent in its status line, an unexpected place for a secret.
func TestCheckShowsNoSecretOfAReasonPhrase(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-served })
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 403 no for %s\x1b[31m\r\nConnection: close\r\n\r\n",
					req.Header.Get("Api-Key"))
			}
			_ = conn.Close()
		}
	}()
	status, out, diagnostics := command(t, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "api-key=ab12c"}, "check",
		"-timeout", "5s", "http://"+l.Addr().String())
	require.Equal(t, 1, status)
	require.Empty(t, diagnostics)
	require.Contains(t, unwrapped(sections(t, out)["Why not?"]),
		`refuses the credentials (403 no for <redacted>\x1b[31m)`)
	require.NotContains(t, out, "ab12c")
	require.NotContains(t, out, "\x1b")
}
