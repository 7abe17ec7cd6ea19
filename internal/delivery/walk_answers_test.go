package delivery_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// serveHTTP answers the requests of one connection.
func (w *walk) serveHTTP(conn net.Conn) {
	defer conn.Close()
	from := bufio.NewReader(conn)
	for {
		if !w.isWell() && w.one(20) {
			return // before it has read anything
		}
		spans, err := readRequest(from)
		if err != nil || !w.answerHTTP(conn, spans) {
			return
		}
	}
}

// answerHTTP answers one request, and reports whether the connection is good for another.
func (w *walk) answerHTTP(conn net.Conn, spans []string) bool {
	if w.isWell() || w.one(4) {
		w.note(spans, w.took)
		_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return err == nil
	}
	const upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	switch w.upTo(12) {
	case 0:
	case 1:
		silent(conn)
	case 2:
		w.note(spans, w.misplaced)
		_, _ = io.WriteString(conn, pick(w, "SSH-2.0-x\r\n\r\n", "HTTP/1.1 99 x\r\n\r\n", "HTTP/x 200 x\r\n\r\n",
			"\x00\x00\x04\x08\r\n\r\n", "\r\n\r\n"))
	case 3:
		once(upgrade)(conn)
		silent(conn)
	case 4:
		endless(upgrade, strings.Repeat("x", 1000), time.Millisecond)(conn)
	case 5:
		endless("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", time.Millisecond)(conn)
	case 6:
		endless("HTTP/1.1 200 OK\r\n", "X: 1\r\n", time.Millisecond)(conn)
	default:
		return w.compose(conn, spans)
	}
	return false
}

// compose answers with a status, a reason, headers, a body and a framing that need not fit
// together.
func (w *walk) compose(conn net.Conn, spans []string) bool {
	time.Sleep(pick(w, 0, 0, 0, 50*time.Millisecond, 500*time.Millisecond))
	code := pick(w, 200, 200, 202, 206, 299, 300, 301, 302, 307, 308, 400, 400, 401, 403, 404, 405, 407, 408, 413, 413,
		415, 418, 422, 429, 429, 500, 501, 502, 503, 503, 504, 505, 511, 599, 999)
	media := pick(w, "", "application/x-protobuf", "application/x-protobuf", "application/json", "text/html",
		"text/plain", ";;;")
	partial := encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{
		RejectedSpans: int64(w.upTo(60) - 5), ErrorMessage: "too old"}})
	body := pick(w, "", "no", "request body too large", partial, `{"partialSuccess":{"rejectedSpans":"3"}}`,
		"<html>no</html>", "\x0a\xff\xff", strings.Repeat("x", 2<<20))

	head := fmt.Sprintf("HTTP/1.1 %d%s\r\n", code,
		pick(w, " OK", "", " ", " \x1b[31mno", " "+strings.Repeat("x", 9000)))
	for _, name := range []string{"Retry-After", "Location", "Content-Encoding", "X-Large"} {
		if !w.one(4) {
			continue
		}
		switch name {
		case "Retry-After":
			head += "Retry-After: " + pick(w, "0", "1", "3", "-1", "soon", "99999999999999999999",
				time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)) + "\r\n"
		case "Location":
			head += "Location: " + pick(w, "http://collector:4318/v1/traces", "/elsewhere", "::", "https://other/") +
				"\r\n"
		case "Content-Encoding":
			head += "Content-Encoding: " + pick(w, "gzip", "br") + "\r\n"
		case "X-Large":
			head += "X-Large: " + strings.Repeat("x", pick(w, 1000, delivery64K)) + "\r\n"
		}
	}
	if media != "" {
		head += "Content-Type: " + media + "\r\n"
	}
	again := false
	switch w.upTo(4) {
	case 0:
		head += fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)+1) // and then nothing
	case 1:
		head += "Transfer-Encoding: chunked\r\n\r\n"
		body = fmt.Sprintf("%x\r\n%s\r\n%s", len(body)+1, body, pick(w, "0\r\n\r\n", "zz\r\n", ""))
	case 2:
		head += "Connection: close\r\n\r\n" // the end is the end
	default:
		head += fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))
		again = true
	}
	w.judge(code, media, body, spans)
	if w.one(10) {
		message := head + body
		_, _ = io.WriteString(conn, message[:w.upTo(len(message))])
		return false
	}
	if _, err := io.WriteString(conn, head+body); err != nil {
		return false
	}
	if !again && w.one(2) {
		silent(conn)
	}
	return again
}

