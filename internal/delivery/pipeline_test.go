package delivery_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
)

// pipeline is a tracer over the batch engine, an official exporter and delivery.
type pipeline struct {
	*batch.SpanProcessor
	t        *testing.T
	endpoint *delivery.Endpoint
	provider *sdktrace.TracerProvider
}

func newPipeline(t *testing.T, s *server, cfg delivery.Config, batchCfg batch.Config) *pipeline {
	t.Helper()
	endpoint := delivery.New(cfg)
	var client otlptrace.Client
	if s.protocol == "http" {
		pool := endpoint.NewTransport(nil, 8)
		t.Cleanup(pool.CloseIdleConnections)
		client = otlptracehttp.NewClient(
			otlptracehttp.WithEndpointURL("http://"+s.addr+"/v1/traces"),
			otlptracehttp.WithHTTPClient(&http.Client{Transport: endpoint.Transport(pool)}),
			otlptracehttp.WithHeaders(map[string]string{"api-key": "hunter2hunter2"}),
			otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	} else {
		conn, err := endpoint.GRPCConn(s.addr, insecure.NewCredentials())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		client = otlptracegrpc.NewClient(otlptracegrpc.WithGRPCConn(conn), otlptracegrpc.WithTimeout(0),
			otlptracegrpc.WithHeaders(map[string]string{"api-key": "hunter2hunter2"}),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}))
	}
	exporter, err := otlptrace.New(t.Context(), client)
	require.NoError(t, err)
	p, err := batch.NewSpanProcessor(batchCfg, exporter)
	require.NoError(t, err)
	return &pipeline{SpanProcessor: p, t: t, endpoint: endpoint,
		provider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))}
}

// send ends n spans.
func (p *pipeline) send(n int) {
	tracer := p.provider.Tracer("test")
	for i := range n {
		_, span := tracer.Start(context.Background(), "span")
		span.SetAttributes(attribute.Int("i", i), attribute.String("pad", strings.Repeat("x", 100)))
		span.End()
	}
}

// close shuts the pipeline down and returns its books, which must balance.
func (p *pipeline) close(within time.Duration) (batch.Stats, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := p.provider.Shutdown(ctx)
	s := p.Snapshot()
	require.Equal(p.t, s.Accepted, s.Exported+s.Dropped.Total()+s.Failed+s.Rejected+s.Queued+s.Spooled, "%+v", s)
	require.Zero(p.t, s.Queued)
	return s, err
}

func overBoth(t *testing.T, test func(t *testing.T, protocol string)) {
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			test(t, protocol)
		})
	}
}

func TestPermanentFailureIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		s.answer = func(request int) fault {
			if request == 0 {
				return fault{status: http.StatusUnauthorized, code: codes.Unauthenticated, message: "who are you"}
			}
			return fault{}
		}
		s.up()
		p := newPipeline(t, s, delivery.Config{}, batch.Config{MaxExportBatchSize: 100, MaxConcurrentExports: 1})
		p.send(300)
		stats, err := p.close(20 * time.Second)
		require.EqualValues(t, 100, stats.Failed)
		require.EqualValues(t, 200, stats.Exported)
		if err != nil { // the failure may have come before the shutdown
			require.ErrorContains(t, err, "who are you")
		}
		require.ErrorContains(t, stats.LastError, s.addr)
		require.Len(t, s.times(), 3)
	})
}

func TestTooLargeIsHalved(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		s.maxBytes = 20_000 // some 100 of the spans below
		s.up()
		p := newPipeline(t, s, delivery.Config{Gzip: true}, batch.Config{MaxExportBatchSize: 1000})
		p.send(1000)
		_, giant := p.provider.Tracer("test").Start(context.Background(), "giant")
		giant.SetAttributes(attribute.String("pad", strings.Repeat("0123456789", 3000)))
		giant.End()
		stats, err := p.close(20 * time.Second)
		require.EqualValues(t, 1000, stats.Exported)
		require.EqualValues(t, 1, stats.Dropped.TooLarge)
		require.Error(t, err)
		arrived, twice := s.arrived()
		require.Equal(t, 1000, arrived)
		require.Zero(t, twice)
	})
}

func TestPartialSuccessIsBooked(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		s.answer = func(request int) fault {
			if request == 0 {
				return fault{rejected: 3, message: "too old"}
			}
			return fault{}
		}
		s.up()
		p := newPipeline(t, s, delivery.Config{}, batch.Config{MaxExportBatchSize: 100, MaxConcurrentExports: 1})
		p.send(200)
		stats, _ := p.close(20 * time.Second)
		require.EqualValues(t, 197, stats.Exported)
		require.EqualValues(t, 3, stats.Rejected)
		require.ErrorContains(t, stats.LastError, "rejected 3 items: too old")
		require.Len(t, s.times(), 2, "a partial success is not sent again")
	})
}

// Requests are compressed exactly when asked for.
func TestCompression(t *testing.T) {
	t.Parallel()
	for gzip, want := range map[bool]string{true: "gzip", false: ""} {
		t.Run(fmt.Sprint(gzip), func(t *testing.T) {
			overBoth(t, func(t *testing.T, protocol string) {
				s := newServer(t, protocol)
				s.up()
				p := newPipeline(t, s, delivery.Config{Gzip: gzip}, batch.Config{})
				p.send(100)
				_, err := p.close(20 * time.Second)
				require.NoError(t, err)
				arrived, _ := s.arrived()
				require.Equal(t, 100, arrived)
				require.Equal(t, []string{want}, s.encoding)
			})
		})
	}
}
