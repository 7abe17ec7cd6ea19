package otlp

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
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/testenv"
	"github.com/fleetotel/telemetry/internal/version"
)

// Connections are shared by the signals that go to the same place in the same way. Below each
// connection is one delivery endpoint, which retries, bounds the time and compresses. The
// exporters' own retries, timeouts and compression are off.
type Connections struct {
	cfg       *settings.Config
	selfLog   *selflog.Log
	Explainer *Explainer
	Outages   *Outages
	Spool     *diskSpool // nil without one
	calls     credential.Calls
	HTTP      map[connectionKey]*http.Client
	transport http.RoundTripper // of a test; nil: the network
	grpc      map[connectionKey]*grpc.ClientConn
	unset     []*delivery.Endpoint // at the specification's default address
}

// connectionKey tells whether two signals may share a connection. Fixed headers travel with each
// request and do not matter.
type connectionKey struct {
	address     string
	secure      bool
	tls         settings.TLSSource
	headers     settings.HeaderSource
	timeout     time.Duration
	compression string
	unset       bool // the address is the specification's default
}

// Connect prepares the connections of a guard. Nothing is dialed before the first request. ctx may
// hold the transport of a test.
func Connect(ctx context.Context, cfg *settings.Config, selfLog *selflog.Log) *Connections {
	explainer := newExplainer(cfg, selfLog.Mask())
	c := &Connections{
		cfg: cfg, selfLog: selfLog, Explainer: explainer, Outages: &Outages{selfLog: selfLog, explainer: explainer,
			retried: retried(cfg)},
		HTTP: map[connectionKey]*http.Client{}, transport: testenv.Transport(ctx),
		grpc: map[connectionKey]*grpc.ClientConn{},
	}
	c.Spool = c.openSpool()
	c.Outages.spools = c.Spool != nil
	return c
}

const userAgent = "fleetotel-telemetry/" + version.Version

func keyOf(s settings.SignalConfig) connectionKey {
	return connectionKey{s.Target.HostPort(), s.Target.Secure(), s.TLSSource, s.HeaderSource(), s.Timeout.Value,
		s.Compression.Value, s.Endpoint.IsDefault()}
}

// Endpoint returns a new delivery endpoint whose outages are logged.
func (c *Connections) Endpoint(s settings.SignalConfig) *delivery.Endpoint {
	e := delivery.New(delivery.Config{
		AttemptTimeout: s.Timeout.Value,
		Gzip:           s.Compression.Value == settings.CompressionGzip,
		Headers:        c.headers(s.HeaderSource()),
		Spool:          c.store(),
		OnDown:         c.Outages.down,
		OnUp:           c.Outages.up,
	})
	if s.Endpoint.IsDefault() {
		c.unset = append(c.unset, e)
	}
	return e
}

// GiveUp ends the wait for collectors at the default address at which nothing has ever listened.
func (c *Connections) GiveUp() {
	for _, e := range c.unset {
		e.GiveUp()
	}
}

func (c *Connections) httpClient(s settings.SignalConfig) *http.Client {
	key := keyOf(s)
	if client, ok := c.HTTP[key]; ok {
		return client
	}
	endpoint := c.Endpoint(s)
	client := &http.Client{
		// A redirect could lead from https to http, or carry the headers' secrets elsewhere; OTLP
		// has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     endpoint.Transport(c.base(endpoint, s)),
	}
	c.HTTP[key] = client
	return client
}

// base returns the pool of connections below an endpoint.
func (c *Connections) base(endpoint *delivery.Endpoint, s settings.SignalConfig) http.RoundTripper {
	if c.transport != nil {
		return c.transport
	}
	return endpoint.NewTransport(c.tls(s), c.inFlight())
}

// clientOf is the client of one signal over the shared connections.
func (c *Connections) clientOf(s signal.Signal) *http.Client {
	return delivery.ForSignal(c.httpClient(c.cfg.Signals[s]), s)
}

// inFlight is how many requests may be in flight at the same time.
func (c *Connections) inFlight() int {
	n := c.cfg.SpanBatch.MaxConcurrentExports.Value + c.cfg.LogBatch.MaxConcurrentExports.Value + 1
	if c.Spool != nil {
		n += len(signal.All()) // one from the spool for each signal
	}
	return n
}

func (c *Connections) grpcConn(s settings.SignalConfig) (*grpc.ClientConn, error) {
	key := keyOf(s)
	if conn, ok := c.grpc[key]; ok {
		return conn, nil
	}
	conn, err := c.Endpoint(s).GRPCConn(s.Target.HostPort(), c.transportCredentials(s),
		grpc.WithUserAgent(userAgent), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fmt.Errorf("gRPC connection to %s: %w", s.Target.HostPort(), err)
	}
	c.grpc[key] = conn
	return conn, nil
}

func (c *Connections) transportCredentials(s settings.SignalConfig) credentials.TransportCredentials {
	if s.Target.Secure() {
		return credentials.NewTLS(c.tls(s))
	}
	return insecure.NewCredentials()
}

