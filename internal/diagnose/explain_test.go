package diagnose_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/signal"
)

// target is a configuration as an operator would have it; the errors are those of another address.
func target(grpc bool, endpoint string) diagnose.Target {
	u, _ := url.Parse(endpoint)
	return diagnose.Target{
		Signal: signal.Traces, GRPC: grpc, URL: u, Address: u.Host, TLS: &tls.Config{}, Timeout: time.Second,
		Endpoint: "OTEL_EXPORTER_OTLP_ENDPOINT", Protocol: "OTEL_EXPORTER_OTLP_PROTOCOL",
		Headers:     "OTEL_EXPORTER_OTLP_HEADERS",
		Certificate: "OTEL_EXPORTER_OTLP_CERTIFICATE", ClientCertificate: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
		ClientKey: "OTEL_EXPORTER_OTLP_CLIENT_KEY", Compression: "OTEL_EXPORTER_OTLP_COMPRESSION",
	}
}

// overHTTP and overGRPC are the errors of a real request without items.
func overHTTP(t *testing.T, endpoint string) error {
	t.Helper()
	e := delivery.New(delivery.Config{})
	transport := e.NewTransport(&tls.Config{}, 1)
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: e.Transport(transport)}
	return delivery.Ask(t.Context(), signal.Traces, delivery.HTTPSender(client, endpoint+"/v1/traces", nil, false))
}

func overGRPC(t *testing.T, endpoint string) error {
	t.Helper()
	u, err := url.Parse(endpoint)
	require.NoError(t, err)
	conn, err := delivery.New(delivery.Config{}).GRPCConn(u.Host, insecure.NewCredentials())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return delivery.Ask(t.Context(), signal.Traces, delivery.GRPCSender(conn, nil))
}

// The sentences name the usual ports where the usual ones have been mixed up. Which errors stand
// for what is decided by real ones.
func TestExplainNamesThePort(t *testing.T) {
	c := otlptest.New(t)
	closed := "http://" + otlptest.FreeAddress(t)
	for _, tt := range []struct {
		err      error
		target   diagnose.Target
		kind     diagnose.Kind
		sentence string
	}{
		{
			overGRPC(t, c.HTTPEndpoint()), target(true, "http://localhost:4318"), diagnose.HTTPPort,
			"localhost:4318 answers HTTP, but the protocol is grpc: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf or " +
				"use port 4317",
		},
		{
			errors.New(`http://localhost:4317/v1/traces: malformed HTTP response "\x00\x00\x06\x04"`),
			target(false, "http://localhost:4317"), diagnose.GRPCPort,
			"localhost:4317 answers gRPC, but the protocol is http/protobuf: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc or " +
				"use port 4318",
		},
		{
			overHTTP(t, closed), target(false, "http://collector:4318/v1/traces"), diagnose.Refused,
			"nothing listens at collector:4318: start the collector, or correct the host and port in " +
				"OTEL_EXPORTER_OTLP_ENDPOINT",
		},
		{
			overGRPC(t, closed), target(true, "http://collector:4317"), diagnose.Refused,
			"nothing listens at collector:4317: start the collector, or correct the host and port in " +
				"OTEL_EXPORTER_OTLP_ENDPOINT",
		},
		{
			errors.New("collector:4317 (traces): no answer in time (10s): no connection yet, 3 of 4 addresses of " +
				"collector tried (2 attempts in 20s); gave up: context deadline exceeded"),
			target(true, "http://collector:4317"), diagnose.Silent,
			"cannot connect to collector:4317 within 1s (3 of 4 addresses tried): a firewall or network policy drops " +
				"the packets, or the address in OTEL_EXPORTER_OTLP_ENDPOINT is wrong",
		},
		{
			errors.New("collector:4317 (traces): dial tcp 10.0.0.7:4317: i/o timeout"),
			target(true, "http://collector:4317"), diagnose.Silent,
			"cannot connect to collector:4317 within 1s: a firewall or network policy drops the packets, or the " +
				"address in OTEL_EXPORTER_OTLP_ENDPOINT is wrong",
		},
		{
			errors.New("collector:4317 (traces): dial tcp 10.0.0.7:4317: connect: connection refused (2 of 2 " +
				"addresses of collector tried)"), target(true, "http://collector:4317"), diagnose.Refused,
			"nothing listens at collector:4317 (2 of 2 addresses tried): start the collector, or correct the host " +
				"and port in OTEL_EXPORTER_OTLP_ENDPOINT",
		},
	} {
		f, ok := diagnose.Explain(tt.err, tt.target)
		require.True(t, ok, tt.err)
		require.Equal(t, tt.kind, f.Kind, tt.err)
		require.Equal(t, tt.sentence, f.Text)
		require.True(t, f.Is(tt.kind))
	}
}

