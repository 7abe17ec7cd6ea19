package telemetry_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// sender is a guard that sends spans, one by one, and what it says.
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

func TestTokenFileIsReadForEachRequest(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			file := filepath.Join(t.TempDir(), "token")
			require.NoError(t, os.WriteFile(file, []byte("first-s3cr3t\n"), 0o600))
			s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithHeaders(map[string]string{"authorization": "Basic fixed", "x-tenant": "shop"}), telemetry.WithTokenFile(file))

			s.sends(t, c, "first")
			require.Equal(t, []string{"Bearer first-s3cr3t"}, lastHeader(t, c, "Authorization"), "the token replaces the fixed header")
			require.Equal(t, []string{"shop"}, lastHeader(t, c, "X-Tenant"))

			require.NoError(t, os.WriteFile(file, []byte("second-s3cr3t"), 0o600))
			s.sends(t, c, "second")
			require.Equal(t, []string{"Bearer second-s3cr3t"}, lastHeader(t, c, "Authorization"))

			require.NoError(t, os.Remove(file))
			s.sends(t, c, "third")
			require.Equal(t, []string{"Bearer second-s3cr3t"}, lastHeader(t, c, "Authorization"), "a file that is gone leaves the last token")
			require.Contains(t, s.log.String(), "credentials were not renewed")
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
			s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithTokenFile(file),
				telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: time.Millisecond}))
			s.send(t, "early")
			require.Eventually(t, func() bool { return bytes.Contains([]byte(s.log.String()), []byte("expected one token")) }, 20*time.Second, tick)
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

func TestTokenThatExpiredBetweenIsTriedAgain(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			c.SetFault(otlptest.Fault{HTTPStatus: 401, GRPCCode: codes.Unauthenticated, Message: "bad token token-1-s3cr3t", Times: 1})
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

func TestHeaderFuncThatFails(t *testing.T) {
	for name, fails := range map[string]func() (map[string]string, error){
		"error": func() (map[string]string, error) { return nil, errors.New("the vault is sealed") },
		"panic": func() (map[string]string, error) { panic("the vault is sealed") },
		"an error with a secret": func() (map[string]string, error) {
			return nil, errors.New(`the vault is sealed: Post "https://bob:s3cr3t@idp.example/token?client_secret=s3cr3t": {"access_token" : "s3cr3t"}`)
		},
		"a panic with a secret": func() (map[string]string, error) { panic("the vault is sealed: password=s3cr3t") },
		"bad header":            func() (map[string]string, error) { return map[string]string{"x\nthe vault is sealed": "s3cr3t"}, nil },
		"bad value":             func() (map[string]string, error) { return map[string]string{"the-vault-is-sealed": "s3cr3t\r\n"}, nil },
	} {
		for _, protocol := range protocols {
			t.Run(name+" over "+string(protocol), func(t *testing.T) {
				c := otlptest.New(t)
				var broken atomic.Bool
				broken.Store(true)
				s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(c.Endpoint(string(protocol))),
					telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: time.Millisecond}),
					telemetry.WithRedaction(telemetry.Redaction{Off: true}), // is about what the service records
					telemetry.ForTraces(telemetry.WithHeaderFunc(func(context.Context) (map[string]string, error) {
						if broken.Load() {
							return fails()
						}
						return map[string]string{"x-api-key": "k"}, nil
					})))
				s.send(t, "early")
				require.Eventually(t, func() bool { return bytes.Contains([]byte(s.log.String()), []byte("no credentials")) }, 20*time.Second, tick)
				require.NotContains(t, fmt.Sprint(s.log, s.guard.Health()), "s3cr3t")
				broken.Store(false)
				require.Eventually(t, func() bool { return hasSpan(c, "early") }, 20*time.Second, tick)
				require.Equal(t, []string{"k"}, lastHeader(t, c, "X-Api-Key"))
			})
		}
	}
}

// The time of a header function is a part of the attempt's: one that hangs costs attempts and nothing else.
func TestHeaderFuncThatHangs(t *testing.T) {
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
			require.Eventually(t, func() bool { return s.guard.Health().Traces.Exported == 8 }, 30*time.Second, tick, s.log)
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

func TestTokenOverPlainHTTPIsWarnedOf(t *testing.T) {
	s := newSender(t, telemetry.WithEndpoint("http://collector.example:4318"), telemetry.WithTokenFile("/run/token"))
	require.Contains(t, s.log.String(), "the token of traces can be read on its way: use https://")
	s = newSender(t, telemetry.WithEndpoint("https://collector.example:4318"), telemetry.WithTokenFile("/run/token"))
	require.NotContains(t, s.log.String(), "can be read")
}

// authority is one public-key infrastructure after another, in the same files for the client.
type authority struct {
	current  atomic.Pointer[tls.Config]
	ca       string
	cert     string
	key      string
	template func(*otlptest.Certificates) *tls.Config
}

func newAuthority(t *testing.T, template func(*otlptest.Certificates) *tls.Config) *authority {
	dir := t.TempDir()
	a := &authority{ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), template: template}
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
	for to, from := range map[string]string{a.ca: certs.CAFile, a.cert: certs.ClientCertFile, a.key: certs.ClientKeyFile} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to, data, 0o600))
	}
}

// server follows the authority: each connection gets the certificates of the moment.
func (a *authority) server() *tls.Config {
	config := a.current.Load().Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current := a.current.Load().Clone()
		current.NextProtos = []string{"h2", "http/1.1"}
		return current, nil
	}
	return config
}

func TestCertificatesFollowTheirFiles(t *testing.T) {
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
				s := newSender(t, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(c.Endpoint(string(protocol))),
					telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: time.Millisecond, ExportTimeout: time.Second}))
				s.sends(t, c, "before")

				// Everything is renewed, the server first; connections are made anew.
				renewed := a.replaceServer(t)
				require.NoError(t, c.Down())
				require.NoError(t, c.Up())
				s.send(t, "between")
				require.Eventually(t, func() bool { return s.guard.Health().Traces.Failed == 1 }, 20*time.Second, tick)
				require.False(t, hasSpan(c, "between"), "a server of an unknown authority gets nothing")
				require.Eventually(t, func() bool { return bytes.Contains([]byte(s.log.String()), []byte("certificate")) }, 20*time.Second, tick) // said after it is booked

				// Half-way through the renewal the pair does not match; what was read before stays in use.
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