// Close closes idle connections. Its error names the functions and files of credentials that never
// returned.
func (c *Connections) Close() error {
	var errs []error
	for _, client := range c.HTTP {
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

// The exporters below get every setting explicitly. They would read a missing one from the
// environment themselves, with other rules. A nil TLS configuration keeps them from reading the
// certificate files: TLS belongs to the client. A request size of 0 is no limit of their own:
// delivery has one, and says that a request is too large.
var noTLS *tls.Config

// SpanExporter returns the exporter of the configured protocol.
func (c *Connections) SpanExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	s := c.cfg.Signals[signal.Traces]
	if s.Protocol.Value == settings.ProtocolGRPC {
		conn, err := c.grpcConn(s)
		if err != nil {
			return nil, err
		}
		return otlptracegrpc.New(ctx, otlptracegrpc.WithGRPCConn(conn), otlptracegrpc.WithHeaders(s.Headers.Value),
			otlptracegrpc.WithTimeout(0), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}))
	}
	return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(s.Target.URL.String()),
		otlptracehttp.WithHTTPClient(c.clientOf(signal.Traces)),
		otlptracehttp.WithTLSClientConfig(noTLS), otlptracehttp.WithHeaders(s.Headers.Value),
		otlptracehttp.WithMaxRequestSize(0), otlptracehttp.WithTimeout(0),
		otlptracehttp.WithCompression(otlptracehttp.NoCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
}

// MetricExporter returns the exporter of the configured protocol, temporality and aggregation.
func (c *Connections) MetricExporter(ctx context.Context) (sdkmetric.Exporter, error) {
	s := c.cfg.Signals[signal.Metrics]
	temporality, aggregation := TemporalitySelector(c.cfg.Temporality.Value),
		AggregationSelector(c.cfg.HistogramAggregation.Value)
	if s.Protocol.Value == settings.ProtocolGRPC {
		conn, err := c.grpcConn(s)
		if err != nil {
			return nil, err
		}
		return otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithGRPCConn(conn), otlpmetricgrpc.WithHeaders(s.Headers.Value),
			otlpmetricgrpc.WithMaxRequestSize(0), otlpmetricgrpc.WithTimeout(0),
			otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{}),
			otlpmetricgrpc.WithTemporalitySelector(temporality), otlpmetricgrpc.WithAggregationSelector(aggregation))
	}
	return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(s.Target.URL.String()),
		otlpmetrichttp.WithHTTPClient(c.clientOf(signal.Metrics)),
		otlpmetrichttp.WithTLSClientConfig(noTLS), otlpmetrichttp.WithHeaders(s.Headers.Value),
		otlpmetrichttp.WithMaxRequestSize(0), otlpmetrichttp.WithTimeout(0),
		otlpmetrichttp.WithCompression(otlpmetrichttp.NoCompression),
		otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}),
		otlpmetrichttp.WithTemporalitySelector(temporality), otlpmetrichttp.WithAggregationSelector(aggregation))
}

// LogExporters returns one exporter over HTTP. Over gRPC, where an exporter sends one request at a
// time, it returns one for each export in flight.
func (c *Connections) LogExporters(ctx context.Context) ([]sdklog.Exporter, error) {
	s := c.cfg.Signals[signal.Logs]
	if s.Protocol.Value != settings.ProtocolGRPC {
		exporter, err := otlploghttp.New(ctx, otlploghttp.WithEndpointURL(s.Target.URL.String()),
			otlploghttp.WithHTTPClient(c.clientOf(signal.Logs)),
			otlploghttp.WithTLSClientConfig(noTLS), otlploghttp.WithHeaders(s.Headers.Value),
			otlploghttp.WithMaxRequestSize(0), otlploghttp.WithTimeout(0),
			otlploghttp.WithCompression(otlploghttp.NoCompression), otlploghttp.WithRetry(otlploghttp.RetryConfig{}))
		return []sdklog.Exporter{exporter}, err
	}
	conn, err := c.grpcConn(s)
	if err != nil {
		return nil, err
	}
	exporters := make([]sdklog.Exporter, c.cfg.LogBatch.MaxConcurrentExports.Value)
	for i := range exporters {
		exporters[i], err = otlploggrpc.New(ctx, otlploggrpc.WithGRPCConn(conn),
			otlploggrpc.WithHeaders(s.Headers.Value),
			otlploggrpc.WithMaxRequestSize(0), otlploggrpc.WithTimeout(0),
			otlploggrpc.WithRetry(otlploggrpc.RetryConfig{}))
		if err != nil {
			return nil, err
		}
	}
	return exporters, nil
}

// TemporalitySelector follows the OTLP metric exporter specification's table of preferences.
func TemporalitySelector(preference string) sdkmetric.TemporalitySelector {
	switch preference {
	case settings.TemporalityDelta:
		return sdkmetric.DeltaTemporalitySelector
	case settings.TemporalityLowMemory:
		return sdkmetric.LowMemoryTemporalitySelector
	}
	return sdkmetric.CumulativeTemporalitySelector
}

// AggregationSelector follows OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION.
func AggregationSelector(histograms string) sdkmetric.AggregationSelector {
	return func(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
		if kind == sdkmetric.InstrumentKindHistogram && histograms == settings.HistogramExponential {
			// The SDK's own figures for OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION.
			return sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}
		}
		return sdkmetric.DefaultAggregationSelector(kind)
	}
}
