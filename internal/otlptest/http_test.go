package otlptest_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/signal"
)

// post sends a body over a connection of its own, and returns the response with the message of its
// google.rpc.Status.
func post(t *testing.T, url, encoding string, body []byte) (*http.Response, string) {
	t.Helper()
	return do(t, http.MethodPost, url, "application/x-protobuf", encoding, body)
}

func do(t *testing.T, method, url, contentType, encoding string, body []byte) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(soon(t), method, url, bytes.NewReader(body))
	require.NoError(t, err)
	request.Close = true
	request.Header.Set("Content-Type", contentType)
	if encoding != "" {
		request.Header.Set("Content-Encoding", encoding)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "application/x-protobuf", response.Header.Get("Content-Type"))
	if response.StatusCode == http.StatusOK {
		return response, ""
	}
	var st status.Status
	require.NoError(t, proto.Unmarshal(answer, &st))
	return response, st.GetMessage()
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	body, err := proto.Marshal(m)
	require.NoError(t, err)
	return body
}

func gzipped(t *testing.T, body []byte) []byte {
	t.Helper()
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, err := w.Write(body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return compressed.Bytes()
}

func oneSpan(s *tracepb.Span) *collectortrace.ExportTraceServiceRequest {
	return &collectortrace.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{s}}},
	}}}
}

func TestHTTPAnswersAsTheSpecificationSays(t *testing.T) {
	valid := marshal(t, oneSpan(&tracepb.Span{Name: "a"}))
	const protobuf = "application/x-protobuf"
	for name, tc := range map[string]struct {
		method, path, contentType, encoding string
		body                                []byte
		want                                int
		message                             string
		signal                              otlptest.Signal
	}{
		"valid": {"POST", "/v1/traces", protobuf, "", valid, 200, "", otlptest.Traces},
		"empty": {"POST", "/v1/logs", protobuf, "", nil, 200, "", otlptest.Logs},
		"parameters": {"POST", "/v1/traces", protobuf + "; charset=utf-8", "", valid, 200, "",
			otlptest.Traces},
		"identity":        {"POST", "/v1/traces", protobuf, "identity", valid, 200, "", otlptest.Traces},
		"gzip":            {"POST", "/v1/traces", protobuf, "gzip", gzipped(t, valid), 200, "", otlptest.Traces},
		"behind a prefix": {"POST", "/tenants/7/v1/metrics", protobuf, "", nil, 200, "", otlptest.Metrics},
		"unknown path":    {"POST", "/v2/traces", protobuf, "", valid, 404, "/v2/traces", signal.None},
		"base path":       {"POST", "/", protobuf, "", valid, 404, "no OTLP endpoint at /", signal.None},
		"get":             {"GET", "/v1/traces", protobuf, "", nil, 405, "GET", otlptest.Traces},
		"json": {"POST", "/v1/traces", "application/json", "", []byte("{}"), 415, "application/json",
			otlptest.Traces},
		"no content type":  {"POST", "/v1/traces", "", "", valid, 415, "content type", otlptest.Traces},
		"unknown encoding": {"POST", "/v1/traces", protobuf, "zstd", valid, 415, "zstd", otlptest.Traces},
		"not gzip":         {"POST", "/v1/traces", protobuf, "gzip", valid, 400, "decompressing", otlptest.Traces},
		"gzip without its tail": {"POST", "/v1/traces", protobuf, "gzip", gzipped(t, valid)[:20], 400, "decompressing",
			otlptest.Traces},
		"not protobuf": {"POST", "/v1/traces", protobuf, "", []byte("\xff"), 400, "decoding", otlptest.Traces},
	} {
		t.Run(name, func(t *testing.T) {
			c := otlptest.New(t)
			response, message := do(t, tc.method, c.HTTPEndpoint()+tc.path, tc.contentType, tc.encoding, tc.body)
			require.Equal(t, tc.want, response.StatusCode)
			require.Contains(t, message, tc.message)
			require.Equal(t, tc.want == 405, response.Header.Get("Allow") == "POST")
			arrived := append(c.Requests(), c.Probes()...)
			require.Len(t, arrived, 1)
			r := arrived[0]
			require.Equal(t, tc.want == 200, r.Accepted)
			require.Equal(t, tc.signal, r.Signal)
			require.Equal(t, tc.path, r.Path)
			require.Equal(t, len(tc.body), r.Bytes, "on the wire")
			require.Len(t, c.Spans(), r.Items)
			if r.Accepted && r.Signal == otlptest.Traces {
				require.Equal(t, 1, r.Items)
			}
		})
	}
}

func TestMaxRequestBytesOverHTTP(t *testing.T) {
	body := marshal(t, oneSpan(&tracepb.Span{Name: "a span with a name that gzip makes shorter: " +
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}))
	c := otlptest.New(t, otlptest.WithMaxRequestBytes(len(body)))
	url := c.HTTPEndpoint() + "/v1/traces"
	response, _ := post(t, url, "", body)
	require.Equal(t, http.StatusOK, response.StatusCode, "at the limit")

	c.SetMaxRequestBytes(len(body) - 1)
	compressed := gzipped(t, body)
	require.Less(t, len(compressed), len(body)-1)
	for encoding, sent := range map[string][]byte{"": body, "gzip": compressed} {
		response, message := post(t, url, encoding, sent)
		require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
		require.Contains(t, message, "larger than")
	}
	require.Len(t, c.Spans(), 1)
	require.Len(t, c.Requests(), 3)

	c.SetMaxRequestBytes(0)
	response, _ = post(t, url, "", body)
	require.Equal(t, http.StatusOK, response.StatusCode, "no limit")
}

// TestDecodingOfWhatTheExportersNeverSend covers the rest of the data model.
func TestDecodingOfWhatTheExportersNeverSend(t *testing.T) {
	c := otlptest.New(t)
	response, _ := post(t, c.HTTPEndpoint()+"/v1/traces", "", marshal(t, oneSpan(&tracepb.Span{
		Links: []*tracepb.Span_Link{{TraceState: "a=b"}},
		Attributes: []*commonpb.KeyValue{
			{Key: "empty", Value: &commonpb.AnyValue{}},
			{Key: "missing"},
			{Key: "bytes", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte{0, 1}}}},
			{Key: "map", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{
				Values: []*commonpb.KeyValue{{Key: "k",
					Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}}}},
			}}}},
		},
	})))
	require.Equal(t, http.StatusOK, response.StatusCode)
	s := c.Spans()[0]
	require.Equal(t, map[string]any{"empty": nil, "missing": nil, "bytes": []byte{0, 1},
		"map": map[string]any{"k": true}}, s.Attributes)
	require.Equal(t, "a=b", s.Links[0].TraceState)
	require.Equal(t, "unspecified", s.Kind)
	require.Equal(t, otlptest.Status{Code: "unset"}, s.Status)
	require.Empty(t, s.ParentSpanID)
	require.True(t, s.Start.IsZero())
	require.Empty(t, s.Resource)
}
