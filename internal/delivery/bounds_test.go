package delivery_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"

	"github.com/fleetotel/telemetry/internal/delivery"
)

// answerOf is a partial success of exactly that many bytes.
func answerOf(t *testing.T, size int) string {
	t.Helper()
	partial := &coltracepb.ExportTracePartialSuccess{RejectedSpans: 3, ErrorMessage: strings.Repeat("x", size-20)}
	for len(encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: partial})) < size {
		partial.ErrorMessage += "x"
	}
	answer := encode(&coltracepb.ExportTraceServiceResponse{PartialSuccess: partial})
	require.Len(t, answer, size)
	return answer
}

// A server may answer without end.
func TestAnswerAtTheBoundAndOnePastIt(t *testing.T) {
	for size, rejected := range map[int]int64{1 << 20: 3, 1<<20 + 1: 0} {
		answer := answerOf(t, size)
		_, out, _ := post(t.Context(), delivery.Config{}, func(r *http.Request) (*http.Response, error) {
			return response(r, 200, "application/x-protobuf", answer), nil
		})
		require.Equal(t, rejected, out.Rejected, "%d bytes", size)
		require.Equal(t, 10-rejected, out.Exported, "a success is a success, whatever follows")
		if rejected == 0 {
			require.ErrorContains(t, out.Err, "its answer cannot be read: it is larger than 1048576 bytes")
		}
	}

	endless := &counted{}
	_, out, err := post(t.Context(), delivery.Config{}, func(r *http.Request) (*http.Response, error) {
		resp := response(r, 200, "application/x-protobuf", "")
		resp.Body = io.NopCloser(endless)
		return resp, nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 10, out.Exported)
	require.LessOrEqual(t, endless.read, 2<<20)
}

type counted struct{ read int }

func (c *counted) Read(p []byte) (int, error) {
	c.read += len(p)
	return len(p), nil
}
