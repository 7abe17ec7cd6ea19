package telemetry_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// Each place of an HTTP answer where a server can repeat what it was sent, with control characters,
// and without an end.
func TestHTTPServersCannotLeakIntoOutput(t *testing.T) {
	t.Parallel()
	const secret = `s3cr3t"t0/k%n`
	basic := base64.StdEncoding.EncodeToString([]byte("mary:pw42"))
	flood := strings.Repeat("\x1b[31m\u202ered ", 1<<16)
	sources := map[string]telemetry.Option{
		"headers": telemetry.WithHeaders(map[string]string{"x-key": secret, "authorization": "Basic " + basic}),
		"function": telemetry.WithHeaderFunc(func(context.Context) (map[string]string, error) {
			return map[string]string{"x-key": secret, "authorization": "Basic " + basic}, nil
		}),
	}
	forms := func(h http.Header) string {
		key := h.Get("X-Key")
		return strings.Join([]string{key, url.QueryEscape(key), fmt.Sprintf("%q", key), strings.ToUpper(key),
			key[:min(9, len(key))], "mary", "pw42", h.Get("Authorization")}, " ")
	}
	answers := map[string]func(h http.Header) string{
		"a reason phrase": func(h http.Header) string {
			return "HTTP/1.1 403 no for " + forms(h) +
				"\r\nConnection: close\r\n\r\n"
		},
		"a phrase of a retry": func(h http.Header) string {
			return "HTTP/1.1 503 no for " + forms(h) +
				"\r\nConnection: close\r\n\r\n"
		},
		"a phrase that moves": func(http.Header) string {
			return "HTTP/1.1 403 \x1b[31m\u202ered\r\nConnection: " +
				"close\r\n\r\n"
		},
		"a phrase without an end": func(http.Header) string { return "HTTP/1.1 403 " + flood },
		"a phrase of 9 MB": func(http.Header) string {
			return "HTTP/1.1 403 " + strings.Repeat("x", 9<<20) +
				"\r\n\r\n"
		},
		"a phrase with a web page": func(h http.Header) string {
			return "HTTP/1.1 200 " + forms(h) + "\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>"
		},
		"a phrase of a redirect": func(h http.Header) string {
			return "HTTP/1.1 307 " + forms(h) + "\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n"
		},
		"a location": func(h http.Header) string {
			return "HTTP/1.1 307 No\r\nLocation: http://127.0.0.1:1/" + url.PathEscape(h.Get("X-Key")) +
				"\r\nConnection: close\r\n\r\n"
		},
		"a body": func(h http.Header) string {
			return "HTTP/1.1 400 No\r\nConnection: close\r\n\r\n" + forms(h)
		},
		"a body without an end": func(h http.Header) string {
			return "HTTP/1.1 400 No\r\nConnection: close\r\n\r\n" +
				flood + forms(h)
		},
		"a warning": func(h http.Header) string {
			return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" +
				`{"partialSuccess":{"rejectedSpans":1,"errorMessage":` + asJSON(h.Get("X-Key")+" \x1b[31m pw42") + `}}`
		},
		"no HTTP": func(h http.Header) string { return forms(h) + "\r\n\r\n" },
		"a bad header": func(h http.Header) string {
			return "HTTP/1.1 200 OK\r\n" + forms(h) +
				"\r\n\r\n"
		},
		"a bad version": func(h http.Header) string { return "HTTP/9." + forms(h) + " 200 OK\r\n\r\n" },
		"a bad status":  func(h http.Header) string { return "HTTP/1.1 " + forms(h) + "\r\n\r\n" },
		"a bad transfer encoding": func(h http.Header) string {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + forms(h) + "\r\n\r\n"
		},
		"a bad content length": func(h http.Header) string {
			return "HTTP/1.1 200 OK\r\nContent-Length: " + forms(h) + "\r\n\r\n"
		},
		"headers without an end":     func(http.Header) string { return "HTTP/1.1 200 OK\r\nX: " + flood },
		"gRPC's frames and a secret": func(h http.Header) string { return "\x00\x00\x06\x04" + forms(h) },
	}
	var all sync.WaitGroup
	defer all.Wait()
	for name, answer := range answers {
		for from, source := range sources {
			all.Go(func() {
				t.Run(name+" to "+from, func(t *testing.T) {
					said := heard(t, source, telemetry.WithEndpoint(answering(t, answer)))
					requireHarmless(t, said, secret, secret[:9], "pw42", basic)
					require.NotRegexp(t, `\bmary\b`, said)
				})
			})
		}
	}
}

