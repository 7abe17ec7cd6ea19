package sink

import (
	"testing"

	"github.com/stretchr/testify/require"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestCountItems(t *testing.T) {
	resource := &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{Key: "service.name"}}}
	scope := &commonpb.InstrumentationScope{Name: "scope", Version: "1"}
	spans := func(n int) *tracepb.ScopeSpans {
		s := &tracepb.ScopeSpans{Scope: scope, SchemaUrl: "https://example.org"}
		for range n {
			s.Spans = append(s.Spans, &tracepb.Span{Name: "GET", Kind: 2, StartTimeUnixNano: 7})
		}
		return s
	}
	traces, err := proto.Marshal(&collectortrace.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{
		{Resource: resource, ScopeSpans: []*tracepb.ScopeSpans{spans(3), spans(0), spans(4)},
			SchemaUrl: "https://example.org"},
		{ScopeSpans: []*tracepb.ScopeSpans{spans(1)}},
	}})
	require.NoError(t, err)
	require.EqualValues(t, 8, countItems(traces))

	logs, err := proto.Marshal(&collectorlogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{
		{Resource: resource, ScopeLogs: []*logspb.ScopeLogs{{Scope: scope,
			LogRecords: []*logspb.LogRecord{{}, {SeverityNumber: 9}}}}},
	}})
	require.NoError(t, err)
	require.EqualValues(t, 2, countItems(logs))

	require.Zero(t, countItems(nil))
	for cut := range traces {
		require.LessOrEqual(t, countItems(traces[:cut]), int64(8), "what is cut short must not do harm")
	}
}
