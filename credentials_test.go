package telemetry_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	grpccodes "google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// TestMalformedHeadersStaySecret runs a whole process, because the exporters print through globals
// of their own.
func TestMalformedHeadersStaySecret(t *testing.T) {
	if isChild() {
		opts := []telemetry.Option{telemetry.WithShutdownTimeout(time.Second)}
		if os.Getenv("GLOBALS") == "without" {
			opts = append(opts, telemetry.WithoutGlobals())
		}
		guard, err := telemetry.Init(t.Context(), opts...)
		log.Print(err)
		record(t.Context(), guard, "x")
		log.Print(guard.Shutdown(t.Context()))
		return
	}
	t.Parallel()
	atOnce(t, overProtocols("with", "without"),
		func(c protocolCase[string]) string { return c.of + " globals over " + string(c.protocol) },
		func(t *testing.T, c protocolCase[string]) {
			output := runTest(t, "TestMalformedHeadersStaySecret", "GLOBALS="+c.of,
				"OTEL_EXPORTER_OTLP_PROTOCOL="+string(c.protocol),
				"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_LOG_LEVEL=debug",
				"OTEL_EXPORTER_OTLP_HEADERS=s3cr3tA,authorization=Bearer%zzs3cr3tB,b ad=s3cr3tC",
				"OTEL_EXPORTER_OTLP_LOGS_HEADERS=s3cr3tD", "OTEL_RESOURCE_ATTRIBUTES=team=pay,password-s3cr3tE",
				"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=https://user:s3cr3tF@host:bad")
			require.Contains(t, output, "malformed and left out")
			require.NotContains(t, output, "s3cr3t")
		})
}

func TestTokenFileIsReadForEachRequest(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			file := filepath.Join(t.TempDir(), "token")
			require.NoError(t, os.WriteFile(file, []byte("first-s3cr3t\n"), 0o600))
			s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithHeaders(map[string]string{"authorization": "Basic fixed", "x-tenant": "shop"}),
				telemetry.WithTokenFile(file))

			s.sends(t, c, "first")
			require.Equal(t, []string{"Bearer first-s3cr3t"}, lastHeader(t, c, "Authorization"),
				"the token replaces the fixed header")
			require.Equal(t, []string{"shop"}, lastHeader(t, c, "X-Tenant"))

			require.NoError(t, os.WriteFile(file, []byte("second-s3cr3t"), 0o600))
			s.sends(t, c, "second")
			require.Equal(t, []string{"Bearer second-s3cr3t"}, lastHeader(t, c, "Authorization"))

			require.NoError(t, os.Remove(file))
			s.sends(t, c, "third")
			require.Equal(t, []string{"Bearer second-s3cr3t"}, lastHeader(t, c, "Authorization"),
				"a file that is gone leaves the last token")
			require.Contains(t, s.log.String(), "credentials could not be reloaded")
			require.Contains(t, s.log.String(), file)
			require.NotContains(t, s.log.String()+s.guard.Describe(), "s3cr3t")
		})
	}
}

func TestRequestsWaitForTheirCredentials(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			file := filepath.Join(t.TempDir(), "token")
			require.NoError(t, os.WriteFile(file, []byte("two words s3cr3t"), 0o600))
			s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithTokenFile(file),
				telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: time.Millisecond}))
			s.send(t, "early")
			require.Eventually(t, func() bool {
				return bytes.Contains([]byte(s.log.String()),
					[]byte("expected one token"))
			}, 20*time.Second, tick)
			require.Empty(t, c.Requests(), "nothing is sent without the token")
			require.NotContains(t, s.log.String(), "s3cr3t")

			require.NoError(t, os.WriteFile(file, []byte("s3cr3t"), 0o600))
			require.Eventually(t, func() bool { return hasSpan(c, "early") }, 20*time.Second, tick)
			health := s.guard.Health().Traces
			require.EqualValues(t, 1, health.Accepted)
			require.Zero(t, health.Lost())
		})
	}
}

func TestAnExpiredTokenIsRetriedWithANewOne(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			c.SetFault(otlptest.Fault{HTTPStatus: 401, GRPCCode: grpccodes.Unauthenticated,
				Message: "bad token token-1-s3cr3t", Times: 1})
			t.Setenv("TELEMETRY_PROBE", "false") // it asks for headers, too
			var calls atomic.Int64
			s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithHeaderFunc(func(context.Context) (map[string]string, error) {
					return map[string]string{"X-Api-Key": fmt.Sprintf("token-%d-s3cr3t", calls.Add(1))}, nil
				}))
			s.sends(t, c, "span")
			require.Len(t, c.Requests(), 2)
			require.Equal(t, []string{"token-3-s3cr3t"}, lastHeader(t, c, "X-Api-Key"))
			require.NotContains(t, s.log.String(), "s3cr3t")
		})
	}
}

