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

	"github.com/fleetotel/telemetry/internal/spool"
)

// Sender sends a request from the spool as the exporter of its signal would, with
// the headers of today: through a client or connection that is under an [Endpoint].
// Whatever process has spooled it, over whichever protocol, the body is the same.
type Sender func(context.Context, spool.Request) error

// HTTPSender sends to url through client. The request's body goes out as it is on
// disk if compress is set.
func HTTPSender(client *http.Client, url string, headers map[string]string, compress bool) Sender {
	return func(ctx context.Context, r spool.Request) error {
		body := r.Gzip
		if !compress {
			var err error
			if body, err = r.Body(); err != nil {
				return err
			}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		for name, value := range headers {
			req.Header.Set(name, value)
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		if compress {
			req.Header.Set("Content-Encoding", "gzip")
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return closed(resp.Body, err)
	}
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
func serviceOf(s spool.Signal) (method string, resp proto.Message) {
	switch s {
	case spool.Metrics:
		return export(colmetricspb.MetricsService_ServiceDesc), &colmetricspb.ExportMetricsServiceResponse{}
	case spool.Logs:
		return export(collogspb.LogsService_ServiceDesc), &collogspb.ExportLogsServiceResponse{}
	default:
		return export(coltracepb.TraceService_ServiceDesc), &coltracepb.ExportTraceServiceResponse{}
	}
}

func export(service grpc.ServiceDesc) string { return "/" + service.ServiceName + "/Export" }

// rawMessage is a message that is encoded already; the [Endpoint] sends it as it is.
type rawMessage []byte
