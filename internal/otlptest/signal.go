package otlptest

import (
	"strings"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/signal"
)

// Signal is one of the three kinds of telemetry.
type Signal = signal.Signal

// The signals.
const (
	Traces  = signal.Traces
	Metrics = signal.Metrics
	Logs    = signal.Logs
)

// service is the OTLP service of one signal: everything in which serving one differs from serving
// another.
type service struct {
	signal  Signal
	name    string // of the gRPC service
	request func() proto.Message
	success func() proto.Message
	partial func(rejected int64, message string) proto.Message
}

var services = []service{
	{
		signal:  Traces,
		name:    collectortrace.TraceService_ServiceDesc.ServiceName,
		request: func() proto.Message { return new(collectortrace.ExportTraceServiceRequest) },
		success: func() proto.Message { return new(collectortrace.ExportTraceServiceResponse) },
		partial: func(rejected int64, message string) proto.Message {
			return &collectortrace.ExportTraceServiceResponse{PartialSuccess: &collectortrace.ExportTracePartialSuccess{
				RejectedSpans: rejected, ErrorMessage: message,
			}}
		},
	},
	{
		signal:  Metrics,
		name:    collectormetrics.MetricsService_ServiceDesc.ServiceName,
		request: func() proto.Message { return new(collectormetrics.ExportMetricsServiceRequest) },
		success: func() proto.Message { return new(collectormetrics.ExportMetricsServiceResponse) },
		partial: func(rejected int64, message string) proto.Message {
			return &collectormetrics.ExportMetricsServiceResponse{PartialSuccess: &collectormetrics.ExportMetricsPartialSuccess{
				RejectedDataPoints: rejected, ErrorMessage: message,
			}}
		},
	},
	{
		signal:  Logs,
		name:    collectorlogs.LogsService_ServiceDesc.ServiceName,
		request: func() proto.Message { return new(collectorlogs.ExportLogsServiceRequest) },
		success: func() proto.Message { return new(collectorlogs.ExportLogsServiceResponse) },
		partial: func(rejected int64, message string) proto.Message {
			return &collectorlogs.ExportLogsServiceResponse{PartialSuccess: &collectorlogs.ExportLogsPartialSuccess{
				RejectedLogRecords: rejected, ErrorMessage: message,
			}}
		},
	},
}

// serviceAt finds the service of an OTLP/HTTP path; any prefix is allowed, as behind a gateway.
func serviceAt(path string) (service, bool) {
	for _, s := range services {
		if strings.HasSuffix(path, "/v1/"+s.signal.String()) {
			return s, true
		}
	}
	return service{}, false
}

// response answers a request of which the fault lets at least a part through. Partial success stays
// unset when there is nothing to say, as the OTLP specification demands.
func (s service) response(f Fault) proto.Message {
	if f.Rejected == 0 && f.Message == "" {
		return s.success()
	}
	return s.partial(f.Rejected, f.Message)
}