// The same over gRPC: message, details and headers.
func TestGRPCServersCannotLeakIntoOutput(t *testing.T) {
	t.Parallel()
	const secret = `s3cr3t"t0/k%n`
	flood := strings.Repeat("\x1b[31m\u202ered ", 1<<12)
	var all sync.WaitGroup
	defer all.Wait()
	for name, answer := range map[string]func(key string, s grpc.ServerStream) error{
		"a message": func(key string, _ grpc.ServerStream) error {
			return status.Error(grpccodes.PermissionDenied, "no for "+key+" "+url.QueryEscape(key))
		},
		"an unavailable": func(key string, _ grpc.ServerStream) error {
			return status.Error(grpccodes.Unavailable, "no for "+key)
		},
		"a dial that was none": func(key string, _ grpc.ServerStream) error {
			return status.Error(grpccodes.Unavailable, "Error while dialing: "+key+"\x1b[31m")
		},
		"a quoted one": func(key string, _ grpc.ServerStream) error {
			return status.Errorf(grpccodes.InvalidArgument, "%q", fmt.Sprintf("%q", key))
		},
		"a message that moves": func(string, grpc.ServerStream) error {
			return status.Error(grpccodes.Internal, flood)
		},
		"headers without bound": func(_ string, s grpc.ServerStream) error {
			return s.SetHeader(metadata.Pairs("x", strings.Repeat("x", 1<<20)))
		},
	} {
		for from, source := range map[string]telemetry.Option{
			"headers": telemetry.WithHeaders(map[string]string{"x-key": secret}),
			"function": telemetry.WithHeaderFunc(func(context.Context) (map[string]string, error) {
				return map[string]string{"x-key": secret}, nil
			}),
		} {
			all.Go(func() {
				t.Run(name+" to "+from, func(t *testing.T) {
					serve := func(_ any, s grpc.ServerStream) error {
						sent, _ := metadata.FromIncomingContext(s.Context())
						return answer(strings.Join(sent.Get("x-key"), " "), s)
					}
					address := startGRPC(t, grpc.NewServer(grpc.UnknownServiceHandler(serve)))
					said := heard(t, source, telemetry.WithProtocol(telemetry.ProtocolGRPC),
						telemetry.WithEndpoint("http://"+address))
					requireHarmless(t, said, secret, secret[:9])
				})
			})
		}
	}
}

// heard is everything that a guard shows and keeps of its endpoint's answer.
func heard(t *testing.T, opts ...telemetry.Option) string {
	t.Helper()
	probed := make(chan []diagnose.Result, 1)
	environment := map[string]string{"OTEL_TRACES_SAMPLER": "always_on", "OTEL_LOG_LEVEL": "debug"}
	ctx := otlp.WithProbed(testenv.With(t.Context(), environment), func(r []diagnose.Result) { probed <- r })
	log := &syncBuffer{}
	guard, err := telemetry.Init(ctx,
		append(opts, telemetry.WithoutGlobals(), telemetry.WithoutMetrics(), telemetry.WithoutLogs(),
			telemetry.WithLogOutput(log))...)
	require.NoError(t, err)
	found := <-probed
	record(t.Context(), guard, "x")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	said := []string{chain(guard.ForceFlush(ctx)), chain(guard.Shutdown(ctx)), chain(guard.Health().Traces.LastError),
		guard.Describe(), log.String()}
	if found[0].Finding != nil {
		said = append(said, found[0].Finding.Text)
	}
	require.NotEmpty(t, said[2], "the endpoint has refused what it got")
	return strings.Join(said, "\n")
}

func asJSON(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// requireHarmless asserts that a server's text is short, printable and without the secrets that it
// was sent.
func requireHarmless(t *testing.T, said string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret),
			strings.Trim(fmt.Sprintf("%q", secret), `"`)} {
			require.NotContains(t, strings.ToLower(said), strings.ToLower(form))
		}
	}
	require.NotContains(t, said, "\x1b")
	require.NotContains(t, said, "\u202e")
	require.Less(t, len(said), 64<<10)
}
