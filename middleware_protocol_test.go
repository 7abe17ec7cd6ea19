package telemetry_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
)

// serverScenario is what a client sends to a server and what the server's handler does. The handler
// may note what it sees.
type serverScenario struct {
	name    string
	sends   string // without the Host and the end of the header: see raw
	handler func(w http.ResponseWriter, r *http.Request, note func(...any))
	body    string
	lets    bool // the connection open: the answer is one without a length
}

func serverScenarios(t *testing.T) []serverScenario {
	file := filepath.Join(t.TempDir(), "page.txt")
	require.NoError(t, os.WriteFile(file, []byte("a page"), 0o600))
	hello := func(w http.ResponseWriter, r *http.Request, note func(...any)) {
		n, err := io.WriteString(w, "hello")
		note(r.Method, r.URL.String(), r.Host, r.ContentLength, r.Body == http.NoBody, n, err)
	}
	reads := func(w http.ResponseWriter, r *http.Request, note func(...any)) {
		all, err := io.ReadAll(r.Body)
		note(r.ContentLength, r.TransferEncoding, r.Header, string(all), err, r.Trailer)
	}
	status := func(code int) func(http.ResponseWriter, *http.Request, func(...any)) {
		return func(w http.ResponseWriter, _ *http.Request, note func(...any)) {
			w.WriteHeader(code)
			n, err := io.WriteString(w, "hello")
			note(n, err)
		}
	}
	return []serverScenario{
		{name: "GET", sends: "GET / HTTP/1.1", handler: hello},
		{name: "HTTP/1.0", sends: "GET / HTTP/1.0", handler: hello},
		{name: "HEAD", sends: "HEAD / HTTP/1.1", handler: hello},
		{name: "HEAD of a file", sends: "HEAD / HTTP/1.1", handler: func(w http.ResponseWriter, r *http.Request, _ func(...any)) {
			http.ServeFile(w, r, file)
		}},
		{name: "part of a file", sends: "GET / HTTP/1.1\r\nRange: bytes=2-4",
			handler: func(w http.ResponseWriter, r *http.Request, _ func(...any)) { http.ServeFile(w, r, file) }},
		{name: "CONNECT", sends: "CONNECT shop:443 HTTP/1.1", handler: hello},
		{name: "OPTIONS", sends: "OPTIONS / HTTP/1.1", handler: hello},
		{name: "method made up", sends: "BREW / HTTP/1.1", handler: hello},
		{name: "long line", sends: "GET /" + strings.Repeat("a", 1<<16) + "?q=" + strings.Repeat("b", 1<<16) + " HTTP/1.1",
			handler: hello},
		{name: "absolute target", sends: "GET http://other/x?y=1 HTTP/1.1", handler: hello},
		{name: "no content", sends: "GET / HTTP/1.1", handler: status(http.StatusNoContent)},
		{name: "not modified", sends: "GET / HTTP/1.1", handler: status(http.StatusNotModified)},
		{name: "status of an extension", sends: "GET / HTTP/1.1", handler: status(799)},
		{name: "no such status", sends: "GET / HTTP/1.1", handler: status(1000)},
		{name: "early hints", sends: "GET / HTTP/1.1", handler: func(w http.ResponseWriter, _ *http.Request, _ func(...any)) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusProcessing)
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot) // too late
			_, _ = io.WriteString(w, "hello")
		}},
		{name: "longer than announced", sends: "GET / HTTP/1.1", handler: func(w http.ResponseWriter, _ *http.Request, note func(...any)) {
			w.Header().Set("Content-Length", "3")
			n, err := io.WriteString(w, "hello")
			note(n, err)
		}},
		{name: "expected and read", sends: "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5", body: "order",
			handler: reads},
		{name: "expected and refused", sends: "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5",
			handler: status(http.StatusExpectationFailed)},
		{name: "body cut short", sends: "POST / HTTP/1.1\r\nContent-Length: 9", body: "order", handler: reads},
		{name: "trailers that were announced", sends: "POST / HTTP/1.1\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked",
			body: "5\r\norder\r\n0\r\nX-Sum: 9\r\n\r\n", handler: reads},
		{name: "trailers that were not announced", sends: "POST / HTTP/1.1\r\nTransfer-Encoding: chunked",
			body: "5\r\norder\r\n0\r\nX-Sum: 9\r\n\r\n", handler: reads},
		{name: "trailers of the answer", sends: "GET / HTTP/1.1", handler: func(w http.ResponseWriter, _ *http.Request, _ func(...any)) {
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "hello")
			w.Header().Set("X-Sum", "5")
			w.Header().Set(http.TrailerPrefix+"X-Late", "6")
		}},
		{name: "panic", sends: "GET / HTTP/1.1", handler: func(http.ResponseWriter, *http.Request, func(...any)) { panic("no stock") }},
		{name: "panic of the answer's middle", sends: "GET / HTTP/1.1", handler: func(w http.ResponseWriter, _ *http.Request, _ func(...any)) {
			_, _ = io.WriteString(w, "hello")
			_ = http.NewResponseController(w).Flush()
			panic("no stock")
		}},
		{name: "aborted", sends: "GET / HTTP/1.1", handler: func(http.ResponseWriter, *http.Request, func(...any)) {
			panic(http.ErrAbortHandler)
		}},
		{name: "all that a controller does", sends: "POST / HTTP/1.1\r\nContent-Length: 5", body: "order",
			handler: func(w http.ResponseWriter, r *http.Request, note func(...any)) {
				c := http.NewResponseController(w)
				note(c.EnableFullDuplex(), c.SetReadDeadline(time.Now().Add(time.Hour)), c.SetWriteDeadline(time.Time{}))
				_, _ = io.WriteString(w, "hello ")
				note(c.Flush())
				all, err := io.ReadAll(r.Body) // full duplex: after the header of the answer
				note(string(all), err)
				_, _ = w.Write(all)
			}},
		{name: "read deadline", sends: "POST / HTTP/1.1\r\nContent-Length: 5", body: "or", lets: true,
			handler: func(w http.ResponseWriter, r *http.Request, note func(...any)) {
				note(http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Millisecond)))
				_, err := io.ReadAll(r.Body)
				note(errors.Is(err, os.ErrDeadlineExceeded))
				w.Header().Set("Connection", "close")
			}},
		{name: "write deadline", sends: "GET / HTTP/1.1", handler: func(w http.ResponseWriter, _ *http.Request, note func(...any)) {
			c := http.NewResponseController(w)
			note(c.SetWriteDeadline(time.Now().Add(-time.Hour)))
			_, _ = io.WriteString(w, "hello")
			note(errors.Is(c.Flush(), os.ErrDeadlineExceeded))
		}},
		{name: "WebSocket", sends: "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket", body: "ping",
			handler: func(w http.ResponseWriter, _ *http.Request, note func(...any)) {
				conn, buffer, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(err)
				}
				defer conn.Close() // the test is over
				_, halfCloses := conn.(interface{ CloseWrite() error })
				note(halfCloses)
				_, err = w.Write([]byte("too late"))
				note(err)
				_, _ = buffer.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				_, _ = io.Copy(buffer, buffer)
				_ = buffer.Flush()
			}},
	}
}

