package console

import (
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// conventional are the namespaces of the semantic conventions, whose attributes usually come from
// instrumentation. Of these, summary shows the important ones. All other attributes are the
// service's own, and summary shows all of them.
var conventional = []string{
	"http.", "url.", "network.", "net.", "server.", "client.", "user_agent.", "rpc.", "grpc.", "db.", "messaging.",
	"otel.", "code.", "thread.", "exception.", "error.", "tls.", "sampling.keep",
}

// summary returns what is shown beside the name of a span: method, path, query and destination if
// the name does not contain them, the outcome, and the service's own attributes. Each piece begins
// with a blank.
func summary(name string, kind trace.SpanKind, attrs []attribute.KeyValue) line {
	s := summarizer{name: name, values: make(map[attribute.Key]string, len(attrs))}
	for _, kv := range attrs {
		s.values[kv.Key] = kv.Value.String()
	}
	s.http(kind)
	s.rpc()
	s.tell(s.first("db.system.name", "db.system"))
	s.tell(s.first("db.query.summary", "db.query.text", "db.statement"))
	s.tell(s.first("messaging.system"))
	s.tell(s.first("messaging.destination.name"))
	s.failure()
	for _, kv := range attrs {
		if !isConventional(string(kv.Key)) && s.size < maxText {
			s.add(pair(kv), dim)
		}
	}
	return s.pieces
}

func pair(kv attribute.KeyValue) string {
	return short(string(kv.Key)) + "=" + quoted(short(kv.Value.String()))
}

type summarizer struct {
	name   string
	values map[attribute.Key]string
	pieces line
	size   int // of the pieces; no terminal shows more than maxText
	status string
}

func isConventional(key string) bool {
	for _, prefix := range conventional {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

func (s *summarizer) first(keys ...attribute.Key) string {
	for _, key := range keys {
		if value := s.values[key]; value != "" {
			return value
		}
	}
	return ""
}

func (s *summarizer) add(text string, style style) {
	s.pieces = append(s.pieces, piece{" " + text, style})
	s.size += len(text)
}

// tell adds a value unless the name contains it.
func (s *summarizer) tell(value string) {
	if value = short(value); value != "" && !strings.Contains(s.name, value) {
		s.add(value, dim)
	}
}

func (s *summarizer) http(kind trace.SpanKind) {
	s.tell(s.first("http.request.method", "http.method"))
	path, host := s.first("url.path", "http.route", "http.target"), ""
	if full, err := url.Parse(s.first("url.full", "http.url")); err == nil && full.Host != "" {
		path, host = full.EscapedPath(), full.Host
	}
	if kind == trace.SpanKindClient && path != "" {
		path = host + path
	}
	s.tell(path)
	s.status = s.first("http.response.status_code", "http.status_code")
	if s.status != "" {
		s.add(short(s.status), statusStyle(s.status))
	}
}

func statusStyle(status string) style {
	switch code, _ := strconv.Atoi(status); {
	case code >= 500:
		return red
	case code >= 400:
		return yellow
	case code >= 200:
		return green
	}
	return plain
}

func (s *summarizer) rpc() {
	s.tell(s.first("rpc.method"))
	status := s.first("rpc.response.status_code", "rpc.grpc.status_code")
	if status != "" && status != "0" && status != "OK" {
		s.status = status
		s.add(short(status), yellow)
	}
}

func (s *summarizer) failure() {
	if kind := s.values["error.type"]; kind != s.status {
		s.tellError(kind)
	}
}

func (s *summarizer) tellError(kind string) {
	if kind = errorType(kind); kind != "" {
		s.add(kind, red)
	}
}

// errorType returns the name of an error's type, or "" for the types of errors.New and fmt.Errorf,
// which say nothing.
func errorType(kind string) string {
	kind = strings.TrimPrefix(kind, "*")
	if strings.HasPrefix(kind, "errors.") || strings.HasPrefix(kind, "fmt.") {
		return ""
	}
	return short(kind)
}

// spanEvent returns a span event as one line. For an exception it also returns the message, and the
// line leaves out a type that equals known.
func spanEvent(e sdktrace.Event, known string) (text line, message string) {
	if e.Name == "exception" {
		values := map[attribute.Key]string{}
		for _, kv := range e.Attributes {
			values[kv.Key] = kv.Value.String()
		}
		message = values["exception.message"]
		text = line{{short(message), red}}
		if kind := errorType(values["exception.type"]); kind != "" && kind != errorType(known) {
			text = append(text, piece{" " + kind, dim})
		}
		return text, message
	}
	text = line{{short(e.Name), plain}}
	size := len(e.Name)
	for _, kv := range e.Attributes {
		if size < maxText {
			text = append(text, piece{" " + pair(kv), dim})
			size += len(text[len(text)-1].text)
		}
	}
	return text, ""
}