func TestAFailingHeaderFuncLosesNothing(t *testing.T) {
	for name, fails := range map[string]func() (map[string]string, error){
		"error": func() (map[string]string, error) { return nil, errors.New("the vault is sealed") },
		"panic": func() (map[string]string, error) { panic("the vault is sealed") },
		"an error with a secret": func() (map[string]string, error) {
			return nil, errors.New(`the vault is sealed: Post "https://bob:s3cr3t@idp.example/token?client_secret=s3cr3t": {"access_token" : "s3cr3t"}`)
		},
		"a panic with a secret": func() (map[string]string, error) { panic("the vault is sealed: password=s3cr3t") },
		"bad header": func() (map[string]string,
			error) {
			return map[string]string{"x\nthe vault is sealed": "s3cr3t"}, nil
		},
		"bad value": func() (map[string]string,
			error) {
			return map[string]string{"the-vault-is-sealed": "s3cr3t\r\n"}, nil
		},
	} {
		for _, protocol := range protocols {
			t.Run(name+" over "+string(protocol), func(t *testing.T) {
				c := otlptest.New(t)
				var broken atomic.Bool
				broken.Store(true)
				s := newSender(t, telemetry.WithProtocol(protocol),
					telemetry.WithEndpoint(c.Endpoint(string(protocol))),
					telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: time.Millisecond}),
					telemetry.WithRedaction(telemetry.Redaction{Off: true}), // is about what the service records
					telemetry.ForTraces(telemetry.WithHeaderFunc(func(context.Context) (map[string]string, error) {
						if broken.Load() {
							return fails()
						}
						return map[string]string{"x-api-key": "k"}, nil
					})))
				s.send(t, "early")
				require.Eventually(t, func() bool {
					return bytes.Contains([]byte(s.log.String()),
						[]byte("no credentials"))
				}, 20*time.Second, tick)
				require.NotContains(t, fmt.Sprint(s.log, s.guard.Health()), "s3cr3t")
				broken.Store(false)
				require.Eventually(t, func() bool { return hasSpan(c, "early") }, 20*time.Second, tick)
				require.Equal(t, []string{"k"}, lastHeader(t, c, "X-Api-Key"))
			})
		}
	}
}

// The time of a header function counts toward the attempt. One that hangs costs attempts and
// nothing else.
func TestAHangingHeaderFuncCostsOnlyAttempts(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
			t.Setenv("TELEMETRY_PROBE", "false") // it asks for headers, too
			var calls atomic.Int64
			release, released := make(chan struct{}), make(chan struct{}, 8)
			s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: time.Millisecond, MaxExportBatchSize: 1}),
				telemetry.WithHeaderFunc(func(context.Context) (map[string]string, error) {
					if calls.Add(1) <= 8 {
						<-release
						released <- struct{}{}
					}
					return map[string]string{"x-api-key": "k"}, nil
				}))
			for i := range 8 {
				s.send(t, fmt.Sprint(i))
			}
			require.Eventually(t, func() bool { return s.guard.Health().Traces.Exported == 8 }, 30*time.Second, tick,
				s.log)
			require.Contains(t, s.log.String(), "no credentials: the function of WithHeaderFunc has not returned after")
			require.Equal(t, []string{"k"}, lastHeader(t, c, "X-Api-Key"))
			start := time.Now()
			require.EqualError(t, s.guard.Shutdown(t.Context()),
				"telemetry: shutdown: the function of WithHeaderFunc has not returned (8 calls)")
			require.Less(t, time.Since(start), 5*time.Second)
			close(release)
			for range 8 {
				<-released
			}
		})
	}
}

func TestATokenOverPlainHTTPWarns(t *testing.T) {
	s := newSender(t, telemetry.WithEndpoint("http://collector.example:4318"), telemetry.WithTokenFile("/run/token"))
	require.Contains(t, s.log.String(), "anyone on the network can read the token for traces: use https://")
	s = newSender(t, telemetry.WithEndpoint("https://collector.example:4318"), telemetry.WithTokenFile("/run/token"))
	require.NotContains(t, s.log.String(), "can be read")
}

