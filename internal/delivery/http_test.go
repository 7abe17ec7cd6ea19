package delivery_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// roundTrip is a next round tripper made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const traces = "http://user:pass@collector:4318/v1/traces?token=abc"

// post sends a body of ten items through delivery over next, as an exporter's client does, and
// returns what the client and the engine see.
func post(ctx context.Context, cfg delivery.Config, next roundTrip) (*http.Response, delivery.Outcome, error) {
	out := delivery.Outcome{Items: 10}
	req, _ := http.NewRequestWithContext(delivery.WithOutcome(ctx, &out), http.MethodPost, traces,
		strings.NewReader("0123456789"))
	req.Header.Set("Authorization", "Bearer s3cr3t-token")
	req.Header.Set("Content-Type", "application/x-protobuf")
	client := http.Client{Transport: delivery.New(cfg).Transport(next)}
	resp, err := client.Do(req)
	return resp, out, err
}

func response(r *http.Request, status int, contentType, body string, headers ...string) *http.Response {
	resp := &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
	if contentType != "" {
		resp.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		resp.Header.Set(headers[i], headers[i+1])
	}
	return resp
}

func encode(m proto.Message) string {
	b, _ := proto.Marshal(m)
	return string(b)
}

func TestHTTPResponses(t *testing.T) {
	partial := encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: 3, ErrorMessage: "too old"}})
	const protobuf, js = "application/x-protobuf", "application/json"
	for _, tt := range []struct {
		name     string
		status   int
		media    string
		body     string
		exported int64
		rejected int64
		failed   int64
		tooLarge bool
		err      string // "" for none
	}{
		{"success", 200, protobuf, "", 10, 0, 0, false, ""},
		{"success without a type", 200, "", "", 10, 0, 0, false, ""},
		{"accepted", 202, "text/plain", "ok", 10, 0, 0, false, ""},
		{"partial success", 200, protobuf, partial, 7, 3, 0, false, "rejected 3 items: too old"},
		{"partial success with parameters", 200, protobuf + "; charset=utf-8", partial, 7, 3, 0, false,
			"rejected 3 items: too old"},
		{"partial success without a reason", 200, protobuf,
			encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: 1}}), 9, 1, 0, false, "rejected 1 item without a reason"},
		{"more rejected than sent", 200, protobuf,
			encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: 11}}), 0, 10, 0, false, "rejected 11 items"},
		{"negative rejected", 200, protobuf,
			encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: -4}}), 10, 0, 0, false, ""},
		{"a warning", 200, protobuf, encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{ErrorMessage: "use v2"}}), 10, 0, 0, false, "warns: use v2"},
		{"garbage", 200, protobuf, "\xff\xff\xff", 10, 0, 0, false, "took the request, but its answer cannot be read"},
		{"JSON", 200, js, `{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}`, 7, 3, 0, false,
			"rejected 3 items: too old"},
		{"JSON, log records", 200, js, `{"partialSuccess":{"rejectedLogRecords":2}}`, 8, 2, 0, false,
			"rejected 2 items"},
		{"JSON, data points", 200, js, `{"partialSuccess":{"rejectedDataPoints":"1"}}`, 9, 1, 0, false,
			"rejected 1 item"},
		{"JSON garbage", 200, js, `{`, 10, 0, 0, false, "took the request, but its answer cannot be read"},
		{"a web page", 200, "text/html; charset=utf-8", "<html>Welcome", 0, 0, 10, false, "no OTLP receiver here"},
		{"an empty page", 200, "text/html", "", 10, 0, 0, false, ""},
		{"too large", 413, "", "", 0, 0, 0, true, "413 Request Entity Too Large"},
		{"too large, as the Collector says it", 400, "text/plain", "http: request body too large", 0, 0, 0, true,
			"request body too large"},
		{"bad request", 400, protobuf, encode(&statuspb.Status{Code: 3, Message: "bad span"}), 0, 0, 10, false,
			"400 Bad Request: bad span"},
		{"bad request, garbage", 400, protobuf, "\xff\xff", 0, 0, 10, false, "400 Bad Request"},
		{"not found", 404, "text/html", "<html>", 0, 0, 10, false, "404 Not Found"},
		{"timeout is not retryable", 408, "", "", 0, 0, 10, false, "408 Request Timeout"},
		{"server error is not retryable", 500, "", "boom", 0, 0, 10, false, "500 Internal Server Error: boom"},
		{"an echo of the header", 401, "", "no user for Bearer s3cr3t-token, s3cr3t-token!", 0, 0, 10, false,
			"401 Unauthorized: no user for <redacted>, <redacted>!"},
		{"a long, multi-line message", 400, "", "a\nb\x00" + strings.Repeat("é", 1000), 0, 0, 10, false,
			`400 Bad Request: a b\x00é`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			attempts := 0
			resp, out, err := post(t.Context(), delivery.Config{}, func(r *http.Request) (*http.Response, error) {
				attempts++
				return response(r, tt.status, tt.media, tt.body), nil
			})
			require.NoError(t, err)
			require.Equal(t, 1, attempts)
			require.True(t, out.Filled)
			require.Equal(t, tt.exported, out.Exported)
			require.Equal(t, tt.rejected, out.Rejected)
			require.Equal(t, tt.failed, out.Failed)
			require.Equal(t, tt.tooLarge, out.TooLarge)
			if tt.err == "" {
				require.NoError(t, out.Err)
			} else {
				require.ErrorContains(t, out.Err, tt.err)
				require.ErrorContains(t, out.Err, "http://collector:4318/v1/traces: ", "no user, password or query")
				require.NotContains(t, out.Err.Error(), "s3cr3t")
				require.NotContains(t, out.Err.Error(), "\n")
				require.Less(t, len(out.Err.Error()), 500)
			}
			// What the exporter reads: nothing to report on success, all of a failure.
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			if tt.exported+tt.rejected > 0 {
				require.Empty(t, body)
			} else {
				require.Equal(t, tt.body, string(body))
			}
			require.EqualValues(t, len(body), resp.ContentLength)
		})
	}
}

