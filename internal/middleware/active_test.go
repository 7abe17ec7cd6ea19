package middleware

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// measured is a guard with metrics.
type measured struct {
	guard
	meters metric.MeterProvider
}

func (m measured) MeterProvider() metric.MeterProvider { return m.meters }

// Handlers of one provider are added up, whether they share the counts or have their own. Those that
// share them have one callback, so a service may make a handler for each request.
func TestActiveRequestsOfAllHandlers(t *testing.T) {
	for name, shared := range map[string]*ActiveRequests{"shared": new(ActiveRequests), "each its own": nil} {
		t.Run(name, func(t *testing.T) {
			reader := sdkmetric.NewManualReader()
			meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
			edge := Edge{Active: shared, Source: measured{guard{sdktrace.NewTracerProvider()}, meters}}
			requireActive := func(want int64) {
				t.Helper()
				var collected metricdata.ResourceMetrics
				require.NoError(t, reader.Collect(t.Context(), &collected))
				all := collected.ScopeMetrics[0].Metrics
				at := slices.IndexFunc(all, func(m metricdata.Metrics) bool { return m.Name == "http.server.active_requests" })
				require.GreaterOrEqual(t, at, 0)
				points := all[at].Data.(metricdata.Sum[int64]).DataPoints
				require.Len(t, points, 1)
				require.Equal(t, want, points[0].Value)
			}
			serve := func(during http.HandlerFunc) {
				NewHandler(during, HandlerConfig{Edge: edge}).
					ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
			}
			serve(func(http.ResponseWriter, *http.Request) {
				serve(func(http.ResponseWriter, *http.Request) { requireActive(2) })
				requireActive(1)
			})
			requireActive(0)
		})
	}
}

func TestActiveRequestsFollowTheProvider(t *testing.T) {
	first, second := sdkmetric.NewMeterProvider(), sdkmetric.NewMeterProvider()
	var active ActiveRequests
	counts := active.under(first)
	require.Same(t, counts, active.under(first))
	require.NotSame(t, counts, active.under(second))
	require.NotSame(t, active.under(uncomparable{MeterProvider: first}), active.under(uncomparable{MeterProvider: first}))
}

// uncomparable is a provider that cannot be compared.
type uncomparable struct {
	metric.MeterProvider
	_ []int
}
