package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fleetotel/telemetry/internal/credential"
	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/diagnose"
)

// connections are shared by the signals that go to the same place in the same way. Below each is one delivery
// endpoint: retries, time-outs and compression are its business, so the exporters' own are off.
type connections struct {
	cfg       *config
	selfLog   *diagnose.Log
	explainer *explainer
	outages   *outages
	spool     *diskSpool // nil without one
	calls     credential.Calls
	http      map[connectionKey]*http.Client
	grpc      map[connectionKey]*grpc.ClientConn
	unset     []*delivery.Endpoint // at the specification's default address
}

// connectionKey tells whether two signals may share a connection. Fixed headers travel with each request and do not matter.
type connectionKey struct {
	address     string
	secure      bool
	tls         tlsSource
	headers     headerSource
	timeout     time.Duration
	compression Compression
	unset       bool // the address is the specification's default
}

func newConnections(cfg *config, selfLog *diagnose.Log) *connections {
	explainer := newExplainer(cfg, selfLog.Mask())
	c := &connections{
		cfg: cfg, selfLog: selfLog, explainer: explainer, outages: &outages{selfLog: selfLog, explainer: explainer, retried: retried(cfg)},
		http: map[connectionKey]*http.Client{}, grpc: map[connectionKey]*grpc.ClientConn{},
	}
	c.spool = c.openSpool()
	c.outages.spools = c.spool != nil
	return c
}

const userAgent = "fleetotel-telemetry/" + Version

func keyOf(s signalConfig) connectionKey {
	return connectionKey{s.target.hostPort(), s.target.secure(), s.tlsSource, s.headerSource(), s.timeout.value, s.compression.value, s.endpoint.isDefault()}
}

// endpoint is one place to deliver to, whose outages are told.
func (c *connections) endpoint(s signalConfig) *delivery.Endpoint {
	e := delivery.New(delivery.Config{
		AttemptTimeout: s.timeout.value,
		Gzip:           s.compression.value == CompressionGzip,
		Headers:        c.headers(s.headerSource()),
		Spool:          c.store(),
		OnDown:         c.outages.down,
		OnUp:           c.outages.up,
	})
	if s.endpoint.isDefault() {
		c.unset = append(c.unset, e)
	}
	return e
}

// giveUp ends the wait for collectors at the default address that have never been there.
func (c *connections) giveUp() {
	for _, e := range c.unset {
		e.GiveUp()
	}
}

func (c *connections) httpClient(s signalConfig) *http.Client {
	key := keyOf(s)
	if client, ok := c.http[key]; ok {
		return client
	}
	endpoint := c.endpoint(s)
	client := &http.Client{
		// A redirect could lead from https to http, or carry the headers' secrets elsewhere; OTLP has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     endpoint.Transport(endpoint.NewTransport(c.tls(s), c.inFlight())),
	}
	c.http[key] = client
	return client
}

// clientOf is the client of one signal over the shared connections.
func (c *connections) clientOf(s signal) *http.Client {
	return delivery.ForSignal(c.httpClient(c.cfg.signals[s]), s.String())
}

// inFlight is how many requests may be on their way at the same time.
func (c *connections) inFlight() int {
	n := c.cfg.spanBatch.maxConcurrentExports.value + c.cfg.logBatch.maxConcurrentExports.value + 1
	if c.spool != nil {
		n += int(signalCount) // of each signal one from the spool
	}
	return n
}

func (c *connections) grpcConn(s signalConfig) (*grpc.ClientConn, error) {
	key := keyOf(s)
	if conn, ok := c.grpc[key]; ok {
		return conn, nil
	}
	conn, err := c.endpoint(s).GRPCConn(s.target.hostPort(), c.transportCredentials(s),
		grpc.WithUserAgent(userAgent), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fmt.Errorf("gRPC connection to %s: %w", s.target.hostPort(), err)
	}
	c.grpc[key] = conn
	return conn, nil
}