func TestHTTPWithoutOutcomeIsLeftAlone(t *testing.T) {
	partial := encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: 3}})
	rt := delivery.New(delivery.Config{Gzip: true}).Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet {
			require.Empty(t, r.Header.Get("Content-Encoding"))
			return response(r, 503, "", ""), nil
		}
		return response(r, 200, "application/x-protobuf", partial), nil
	}))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, traces, strings.NewReader("x"))
	resp, err := rt.RoundTrip(req)
	require.NoError(t, err)
	body, _ := io.ReadAll(resp.Body)
	require.Equal(t, partial, string(body))
	require.Empty(t, req.Header.Get("Content-Encoding"), "a round tripper must not change its request")

	req, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, traces, http.NoBody)
	resp, err = rt.RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode, "not an export: not retried")
}

// Connection failures are retried with the same body, whatever Go calls temporary.
func TestHTTPConnectionFailures(t *testing.T) {
	for name, failure := range map[string]error{
		"refused": &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"reset":   &net.OpError{Op: "read", Err: syscall.ECONNRESET},
		"EOF":     io.EOF,
		"cut":     io.ErrUnexpectedEOF,
		"DNS":     &net.DNSError{Err: "no such host", Name: "collector", IsNotFound: true},
		"broken":  errors.New("http: server closed idle connection"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bodies []string
				resp, out, err := post(t.Context(), delivery.Config{}, func(r *http.Request) (*http.Response, error) {
					body, _ := io.ReadAll(r.Body)
					bodies = append(bodies, string(body))
					if len(bodies) < 4 {
						return nil, failure
					}
					return response(r, 200, "", ""), nil
				})
				require.NoError(t, err)
				require.NotNil(t, resp)
				require.Equal(t, delivery.Outcome{Items: 10, Exported: 10, Filled: true}, out)
				require.Equal(t, []string{"0123456789", "0123456789", "0123456789", "0123456789"}, bodies)
			})
		})
	}
}

