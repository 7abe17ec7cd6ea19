package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutlog"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
)

// Back-off between two attempts: short, because a restarting collector is back within seconds and the queue is bounded.
const (
	firstRetry = 500 * time.Millisecond
	maxRetry   = 2 * time.Second
)

// connections are shared by the signals that go to the same place in the same way.
type connections struct {
	http map[connectionKey]*http.Client
	grpc map[connectionKey]*grpc.ClientConn
}

// connectionKey tells whether two signals may share a connection. Headers travel with each request and do not matter.
type connectionKey struct {
	address     string
	secure      bool
	tls         tlsSource
	timeout     time.Duration // HTTP: the client bounds each attempt
	compression Compression   // gRPC: a property of the connection
}

func newConnections() *connections {
	return &connections{http: map[connectionKey]*http.Client{}, grpc: map[connectionKey]*grpc.ClientConn{}}
}

func (c *connections) httpClient(s signalConfig) *http.Client {
	key := connectionKey{address: s.target.hostPort(), secure: s.target.secure(), tls: s.tlsSource, timeout: s.timeout.value}
	if client, ok := c.http[key]; ok {
		return client
	}
	client := &http.Client{
		Timeout: s.timeout.value,
		// A redirect could lead from https to http, or carry the headers' secrets elsewhere; OTLP has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       s.tls.Clone(),
			TLSHandshakeTimeout:   10 * time.Second,
			ExpectContinueTimeout: time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   16, // as many as exports may be in flight; net/http's own is 2
			IdleConnTimeout:       90 * time.Second,
		},
	}
	c.http[key] = client
	return client
}

func (c *connections) grpcConn(s signalConfig) (*grpc.ClientConn, error) {
	key := connectionKey{address: s.target.hostPort(), secure: s.target.secure(), tls: s.tlsSource, compression: s.compression.value}
	if conn, ok := c.grpc[key]; ok {
		return conn, nil
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(transportCredentials(s)),
		grpc.WithUserAgent("fleetotel-telemetry/" + Version),
		grpc.WithDisableServiceConfig(),
		// gRPC's own reconnects back off to two minutes, which would keep an exporter away from a collector long back.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstRetry, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxRetry},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if s.compression.value == CompressionGzip {
		opts = append(opts, grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	}
	conn, err := grpc.NewClient(s.target.hostPort(), opts...)
	if err != nil {
		return nil, fmt.Errorf("gRPC connection to %s: %w", s.target.hostPort(), err)
	}
	c.grpc[key] = conn
	return conn, nil
}

func transportCredentials(s signalConfig) credentials.TransportCredentials {
	if s.target.secure() {
		return credentials.NewTLS(s.tls.Clone())
	}
	return insecure.NewCredentials()
}

func (c *connections) close() error {
	var errs []error
	for _, client := range c.http {
		client.CloseIdleConnections()
	}
	for _, conn := range c.grpc {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// The exporters below get every setting explicitly: what is left out they would read from the environment themselves,
// with other rules. A nil TLS configuration keeps them from reading the certificate files: TLS belongs to the client.
var noTLS *tls.Config

func (c *connections) spanExporter(ctx context.Context, cfg *config) (sdktrace.SpanExporter, error) {
	s, retry := cfg.signals[traces], cfg.spanBatch.exportTimeout.value
	if s.protocol.value == ProtocolGRPC {
		conn, err := c.grpcConn(s)
		if err != nil {
			return nil, err
		}
		return otlptracegrpc.New(ctx, otlptracegrpc.WithGRPCConn(conn), otlptracegrpc.WithHeaders(s.headers.value),
			otlptracegrpc.WithTimeout(s.timeout.value),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: maxRetry, MaxElapsedTime: retry}))
	}
	return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(s.target.url.String()), otlptracehttp.WithHTTPClient(c.httpClient(s)),
		otlptracehttp.WithTLSClientConfig(noTLS), otlptracehttp.WithHeaders(s.headers.value), otlptracehttp.WithTimeout(s.timeout.value),
		otlptracehttp.WithCompression(compressionFor(s, otlptracehttp.GzipCompression, otlptracehttp.NoCompression)),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: maxRetry, MaxElapsedTime: retry}))
}

