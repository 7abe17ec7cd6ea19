package delivery_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/spool"
)

// What the transport says about a stream is no verdict of the collector: the request is sent again.
// Over HTTP/2 the same.
func TestTransportErrorsAreRetried(t *testing.T) {
	type fault struct {
		name   string
		only   string // protocol, or both
		answer func(s *h2stream)
	}
	var faults []fault
	for code := http2.ErrCodeNo; code <= http2.ErrCodeHTTP11Required+1; code++ {
		if code == http2.ErrCodeHTTP11Required {
			// It asks net/http for another protocol, which the server does not speak.
			faults = append(faults, fault{code.String(), "grpc", func(s *h2stream) { s.reset(code) }})
			continue
		}
		faults = append(faults, fault{code.String(), "", func(s *h2stream) { s.reset(code) }})
	}
	faults = append(faults,
		fault{"reset after headers", "grpc", func(s *h2stream) {
			s.headers(false, ":status= 200", grpcMedia)
			s.reset(http2.ErrCodeInternal)
		}},
		fault{"reset after a message", "grpc", func(s *h2stream) {
			s.headers(false, ":status= 200", grpcMedia)
			s.data(false, grpcFrame(nil, 0))
			s.reset(http2.ErrCodeInternal)
		}},
		fault{"no trailers", "grpc", func(s *h2stream) {
			s.headers(false, ":status= 200", grpcMedia)
			s.data(true, grpcFrame(nil, 0))
		}},
		fault{"no trailers, half a message", "grpc", func(s *h2stream) {
			s.headers(false, ":status= 200", grpcMedia)
			s.data(true, grpcFrame([]byte{1, 2}, 9))
		}},
		fault{"nothing", "", func(s *h2stream) { s.data(true, nil) }},
		fault{"trailers without status", "grpc", func(s *h2stream) { s.headers(true, ":status= 200", grpcMedia) }},
		fault{"a status of 999", "grpc",
			func(s *h2stream) { s.headers(true, ":status= 200", grpcMedia, "grpc-status= 999") }},
		fault{"a negative status", "grpc",
			func(s *h2stream) { s.headers(true, ":status= 200", grpcMedia, "grpc-status= -1") }},
		fault{"no number for a status", "grpc",
			func(s *h2stream) { s.headers(true, ":status= 200", grpcMedia, "grpc-status= fine") }},
		fault{"no :status", "", func(s *h2stream) { s.headers(true, "server= x") }},
		fault{"a header of 2 MiB", "grpc", func(s *h2stream) {
			s.headers(true, ":status= 200", grpcMedia, "grpc-status= 3", "grpc-message= "+strings.Repeat("x", 2<<20))
		}},
		fault{"connection closed", "", func(s *h2stream) { _ = s.conn.Close() }},
		fault{"go away", "", func(s *h2stream) {
			_ = s.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
			_ = s.conn.Close()
		}},
	)
	for _, protocol := range []string{"grpc", "http"} {
		for _, f := range faults {
			if f.only != "" && f.only != protocol {
				continue
			}
			t.Run(protocol+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				for _, signal := range []string{"traces", "metrics", "logs"} {
					var failed atomic.Bool
					_, send := newSender(t, protocol, delivery.Config{}, func(s *h2stream) {
						if !failed.Swap(true) {
							f.answer(s)
							return
						}
						s.ok(protocol)
					})
					out := send(soon(t), signal)
					require.EqualValues(t, 10, out.Exported, "%s: %v", signal, out.Err)
					require.True(t, failed.Load())
				}
			})
		}
	}
}

// What is retried without end is given up with the transport's words, and not as an answer.
func TestTransportErrorsAreNamed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(s *h2stream)
		want   string
	}{
		"reset": {func(s *h2stream) { s.reset(http2.ErrCodeInadequateSecurity) },
			"stream terminated by RST_STREAM with error code: INADEQUATE_SECURITY"},
		"status": {func(s *h2stream) {
			s.headers(true, ":status= 200", grpcMedia, "grpc-status= 999", "grpc-message= what")
		}, "the answer has an unknown status: 999: what"},
		"none": {func(s *h2stream) { s.headers(true, ":status= 200", grpcMedia) }, "the answer has no status"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, send := newSender(t, "grpc", delivery.Config{}, tt.answer)
			out := send(expired(t, 3*time.Second), "traces")
			require.EqualValues(t, 10, out.Failed)
			require.ErrorContains(t, out.Err, tt.want)
			require.ErrorContains(t, out.Err, "gave up: context deadline exceeded")
		})
	}
}

