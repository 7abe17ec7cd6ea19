package delivery_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// answers writes to a connection until the other side closes it.
type answers func(conn net.Conn)

func once(text string) answers {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

func endless(first, again string, pause time.Duration) answers {
	return func(conn net.Conn) {
		_, err := io.WriteString(conn, first)
		for err == nil {
			time.Sleep(pause)
			_, err = io.WriteString(conn, again)
		}
	}
}

// hostile is a server that answers its first requests badly, and all others well.
func hostile(t *testing.T, first int64, bad answers) *httptest.Server {
	t.Helper()
	var requests atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if requests.Add(1) > first {
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		bad(conn)
		_, _ = io.Copy(io.Discard, conn) // until the client has had enough
	}))
	t.Cleanup(srv.Close)
	return srv
}

// Whatever a server sends or keeps back, an attempt ends with its time, and what comes after it is
// delivered.
func TestNothingHoldsAnAttemptBeyondItsTime(t *testing.T) {
	t.Parallel()
	const upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	for name, bad := range map[string]answers{
		"101":                    once(upgrade),
		"101, and then noise":    endless(upgrade, strings.Repeat("x", 1000), time.Millisecond),
		"101 without an upgrade": once("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
		"nothing":                once(""),
		"half a status line":     once("HTTP/1.1 20"),
		"headers without end":    endless("HTTP/1.1 200 OK\r\n", "X-More: 1\r\n", 5*time.Millisecond),
		"103 without end":        endless("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", time.Millisecond),
		"100 without end":        endless("", "HTTP/1.1 100 Continue\r\n\r\n", 20*time.Millisecond),
		"a body that is kept":    once("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 10\r\n\r\nsoon"),
		"a body without end":     endless("HTTP/1.1 503 Service Unavailable\r\n\r\n", "x", time.Millisecond),
		"chunks without end": endless("HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n",
			"1\r\nx\r\n", time.Millisecond),
		"trailers without end": endless("HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\nTrailer: "+
			"X\r\n\r\n0\r\n", "X: 1\r\n", time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const workers = 8
			srv := hostile(t, workers, bad)
			endpoint := delivery.New(delivery.Config{AttemptTimeout: 200 * time.Millisecond})
			pool := endpoint.NewTransport(nil, workers)
			defer pool.CloseIdleConnections()
			client := &http.Client{Transport: endpoint.Transport(pool)}

			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			outcomes := make([]delivery.Outcome, workers)
			var wg sync.WaitGroup
			for i := range outcomes {
				wg.Go(func() { outcomes[i] = postTo(ctx, client, srv.URL) })
			}
			wg.Wait()
			require.NoError(t, ctx.Err())
			for _, out := range outcomes {
				require.EqualValues(t, 10, out.Exported, "%v", out.Err)
			}
		})
	}
}

// postTo sends ten items to a server.
func postTo(ctx context.Context, client *http.Client, base string) delivery.Outcome {
	out := delivery.Outcome{Items: 10}
	req, _ := http.NewRequestWithContext(delivery.WithOutcome(ctx, &out), http.MethodPost, base+"/v1/traces",
		strings.NewReader("0123456789"))
	req.Header.Set("Content-Type", "application/x-protobuf")
	if resp, err := client.Do(req); err == nil {
		_ = resp.Body.Close()
	}
	return out
}

// The same for a proxy that is asked to connect.
func TestNoProxyHoldsAnAttemptBeyondItsTime(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]answers{
		"nothing":             once(""),
		"headers without end": endless("HTTP/1.1 200 OK\r\n", "X-More: 1\r\n", 5*time.Millisecond),
		"101": once("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: " +
			"Upgrade\r\n\r\n"),
		"503 without end":      endless("HTTP/1.1 503 Service Unavailable\r\n\r\n", "x", time.Millisecond),
		"200 and then noise":   endless("HTTP/1.1 200 OK\r\n\r\n", "x", time.Millisecond),
		"200 and then nothing": once("HTTP/1.1 200 OK\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := rawServer(t, bad)
			endpoint := delivery.New(delivery.Config{AttemptTimeout: 100 * time.Millisecond})
			pool := endpoint.NewTransport(nil, 1)
			defer pool.CloseIdleConnections()
			pool.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			start := time.Now()
			out := postTo(ctx, &http.Client{Transport: endpoint.Transport(pool)}, "https://collector.invalid")
			require.EqualValues(t, 10, out.Failed)
			require.Less(t, time.Since(start), 12*time.Second)
			require.Error(t, out.Err)
		})
	}
}

// gRPC would wait for such a proxy for ever, and never try again.
func TestNoProxyHoldsAGRPCConnection(t *testing.T) {
	t.Parallel()
	const (
		short = 300 * time.Millisecond // the proxy's time where the end of it is the result
		long  = 30 * time.Second       // and where its answer is
	)
	for name, tt := range map[string]struct {
		bad  answers
		time time.Duration
		err  string // "" for none
	}{
		"nothing": {once(""), short, "reading server HTTP response"},
		"headers in drops": {endless("HTTP/1.1 200 OK\r\n", "X-More: 1\r\n", 5*time.Millisecond), short,
			"reading server HTTP response"},
		"headers without end": {endless("HTTP/1.1 200 OK\r\n", strings.Repeat("X-More: 1\r\n", 1000), 0), long,
			"reading server HTTP response"},
		"403, and a body": {endless("HTTP/1.1 403 no \x1b[31m\r\n\r\n", "x", 0), long,
			`failed to do connect handshake, response: "HTTP/1.1 403 Forbidden"`},
		"101": {once("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), long,
			"response: \"HTTP/1.1 101"},
		"200, and what follows": {once("HTTP/1.1 200 OK\r\n\r\nhello"), long, ""},
		"200, and then the rest": {func(conn net.Conn) { once("HTTP/1.1 200 OK\r\n\r\n")(conn); once("hello")(conn) },
			long, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", rawServer(t, tt.bad))
			require.NoError(t, err)
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), tt.time)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- hello(ctx, conn) }()
			select {
			case err = <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("it hangs")
			}
			if tt.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.err)
			}
		})
	}
}

// hello reads the word that comes through a proxy's tunnel.
func hello(ctx context.Context, conn net.Conn) error {
	tunnel, err := delivery.Through(ctx, conn, url.UserPassword("bob", "s3cr3t"), "collector:4317")
	if err != nil {
		return err
	}
	word := make([]byte, 5)
	if _, err := io.ReadFull(tunnel, word); err != nil {
		return err
	}
	if string(word) != "hello" {
		return fmt.Errorf("unexpected: %q", word)
	}
	return nil
}

// rawServer reads the head of a request on each connection, and answers.
func rawServer(t *testing.T, bad answers) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					return
				}
				bad(conn)
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return fmt.Sprint(l.Addr())
}

// An answer that is cut anywhere before its headers end does not count, and the request is sent
// again.
func TestAnswerThatIsCutAnywhereIsNone(t *testing.T) {
	t.Parallel()
	const answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
	for n := range len(answer) {
		srv := hostile(t, 1, func(conn net.Conn) {
			once(answer[:n])(conn)
			_ = conn.Close()
		})
		endpoint := delivery.New(delivery.Config{})
		pool := endpoint.NewTransport(nil, 1)
		out := postTo(t.Context(), &http.Client{Transport: endpoint.Transport(pool)}, srv.URL)
		pool.CloseIdleConnections()
		require.EqualValues(t, 10, out.Exported, "%q: %v", answer[:n], out.Err)
	}
}