// delivery64K is a header that is larger than what is read of all.
const delivery64K = 70 << 10

// judge notes what an answer means for the spans, if it is read. What it may mean is noted, too.
func (w *walk) judge(code int, media, body string, spans []string) {
	switch {
	case code < 300:
		w.note(spans, w.took)
		if media != "" && media != "application/x-protobuf" && media != "application/json" {
			w.note(spans, w.misplaced)
		}
		if strings.Contains(body, "artial") || strings.Contains(body, "too old") {
			w.note(spans, w.refused)
		}
	case code == 429, code == 502, code == 503, code == 504:
	case code == 413:
		if len(spans) == 1 { // else it is split
			w.note(spans, w.refused)
		}
	case code < 400, code == 401, code == 403, code == 404, code == 405, code == 407:
		w.note(spans, w.misplaced)
	default:
		w.note(spans, w.refused)
	}
}

// walkService is the OTLP/gRPC receiver of a walk.
type walkService struct {
	coltracepb.UnimplementedTraceServiceServer
	walk *walk
}

func (s walkService) Export(ctx context.Context,
	req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	w, spans := s.walk, spanIDs(req)
	if w.isWell() || w.one(4) {
		w.note(spans, w.took)
		return &coltracepb.ExportTraceServiceResponse{}, nil
	}
	switch w.upTo(8) {
	case 0:
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case 1:
		w.network.cut()
		return nil, status.Error(codes.Unavailable, "cut")
	case 2:
		w.note(spans, w.took, w.refused)
		return &coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{
			RejectedSpans: int64(w.upTo(60) - 5), ErrorMessage: pick(w, "", "too old", "\x1b[31mno",
				strings.Repeat("x", 3<<20)),
		}}, nil
	}
	return nil, w.refusal(spans)
}

// refusal is any status but OK.
func (w *walk) refusal(spans []string) error {
	time.Sleep(pick(w, 0, 0, 0, 50*time.Millisecond, 500*time.Millisecond))
	code := codes.Code(1 + w.upTo(15))
	oversize := code == codes.ResourceExhausted && w.one(2)
	message := pick(w, "", "no", "\x1b[31mno", "stream terminated by RST_STREAM with error code: INTERNAL_ERROR",
		strings.Repeat("x", delivery64K))
	if oversize {
		message = "grpc: received message larger than max (9 vs. 1)"
	}
	st := status.New(code, message)
	asks := w.one(3)
	if asks {
		st, _ = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(pick(w, 0, time.Second, 3*time.Second,
			-time.Second, 1000*time.Hour))})
	}
	switch code {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		w.note(spans, w.misplaced)
	case codes.ResourceExhausted:
		if oversize && len(spans) == 1 || !oversize && !asks {
			w.note(spans, w.refused)
		}
	default:
		w.note(spans, w.refused)
	}
	return st.Err()
}

// unfriendly is a listener whose connections may be none to talk gRPC over.
type unfriendly struct {
	*pipeNetwork
	walk *walk
}

func (u unfriendly) Accept() (net.Conn, error) {
	for {
		conn, err := u.pipeNetwork.Accept()
		if err != nil || u.walk.isWell() || !u.walk.one(4) {
			return conn, err
		}
		bad := pick(u.walk, once(""), once("HTTP/1.1 400 Bad Request\r\n\r\n"), silent,
			endless("", "x", time.Millisecond))
		go func() {
			defer conn.Close()
			go silent(conn)
			bad(conn)
		}()
	}
}
