package delivery_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// talker accepts connections, and leaves each to talk.
func talker(t *testing.T, talk func(conn net.Conn, r *bufio.Reader)) (endpoint string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				talk(conn, bufio.NewReader(conn))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// request reads a request from r, and reports whether there was one.
func request(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

// net/http logs what a server sends without being asked, into the log of the process, which is the
// service's. Not over our transport: neither what comes while a connection is idle, nor what comes
// with an answer or before a request.
func TestUnsolicitedAnswersAreNotLogged(t *testing.T) {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	const empty, page = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nwho are you"
	spoken := make(chan struct{}, 1)
	for name, tt := range map[string]struct {
		talk func(conn net.Conn, r *bufio.Reader)
		idle bool
	}{
		"while it is idle": {talk: func(conn net.Conn, r *bufio.Reader) {
			for request(r) {
				_, _ = io.WriteString(conn, empty)
				time.Sleep(20 * time.Millisecond)
				_, _ = io.WriteString(conn, page)
				spoken <- struct{}{}
			}
		}, idle: true},
		"with the answer": {talk: func(conn net.Conn, r *bufio.Reader) {
			for request(r) {
				_, _ = io.WriteString(conn, empty+page)
			}
		}},
		"with a body and the answer": {talk: func(conn net.Conn, r *bufio.Reader) {
			for request(r) {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"+strings.Repeat("x", 9000)+
					page)
			}
		}},
		"with chunks and the answer": {talk: func(conn net.Conn, r *bufio.Reader) {
			for request(r) {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+
					"chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"+page)
			}
		}},
	} {
		e := delivery.New(delivery.Config{AttemptTimeout: 10 * time.Second})
		pool := e.NewTransport(nil, 1)
		client := &http.Client{Transport: e.Transport(pool)}
		endpoint := talker(t, tt.talk)
		for range 5 {
			out := export(t, client, endpoint)
			require.NoError(t, out.Err, name)
			require.EqualValues(t, 10, out.Exported, name)
			if tt.idle {
				<-spoken
				time.Sleep(100 * time.Millisecond) // until the transport has heard it
			}
		}
		client.CloseIdleConnections()
	}

	// A connection that no request has got: the server speaks first, as HTTP/2 does.
	e := delivery.New(delivery.Config{})
	pool := e.NewTransport(nil, 1)
	endpoint := talker(t, func(conn net.Conn, _ *bufio.Reader) {
		_, _ = io.WriteString(conn, "\x00\x00\x06\x04\x00\x00\x00\x00\x00")
	})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader("x"))
	require.NoError(t, err)
	dial := pool.DialContext
	dialled := make(chan struct{})
	pool.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		cancel()
		time.Sleep(20 * time.Millisecond) // the request is gone by now
		defer close(dialled)
		return dial(t.Context(), network, address)
	}
	_, err = pool.RoundTrip(delivery.Watched(req))
	require.ErrorIs(t, err, context.Canceled)
	<-dialled
	time.Sleep(100 * time.Millisecond) // for what should not come
	pool.CloseIdleConnections()
	require.Empty(t, logged.String())
}

// export sends one request and returns what became of it.
func export(t *testing.T, client *http.Client, endpoint string) delivery.Outcome {
	t.Helper()
	out := delivery.Outcome{Items: 10}
	req, err := http.NewRequestWithContext(delivery.WithOutcome(t.Context(), &out), http.MethodPost,
		endpoint+"/v1/traces", strings.NewReader("x"))
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return out
}

// Connections are used again, also by requests that follow each other at once: each request is made
// once.
func TestWatchedConnectionsAreReused(t *testing.T) {
	var conns, requests atomic.Int64
	endpoint := talker(t, func(conn net.Conn, r *bufio.Reader) {
		conns.Add(1)
		for request(r) {
			requests.Add(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "+
				"2\r\n\r\n{}")
		}
	})
	e := delivery.New(delivery.Config{AttemptTimeout: 10 * time.Second})
	client := &http.Client{Transport: e.Transport(e.NewTransport(nil, 4))}
	t.Cleanup(client.CloseIdleConnections)
	done := make(chan bool)
	const workers, each = 4, 250
	for range workers {
		go func() {
			all := true
			defer func() { done <- all }()
			for range each {
				out := export(t, client, endpoint)
				all = all && out.Err == nil && out.Exported == 10
			}
		}()
	}
	for range workers {
		require.True(t, <-done)
	}
	require.EqualValues(t, workers*each, requests.Load(), "none was sent twice")
	require.LessOrEqual(t, conns.Load(), int64(2*workers), "net/http may dial one that it then does not need")
}