// An HTTP status is an answer, also where gRPC was expected.
func TestHTTPStatusesOverGRPC(t *testing.T) {
	t.Parallel()
	for status, verdict := range map[int]string{200: "failed", 301: "failed", 400: "failed", 401: "failed",
		404: "failed", 413: "large", 500: "failed", 503: "retried"} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			_, send := newSender(t, "grpc", delivery.Config{}, func(s *h2stream) {
				if asked.Add(1) > 1 {
					s.ok("grpc")
					return
				}
				s.headers(false, fmt.Sprintf(":status= %d", status), "content-type= text/html")
				s.data(true, []byte("<html>hello"))
			})
			out := send(soon(t), "traces")
			require.Equal(t, verdict, map[bool]string{out.Exported == 10: "retried", out.Failed == 10: "failed",
				out.TooLarge: "large"}[true], "%v", out.Err)
		})
	}
}

// A server that has taken the request may say so in a way that cannot be read. It must not get the
// request again, nor in halves.
func TestUnreadableAnswerIsASuccess(t *testing.T) {
	large := make([]byte, 5<<20)
	var bomb bytes.Buffer
	zw := gzip.NewWriter(&bomb)
	_, _ = zw.Write(large)
	_ = zw.Close()
	compressed := func(message []byte) []byte {
		frame := grpcFrame(message, len(message))
		frame[0] = 1
		return frame
	}
	answer := func(body []byte, fields ...string) func(*h2stream) {
		return func(s *h2stream) {
			s.headers(false, append([]string{":status= 200", grpcMedia}, fields...)...)
			s.data(false, body)
			s.headers(true, "grpc-status= 0")
		}
	}
	httpAnswer := func(media string, body []byte) func(*h2stream) {
		return func(s *h2stream) {
			s.headers(false, ":status= 200", "content-type= "+media)
			s.data(true, body)
		}
	}
	whole := encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: 3}})
	for _, tt := range []struct {
		name, protocol string
		answer         func(s *h2stream)
		want           string // of the warning
	}{
		{"5 MiB", "grpc", answer(grpcFrame(large[:1<<15], 5<<20)), "larger than max (5242880 vs. 1048571)"},
		{"one byte past 1 MiB", "grpc", answer(grpcFrame(large[:1<<15], 1<<20-4)),
			"larger than max (1048572 vs. 1048571)"},
		{"2 GiB", "grpc", answer(grpcFrame(nil, 1<<31-1)), "larger than max"},
		{"a bomb", "grpc", answer(compressed(bomb.Bytes()), "grpc-encoding= gzip"),
			"after decompression larger than max"},
		{"broken gzip", "grpc", answer(compressed([]byte("no gzip")), "grpc-encoding= gzip"), "decompress"},
		{"unknown compression", "grpc", answer(compressed([]byte("x")), "grpc-encoding= zstd"),
			"Decompressor is not installed"},
		{"garbage", "grpc", answer(grpcFrame([]byte("\xff\xff\xff"), 3)), "cannot parse"},
		{"no message", "grpc", answer(nil), "no response message"},
		{"no message, no headers", "grpc",
			func(s *h2stream) { s.headers(true, ":status= 200", grpcMedia, "grpc-status= 0") }, "no response message"},
		{"two messages", "grpc", answer(append(grpcFrame(nil, 0), grpcFrame(nil, 0)...)), "another message"},
		{"half a message", "grpc", answer(grpcFrame([]byte(whole)[:3], len(whole))), "unexpected EOF"},
		{"5 MiB", "http", httpAnswer("application/x-protobuf", large[:1<<15]), "cannot parse"},
		{"half a message", "http", httpAnswer("application/x-protobuf", []byte(whole)[:3]), "cannot parse"},
		{"broken JSON", "http", httpAnswer("application/json", []byte("{")), "unexpected end of JSON input"},
		{"no body of JSON", "http", httpAnswer("application/json", nil), ""},
		{"reset in the body", "http", func(s *h2stream) {
			s.headers(false, ":status= 200", "content-type= application/x-protobuf")
			s.reset(http2.ErrCodeInternal)
		}, "INTERNAL_ERROR"},
	} {
		t.Run(tt.protocol+"/"+tt.name, func(t *testing.T) {
			t.Parallel()
			server, send := newSender(t, tt.protocol, delivery.Config{}, tt.answer)
			for _, signal := range []string{"traces", "metrics", "logs"} {
				out := send(soon(t), signal)
				require.False(t, out.TooLarge, "%v", out.Err)
				require.EqualValues(t, 10, out.Exported, "%v", out.Err)
				if tt.want == "" {
					require.NoError(t, out.Err)
					continue
				}
				require.ErrorContains(t, out.Err, "the server took the request, but its answer cannot be read: ")
				require.ErrorContains(t, out.Err, tt.want)
			}
			requests, _ := server.counts()
			require.Equal(t, 3, requests, "none was sent again")
		})
	}
}

