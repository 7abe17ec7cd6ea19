package middleware

import (
	"errors"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"

	"github.com/fleetotel/telemetry/internal/encodable"
	"github.com/fleetotel/telemetry/internal/version"
)

// serverMetrics are the measurements at the end of a request (semantic conventions,
// http/http-metrics.md).
type serverMetrics struct {
	duration     httpconv.ServerRequestDuration
	requestSize  httpconv.ServerRequestBodySize
	responseSize httpconv.ServerResponseBodySize

	sets *cache[setKey, []metric.RecordOption]
}

// durationBuckets are those that the conventions ask for.
var durationBuckets = metric.WithExplicitBucketBoundaries(
	0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

// meterOf returns the provider's meter for the instruments of this package.
func meterOf(provider metric.MeterProvider) metric.Meter {
	return provider.Meter(version.Scope, metric.WithInstrumentationVersion(version.Version),
		metric.WithSchemaURL(semconv.SchemaURL))
}

// newServerMetrics makes the instruments. If that fails, the error is reported and they record
// nothing.
func newServerMetrics(meter metric.Meter) serverMetrics {
	duration, errDuration := httpconv.NewServerRequestDuration(meter, durationBuckets)
	requestSize, errRequest := httpconv.NewServerRequestBodySize(meter)
	responseSize, errResponse := httpconv.NewServerResponseBodySize(meter)
	if err := errors.Join(errDuration, errRequest, errResponse); err != nil {
		otel.Handle(err)
	}
	return serverMetrics{
		duration: duration, requestSize: requestSize, responseSize: responseSize,
		sets: new(cache[setKey, []metric.RecordOption]),
	}
}

// outcome is how a request ended.
type outcome struct {
	operation *operation
	status    int    // 0: none was sent
	errorType string // "" if it was not an error
}

// setKey determines the attributes of a measurement.
type setKey struct {
	outcome
	scheme, protocol, version string
	host                      string
	port                      int
}

// options returns the attributes of a finished request. Each set is made, sorted and hashed once.
func (m *serverMetrics) options(x *exchange, o outcome) []metric.RecordOption {
	t := &x.target
	key := setKey{outcome: o, scheme: t.scheme, protocol: t.protocol, version: t.version}
	if !x.handler.Public { // otherwise anyone could make up hosts
		key.host, key.port = t.host[:min(len(t.host), maxHost)], t.port
	}
	if further := x.labels(); len(further) > 0 {
		return recordOptions(&key, further)
	}
	if known, ok := m.sets.get(key); ok {
		return known
	}
	key.host = strings.Clone(key.host) // it is a part of a header that may be a megabyte
	made := recordOptions(&key, nil)
	if o.operation.cached {
		m.sets.put(key, made)
	}
	return made
}

// labels returns the attributes that the service has added with otelhttp's labeler.
func (x *exchange) labels() []attribute.KeyValue {
	if own := x.labeler.Load(); own != nil {
		return own.Get()
	}
	if outer, ok := x.Context.Value(labelerKey).(*otelhttp.Labeler); ok {
		return outer.Get()
	}
	return nil
}

// maxHost limits a host name in attributes of metrics (RFC 1035 §2.3.4), in bytes. A longer name is
// invented.
const maxHost = 253

func recordOptions(key *setKey, further []attribute.KeyValue) []metric.RecordOption {
	attrs := append(make([]attribute.KeyValue, 0, 9+len(further)), further...)
	attrs = append(attrs, semconv.HTTPRequestMethodKey.String(key.operation.method), semconv.URLScheme(key.scheme))
	if key.protocol != "" {
		attrs = append(attrs, semconv.NetworkProtocolName(key.protocol))
	}
	if key.version != "" {
		attrs = append(attrs, semconv.NetworkProtocolVersion(key.version))
	}
	if key.status > 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(key.status))
	}
	if key.operation.route != "" {
		attrs = append(attrs, semconv.HTTPRoute(key.operation.route))
	}
	if key.errorType != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(key.errorType))
	}
	if key.host != "" {
		attrs = append(attrs, semconv.ServerAddress(key.host))
		if key.port > 0 {
			attrs = append(attrs, semconv.ServerPort(key.port))
		}
	}
	return []metric.RecordOption{encodable.NewReused(attribute.NewSet(attrs...))}
}
