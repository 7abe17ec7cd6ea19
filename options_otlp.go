package telemetry

import (
	"context"
	"crypto/tls"
	"maps"

	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Protocol is the OTLP transport. Its values are those of OTEL_EXPORTER_OTLP_PROTOCOL.
type Protocol string

const (
	// ProtocolGRPC sends OTLP over gRPC; its default port is 4317.
	ProtocolGRPC Protocol = "grpc"
	// ProtocolHTTP sends OTLP as binary protobuf over HTTP; its default port is 4318. It is the
	// default.
	ProtocolHTTP Protocol = "http/protobuf"
)

// Compression is how requests are compressed. Its values are those of
// OTEL_EXPORTER_OTLP_COMPRESSION.
type Compression string

const (
	// CompressionGzip is the default.
	CompressionGzip Compression = "gzip"
	// CompressionNone sends requests uncompressed. It suits a collector on the same host.
	CompressionNone Compression = "none"
)

// WithEndpoint sets where OTLP data is sent: a base URL with scheme http or https
// (OTEL_EXPORTER_OTLP_ENDPOINT; default http://localhost:4318, and port 4317 for [ProtocolGRPC]).
// Over HTTP, v1/traces, v1/metrics or v1/logs is appended, unless the URL already ends in that
// path. The variables OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_ENDPOINT are used unchanged. If the
// URL ends in another signal's path, a warning is logged.
//
// A host without a scheme means http:// for this machine. For any other host, or if TLS is
// configured, it means https://. OTEL_EXPORTER_OTLP_INSECURE overrides this. A log line reports the
// choice. The option may be limited to one signal with [ForTraces], [ForMetrics] or [ForLogs].
//
// If the option is given twice, the last one wins. Headers, token file and header function given
// before it in the same scope belong to the earlier endpoint, so they are dropped and a line is
// logged. This also applies to a preset without its own endpoint. Within one list of options, the
// first endpoint may come after its headers.
func WithEndpoint(url string) Option {
	return recordExport(func(e *settings.Export) { e.ChangeEndpoint(url) })
}

// WithProtocol sets the transport (OTEL_EXPORTER_OTLP_PROTOCOL,
// OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_PROTOCOL; default [ProtocolHTTP]). May be limited to one
// signal. If the option is given twice, the last one wins.
func WithProtocol(p Protocol) Option {
	return recordExport(func(e *settings.Export) { e.Protocol = (*string)(&p) })
}

// WithHeaders sets the headers (over gRPC, the metadata) of each request, such as an API key
// (OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_HEADERS). The most specific
// source replaces the others, as the specification says; they are not merged. Values never appear
// in a log line or in Describe. The map is copied. May be limited to one signal.
//
// Headers are credentials. If the option is given twice, the last one wins, and a later
// [WithEndpoint] in the same scope drops them.
func WithHeaders(headers map[string]string) Option {
	headers = maps.Clone(headers) // the caller may change its map later
	return recordExport(func(e *settings.Export) {
		e.Credential("WithHeaders")
		e.Headers = &headers
	})
}

// WithTokenFile sends the contents of a file as "Authorization: Bearer …" with each request. It
// replaces an authorization header of [WithHeaders] (TELEMETRY_EXPORTER_OTLP_TOKEN_FILE,
// TELEMETRY_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_TOKEN_FILE). The file is read for each request, so
// a renewed token, such as a Kubernetes service account's, is used at once. While the file is
// missing or empty, requests wait as if the collector were down. If a file can no longer be read,
// the last token stays in use. Send tokens over https:// only. May be limited to one signal. If the
// option is given twice, the last one wins; a later [WithEndpoint] in the same scope drops it.
func WithTokenFile(path string) Option {
	return recordExport(func(e *settings.Export) {
		e.Credential("WithTokenFile")
		e.TokenFile = &path
	})
}

// WithHeaderFunc adds the headers that the function returns to each request. They replace headers
// of the same name from [WithHeaders] and [WithTokenFile]. Use it for tokens that a library renews,
// such as golang.org/x/oauth2's TokenSource.
//
// The function is called for every attempt to send, concurrently and within the attempt's timeout
// (OTEL_EXPORTER_OTLP_TIMEOUT), so it should cache its result until that expires. If it returns an
// error, panics or does not return in time, requests wait as if the collector were down. Its values
// never appear in a log line. Its errors are logged, and the default rules of [Redaction] mask
// them. Nil means no header function. May be limited to one signal, where nil also means none. If
// the option is given twice, the last one wins; a later [WithEndpoint] in the same scope drops it.
func WithHeaderFunc(headers func(context.Context) (map[string]string, error)) Option {
	return recordExport(func(e *settings.Export) {
		e.Credential("WithHeaderFunc")
		e.HeaderFunc = (*settings.HeaderFunc)(&headers)
	})
}

// WithTLSConfig sets the TLS configuration for https:// endpoints. It replaces the certificate
// files of OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY, which are read
// again for each connection. The configuration is copied. If it has no minimum version, TLS 1.2 is
// the minimum. Nil means the default. May be limited to one signal, where nil means the default
// even if there is a configuration for all signals. If the option is given twice, the last one
// wins.
func WithTLSConfig(c *tls.Config) Option {
	return recordExport(func(e *settings.Export) { e.TLS = &c })
}

// WithCompression sets how requests are compressed (OTEL_EXPORTER_OTLP_COMPRESSION,
// OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_COMPRESSION; default [CompressionGzip]). The SDK's
// default is none; gzip shrinks span batches to about a tenth. May be limited to one signal. If the
// option is given twice, the last one wins.
func WithCompression(c Compression) Option {
	return recordExport(func(e *settings.Export) { e.Compression = (*string)(&c) })
}

// ForTraces limits exporter options to traces: [WithEndpoint], [WithProtocol], [WithHeaders],
// [WithTokenFile], [WithHeaderFunc], [WithTLSConfig] and [WithCompression]. Init returns an error
// for any other option inside. If it is given twice, both apply, each option inside by its own
// rule.
func ForTraces(opts ...Option) Option { return scope{"ForTraces", signal.Traces, opts} }

// ForMetrics limits exporter options to metrics: [WithEndpoint], [WithProtocol], [WithHeaders],
// [WithTokenFile], [WithHeaderFunc], [WithTLSConfig] and [WithCompression]. Init returns an error
// for any other option inside. If it is given twice, both apply, each option inside by its own
// rule.
func ForMetrics(opts ...Option) Option { return scope{"ForMetrics", signal.Metrics, opts} }

// ForLogs limits exporter options to logs: [WithEndpoint], [WithProtocol], [WithHeaders],
// [WithTokenFile], [WithHeaderFunc], [WithTLSConfig] and [WithCompression]. It limits
// [WithLogLevel] to OTLP. Init returns an error for any other option inside. If it is given twice,
// both apply, each option inside by its own rule.
func ForLogs(opts ...Option) Option { return scope{"ForLogs", signal.Logs, opts} }