// The server's words about a request that is too large for it are its own, whether it has sent
// headers or not.
func TestServersLimitIsNotOurs(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{false, true} {
		_, send := newSender(t, "grpc", delivery.Config{}, func(s *h2stream) {
			fields := []string{":status= 200", grpcMedia}
			if early {
				s.headers(false, fields...)
				fields = nil
			}
			s.headers(true, append(fields, "grpc-status= 8",
				"grpc-message= grpc: received message larger than max (5000000 vs. 4194304)")...)
		})
		out := send(soon(t), "traces")
		require.True(t, out.TooLarge, "%v", out.Err)
	}
}

// A status after a message that cannot be read is still the verdict.
func TestStatusBehindGarbageCounts(t *testing.T) {
	t.Parallel()
	server, send := newSender(t, "grpc", delivery.Config{}, func(s *h2stream) {
		s.headers(false, ":status= 200", grpcMedia)
		s.data(false, grpcFrame([]byte("\xff\xff\xff"), 3))
		s.headers(true, "grpc-status= 3", "grpc-message= bad span")
	})
	out := send(soon(t), "traces")
	require.EqualValues(t, 10, out.Failed)
	require.ErrorContains(t, out.Err, "InvalidArgument: bad span")
	requests, _ := server.counts()
	require.Equal(t, 1, requests)
}

// An answer of exactly 1 MiB, with the length before it, is read.
func TestGRPCAnswerAtTheBound(t *testing.T) {
	t.Parallel()
	for size, rejected := range map[int]int64{1<<20 - 5: 3, 1<<20 - 4: 0} {
		var answer coltracepb.ExportTraceServiceResponse
		require.NoError(t, proto.Unmarshal([]byte(answerOf(t, size)), &answer))
		srv := newServer(t, "grpc")
		srv.answer = func(int) fault {
			return fault{rejected: 3,
				message: answer.GetPartialSuccess().GetErrorMessage()}
		}
		srv.up()
		out := grpcSender(t, delivery.New(delivery.Config{}), srv.addr)(soon(t), "traces")
		require.Equal(t, rejected, out.Rejected, "%v", out.Err)
		require.Equal(t, 10-rejected, out.Exported)
	}
}

// The same answers as over HTTP wait on disk.
func TestHTTPStatusesOverGRPCAreSpooled(t *testing.T) {
	t.Parallel()
	for status, kept := range map[int]bool{301: true, 400: false, 401: true, 403: true, 404: true, 405: true, 407: true,
		500: false} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			store, err := spool.Open(spool.Config{Dir: t.TempDir(), MaxBytes: 1 << 20})
			require.NoError(t, err)
			defer store.Close()
			e := delivery.New(delivery.Config{Spool: store})
			s := serveH2(t, nil, func(s *h2stream) {
				s.headers(true, fmt.Sprintf(":status= %d", status),
					"content-type= text/plain")
			})
			conn, err := e.GRPCConn(s.addr, insecure.NewCredentials())
			require.NoError(t, err)
			defer conn.Close() // nothing is under way
			out := delivery.Outcome{Items: 1}
			_ = conn.Invoke(delivery.WithOutcome(soon(t), &out), traceMethod, oneSpan(),
				&coltracepb.ExportTraceServiceResponse{})
			require.Equal(t, kept, out.Spooled == 1, "%v", out.Err)
			require.Equal(t, !kept, out.Failed == 1, "%v", out.Err)
		})
	}
}

func oneSpan() *coltracepb.ExportTraceServiceRequest {
	return &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{Name: "a"}}}}}}}
}
