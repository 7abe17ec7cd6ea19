package delivery_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

const shortAttempt = 300 * time.Millisecond

// A backend that hangs behind a connection on which pings are answered: after two attempts in a row
// there is a new one. Attempts that time out together count as one.
func TestHungConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http"} {
		for _, workers := range []int{1, 8} {
			t.Run(fmt.Sprint(protocol, workers), func(t *testing.T) {
				t.Parallel()
				// Long enough for an answer on a busy machine: the second connection must not be
				// replaced as well.
				server, send := newSender(t, protocol, delivery.Config{AttemptTimeout: 4 * shortAttempt},
					func(s *h2stream) {
						if s.connNo > 1 || s.request == 1 {
							s.ok(protocol)
						}
					})
				require.EqualValues(t, 10, send(soon(t), "traces").Exported)
				var done sync.WaitGroup
				for _, signal := range []string{"traces", "metrics", "logs"} {
					for range workers {
						done.Go(func() {
							out := send(soon(t), signal)
							if out.Exported != 10 {
								t.Errorf("%s: %v", signal, out.Err)
							}
						})
					}
				}
				done.Wait()
				_, conns := server.counts()
				require.GreaterOrEqual(t, conns, 2)
				if protocol == "grpc" { // net/http makes a connection for each request that finds none
					require.Equal(t, 2, conns)
				}
			})
		}
	}
}

// A request that gets no answer where others get one is itself the trouble.
func TestConnectionThatAnswersIsKept(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			// One connection, and another where the machine was too busy for an answer in time. Without
			// the rule, every other silence costs a connection: there are three or four.
			conns := 3
			for tries := 0; conns > 2 && tries < 5; tries++ {
				conns = connectionsOfSixSilences(t, protocol)
			}
			require.LessOrEqual(t, conns, 2)
		})
	}
}

// connectionsOfSixSilences is how many connections a server gets that leaves six requests
// unanswered, and answers the one after each.
func connectionsOfSixSilences(t *testing.T, protocol string) (conns int) {
	var silent atomic.Int64
	server, send := newSender(t, protocol, delivery.Config{AttemptTimeout: 2 * shortAttempt}, func(s *h2stream) {
		if s.request%2 == 0 {
			s.ok(protocol)
			return
		}
		silent.Add(1)
	})
	for silent.Load() < 6 {
		_ = send(expired(t, 2*shortAttempt*11/10), "traces")
		_ = send(soon(t), "logs")
	}
	_, conns = server.counts()
	return conns
}

// While a header function hangs, nothing is sent, and the connection does not cause it.
func TestConnectionIsKeptWhileTheHeadersHang(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			headers := func(ctx context.Context) (map[string]string, error) {
				if n := calls.Add(1); n > 1 && n < 6 {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return nil, nil
			}
			server, send := newSender(t, protocol, delivery.Config{AttemptTimeout: 3 * shortAttempt, Headers: headers},
				func(s *h2stream) { s.ok(protocol) })
			for range 2 {
				require.EqualValues(t, 10, send(soon(t), "traces").Exported)
			}
			require.GreaterOrEqual(t, calls.Load(), int64(6))
			_, conns := server.counts()
			require.Equal(t, 1, conns)
		})
	}
}

// A request whose time ends before an attempt's counts, too: a service may have set both to the
// same.
func TestHungConnectionIsReplacedBetweenRequests(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			server, send := newSender(t, protocol, delivery.Config{AttemptTimeout: time.Hour}, func(s *h2stream) {
				if s.connNo > 1 {
					s.ok(protocol)
				}
			})
			for range 2 {
				require.EqualValues(t, 10, send(expired(t, 1100*time.Millisecond), "traces").Failed)
			}
			out := send(soon(t), "traces")
			require.EqualValues(t, 10, out.Exported, "%v", out.Err)
			_, conns := server.counts()
			require.Equal(t, 2, conns)
		})
	}
}

// However connections end, none is remembered.
func TestConnectionsAreForgotten(t *testing.T) {
	t.Parallel()
	certificates, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	for name, address := range map[string]string{
		"closed":  rawServer(t, func(c net.Conn) { _ = c.Close() }),
		"no HTTP": rawServer(t, func(c net.Conn) { _, _ = c.Write([]byte("220 mail.test ESMTP\r\n")) }),
		"another first": rawServer(t, func(c net.Conn) {
			_,
				_ = c.Write([]byte("\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"))
		}),
		"silent":    rawServer(t, once("")),
		"an answer": serveH2(t, nil, func(s *h2stream) { s.ok("grpc") }).addr,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for protocol, connect := range map[string]func(*testing.T, *delivery.Endpoint) (func(), sender){
				"grpc": func(t *testing.T, e *delivery.Endpoint) (func(), sender) {
					return overGRPC(t, e, address, insecure.NewCredentials())
				},
				"grpc, TLS": func(t *testing.T, e *delivery.Endpoint) (func(), sender) {
					return overGRPC(t, e, address, credentials.NewTLS(certificates.ClientWithoutCert))
				},
				"http": func(t *testing.T, e *delivery.Endpoint) (func(), sender) {
					return overHTTP(t, e, "http://"+address, nil)
				},
				"http, TLS": func(t *testing.T, e *delivery.Endpoint) (func(), sender) {
					return overHTTP(t, e, "https://"+address, certificates.ClientWithoutCert)
				},
			} {
				e := delivery.New(delivery.Config{AttemptTimeout: shortAttempt})
				closing, send := connect(t, e)
				_ = send(expired(t, 3*shortAttempt), "traces")
				closing()
				require.Eventually(t, func() bool { return e.OpenConns() == 0 }, time.Minute, time.Millisecond,
					protocol)
			}
		})
	}
}

// HTTP/1.1 has a new connection for each attempt after one that got no answer.
func TestHungConnectionOfHTTP1IsReplaced(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	hung := map[string]bool{}
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		first := len(hung) == 0 || hung[r.RemoteAddr]
		if first {
			hung[r.RemoteAddr] = true
		}
		mu.Unlock()
		_, _ = io.Copy(io.Discard, r.Body)
		if first {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}))
	defer srv.Close()
	defer close(release)
	begin := time.Now()
	out := httpSender(t, delivery.New(delivery.Config{AttemptTimeout: shortAttempt}), srv.URL, nil)(soon(t), "traces")
	require.EqualValues(t, 10, out.Exported, "%v", out.Err)
	require.GreaterOrEqual(t, time.Since(begin), shortAttempt)
}