// answerTo sends the request to a fresh server with the handler. It returns the lines of all that
// came back, without those that differ each time, and what the handler has noted.
func (s serverScenario) answerTo(t *testing.T, wrap func(http.Handler) http.Handler) (answer []string, notes string) {
	var noted bytes.Buffer
	done := make(chan struct{})
	server := serve(t, wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		s.handler(w, r, func(what ...any) { fmt.Fprintln(&noted, what...) })
	})))
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close() // the test is over
	require.NoError(t, conn.SetDeadline(time.Now().Add(waitFor)))
	_, err = io.WriteString(conn, s.sends+"\r\nHost: shop\r\n\r\n"+s.body)
	require.NoError(t, err)
	if !s.lets {
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	}
	received, err := io.ReadAll(conn)
	require.NoError(t, err)
	select {
	case <-done:
	case <-time.After(waitFor):
		require.Fail(t, "the handler does not return")
	}
	for line := range strings.Lines(string(received)) {
		name, _, _ := strings.Cut(line, ":")
		if !slices.Contains([]string{"Date", "Last-Modified", "Server-Timing", "Access-Control-Expose-Headers"}, name) {
			answer = append(answer, line)
		}
	}
	return answer, noted.String()
}

// TestHandlerChangesNothing compares what plain net/http does with what it does through Handler.
func TestHandlerChangesNothing(t *testing.T) {
	for _, s := range serverScenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			sdk := recordGlobals(t)
			plain, plainNotes := s.answerTo(t, func(h http.Handler) http.Handler { return h })
			answer, notes := s.answerTo(t, func(h http.Handler) http.Handler { return telemetry.Handler(h) })
			require.Equal(t, plain, answer)
			require.Equal(t, plainNotes, notes)
			require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == 1 }, waitFor, tick)
			attributes := attributeMap(sdk.spans.Ended()[0].Attributes())
			if len(answer) > 0 && attributes["http.response.status_code"] != "" {
				last := slices.IndexFunc(answer, func(line string) bool {
					return strings.HasPrefix(line, "HTTP/1.") && !strings.HasPrefix(line, "HTTP/1.1 10") ||
						strings.HasPrefix(line, "HTTP/1.1 101")
				})
				require.Equal(t, strings.Fields(answer[last])[1], attributes["http.response.status_code"])
			}
			if strings.HasPrefix(s.name, "HEAD") {
				require.NotContains(t, attributes, "http.response.body.size")
				require.Zero(t, sdk.onePoint(t, "http.server.response.body.size").sum)
			}
		})
	}
}