func TestHTTPMisconfigurationFailsAtOnce(t *testing.T) {
	for name, failure := range map[string]error{
		"unknown authority": x509.UnknownAuthorityError{},
		"wrong host": &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{},
			Host: "collector"}},
		"expired":       x509.CertificateInvalidError{Reason: x509.Expired},
		"https to http": errors.New("http: server gave HTTP response to HTTPS client"),
		"http to grpc":  errors.New(`net/http: HTTP/1.x transport connection broken: malformed HTTP response "\x00\x00\x06"`),
	} {
		t.Run(name, func(t *testing.T) {
			_, out, err := post(t.Context(), delivery.Config{},
				func(*http.Request) (*http.Response, error) { return nil, failure })
			require.Error(t, err)
			require.EqualValues(t, 10, out.Failed)
			require.ErrorContains(t, out.Err, "http://collector:4318/v1/traces: ")
			require.ErrorIs(t, out.Err, failure)
		})
	}
}

// The request's context bounds all attempts; a hanging one is bounded by its own time.
func TestHTTPTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start, attempts := time.Now(), 0
		_, out, err := post(ctx, delivery.Config{}, func(r *http.Request) (*http.Response, error) {
			attempts++
			begun := time.Now()
			<-r.Context().Done()
			if attempts <= 2 {
				require.Equal(t, delivery.DefaultAttemptTimeout, time.Since(begun))
			}
			return nil, r.Context().Err()
		})
		require.Equal(t, 30*time.Second, time.Since(start))
		require.Equal(t, 3, attempts)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualValues(t, 10, out.Failed)
		require.ErrorIs(t, out.Err, context.DeadlineExceeded)
		require.ErrorContains(t, out.Err, "(3 attempts in 30s); gave up: context deadline exceeded")
	})
}

func TestHTTPDeadlineIsNow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := delivery.Outcome{Items: 10}
	req, _ := http.NewRequestWithContext(delivery.WithOutcome(ctx, &out), http.MethodPost, traces,
		strings.NewReader("x"))
	_, err := delivery.New(delivery.Config{}).Transport(roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("attempted")
		return nil, io.EOF
	})).RoundTrip(req)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 10, out.Failed)
	require.EqualError(t, out.Err, "http://collector:4318/v1/traces: not attempted: context canceled")
}

// A redirect is not followed, whatever the client would do.
func TestHTTPRedirects(t *testing.T) {
	arrived := 0
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived++ }))
	defer target.Close()
	status := 0
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.URL+"/elsewhere?secret=1", status)
	}))
	defer origin.Close()
	send := func() (delivery.Outcome, error) {
		endpoint := delivery.New(delivery.Config{Gzip: true})
		pool := endpoint.NewTransport(nil, 1)
		defer pool.CloseIdleConnections()
		client := http.Client{Transport: endpoint.Transport(pool)}
		out := delivery.Outcome{Items: 10}
		req, _ := http.NewRequestWithContext(delivery.WithOutcome(t.Context(), &out), http.MethodPost,
			origin.URL+"/v1/traces", bytes.NewReader([]byte("0123456789")))
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return out, err
	}
	for _, status = range []int{301, 302, 303, 307, 308} {
		out, err := send()
		require.Error(t, err)
		require.EqualValues(t, 10, out.Failed)
		require.ErrorContains(t, out.Err, "redirects to "+target.URL+"/elsewhere: set the endpoint to that")
	}
	require.Zero(t, arrived)
}

// An answer that is cut after its status is an answer: the server has the spans.
func TestHTTPCutAnswerIsNotSentAgain(t *testing.T) {
	attempts := 0
	_, out, err := post(t.Context(), delivery.Config{}, func(r *http.Request) (*http.Response, error) {
		attempts++
		resp := response(r, 200, "application/x-protobuf", "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("\x0a"), errReader{}))
		return resp, nil
	})
	require.NoError(t, err)
	require.Equal(t, 1, attempts)
	require.EqualValues(t, 10, out.Exported)
	require.ErrorContains(t, out.Err, "the server took the request, but its answer cannot be read: unexpected EOF")
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestHTTPUnreadableBody(t *testing.T) {
	for _, gzip := range []bool{true, false} {
		req := &http.Request{Method: http.MethodPost, URL: &url.URL{}, Header: http.Header{},
			Body: io.NopCloser(errReader{})}
		_, err := delivery.New(delivery.Config{Gzip: gzip}).Transport(roundTrip(nil)).RoundTrip(req)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}
