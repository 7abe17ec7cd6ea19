package telemetry_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/diagnose"
)

// FuzzHeadersStaySecret puts a secret anywhere into OTEL_EXPORTER_OTLP_HEADERS, well-formed or not, before a server that
// refuses everything and repeats the headers it was sent. No output has the secret: not Init's error, nor Describe, nor
// the probe's line, nor an export's, nor Shutdown's error.
func FuzzHeadersStaySecret(f *testing.F) {
	for _, seed := range [][2]string{{"api-key=", ""}, {"", ""}, {"api-key ", ""}, {"a=b,", ""}, {"Authorization=Bearer ", ",x=y"}, {"k=%zz", "%"}, {"a=\"", "\""}, {"k:", "\n"}, {"a=x%20", "%2Cy"}} {
		f.Add(seed[0], seed[1])
	}
	const secret = "s3cr3t-t0ken"
	f.Fuzz(func(t *testing.T, before, after string) {
		headers := before + secret + after
		if strings.ContainsRune(headers, 0) || namesAHeader(headers, secret) {
			t.Skip("no variable can hold it, or it is the name of a header, which is no secret")
		}
		l := listen(t)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var echo bytes.Buffer
			_ = r.Header.Write(&echo)
			http.Error(w, echo.String(), http.StatusUnauthorized)
		})}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(l) }()
		defer func() { _ = server.Close(); <-done }()

		t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
		t.Setenv("OTEL_LOG_LEVEL", "debug")
		console := &syncBuffer{}
		probed := make(chan []diagnose.Result, 1)
		ctx := diagnose.WithInspection(t.Context(), diagnose.Inspection{Probed: func(r []diagnose.Result) { probed <- r }})
		guard, err := telemetry.Init(ctx, telemetry.WithoutGlobals(), telemetry.WithLogOutput(console), telemetry.WithEndpoint("http://"+l.Addr().String()))
		require.NoError(t, err)
		description := guard.Describe()
		require.Len(t, <-probed, 3)
		record(t.Context(), guard, "x")
		lost := guard.Shutdown(t.Context())
		require.Error(t, lost) // mostly 401, and what HTTP does not let a header hold
		require.NotContains(t, console.String()+description+lost.Error(), secret)
	})
}

// namesAHeader tells whether the secret stands before the first = of its pair.
func namesAHeader(headers, secret string) bool {
	for pair := range strings.SplitSeq(headers, ",") {
		if name, _, found := strings.Cut(pair, "="); found && strings.Contains(name, secret) {
			return true
		}
	}
	return false
}
