package telemetry

import (
	"context"
	"crypto/tls"
)

// WithEndpoint sets where OTLP goes: a base URL with scheme http or https, to which v1/traces, v1/metrics or v1/logs is
// appended over HTTP, unless the URL ends in the signal's own path already (OTEL_EXPORTER_OTLP_ENDPOINT, and
// OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_ENDPOINT, which are taken as they are; default http://localhost:4318, and
// port 4317 for [ProtocolGRPC]). One warning says when it ends in another signal's path. A host without scheme is
// understood as http:// for this machine and https:// for any other or when TLS is configured, unless
// OTEL_EXPORTER_OTLP_INSECURE says otherwise; one log line tells which. May be scoped with [ForTraces], [ForMetrics] and
// [ForLogs].
//
// Given twice, the later one wins, and the headers, token file and header function that were given in the same scope before
// it are dropped, with one line: they are credentials of the earlier endpoint. That is also so where a preset has no endpoint
// of its own. Within one list of options, the first endpoint may follow its headers.
func WithEndpoint(url string) Option {
	return recordExport(func(e *exportOptions) { e.changeEndpoint(url) })
}

// WithProtocol sets the transport (OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_PROTOCOL;
// default [ProtocolHTTP]). May be scoped to one signal.
// Given twice, the later one wins.
func WithProtocol(p Protocol) Option {
	return recordExport(func(e *exportOptions) { e.protocol = &p })
}

// WithHeaders sets the headers (over gRPC: the metadata) of each request, such as an API key
// (OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_HEADERS). The most specific source replaces
// the others, as the specification says; they are not merged. No value ever appears in a log line or in Describe.
// May be scoped to one signal.
//
// Headers are credentials. Given twice, the later ones replace the earlier, and a later [WithEndpoint] of the same scope drops
// them.
func WithHeaders(headers map[string]string) Option {
	return recordExport(func(e *exportOptions) {
		e.credential("WithHeaders")
		e.headers = &headers
	})
}

// WithTokenFile sends the contents of a file as "Authorization: Bearer …" with each request, in place of an authorization
// of [WithHeaders] (TELEMETRY_EXPORTER_OTLP_TOKEN_FILE, TELEMETRY_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_TOKEN_FILE). The
// file is read for each request, so a token that is renewed, as Kubernetes renews that of a service account, is used at
// once. As long as the file is missing or empty, requests wait as they do for a collector that is down; a file that stops
// being readable leaves the last token in use. Send tokens over https:// only. May be scoped to one signal.
// Given twice, the later one wins; a later [WithEndpoint] of the same scope drops it.
func WithTokenFile(path string) Option {
	return recordExport(func(e *exportOptions) {
		e.credential("WithTokenFile")
		e.tokenFile = &path
	})
}

// WithHeaderFunc adds the headers that headers returns to each request, in place of those of the same name of
// [WithHeaders] and [WithTokenFile]: for tokens that a library renews, such as golang.org/x/oauth2's TokenSource. It is
// called for every attempt to send, concurrently and within the attempt's time (OTEL_EXPORTER_OTLP_TIMEOUT), so it should
// remember what it has until that expires. While it returns an error, requests wait as they do for a collector that is
// down; when it panics too, and when it does not return in time. Its values appear nowhere; its errors are logged, and what [Redaction] finds in a text by
// default is masked in them. Nil means none. May be scoped to one signal, for which nil is none, too.
// Given twice, the later one wins; a later [WithEndpoint] of the same scope drops it.
func WithHeaderFunc(headers func(context.Context) (map[string]string, error)) Option {
	return recordExport(func(e *exportOptions) {
		e.credential("WithHeaderFunc")
		e.headerFunc = (*headerFunc)(&headers)
	})
}

// WithTLSConfig sets the TLS configuration for https:// endpoints. It replaces the certificate files of
// OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY, which are read again for each connection. The
// configuration is copied; a minimum version
// that is not set becomes TLS 1.2; nil means the default, for one signal also beside a configuration for all. May be scoped to one signal.
// Given twice, the later one wins.
func WithTLSConfig(c *tls.Config) Option {
	return recordExport(func(e *exportOptions) { e.tls = &c })
}

// WithCompression sets how requests are compressed (OTEL_EXPORTER_OTLP_COMPRESSION,
// OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_COMPRESSION; default [CompressionGzip], where the SDK's own is none: span
// batches shrink to about a tenth). May be scoped to one signal.
// Given twice, the later one wins.
func WithCompression(c Compression) Option {
	return recordExport(func(e *exportOptions) { e.compression = &c })
}

// ForTraces limits exporter options to traces: [WithEndpoint], [WithProtocol], [WithHeaders], [WithTokenFile],
// [WithHeaderFunc], [WithTLSConfig] and [WithCompression]. Any other option inside is an error of Init.
// Given twice, both count, each option inside by its own rule.
func ForTraces(opts ...Option) Option { return scope{"ForTraces", traces, opts} }

// ForMetrics limits exporter options to metrics: [WithEndpoint], [WithProtocol], [WithHeaders], [WithTokenFile],
// [WithHeaderFunc], [WithTLSConfig] and [WithCompression]. Any other option inside is an error of Init.
// Given twice, both count, each option inside by its own rule.
func ForMetrics(opts ...Option) Option { return scope{"ForMetrics", metrics, opts} }

// ForLogs limits exporter options to logs: [WithEndpoint], [WithProtocol], [WithHeaders], [WithTokenFile], [WithHeaderFunc],
// [WithTLSConfig] and [WithCompression]. It limits [WithLogLevel] to the OTLP branch. Any other option inside is an error
// of Init.
// Given twice, both count, each option inside by its own rule.
func ForLogs(opts ...Option) Option { return scope{"ForLogs", logs, opts} }
