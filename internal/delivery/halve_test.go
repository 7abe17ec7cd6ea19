package delivery_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// What is spooled and then turns out too large is halved, whatever the signal, and nothing of it
// gets lost, doubled or out of its resource and scope.
func TestSpooledRequestsOfEverySignalAreHalved(t *testing.T) {
	point := func(at uint64) *metricspb.NumberDataPoint { return &metricspb.NumberDataPoint{TimeUnixNano: at} }
	metric := func(name string, data any) *metricspb.Metric {
		m := &metricspb.Metric{Name: name}
		switch d := data.(type) {
		case *metricspb.Gauge:
			m.Data = &metricspb.Metric_Gauge{Gauge: d}
		case *metricspb.Sum:
			m.Data = &metricspb.Metric_Sum{Sum: d}
		case *metricspb.Histogram:
			m.Data = &metricspb.Metric_Histogram{Histogram: d}
		case *metricspb.ExponentialHistogram:
			m.Data = &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: d}
		case *metricspb.Summary:
			m.Data = &metricspb.Metric_Summary{Summary: d}
		}
		return m
	}
	points := &colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{ScopeMetrics: []*metricspb.ScopeMetrics{{
		Scope: &commonpb.InstrumentationScope{Name: "scope"},
		Metrics: []*metricspb.Metric{
			metric("gauge", &metricspb.Gauge{DataPoints: []*metricspb.NumberDataPoint{point(1), point(2), point(3)}}),
			metric("sum", &metricspb.Sum{IsMonotonic: true, DataPoints: []*metricspb.NumberDataPoint{point(4)}}),
			metric("histogram", &metricspb.Histogram{DataPoints: []*metricspb.HistogramDataPoint{{TimeUnixNano: 5},
				{TimeUnixNano: 6}}}),
			metric("exponential", &metricspb.ExponentialHistogram{DataPoints: []*metricspb.ExponentialHistogramDataPoint{{TimeUnixNano: 7}}}),
			metric("summary", &metricspb.Summary{DataPoints: []*metricspb.SummaryDataPoint{{TimeUnixNano: 8},
				{TimeUnixNano: 9}}}),
		},
	}}}}}
	records := &collogspb.ExportLogsServiceRequest{}
	for _, text := range []string{"a", "b", "c"} {
		records.ResourceLogs = append(records.ResourceLogs,
			&logspb.ResourceLogs{SchemaUrl: text, ScopeLogs: []*logspb.ScopeLogs{
				{Scope: &commonpb.InstrumentationScope{Name: "scope"},
					LogRecords: []*logspb.LogRecord{{SeverityText: text + "1"}, {SeverityText: text + "2"},
						{SeverityText: text + "3"}}},
			}})
	}
	for _, tt := range []struct {
		signal signal.Signal
		msg    proto.Message
		read   func(body []byte) []string
		want   string
	}{
		{signal.Metrics, points, pointsIn,
			"gauge1 gauge2 gauge3 sum4 histogram5 histogram6 exponential7 summary8 summary9"},
		{signal.Logs, records, recordsIn, "aa1 aa2 aa3 bb1 bb2 bb3 cc1 cc2 cc3"},
	} {
		t.Run(tt.signal.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := spool.Open(spool.Config{Dir: t.TempDir(), MaxBytes: 1 << 20})
				require.NoError(t, err)
				body, err := proto.Marshal(tt.msg)
				require.NoError(t, err)
				var packed bytes.Buffer
				zw := gzip.NewWriter(&packed)
				_, _ = zw.Write(body)
				_ = zw.Close()
				require.NoError(t, store.Put(spool.Request{Signal: tt.signal, Items: 9, Plain: int64(len(body)),
					Gzip: packed.Bytes()}))

				var got []string
				client := &http.Client{Transport: delivery.New(delivery.Config{Spool: store}).Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
					body, _ := io.ReadAll(r.Body)
					items := tt.read(body)
					if len(items) > 2 || slices.Contains(items, "summary9") && len(items) > 1 {
						return response(r, 413, "", ""), nil
					}
					got = append(got, items...)
					return ok(r)
				}))}
				replay := delivery.Replay(store, tt.signal,
					delivery.HTTPSender(client, "http://c/any/path", nil, false))
				time.Sleep(time.Minute)
				replay.Close(context.Background())
				store.Close()
				require.Equal(t, tt.want, strings.Join(got, " "))
				b := store.Snapshot(tt.signal)
				require.Equal(t, []int64{9, 9, 0}, []int64{b.Added, b.Exported, b.Held})
			})
		})
	}
}

func pointsIn(body []byte) []string {
	var req colmetricspb.ExportMetricsServiceRequest
	_ = proto.Unmarshal(body, &req)
	var all []string
	for _, m := range req.GetResourceMetrics()[0].GetScopeMetrics()[0].GetMetrics() {
		add := func(at uint64) { all = append(all, m.GetName()+string(rune('0'+at))) }
		for _, p := range append(m.GetGauge().GetDataPoints(), m.GetSum().GetDataPoints()...) {
			add(p.GetTimeUnixNano())
		}
		for _, p := range m.GetHistogram().GetDataPoints() {
			add(p.GetTimeUnixNano())
		}
		for _, p := range m.GetExponentialHistogram().GetDataPoints() {
			add(p.GetTimeUnixNano())
		}
		for _, p := range m.GetSummary().GetDataPoints() {
			add(p.GetTimeUnixNano())
		}
	}
	return all
}

func recordsIn(body []byte) []string {
	var req collogspb.ExportLogsServiceRequest
	_ = proto.Unmarshal(body, &req)
	var all []string
	for _, rl := range req.GetResourceLogs() {
		for _, r := range rl.GetScopeLogs()[0].GetLogRecords() {
			all = append(all, rl.GetSchemaUrl()+r.GetSeverityText())
		}
	}
	return all
}
