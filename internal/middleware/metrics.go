package middleware

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"

	"github.com/fleetotel/telemetry/internal/encodable"
)

// ServerMetrics are the metrics of HTTP servers (semantic conventions, http/http-metrics.md).
type ServerMetrics struct {
	active       httpconv.ServerActiveRequests
	duration     httpconv.ServerRequestDuration
	requestSize  httpconv.ServerRequestBodySize
	responseSize httpconv.ServerResponseBodySize
}

// durationBuckets are those that the conventions ask for.
var durationBuckets = metric.WithExplicitBucketBoundaries(
	0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

// NewServerMetrics makes the instruments. They can be used whatever the error says: those that failed record nothing.
func NewServerMetrics(meter metric.Meter) (ServerMetrics, error) {
	active, errActive := httpconv.NewServerActiveRequests(meter)
	duration, errDuration := httpconv.NewServerRequestDuration(meter, durationBuckets)
	requestSize, errRequest := httpconv.NewServerRequestBodySize(meter)
	responseSize, errResponse := httpconv.NewServerResponseBodySize(meter)
	return ServerMetrics{active, duration, requestSize, responseSize}, errors.Join(errActive, errDuration, errRequest, errResponse)
}

// Begin counts r as active until the function it returns is called.
func (m ServerMetrics) Begin(r *http.Request) (end func()) {
	set := metric.WithAttributeSet(attribute.NewSet(
		semconv.HTTPRequestMethodKey.String(KnownMethod(r.Method)),
		semconv.URLScheme(scheme(r)),
	))
	m.active.Inst().Add(r.Context(), 1, set)
	return func() { m.active.Inst().Add(r.Context(), -1, set) }
}

// Served is a request that is over.
type Served struct {
	Request   *http.Request
	Anonymous bool                 // without the host, which a stranger can make up
	Status    int                  // 0: none was sent
	ErrorType string               // "" if it was no error
	Further   []attribute.KeyValue // of the metrics alone

	Duration                  time.Duration
	RequestSize, ResponseSize int64 // bytes of the bodies
}

// Record records what was served; ctx has the span.
func (m ServerMetrics) Record(ctx context.Context, s Served) {
	set := metric.WithAttributeSet(attribute.NewSet(s.attributes()...))
	m.duration.Inst().Record(ctx, s.Duration.Seconds(), set)
	m.requestSize.Inst().Record(ctx, s.RequestSize, set)
	m.responseSize.Inst().Record(ctx, s.ResponseSize, set)
}

func (s Served) attributes() []attribute.KeyValue {
	protocol, version, _ := strings.Cut(s.Request.Proto, "/")
	attrs := append(make([]attribute.KeyValue, 0, 9+len(s.Further)), s.Further...)
	attrs = append(attrs,
		semconv.HTTPRequestMethodKey.String(KnownMethod(s.Request.Method)),
		semconv.URLScheme(scheme(s.Request)),
	)
	if protocol != "" {
		attrs = append(attrs, semconv.NetworkProtocolName(strings.ToLower(protocol)))
	}
	if version != "" {
		attrs = append(attrs, semconv.NetworkProtocolVersion(protocolVersion(version)))
	}
	if s.Status > 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(s.Status))
	}
	if route := Route(s.Request.Pattern); route != "" {
		attrs = append(attrs, semconv.HTTPRoute(route))
	}
	if s.ErrorType != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(s.ErrorType))
	}
	if s.Anonymous {
		return attrs
	}
	host, port := splitHost(s.Request.Host)
	held := max(len(s.Request.Host), len(s.Request.RequestURI)) // the host of GET http://… is a part of the line
	attrs = append(attrs, semconv.ServerAddress(encodable.Part(host[:min(len(host), maxHost)], held)))
	if port > 0 && port != defaultPort(s.Request) {
		attrs = append(attrs, semconv.ServerPort(port))
	}
	return attrs
}

// maxHost is how long a host name may be (RFC 1035 §2.3.4). A longer one is a stranger's, and would be a series of metrics.
const maxHost = 253

// protocolVersion is a version that is not a part of the request's line: the SDK holds the attributes of metrics until the
// process ends, and a line may be a megabyte.
func protocolVersion(version string) string {
	switch version {
	case "1.0":
		return "1.0"
	case "1.1":
		return "1.1"
	case "2.0":
		return "2.0"
	case "3.0":
		return "3.0"
	}
	return strings.Clone(version)
}

// LongRequest tells whether the strings that the instrumentation takes from the line, the host or the forwarding header of
// a request keep much alive.
func LongRequest(r *http.Request) bool {
	if len(r.RequestURI) > encodable.Slack || len(r.Host) > encodable.Slack {
		return true
	}
	for _, value := range r.Header["X-Forwarded-For"] {
		if len(value) > encodable.Slack {
			return true
		}
	}
	return false
}

// splitHost splits a Host header into host and port; the port is 0 if the header has no port.
func splitHost(hostport string) (host string, port int) {
	host, text, err := net.SplitHostPort(hostport)
	if err != nil {
		return strings.Trim(hostport, "[]"), 0
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return host, 0
	}
	return host, int(number)
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func defaultPort(r *http.Request) int {
	if r.TLS != nil {
		return 443
	}
	return 80
}

// Route is the http.route of a pattern as [http.ServeMux] writes it: without its method and host.
func Route(pattern string) string {
	if i := strings.IndexByte(pattern, '/'); i >= 0 {
		return pattern[i:]
	}
	return ""
}

// OtherMethod is the name of unknown methods in metrics.
const OtherMethod = "_OTHER"

// knownMethods are constants: the method of a request is a part of its whole line.
var knownMethods = map[string]string{
	http.MethodConnect: http.MethodConnect, http.MethodDelete: http.MethodDelete, http.MethodGet: http.MethodGet,
	http.MethodHead: http.MethodHead, http.MethodOptions: http.MethodOptions, http.MethodPatch: http.MethodPatch,
	http.MethodPost: http.MethodPost, http.MethodPut: http.MethodPut, http.MethodTrace: http.MethodTrace,
}

// KnownMethod keeps the methods that a stranger makes up from becoming time series (semantic conventions,
// http.request.method).
func KnownMethod(method string) string {
	if known, ok := knownMethods[method]; ok {
		return known
	}
	if known, ok := knownMethods[strings.ToUpper(method)]; ok {
		return known
	}
	return OtherMethod
}

// ServerSpanName is the name of a server's span: "{method} {route}", or the method alone.
func ServerSpanName(r *http.Request) string {
	name := KnownMethod(r.Method)
	if name == OtherMethod {
		name = "HTTP"
	}
	if route := Route(r.Pattern); route != "" {
		name += " " + route
	}
	return name
}
