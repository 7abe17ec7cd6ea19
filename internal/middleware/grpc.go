package middleware

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"

	"github.com/fleetotel/telemetry/internal/encodable"
)

// rpcMethod is what the spans and metrics of a method's calls have in common. It is immutable.
type rpcMethod struct {
	name       string // of the span
	attributes []attribute.KeyValue
	options    []trace.SpanStartOption
	excluded   bool // by the configuration of a server
	cached     bool // in a cache, so that outcomes with it may be cached too
}

// newMethod makes the method with this full name, "/package.Service/Method".
func newMethod(full string, kind trace.SpanStartOption) *rpcMethod {
	m := &rpcMethod{name: full}
	if name, ok := strings.CutPrefix(full, "/"); ok {
		m.name = name
		m.attributes = append(m.attributes, semconv.RPCMethod(name))
	}
	m.attributes = append(m.attributes, semconv.RPCSystemNameGRPC)
	m.options = []trace.SpanStartOption{kind, trace.WithAttributes(m.attributes...)}
	return m
}

// rpcAddress is the address of a server. It is immutable.
type rpcAddress struct {
	attributes []attribute.KeyValue
	cached     bool // see rpcMethod
}

// newAddress parses an address as Go writes it: a host with its port, or else, for example, the
// path of a Unix socket.
func newAddress(text string) *rpcAddress {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return &rpcAddress{attributes: []attribute.KeyValue{semconv.ServerAddress(text)}}
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return &rpcAddress{attributes: []attribute.KeyValue{semconv.ServerAddress(host)}}
	}
	return &rpcAddress{attributes: []attribute.KeyValue{semconv.ServerAddress(host), semconv.ServerPort(number)}}
}

// rpcAddresses are the addresses of the servers that a client has called, or those of a server
// itself.
type rpcAddresses struct {
	known cache[addressKey, *rpcAddress]
}

// addressKey is a TCP address, so that its text need not be made for each call, or the text of
// another address.
type addressKey struct {
	tcp  netip.AddrPort
	text string
}

func (a *rpcAddresses) of(addr net.Addr) *rpcAddress {
	var key addressKey
	if tcp, ok := addr.(*net.TCPAddr); ok {
		key.tcp = tcp.AddrPort()
	} else {
		key.text = addr.String()
	}
	if known, ok := a.known.get(key); ok {
		return known
	}
	made := newAddress(addr.String())
	made.cached = true
	if !a.known.put(key, made) {
		made.cached = false
	}
	return made
}

// rpcMetrics records the duration of calls.
type rpcMetrics struct {
	duration metric.Float64Histogram
	client   bool
	outcomes cache[rpcKey, *rpcOutcome]
}

// rpcKey determines an rpcOutcome.
type rpcKey struct {
	method  *rpcMethod
	address *rpcAddress // nil: not known
	code    codes.Code
	failed  bool
}

// rpcOutcome is what the calls of a method that end in the same way have in common. It is
// immutable.
type rpcOutcome struct {
	attributes []attribute.KeyValue  // of a span at its end
	options    []metric.RecordOption // of a measurement, sorted and hashed once
}

// newServerCalls makes the instrument of a server. If that fails, the error is reported and the
// instrument records nothing.
func newServerCalls(provider metric.MeterProvider) *rpcMetrics {
	duration, err := rpcconv.NewServerCallDuration(meterOf(provider), durationBuckets)
	if err != nil {
		otel.Handle(err)
	}
	return &rpcMetrics{duration: duration.Inst()}
}

// newClientCalls makes the instrument of a client, as newServerCalls does.
func newClientCalls(provider metric.MeterProvider) *rpcMetrics {
	duration, err := rpcconv.NewClientCallDuration(meterOf(provider), durationBuckets)
	if err != nil {
		otel.Handle(err)
	}
	return &rpcMetrics{duration: duration.Inst(), client: true}
}

// end ends the span of a call and records its duration. It calls decided after the span's end for
// the context of the measurement.
func (m *rpcMetrics) end(span trace.Span, key rpcKey, event *stats.End, decided func() context.Context) {
	outcome := m.outcome(key)
	span.SetAttributes(outcome.attributes...)
	span.End()
	m.duration.Record(decided(), event.EndTime.Sub(event.BeginTime).Seconds(), outcome.options...)
}

func (m *rpcMetrics) outcome(key rpcKey) *rpcOutcome {
	if known, ok := m.outcomes.get(key); ok {
		return known
	}
	var address []attribute.KeyValue
	cached := key.method.cached
	if key.address != nil {
		address, cached = key.address.attributes, cached && key.address.cached
	}
	made := &rpcOutcome{attributes: slices.Concat(address, outcomeOf(key.code, key.failed))}
	set := slices.Concat(key.method.attributes, outcomeOf(key.code, key.failed))
	if m.client { // the conventions have the address only in the metrics of clients
		set = append(set, address...)
	}
	made.options = []metric.RecordOption{encodable.NewReused(attribute.NewSet(set...))}
	if cached {
		m.outcomes.put(key, made)
	}
	return made
}

// outcomeOf returns the attributes of a call's end.
func outcomeOf(code codes.Code, failed bool) []attribute.KeyValue {
	if int(code) >= len(outcomes) {
		return newOutcome("CODE("+strconv.FormatUint(uint64(code), 10)+")", failed)
	}
	if failed {
		return failures[code]
	}
	return outcomes[code]
}

func newOutcome(code string, failed bool) []attribute.KeyValue {
	attrs := []attribute.KeyValue{semconv.RPCResponseStatusCode(code)}
	if failed {
		attrs = append(attrs, semconv.ErrorTypeKey.String(code))
	}
	return attrs
}

// outcomes and failures are the attributes for each of gRPC's codes.
var outcomes, failures = func() (all [17][]attribute.KeyValue, failed [17][]attribute.KeyValue) {
	for code, name := range [17]string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
		"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	} {
		all[code], failed[code] = newOutcome(name, false), newOutcome(name, true)
	}
	return all, failed
}()
