package telemetry_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// answering is a server that reads a request and writes what answer makes of its headers, HTTP or not.
func answering(t *testing.T, answer func(http.Header) string) (endpoint string) {
	t.Helper()
	l := listen(t)
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answerOnce(conn, answer)
		}
	}()
	return "http://" + l.Addr().String()
}

func answerOnce(conn net.Conn, answer func(http.Header) string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		_, _ = fmt.Fprint(conn, answer(req.Header))
	}
}

// Nobody knows at the start what a token file or a function will hold. What a server repeats of it is in no output all
// the same, whatever form the answer has.
func TestRenewedCredentialsStaySecret(t *testing.T) {
	t.Parallel()
	environment := map[string]string{"OTEL_TRACES_SAMPLER": "always_on", "OTEL_LOG_LEVEL": "debug"}
	const secret = `s3cr3t"t0ken`
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(secret), 0o600))
	sources := map[string][]telemetry.Option{
		"token file": {telemetry.WithTokenFile(file)},
		"function": {telemetry.WithHeaderFunc(func(context.Context) (map[string]string, error) {
			return map[string]string{"authorization": secret}, nil
		})},
		"short and long": {telemetry.WithTokenFile(file), telemetry.WithHeaders(map[string]string{"x-short": secret[:6]})},
	}
	var all sync.WaitGroup
	defer all.Wait()
	for name, answer := range map[string]func(http.Header) string{
		"a refusal": func(h http.Header) string {
			return "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\nno " + h.Get("Authorization")
		},
		"no HTTP":     func(h http.Header) string { return h.Get("Authorization") + "\r\n\r\n" },
		"a bad field": func(h http.Header) string { return "HTTP/1.1 200 OK\r\n" + h.Get("Authorization") + "\r\n\r\n" },
		"a redirect": func(h http.Header) string {
			return "HTTP/1.1 307 Temporary Redirect\r\nConnection: close\r\nLocation: http://127.0.0.1:1/" + h.Get("Authorization") + "\r\n\r\n"
		},
	} {
		for from, opts := range sources {
			all.Go(func() {
				t.Run(name+" to a "+from, func(t *testing.T) {
					probed := make(chan []diagnose.Result, 1)
					ctx := diagnose.WithInspection(testenv.With(t.Context(), environment), diagnose.Inspection{Probed: func(r []diagnose.Result) { probed <- r }})
					log := &syncBuffer{}
					guard, err := telemetry.Init(ctx, append(slices.Clip(opts), telemetry.WithoutGlobals(), telemetry.WithoutMetrics(), telemetry.WithoutLogs(),
						telemetry.WithLogOutput(log), telemetry.WithEndpoint(answering(t, answer)))...)
					require.NoError(t, err)
					found := <-probed
					record(t.Context(), guard, "x")
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					said := fmt.Sprint(guard.ForceFlush(ctx), guard.Shutdown(ctx), guard.Health().Traces.LastError, guard.Describe(), log)
					if found[0].Finding != nil {
						said += found[0].Finding.Text
					}
					require.NotContains(t, said, secret)
					if name == "a redirect" {
						require.ErrorContains(t, guard.Health().Traces.LastError, "redirects are not followed")
					}
					require.NotContains(t, said, secret[7:]) // what quotes and escapes leave of it
				})
			})
		}
	}
}

// A caller reads what the log says, and classifies what happened.
func TestErrorsForCallersAreExplained(t *testing.T) {
	t.Parallel()
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) }, func(t *testing.T, protocol telemetry.Protocol) {
		port := otlptest.FreeAddress(t)
		s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint("http://"+port), telemetry.WithShutdownTimeout(3*time.Second))
		s.send(t, "lost")
		err := s.guard.Shutdown(context.Background())
		const advice = ": start the collector, or correct the host and port in WithEndpoint"
		require.ErrorContains(t, err, "telemetry: shutdown traces: 1 span not delivered: nothing listens at "+port+advice)
		last := s.guard.Health().Traces.LastError
		require.ErrorContains(t, last, "nothing listens at "+port+advice)
		if protocol == telemetry.ProtocolHTTP { // gRPC keeps nothing but words
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.ErrorIs(t, last, syscall.ECONNREFUSED)
		}
	})
}

// A shutdown that is too short to tell is no finding about the collector.
func TestShortShutdownAccusesNobody(t *testing.T) {
	t.Setenv("TELEMETRY_PROBE", "false")
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true, GRPCCode: codes.OK})
	s := newSender(t, telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithShutdownTimeout(300*time.Millisecond))
	s.send(t, "lost")
	err := s.guard.Shutdown(context.Background())
	require.ErrorContains(t, err, "1 span not delivered")
	require.NotContains(t, err.Error(), "something else listens there")
}