// unwrapper is the writer of middleware that only http.ResponseController sees through.
type unwrapper struct{ http.ResponseWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func TestHandlerSeesAHijackBelowOtherWriters(t *testing.T) {
	sdk := recordGlobals(t)
	inner := telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, can := w.(http.Hijacker); can {
			panic("more than the writer around has")
		}
		c := http.NewResponseController(w)
		if err := c.SetWriteDeadline(time.Time{}); err != nil {
			panic(err)
		}
		conn, _, err := c.Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = conn.Close()
	}))
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(unwrapper{unwrapper{w}}, r)
	}))
	response := request(t, server, http.MethodGet, "/", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}})
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	require.Equal(t, "101", attributeMap(sdk.span(t, http.MethodGet).Attributes())["http.response.status_code"])
	require.NotContains(t, sdk.collected(t), "http.server.request.duration", "a stream")

	t.Run("nothing below hijacks", func(t *testing.T) {
		var err error
		handler := telemetry.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _, err = http.NewResponseController(w).Hijack()
		}))
		handler.ServeHTTP(unwrapper{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		require.ErrorIs(t, err, http.ErrNotSupported)
	})
}

// clientScenario is a request of a client.
type clientScenario struct {
	name    string
	request func(url string) *http.Request
	answers []string // raw, one for each request; the last one for those that follow
	keeps   bool     // the connection open after an answer
	spans   int
}

func newRequest(method, target string, body io.Reader) *http.Request {
	r, err := http.NewRequest(method, target, body)
	if err != nil {
		panic(err)
	}
	return r
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func clientScenarios() []clientScenario {
	with := func(method string, body func() io.Reader, change func(*http.Request)) func(string) *http.Request {
		return func(url string) *http.Request {
			var b io.Reader
			if body != nil {
				b = body()
			}
			r := newRequest(method, url+"/orders?q=1", b)
			if change != nil {
				change(r)
			}
			return r
		}
	}
	order := func() io.Reader { return strings.NewReader("order") }
	moved := "HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	return []clientScenario{
		{name: "GET", request: with(http.MethodGet, nil, nil), spans: 1},
		{name: "no method", request: with("", nil, func(r *http.Request) { r.Method = "" }), spans: 1},
		{name: "HEAD", request: with(http.MethodHead, nil, nil), spans: 1,
			answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}},
		{name: "POST without a body", request: with(http.MethodPost, nil, nil), spans: 1},
		{name: "POST of NoBody", request: with(http.MethodPost, func() io.Reader { return http.NoBody }, nil), spans: 1},
		{name: "POST", request: with(http.MethodPost, order, nil), spans: 1},
		{name: "POST of unknown length", request: with(http.MethodPost,
			func() io.Reader { return io.MultiReader(strings.NewReader("order")) }, nil), spans: 1},
		{name: "POST of unknown length, empty", request: with(http.MethodPost,
			func() io.Reader { return io.MultiReader(strings.NewReader("")) }, nil), spans: 1},
		{name: "GET of unknown length, empty", request: with(http.MethodGet,
			func() io.Reader { return io.MultiReader(strings.NewReader("")) }, nil), spans: 1},
		{name: "trailers", request: with(http.MethodPost, order, func(r *http.Request) {
			r.ContentLength, r.Trailer = -1, http.Header{"X-Sum": {"9"}}
		}), spans: 1, answers: []string{
			"HTTP/1.1 200 OK\r\nTrailer: X-Total\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Total: 7\r\nX-More: 8\r\n\r\n"}},
		{name: "expects and may continue", request: with(http.MethodPost, order,
			func(r *http.Request) { r.Header.Set("Expect", "100-continue") }), spans: 1,
			answers: []string{"HTTP/1.1 100 Continue\r\n\r\n" + okAnswer}},
		{name: "early hints", request: with(http.MethodGet, nil, nil), spans: 1,
			answers: []string{"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" + okAnswer}},
		{name: "user and password", request: with(http.MethodGet, nil,
			func(r *http.Request) { r.URL.User = url.UserPassword("ada", "hunter2") }), spans: 1},
		{name: "redirected body", request: with(http.MethodPost, order, nil), spans: 2, answers: []string{moved, okAnswer}},
		{name: "redirected without end", request: with(http.MethodGet, nil, nil), spans: 10, answers: []string{moved}},
		{name: "sent again over a new connection", request: with(http.MethodPut, order,
			func(r *http.Request) { r.Header.Set("Idempotency-Key", "7") }), spans: 2, keeps: true,
			answers: []string{okAnswer, "", okAnswer}},
		{name: "no answer", request: with(http.MethodPost, order, nil), spans: 1, answers: []string{""}},
		{name: "answer of nonsense", request: with(http.MethodGet, nil, nil), spans: 1, answers: []string{"what?\r\n\r\n"}},
		{name: "body of the answer cut short", request: with(http.MethodGet, nil, nil), spans: 1,
			answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"}},
		{name: "CONNECT", request: func(target string) *http.Request {
			r := newRequest(http.MethodConnect, target, nil)
			r.URL.Opaque, r.Host = "shop:443", "shop:443"
			return r
		}, spans: 1, answers: []string{"HTTP/1.1 200 OK\r\n\r\n"}},
	}
}