func (c *connections) transportCredentials(s signalConfig) credentials.TransportCredentials {
	if s.target.secure() {
		return credentials.NewTLS(c.tls(s))
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
	for _, left := range c.calls.Left() {
		errs = append(errs, fmt.Errorf("telemetry: shutdown: %s", left))
	}
	return errors.Join(errs...)
}

// The exporters below get every setting explicitly: what is left out they would read from the environment themselves,
// with other rules. A nil TLS configuration keeps them from reading the certificate files: TLS belongs to the client. A
// request size of 0 is no limit of their own: delivery has one, and says that a request is too large.
var noTLS *tls.Config

func (c *connections) spanExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	s := c.cfg.signals[traces]
	if s.protocol.value == ProtocolGRPC {
		conn, err := c.grpcConn(s)
		if err != nil {
			return nil, err
		}
		return otlptracegrpc.New(ctx, otlptracegrpc.WithGRPCConn(conn), otlptracegrpc.WithHeaders(s.headers.value),
			otlptracegrpc.WithTimeout(0), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}))
	}
	return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(s.target.url.String()), otlptracehttp.WithHTTPClient(c.clientOf(traces)),
		otlptracehttp.WithTLSClientConfig(noTLS), otlptracehttp.WithHeaders(s.headers.value), otlptracehttp.WithMaxRequestSize(0), otlptracehttp.WithTimeout(0),
		otlptracehttp.WithCompression(otlptracehttp.NoCompression), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
}

func (c *connections) metricExporter(ctx context.Context) (sdkmetric.Exporter, error) {
	s := c.cfg.signals[metrics]
	temporality, aggregation := temporalitySelector(c.cfg.temporality.value), aggregationSelector(c.cfg.histogramAggregation.value)
	if s.protocol.value == ProtocolGRPC {
		conn, err := c.grpcConn(s)
		if err != nil {
			return nil, err
		}
		return otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithGRPCConn(conn), otlpmetricgrpc.WithHeaders(s.headers.value),
			otlpmetricgrpc.WithMaxRequestSize(0), otlpmetricgrpc.WithTimeout(0), otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{}),
			otlpmetricgrpc.WithTemporalitySelector(temporality), otlpmetricgrpc.WithAggregationSelector(aggregation))
	}
	return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(s.target.url.String()), otlpmetrichttp.WithHTTPClient(c.clientOf(metrics)),
		otlpmetrichttp.WithTLSClientConfig(noTLS), otlpmetrichttp.WithHeaders(s.headers.value), otlpmetrichttp.WithMaxRequestSize(0), otlpmetrichttp.WithTimeout(0),
		otlpmetrichttp.WithCompression(otlpmetrichttp.NoCompression), otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}),
		otlpmetrichttp.WithTemporalitySelector(temporality), otlpmetrichttp.WithAggregationSelector(aggregation))
}

// logExporters are one for each export in flight over gRPC, where an exporter sends one request at a time.
func (c *connections) logExporters(ctx context.Context) ([]sdklog.Exporter, error) {
	s := c.cfg.signals[logs]
	if s.protocol.value != ProtocolGRPC {
		exporter, err := otlploghttp.New(ctx, otlploghttp.WithEndpointURL(s.target.url.String()), otlploghttp.WithHTTPClient(c.clientOf(logs)),
			otlploghttp.WithTLSClientConfig(noTLS), otlploghttp.WithHeaders(s.headers.value), otlploghttp.WithMaxRequestSize(0), otlploghttp.WithTimeout(0),
			otlploghttp.WithCompression(otlploghttp.NoCompression), otlploghttp.WithRetry(otlploghttp.RetryConfig{}))
		return []sdklog.Exporter{exporter}, err
	}
	conn, err := c.grpcConn(s)
	if err != nil {
		return nil, err
	}
	exporters := make([]sdklog.Exporter, c.cfg.logBatch.maxConcurrentExports.value)
	for i := range exporters {
		exporters[i], err = otlploggrpc.New(ctx, otlploggrpc.WithGRPCConn(conn), otlploggrpc.WithHeaders(s.headers.value),
			otlploggrpc.WithMaxRequestSize(0), otlploggrpc.WithTimeout(0), otlploggrpc.WithRetry(otlploggrpc.RetryConfig{}))
		if err != nil {
			return nil, err
		}
	}
	return exporters, nil
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
