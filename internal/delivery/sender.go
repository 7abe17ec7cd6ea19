package delivery

import (
	"bytes"
	"context"
	"io"
	"net/http"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// Sender sends a request from the spool as the exporter of its signal would, with today's headers,
// through a client or connection of an [Endpoint]. The body is the same for all protocols and
// processes.
type Sender func(context.Context, spool.Request) error

// HTTPSender sends to url through client. If compress is set, the body is sent as it is on disk.
func HTTPSender(client *http.Client, url string, headers map[string]string, compress bool) Sender {
	return func(ctx context.Context, r spool.Request) error {
		req, err := httpRequest(ctx, url, headers, r, compress)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return closed(resp.Body, err)
	}
}

func httpRequest(ctx context.Context, url string, headers map[string]string, r spool.Request,
	compress bool) (*http.Request, error) {
	body := r.Gzip
	if !compress {
		var err error
		if body, err = r.Body(); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if compress {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}

func closed(body io.Closer, err error) error {
	if closing := body.Close(); err == nil {
		return closing
	}
	return err
}

// GRPCSender sends through conn, with headers as metadata.
func GRPCSender(conn *grpc.ClientConn, headers map[string]string) Sender {
	return func(ctx context.Context, r spool.Request) error {
		body, err := r.Body()
		if err != nil {
			return err
		}
		method, resp := serviceOf(r.Signal)
		ctx = metadata.NewOutgoingContext(ctx, metadata.New(headers))
		return conn.Invoke(ctx, method, rawMessage(body), resp)
	}
}

// serviceOf returns the method that takes a signal's requests, and its answer.
func serviceOf(s signal.Signal) (method string, resp proto.Message) {
	switch s {
	case signal.Metrics:
		return export(colmetricspb.MetricsService_ServiceDesc), &colmetricspb.ExportMetricsServiceResponse{}
	case signal.Logs:
		return export(collogspb.LogsService_ServiceDesc), &collogspb.ExportLogsServiceResponse{}
	default:
		return export(coltracepb.TraceService_ServiceDesc), &coltracepb.ExportTraceServiceResponse{}
	}
}

func export(service grpc.ServiceDesc) string { return "/" + service.ServiceName + "/Export" }

// rawMessage is a message that is encoded already; the [Endpoint] sends it as it is.
type rawMessage []byte