func TestCertificatesAreReloadedFromTheirFiles(t *testing.T) {
	for name, template := range map[string]func(*otlptest.Certificates) *tls.Config{
		"authority":        func(c *otlptest.Certificates) *tls.Config { return c.Server },
		"both, mutual TLS": func(c *otlptest.Certificates) *tls.Config { return c.MutualServer },
	} {
		for _, protocol := range protocols {
			t.Run(name+" over "+string(protocol), func(t *testing.T) {
				a := newAuthority(t, template)
				c := otlptest.New(t, otlptest.WithTLS(a.server()))
				t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", a.ca)
				if name != "authority" {
					t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", a.cert)
					t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", a.key)
				}
				s := newSender(t, telemetry.WithProtocol(protocol),
					telemetry.WithEndpoint(c.Endpoint(string(protocol))),
					telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: time.Millisecond,
						ExportTimeout: time.Second}))
				s.sends(t, c, "before")

				// Everything is renewed, the server first. Connections are made anew.
				renewed := a.replaceServer(t)
				require.NoError(t, c.Down())
				require.NoError(t, c.Up())
				s.send(t, "between")
				require.Eventually(t, func() bool { return s.guard.Health().Traces.Failed == 1 }, 20*time.Second, tick)
				require.False(t, hasSpan(c, "between"), "a server of an unknown authority gets nothing")
				// said after it is booked
				require.Eventually(t, func() bool {
					return bytes.Contains([]byte(s.log.String()),
						[]byte("certificate"))
				}, 20*time.Second, tick)

				// Half-way through the renewal the pair does not match. The pair that was read
				// before stays in use.
				require.NoError(t, os.WriteFile(a.cert, []byte("half"), 0o600))
				a.replaceFiles(t, renewed)
				require.Eventually(t, func() bool {
					s.send(t, "after")
					return s.guard.ForceFlush(t.Context()) == nil && hasSpan(c, "after")
				}, 20*time.Second, 10*time.Millisecond, s.log)
			})
		}
	}
}

// What a token file or a function will return is unknown at the start. Even so, no output shows
// what a server repeats of it, in whatever form the server answers.
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
		"short and long": {telemetry.WithTokenFile(file),
			telemetry.WithHeaders(map[string]string{"x-short": secret[:6]})},
	}
	var all sync.WaitGroup
	defer all.Wait()
	for name, answer := range map[string]func(http.Header) string{
		"a refusal": func(h http.Header) string {
			return "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\nno " + h.Get("Authorization")
		},
		"no HTTP": func(h http.Header) string { return h.Get("Authorization") + "\r\n\r\n" },
		"a bad field": func(h http.Header) string {
			return "HTTP/1.1 200 OK\r\n" + h.Get("Authorization") +
				"\r\n\r\n"
		},
		"a redirect": func(h http.Header) string {
			return "HTTP/1.1 307 Temporary Redirect\r\nConnection: close\r\nLocation: http://127.0.0.1:1/" +
				h.Get("Authorization") + "\r\n\r\n"
		},
	} {
		for from, opts := range sources {
			all.Go(func() {
				t.Run(name+" to a "+from, func(t *testing.T) {
					probed := make(chan []diagnose.Result, 1)
					ctx := otlp.WithProbed(testenv.With(t.Context(), environment),
						func(r []diagnose.Result) { probed <- r })
					log := &syncBuffer{}
					guard, err := telemetry.Init(ctx,
						append(slices.Clip(opts), telemetry.WithoutGlobals(), telemetry.WithoutMetrics(),
							telemetry.WithoutLogs(),
							telemetry.WithLogOutput(log), telemetry.WithEndpoint(answering(t, answer)))...)
					require.NoError(t, err)
					found := <-probed
					record(t.Context(), guard, "x")
					within := 2 * time.Second
					if name == "a redirect" { // the others are tried again until then
						within = time.Minute
					}
					ctx, cancel := context.WithTimeout(t.Context(), within)
					defer cancel()
					said := fmt.Sprint(guard.ForceFlush(ctx), guard.Shutdown(ctx), guard.Health().Traces.LastError,
						guard.Describe(), log)
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

// A caller reads the same explanation as the log and can still classify the error.
func TestErrorsExplainTheirCauseToCallers(t *testing.T) {
	t.Parallel()
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) },
		func(t *testing.T, protocol telemetry.Protocol) {
			port := otlptest.FreeAddress(t)
			s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint("http://"+port),
				telemetry.WithShutdownTimeout(3*time.Second))
			s.send(t, "lost")
			err := s.guard.Shutdown(context.Background())
			const advice = ": start the collector, or correct the host and port in WithEndpoint"
			require.ErrorContains(t, err, "telemetry: shutdown traces: 1 span not delivered: nothing listens at "+port+
				advice)
			last := s.guard.Health().Traces.LastError
			require.ErrorContains(t, last, "nothing listens at "+port+advice)
			if protocol == telemetry.ProtocolHTTP { // gRPC keeps nothing but words
				require.ErrorIs(t, err, syscall.ECONNREFUSED)
				require.ErrorIs(t, last, syscall.ECONNREFUSED)
			}
		})
}

// A shutdown that is too short to tell says nothing about the collector.
func TestAShortShutdownDoesNotBlameTheCollector(t *testing.T) {
	t.Setenv("TELEMETRY_PROBE", "false")
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true, GRPCCode: grpccodes.OK})
	s := newSender(t, telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithShutdownTimeout(300*time.Millisecond))
	s.send(t, "lost")
	err := s.guard.Shutdown(context.Background())
	require.ErrorContains(t, err, "1 span not delivered")
	require.NotContains(t, err.Error(), "something else listens there")
}

