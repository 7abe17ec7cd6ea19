package telemetry

import (
	"context"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/propagation"

	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// Inject writes the trace context and the baggage of ctx into carrier, for a request, message or
// job that leaves this process. A nil carrier is ignored.
//
// Inject uses the global propagator: after [Init], the one of OTEL_PROPAGATORS or
// [WithPropagators], including "none". Before any is set, the headers are those of W3C Trace
// Context and W3C Baggage. Inject is safe for concurrent use if carrier is.
//
// Baggage is limited to what W3C Baggage requires every service to propagate: whole members in the
// order of their keys, at most 64 members and 8,192 bytes. Beyond that, many services drop all
// baggage or refuse the request. The log says once that members were omitted. If a trace began in a
// process whose traces are off, nothing is written for it. The callee then decides for itself
// whether to record.
func Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	if !settings.IsNil(carrier) {
		w3c.Current().Inject(orBackground(ctx), carrier)
	}
}

// Extract returns ctx with the trace context and the baggage from carrier. A span started from it
// is a child of the caller's span. Missing or malformed values are ignored, as W3C Trace Context
// §3.2 requires, so a bad header only breaks the link between two traces. A nil carrier is empty.
//
// The keys of a tracestate may be those of W3C Trace Context Level 2; OpenTelemetry supports Level
// 1. If its [trace.TraceState] refuses a member, ctx keeps it and it is sent on with the same trace
// at its old place, behind OpenTelemetry's own, up to 32 members and 512 bytes in total. The
// trace_state of exported spans does not include it. If several members have the same key, the
// first one wins.
//
// Without a caller, the trace that starts here is marked random (the random-trace-id flag of W3C
// Trace Context Level 2 §3.2.2.5), so that samplers of different services make consistent
// decisions. A trace id from another process keeps its flags.
//
// The propagator is chosen as in [Inject].
func Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	ctx = orBackground(ctx)
	if !settings.IsNil(carrier) {
		ctx = w3c.Current().Extract(ctx, carrier)
	}
	return w3c.WithRandomRoot(ctx)
}

// orBackground returns ctx, or an empty context for nil.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// InjectHTTP is [Inject] into the header of an HTTP request. A nil header is ignored. [Transport]
// does this for every request.
func InjectHTTP(ctx context.Context, header http.Header) {
	if header != nil {
		Inject(ctx, propagation.HeaderCarrier(header))
	}
}

// ExtractHTTP is [Extract] from the header of an HTTP request, which may be nil. [Handler] does
// this for every request.
func ExtractHTTP(ctx context.Context, header http.Header) context.Context {
	return Extract(ctx, propagation.HeaderCarrier(header))
}

// MetadataCarrier carries context in gRPC metadata, a metadata.MD. It reads and writes md directly.
// Keys are lower-case, as HTTP/2 requires. It is as safe for concurrent use as a map. A nil one
// stores nothing.
func MetadataCarrier(md map[string][]string) propagation.TextMapCarrier { return w3c.Metadata(md) }

// MessageCarrier carries context in the headers of a message (Kafka, NATS, SQS, AMQP). It reads and
// writes headers directly. Brokers and clients spell header names differently, so names match in
// any case. It is as safe for concurrent use as a map. A nil one stores nothing.
func MessageCarrier(headers map[string]string) propagation.TextMapCarrier {
	return w3c.Message(headers)
}

// ExtractEnv is [Extract] from the environment of this process: TRACEPARENT, TRACESTATE and
// BAGGAGE, as the OpenTelemetry specification's "Environment Variables as Context Propagation
// Carriers" defines them. With it, a batch job, a CI step or a command joins the trace of the
// process that started it. Call it once, at the start of main.
func ExtractEnv(ctx context.Context) context.Context {
	return Extract(ctx, w3c.ReadEnviron(os.Environ()))
}

// InjectEnv returns environ with the trace context and the baggage of ctx, for a process about to
// be started:
//
//	cmd := exec.CommandContext(ctx, "reindex")
//	cmd.Env = telemetry.InjectEnv(ctx, cmd.Environ())
//
// Nil means the environment of this process, as in [os/exec.Cmd]. The child gets only the context
// in ctx: context variables already in environ are removed. environ is not modified, so it can be
// reused for several children. Other processes can read an environment, so keep secrets out of
// baggage.
func InjectEnv(ctx context.Context, environ []string) []string {
	if environ == nil {
		environ = os.Environ()
	}
	vars := w3c.Environ{}
	Inject(ctx, vars)

	owned := maps.Clone(vars)
	for _, field := range w3c.Current().Fields() {
		owned.Set(field, "")
	}
	child := make([]string, 0, len(environ)+len(vars))
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if _, ours := owned[name]; !ours {
			child = append(child, entry)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		child = append(child, name+"="+vars[name])
	}
	return child
}