// run sends the request and returns all that the server got and that the client saw.
func (s clientScenario) run(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) (seen []string) {
	answers := append([]string(nil), s.answers...)
	if len(answers) == 0 {
		answers = []string{okAnswer}
	}
	received := make(chan string, 64)
	server := accept(t, listen(t), func(conn net.Conn) {
		defer conn.Close() // the test is over
		in := bufio.NewReader(conn)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, err := io.ReadAll(r.Body)
			header := maps.Clone(r.Header)
			header.Del("Traceparent")
			received <- fmt.Sprint(r.Method, r.RequestURI, r.ContentLength, r.TransferEncoding, header, string(body), err, r.Trailer)
			_, _ = io.WriteString(conn, answers[0])
			hangUp := answers[0] == "" || !s.keeps
			if len(answers) > 1 {
				answers = answers[1:]
			}
			if hangUp {
				return
			}
		}
	})
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	client := &http.Client{Transport: wrap(base), Timeout: waitFor}
	requests := 1
	if s.keeps {
		requests = 2
	}
	for range requests {
		r := s.request("http://" + server)
		var informed []string
		r = r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
				informed = append(informed, fmt.Sprint(code))
				return nil
			},
		}))
		response, err := client.Do(r)
		if err != nil {
			seen = append(seen, strings.ReplaceAll(err.Error(), server, "server"))
			continue
		}
		body, err := io.ReadAll(response.Body)
		require.NoError(t, response.Body.Close())
		seen = append(seen, fmt.Sprint(response.StatusCode, response.ContentLength, response.Header, response.Trailer,
			string(body), err, informed))
	}
	for len(received) > 0 {
		seen = append(seen, strings.ReplaceAll(<-received, server, "server"))
	}
	return seen
}

// TestTransportChangesNothing compares what plain net/http does with what it does through
// Transport. Each hop is a span.
func TestTransportChangesNothing(t *testing.T) {
	for _, s := range clientScenarios() {
		t.Run(s.name, func(t *testing.T) {
			sdk := recordGlobals(t)
			plain := s.run(t, func(base http.RoundTripper) http.RoundTripper { return base })
			require.Equal(t, plain, s.run(t, func(base http.RoundTripper) http.RoundTripper {
				return telemetry.Transport(base)
			}))
			require.Eventually(t, func() bool { return len(sdk.spans.Ended()) == s.spans }, waitFor, tick)
			for _, span := range sdk.spans.Ended() {
				require.NotContains(t, fmt.Sprint(span.Attributes()), "hunter2")
			}
		})
	}
}
