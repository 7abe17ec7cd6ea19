package pipeline

import (
	"strings"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
)

// conventions are the bounds that the semantic conventions ask of their own histograms, all in
// seconds (http/http-metrics.md, rpc/rpc-metrics.md, messaging/messaging-metrics.md,
// database/database-metrics.md). The bounds of the connection pool are those of the operations that
// wait for it. Names are in lower case.
var conventions = map[string][]float64{
	"http.server.request.duration":        requests,
	"http.client.request.duration":        requests,
	"rpc.server.call.duration":            requests,
	"rpc.client.call.duration":            requests,
	"rpc.server.duration":                 requests, // until version 1.38 of the conventions
	"rpc.client.duration":                 requests,
	"messaging.client.operation.duration": requests,
	"messaging.process.duration":          requests,
	"db.client.operation.duration":        queries,
	"db.client.connection.create_time":    queries,
	"db.client.connection.wait_time":      queries,
	"db.client.connection.use_time":       queries,
}

var (
	requests = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	queries  = []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}
	// seconds range from a lookup in memory to a batch job.
	seconds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}
	// bytes have a separate bucket for zero, such as the body of a GET. Each further bound is four
	// times the one before, up to 1 GiB.
	bytes = []float64{
		0, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20,
		1 << 30,
	}
)

// boundsOf returns the bounds of a histogram whose instrument gives no advice, or nil for the SDK's
// own.
func boundsOf(name, unit string) []float64 {
	switch unit {
	case "s":
		if bounds, ok := conventions[strings.ToLower(name)]; ok { // instrument names are not case-sensitive
			return bounds
		}
		return seconds
	case "By":
		return bytes
	}
	return nil
}

// withBuckets gives histograms in seconds and in bytes suitable bounds. The SDK's own are for
// milliseconds: they begin at 5 and end at 10,000, so that every duration in seconds is in the
// first bucket and every size in bytes in the last.
//
// The bounds are the advice that the instrument would have given itself (metrics/api.md,
// "Instrument advisory parameters"). So a view that says nothing about aggregation leaves them, one
// that does replaces them, and a reader that asks for exponential histograms gets those.
//
// The provider returns the instruments of real unchanged.
func withBuckets(real metric.MeterProvider) metric.MeterProvider { return bucketedProvider{real: real} }

type bucketedProvider struct {
	embedded.MeterProvider
	real metric.MeterProvider
}

func (p bucketedProvider) Meter(name string, options ...metric.MeterOption) metric.Meter {
	return bucketedMeter{p.real.Meter(name, options...)}
}

type bucketedMeter struct{ metric.Meter }

func (m bucketedMeter) Int64Histogram(
	name string, options ...metric.Int64HistogramOption,
) (metric.Int64Histogram, error) {
	unit := metric.NewInt64HistogramConfig(options...).Unit()
	return m.Meter.Int64Histogram(name, advised[metric.Int64HistogramOption](name, unit, options)...)
}

func (m bucketedMeter) Float64Histogram(
	name string, options ...metric.Float64HistogramOption,
) (metric.Float64Histogram, error) {
	unit := metric.NewFloat64HistogramConfig(options...).Unit()
	return m.Meter.Float64Histogram(name, advised[metric.Float64HistogramOption](name, unit, options)...)
}

// advised puts the bounds in front of the options. The last option of a kind counts, so the
// instrument's own advice wins.
func advised[O any](name, unit string, options []O) []O {
	bounds := boundsOf(name, unit)
	if bounds == nil {
		return options
	}
	return append([]O{any(metric.WithExplicitBucketBoundaries(bounds...)).(O)}, options...)
}