// FuzzHeadersStaySecret puts a secret anywhere into OTEL_EXPORTER_OTLP_HEADERS, well-formed or not,
// before a server that refuses everything and repeats the headers it was sent. No output has the
// secret: not Init's error, nor Describe, nor the probe's line, nor an export's, nor Shutdown's
// error.
func FuzzHeadersStaySecret(f *testing.F) {
	for _, seed := range [][2]string{{"api-key=", ""}, {"", ""}, {"api-key ", ""}, {"a=b,", ""},
		{"Authorization=Bearer ", ",x=y"}, {"k=%zz", "%"}, {"a=\"", "\""}, {"k:", "\n"}, {"a=x%20", "%2Cy"}} {
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
		ctx := otlp.WithProbed(t.Context(), func(r []diagnose.Result) { probed <- r })
		guard, err := telemetry.Init(ctx, telemetry.WithoutGlobals(), telemetry.WithLogOutput(console),
			telemetry.WithEndpoint("http://"+l.Addr().String()))
		require.NoError(t, err)
		description := guard.Describe()
		require.Len(t, <-probed, 3)
		record(t.Context(), guard, "x")
		lost := guard.Shutdown(t.Context())
		require.Error(t, lost) // mostly 401, and what HTTP does not let a header hold
		require.NotContains(t, console.String()+description+lost.Error(), secret)
	})
}

// sender is a guard that sends spans one by one, and its log.
type sender struct {
	guard *telemetry.Guard
	log   *syncBuffer
}

func newSender(t *testing.T, opts ...telemetry.Option) sender {
	t.Helper()
	s := sender{log: &syncBuffer{}}
	guard, err := telemetry.Init(t.Context(), append([]telemetry.Option{
		telemetry.WithoutGlobals(), telemetry.WithoutMetrics(), telemetry.WithoutLogs(), telemetry.WithLogOutput(s.log),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = guard.Shutdown(context.Background()) })
	s.guard = guard
	return s
}

func (s sender) send(t *testing.T, name string) {
	t.Helper()
	_, span := s.guard.TracerProvider().Tracer("test").Start(t.Context(), name)
	span.End()
}

// sends makes a span and waits until the collector has it.
func (s sender) sends(t *testing.T, c *otlptest.Collector, name string) {
	t.Helper()
	s.send(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, s.guard.ForceFlush(ctx), s.log.String())
	require.True(t, hasSpan(c, name), s.log.String())
}

func hasSpan(c *otlptest.Collector, name string) bool {
	for _, span := range c.Spans() {
		if span.Name == name {
			return true
		}
	}
	return false
}

func lastHeader(t *testing.T, c *otlptest.Collector, name string) []string {
	t.Helper()
	requests := c.Requests()
	require.NotEmpty(t, requests)
	return requests[len(requests)-1].Header.Values(name)
}

// authority is a certificate authority that is replaced several times, with the client's files at
// the same paths.
type authority struct {
	current  atomic.Pointer[tls.Config]
	ca       string
	cert     string
	key      string
	template func(*otlptest.Certificates) *tls.Config
}

func newAuthority(t *testing.T, template func(*otlptest.Certificates) *tls.Config) *authority {
	dir := t.TempDir()
	a := &authority{ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "cert.pem"),
		key: filepath.Join(dir, "key.pem"), template: template}
	a.replaceFiles(t, a.replaceServer(t))
	return a
}

// replaceServer gives the server certificates of a new authority.
func (a *authority) replaceServer(t *testing.T) *otlptest.Certificates {
	t.Helper()
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	a.current.Store(a.template(certs))
	return certs
}

// replaceFiles gives the client that authority's files.
func (a *authority) replaceFiles(t *testing.T, certs *otlptest.Certificates) {
	t.Helper()
	for to, from := range map[string]string{a.ca: certs.CAFile, a.cert: certs.ClientCertFile,
		a.key: certs.ClientKeyFile} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to, data, 0o600))
	}
}

// server follows the authority: each connection gets the current certificates.
func (a *authority) server() *tls.Config {
	config := a.current.Load().Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current := a.current.Load().Clone()
		current.NextProtos = []string{"h2", "http/1.1"}
		return current, nil
	}
	return config
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
