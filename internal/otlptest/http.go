package otlptest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

const protobufType = "application/x-protobuf"

// serveHTTP serves OTLP/HTTP until stop is called, after the listener's abort; stop returns when
// nothing runs any more.
func (c *Collector) serveHTTP(l *listener) (stop func()) {
	server := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.exportHTTP(l, w, r) }),
		TLSConfig: c.tls.Clone(),
		ErrorLog:  log.New(io.Discard, "", 0), // refused handshakes are what some tests are about
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The error only says that the listener was closed.
		if c.tls != nil {
			_ = server.ServeTLS(l, "", "")
		} else {
			_ = server.Serve(l)
		}
	}()
	return func() {
		// Shutdown, unlike Close, waits for the handlers, whose connections are gone.
		_ = server.Shutdown(context.Background())
		<-done
	}
}

func (c *Collector) exportHTTP(l *listener, w http.ResponseWriter, r *http.Request) {
	request := &Request{Protocol: protocolHTTP, Path: r.URL.Path, Header: r.Header.Clone(), At: time.Now()}
	s, message, refused := c.readHTTP(r, request)
	if refused != nil {
		c.record(request)
		refused.write(w)
		return
	}
	f, err := c.receive(r.Context(), request, decode(message))
	switch {
	case err != nil: // the client has gone away
	case f.Cut:
		l.cut(r.RemoteAddr)
	case f.HTTPStatus != 0:
		(&httpError{status: f.HTTPStatus, message: f.Message, retryAfter: f.RetryAfter}).write(w)
	default:
		writeProtobuf(w, http.StatusOK, s.response(f))
	}
}

// readHTTP reads, decompresses and unmarshals a request, filling in what it learns about it.
func (c *Collector) readHTTP(r *http.Request, request *Request) (s service, message proto.Message, refused *httpError) {
	// The body is read whole before anything is refused: a client that is still sending might miss
	// the answer.
	body, err := io.ReadAll(r.Body)
	request.Bytes = len(body)
	if err != nil {
		return s, nil, refuse(http.StatusBadRequest, "reading the body: %v", err)
	}
	request.empty = r.Method == http.MethodPost && isEmpty(body)
	s, found := serviceAt(r.URL.Path)
	if !found {
		return s, nil, refuse(http.StatusNotFound, "no OTLP endpoint at %s", r.URL.Path)
	}
	request.Signal = s.signal
	if r.Method != http.MethodPost {
		return s, nil, refuse(http.StatusMethodNotAllowed, "%s is not POST", r.Method)
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != protobufType {
		return s, nil, refuse(http.StatusUnsupportedMediaType, "content type %q is not %s", media, protobufType)
	}
	var content io.Reader = bytes.NewReader(body)
	request.Encoding = encoding(r.Header.Get("Content-Encoding"))
	switch request.Encoding {
	case "":
	case "gzip":
		if content, err = gzip.NewReader(content); err != nil {
			return s, nil, refuse(http.StatusBadRequest, "decompressing the body: %v", err)
		}
	default:
		return s, nil, refuse(http.StatusUnsupportedMediaType, "content encoding %q is not gzip", request.Encoding)
	}
	if body, err = io.ReadAll(content); err != nil {
		return s, nil, refuse(http.StatusBadRequest, "decompressing the body: %v", err)
	}
	if limit, exceeded := c.tooLarge(int64(len(body))); exceeded {
		return s, nil, refuse(http.StatusRequestEntityTooLarge, "the body of %d bytes is larger than %d", len(body),
			limit)
	}
	message = s.request()
	if err := proto.Unmarshal(body, message); err != nil {
		return s, nil, refuse(http.StatusBadRequest, "decoding the body: %v", err)
	}
	return s, message, nil
}

// isEmpty reports whether a body, compressed or not, is that of a request without a single field.
func isEmpty(body []byte) bool {
	if len(body) == 0 {
		return true
	}
	content, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return false
	}
	n, err := io.Copy(io.Discard, io.LimitReader(content, 1))
	return n == 0 && err == nil
}

// encoding returns the name of a compression, and "" for none.
func encoding(name string) string {
	if name = strings.ToLower(name); name != "identity" {
		return name
	}
	return ""
}

// httpError is an answer other than success.
type httpError struct {
	status     int
	message    string
	retryAfter time.Duration
}

func refuse(status int, format string, args ...any) *httpError {
	return &httpError{status: status, message: fmt.Sprintf(format, args...)}
}

func (e *httpError) write(w http.ResponseWriter) {
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.retryAfter.Seconds()))))
	}
	if e.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	message := e.message
	if message == "" {
		message = http.StatusText(e.status)
	}
	writeProtobuf(w, e.status, &status.Status{Message: message})
}

func writeProtobuf(w http.ResponseWriter, code int, message proto.Message) {
	body, err := proto.Marshal(message)
	if err != nil { // only if a fault's message is not UTF-8
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", protobufType)
	w.WriteHeader(code)
	_, _ = w.Write(body) // an error means that the client has gone away
}
