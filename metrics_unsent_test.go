package telemetry_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

var deltaMetrics = map[string]string{
	"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE":        "delta",
	"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
	"OTEL_METRIC_EXPORT_INTERVAL":                              "100", "OTEL_METRIC_EXPORT_TIMEOUT": "1000",
	"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
}

func deltaGuard(t *testing.T, c *otlptest.Collector, protocol telemetry.Protocol, env map[string]string) *telemetry.Guard {
	t.Helper()
	all := map[string]string{endpointVariable: c.Endpoint(string(protocol)), protocolVariable: string(protocol)}
	for _, variables := range []map[string]string{deltaMetrics, env} {
		for name, value := range variables {
			all[name] = value
		}
	}
	guard, _ := inEnvironment(t, all)
	return guard
}

var unavailable = otlptest.Fault{HTTPStatus: http.StatusServiceUnavailable, GRPCCode: codes.Unavailable}

// Every increment arrives once, although three outages outlast the time of an export many times over. Each request
// arrives as it was, in order, with its own interval.
func TestDeltasOutliveOutages(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			guard := deltaGuard(t, c, protocol, nil)
			meter := guard.MeterProvider().Meter("test")
			counter, err := meter.Int64Counter("orders")
			require.NoError(t, err)
			histogram, err := meter.Float64Histogram("duration")
			require.NoError(t, err)
			total := 0
			load := func(d time.Duration) {
				for end := time.Now().Add(d); time.Now().Before(end); total++ {
					of := metric.WithAttributes(attribute.Int("shard", total%3))
					counter.Add(t.Context(), 1, of)
					histogram.Record(t.Context(), float64(total%100), of)
					time.Sleep(time.Millisecond)
				}
			}
			for range 3 {
				load(200 * time.Millisecond)
				c.SetFault(unavailable)
				load(2500 * time.Millisecond)
				c.SetFault(otlptest.Fault{})
			}
			load(200 * time.Millisecond)
			require.NoError(t, guard.Shutdown(t.Context()))

			var counted, recorded int
			ends := map[string]time.Time{}
			for _, m := range c.Metrics() {
				for _, p := range m.Points {
					series := fmt.Sprint(m.Name, p.Attributes["shard"])
					switch m.Name {
					case "orders":
						counted += int(p.Value)
					case "duration":
						recorded += int(p.Count)
					default:
						continue
					}
					require.False(t, p.Start.Before(ends[series]), "%s: an interval is there twice, or out of order", series)
					ends[series] = p.Time
				}
			}
			require.Equal(t, total, counted)
			require.Equal(t, total, recorded)
			require.Zero(t, guard.Health().Metrics.Lost())
			requireBooks(t, guard)
		})
	}
}

// What waits at the end of a Shutdown is lost, named and counted.
func TestDeltasThatNeverArriveAreCounted(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			guard := deltaGuard(t, c, protocol, map[string]string{"OTEL_METRIC_EXPORT_INTERVAL": "3600000", "OTEL_METRIC_EXPORT_TIMEOUT": "200"})
			counter, err := guard.MeterProvider().Meter("test").Int64Counter("orders")
			require.NoError(t, err)
			c.SetFault(unavailable)
			for range 3 {
				counter.Add(t.Context(), 1)
				require.Regexp(t, `data points? not delivered: .*(503|Unavailable)`, guard.ForceFlush(soon(t)).Error())
			}
			require.EqualValues(t, 3, guard.Health().Metrics.Queued)
			require.Zero(t, guard.Health().Metrics.Lost())
			counter.Add(t.Context(), 1)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			require.Regexp(t, `4 data points .*(503|Unavailable)`, guard.Shutdown(ctx).Error())
			require.EqualValues(t, 4, guard.Health().Metrics.Failed)
			requireBooks(t, guard)
		})
	}
}

// What the collector refuses is not tried again, and cumulative points are not kept: the next ones hold their sum.
func TestOnlyDeltasThatMayArriveAreKept(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		temporality string
		fault       otlptest.Fault
	}{
		"refused":    {"delta", otlptest.Fault{HTTPStatus: http.StatusBadRequest, GRPCCode: codes.InvalidArgument}},
		"cumulative": {"cumulative", unavailable},
	} {
		for _, protocol := range protocols {
			t.Run(name+" "+string(protocol), func(t *testing.T) {
				t.Parallel()
				c := otlptest.New(t)
				guard := deltaGuard(t, c, protocol, map[string]string{
					"OTEL_METRIC_EXPORT_INTERVAL": "3600000", "OTEL_METRIC_EXPORT_TIMEOUT": "200", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": tt.temporality,
				})
				counter, err := guard.MeterProvider().Meter("test").Int64Counter("orders")
				require.NoError(t, err)
				c.SetFault(tt.fault)
				counter.Add(t.Context(), 1)
				require.ErrorContains(t, guard.ForceFlush(soon(t)), "1 data point not delivered")
				require.Zero(t, guard.Health().Metrics.Queued)
				require.EqualValues(t, 1, guard.Health().Metrics.Lost())
				c.SetFault(otlptest.Fault{})
				require.NoError(t, guard.Shutdown(t.Context()))
			})
		}
	}
}

// soon has a deadline, so that it is not the exports' own.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