// An option is advised where an option was given: it would win over the variable.
func TestExplainNamesTheOption(t *testing.T) {
	c := otlptest.New(t)
	at := target(true, c.HTTPEndpoint())
	at.Protocol = "WithProtocol"
	f, ok := diagnose.Explain(overGRPC(t, c.HTTPEndpoint()), at)
	require.True(t, ok)
	require.Contains(t, f.Text, `: use WithProtocol("http/protobuf") or use the port for grpc`)
}

// An error that no setting causes keeps its own text.
func TestExplainLeavesTheRestAlone(t *testing.T) {
	c := otlptest.New(t)
	for _, fault := range []otlptest.Fault{
		{HTTPStatus: 503, GRPCCode: 14, Message: "overloaded"}, {HTTPStatus: 400, GRPCCode: 3, Message: "bad data"},
		{Cut: true},
	} {
		c.SetFault(fault)
		for _, err := range []error{overHTTP(t, c.HTTPEndpoint()), overGRPC(t, c.GRPCEndpoint())} {
			require.Error(t, err)
			_, ok := diagnose.Explain(err, target(false, c.HTTPEndpoint()))
			require.False(t, ok, err)
		}
	}
}

// A request that is asked makes one attempt, and is taken by a server that takes anything.
func TestProbeFindsNothingAtACollector(t *testing.T) {
	c := otlptest.New(t)
	targets := []diagnose.Target{target(false, c.HTTPEndpoint()+"/v1/traces"),
		target(false, c.HTTPEndpoint()+"/v1/traces")}
	asked := 0
	results := diagnose.Probe(t.Context(), targets,
		func(context.Context, diagnose.Target, *url.URL) error { asked++; return overHTTP(t, c.HTTPEndpoint()) })
	require.Len(t, results, 2)
	require.Nil(t, results[0].Finding)
	require.Equal(t, 2, asked)
	require.Len(t, c.Probes(), 2)

	// A connection that does not come about is tried once for all its signals.
	require.NoError(t, c.Down())
	asked = 0
	results = diagnose.Probe(t.Context(), targets,
		func(context.Context, diagnose.Target, *url.URL) error { asked++; return overHTTP(t, c.HTTPEndpoint()) })
	require.Equal(t, 1, asked)
	require.Equal(t, results[0].Finding.Text, results[1].Finding.Text)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	results = diagnose.Probe(ended, targets,
		func(context.Context, diagnose.Target, *url.URL) error { return errors.New("cut short") })
	require.Nil(t, results[0].Finding, "a probe that is stopped has no opinion")
}

// A server that misses a client certificate says so in an alert, which its reset may overtake.
func TestProbeFindsAClientCertificateMissing(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	for collector, want := range map[*otlptest.Collector]diagnose.Kind{
		otlptest.New(t, otlptest.WithTLS(certs.MutualServer)): diagnose.ClientCertificate,
		otlptest.New(t, otlptest.WithTLS(certs.Server)):       diagnose.Broken,
	} {
		at := target(true, collector.GRPCEndpoint())
		at.TLS = certs.ClientWithoutCert
		results := diagnose.Probe(t.Context(), []diagnose.Target{at},
			func(context.Context, diagnose.Target, *url.URL) error { return errors.New("write: broken pipe") })
		require.Equal(t, want, results[0].Finding.Kind)
	}
}