func (c *connections) metricExporter(ctx context.Context, cfg *config) (sdkmetric.Exporter, error) {
	s, retry := cfg.signals[metrics], cfg.metricTimeout.value
	if s.protocol.value == ProtocolGRPC {
		conn, err := c.grpcConn(s)
		if err != nil {
			return nil, err
		}
		return otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithGRPCConn(conn), otlpmetricgrpc.WithHeaders(s.headers.value),
			otlpmetricgrpc.WithTimeout(s.timeout.value),
			otlpmetricgrpc.WithTemporalitySelector(temporalitySelector(cfg.temporality.value)),
			otlpmetricgrpc.WithAggregationSelector(aggregationSelector(cfg.histogramAggregation.value)),
			otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: maxRetry, MaxElapsedTime: retry}))
	}
	return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(s.target.url.String()), otlpmetrichttp.WithHTTPClient(c.httpClient(s)),
		otlpmetrichttp.WithTLSClientConfig(noTLS), otlpmetrichttp.WithHeaders(s.headers.value), otlpmetrichttp.WithTimeout(s.timeout.value),
		otlpmetrichttp.WithCompression(compressionFor(s, otlpmetrichttp.GzipCompression, otlpmetrichttp.NoCompression)),
		otlpmetrichttp.WithTemporalitySelector(temporalitySelector(cfg.temporality.value)),
		otlpmetrichttp.WithAggregationSelector(aggregationSelector(cfg.histogramAggregation.value)),
		otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: maxRetry, MaxElapsedTime: retry}))
}

func (c *connections) logExporter(ctx context.Context, cfg *config) (sdklog.Exporter, error) {
	s, retry := cfg.signals[logs], cfg.logBatch.exportTimeout.value
	if s.protocol.value == ProtocolGRPC {
		conn, err := c.grpcConn(s)
		if err != nil {
			return nil, err
		}
		return otlploggrpc.New(ctx, otlploggrpc.WithGRPCConn(conn), otlploggrpc.WithHeaders(s.headers.value),
			otlploggrpc.WithTimeout(s.timeout.value),
			otlploggrpc.WithRetry(otlploggrpc.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: maxRetry, MaxElapsedTime: retry}))
	}
	return otlploghttp.New(ctx, otlploghttp.WithEndpointURL(s.target.url.String()), otlploghttp.WithHTTPClient(c.httpClient(s)),
		otlploghttp.WithTLSClientConfig(noTLS), otlploghttp.WithHeaders(s.headers.value), otlploghttp.WithTimeout(s.timeout.value),
		otlploghttp.WithCompression(compressionFor(s, otlploghttp.GzipCompression, otlploghttp.NoCompression)),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: maxRetry, MaxElapsedTime: retry}))
}

func compressionFor[T any](s signalConfig, compressed, plain T) T {
	if s.compression.value == CompressionGzip {
		return compressed
	}
	return plain
}

// The console exporters write one JSON object a line to standard output, as OTEL_*_EXPORTER=console asks.

func consoleSpans() (sdktrace.SpanExporter, error) {
	return stdouttrace.New(stdouttrace.WithWriter(os.Stdout))
}

func consoleMetrics(cfg *config) (sdkmetric.Exporter, error) {
	return stdoutmetric.New(stdoutmetric.WithWriter(os.Stdout),
		stdoutmetric.WithTemporalitySelector(temporalitySelector(cfg.temporality.value)),
		stdoutmetric.WithAggregationSelector(aggregationSelector(cfg.histogramAggregation.value)))
}

func consoleLogs() (sdklog.Exporter, error) {
	return stdoutlog.New(stdoutlog.WithWriter(os.Stdout))
}

// temporalitySelector follows the OTLP metric exporter specification's table of preferences.
func temporalitySelector(preference string) sdkmetric.TemporalitySelector {
	switch preference {
	case temporalityDelta:
		return sdkmetric.DeltaTemporalitySelector
	case temporalityLowMemory:
		return sdkmetric.LowMemoryTemporalitySelector
	}
	return sdkmetric.CumulativeTemporalitySelector
}

func aggregationSelector(histograms string) sdkmetric.AggregationSelector {
	return func(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
		if kind == sdkmetric.InstrumentKindHistogram && histograms == histogramExponential {
			// The SDK's own figures for OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION.
			return sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}
		}
		return sdkmetric.DefaultAggregationSelector(kind)
	}
}
