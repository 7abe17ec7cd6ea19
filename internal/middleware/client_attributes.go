package middleware

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"

	"github.com/fleetotel/telemetry/internal/encodable"
)

// clientTarget is where a request goes. Spans and metrics have it as attributes.
type clientTarget struct {
	method, scheme string
	host           string
	port           int // 0: not known
}

// clientSpanName is the method, as the HTTP semantic conventions ask if no URL template is known.
func clientSpanName(method string) string {
	if method == otherMethod {
		return "HTTP"
	}
	return method
}

// startAttributes appends the attributes that a span has at its start, where samplers see them.
// There are at most maxStartAttributes.
func (x *sending) startAttributes(attrs []attribute.KeyValue, r *http.Request) []attribute.KeyValue {
	full := fullURL(r)
	t := &x.target
	*t = x.transport.targetOf(r, len(full))
	attrs = append(attrs, semconv.HTTPRequestMethodKey.String(t.method))
	if t.method == otherMethod {
		attrs = append(attrs, semconv.HTTPRequestMethodOriginal(strings.Clone(r.Method))) // of a proxied request's line
	}
	attrs = append(attrs, semconv.URLFull(full))
	if t.host != "" {
		attrs = append(attrs, semconv.ServerAddress(t.host))
		if t.port > 0 {
			attrs = append(attrs, semconv.ServerPort(t.port))
		}
	}
	return attrs
}

// targetOf copies host and scheme if the URL, of whole bytes, is much longer than they are.
func (e Edge) targetOf(r *http.Request, whole int) clientTarget {
	t := clientTarget{method: e.Methods.known(cmp.Or(r.Method, http.MethodGet))} // as net/http sends it
	t.host, t.port = splitHost(r.URL.Host)
	if t.host == "" {
		t.host, t.port = splitHost(r.Header.Get("Host"))
	}
	t.host = encodable.Part(t.host, whole)
	switch t.scheme = r.URL.Scheme; t.scheme {
	case "http", "":
		t.scheme = "http"
		if t.port == 0 {
			t.port = 80
		}
	case "https":
		t.scheme = "https"
		if t.port == 0 {
			t.port = 443
		}
	default:
		t.scheme = encodable.Part(t.scheme, whole)
	}
	return t
}

// fullURL is the URL without a user and its password, and without the values of signatures.
func fullURL(r *http.Request) string {
	query := scrubbedQuery(r.URL.RawQuery)
	if r.URL.User == nil && query == r.URL.RawQuery {
		return r.URL.String()
	}
	u := *r.URL
	u.User, u.RawQuery = nil, query
	return u.String()
}

// clientMetrics are the metrics of HTTP clients (semantic conventions, http/http-metrics.md).
type clientMetrics struct {
	duration    httpconv.ClientRequestDuration
	requestSize httpconv.ClientRequestBodySize
	outcomes    cache[clientKey, *clientOutcome]
}

// newClientMetrics makes the instruments. If that fails, the error is reported and they record
// nothing.
func newClientMetrics(provider metric.MeterProvider) *clientMetrics {
	meter := meterOf(provider)
	duration, errDuration := httpconv.NewClientRequestDuration(meter, durationBuckets)
	requestSize, errRequest := httpconv.NewClientRequestBodySize(meter)
	if err := errors.Join(errDuration, errRequest); err != nil {
		otel.Handle(err)
	}
	return &clientMetrics{duration: duration, requestSize: requestSize}
}

// clientKey is what a clientOutcome is made of.
type clientKey struct {
	clientTarget
	answer
}

// clientOutcome is what requests to one host that end in the same way have in common. It is
// immutable.
type clientOutcome struct {
	clientKey
	attributes []attribute.KeyValue  // of a span at its end
	options    []metric.RecordOption // of measurements, sorted and hashed once
}

func (m *clientMetrics) outcome(t clientTarget, a answer) *clientOutcome {
	t.host = t.host[:min(len(t.host), maxHost)]
	key := clientKey{t, a}
	if known, ok := m.outcomes.get(key); ok {
		return known
	}
	key.host, key.scheme = strings.Clone(key.host), strings.Clone(key.scheme)
	key.errorType = strings.Clone(key.errorType)
	made := &clientOutcome{clientKey: key, attributes: endAttributes(a)}
	made.options = made.with(nil)
	m.outcomes.put(key, made)
	return made
}

// endAttributes returns the attributes of a response.
func endAttributes(a answer) (attrs []attribute.KeyValue) {
	if a.status > 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(a.status))
	}
	if a.errorType != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(a.errorType))
	}
	if a.version != "" {
		if a.protocol != "http" && a.protocol != "" {
			attrs = append(attrs, semconv.NetworkProtocolName(a.protocol))
		}
		attrs = append(attrs, semconv.NetworkProtocolVersion(a.version))
	}
	return attrs
}

// labels returns the attributes that the service or a round tripper has added with otelhttp's
// labeler for clients.
func (x *sending) labels() []attribute.KeyValue {
	if own := x.labeler.Load(); own != nil {
		return own.Get()
	}
	if outer, ok := x.Context.Value(clientLabelerKey).(*otelhttp.Labeler); ok {
		return outer.Get()
	}
	return nil
}

// with returns the attributes of measurements together with further ones.
func (o *clientOutcome) with(further []attribute.KeyValue) []metric.RecordOption {
	attrs := append(make([]attribute.KeyValue, 0, 8+len(further)), further...)
	attrs = append(attrs, semconv.HTTPRequestMethodKey.String(o.method), semconv.URLScheme(o.scheme))
	if o.host != "" {
		attrs = append(attrs, semconv.ServerAddress(o.host))
		if o.port > 0 {
			attrs = append(attrs, semconv.ServerPort(o.port))
		}
	}
	if o.protocol != "" {
		attrs = append(attrs, semconv.NetworkProtocolName(o.protocol))
	}
	if o.version != "" {
		attrs = append(attrs, semconv.NetworkProtocolVersion(o.version))
	}
	if o.status > 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(o.status))
	}
	if o.errorType != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(o.errorType))
	}
	return []metric.RecordOption{encodable.NewReused(attribute.NewSet(attrs...))}
}
