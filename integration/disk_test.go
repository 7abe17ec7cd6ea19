package integration

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// span is one that a backend has written, with the service it comes from.
type span struct {
	ptrace.Span
	service string
}

type spanKey struct {
	trace pcommon.TraceID
	span  pcommon.SpanID
}

func (s span) key() spanKey { return spanKey{s.TraceID(), s.SpanID()} }

// traces are the requests that a backend has written.
func (c *collector) traces() []ptrace.Traces {
	unmarshaler := ptrace.JSONUnmarshaler{}
	return requests(c.t, filepath.Join(c.dir, "traces.json"), unmarshaler.UnmarshalTraces)
}

func (c *collector) logs() []plog.Logs {
	unmarshaler := plog.JSONUnmarshaler{}
	return requests(c.t, filepath.Join(c.dir, "logs.json"), unmarshaler.UnmarshalLogs)
}

// requests decodes the lines of a file; the last one may be half-written.
func requests[T any](t *testing.T, file string, decode func([]byte) (T, error)) (all []T) {
	t.Helper()
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing has arrived
	}
	require.NoError(t, err)
	for {
		line, rest, complete := bytes.Cut(text, []byte("\n"))
		if !complete {
			return all
		}
		request, err := decode(line)
		require.NoError(t, err, file)
		all, text = append(all, request), rest
	}
}

// spans are what a backend has written, each span once, and how many were there twice or more: a
// sender that gets no answer sends again.
func (c *collector) spans() (once map[spanKey]span, repeated int) {
	once = make(map[spanKey]span)
	for _, request := range c.traces() {
		for _, rs := range request.ResourceSpans().All() {
			service := text(rs.Resource().Attributes(), "service.name")
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					found := span{s, service}
					if _, ok := once[found.key()]; ok {
						repeated++
					}
					once[found.key()] = found
				}
			}
		}
	}
	return once, repeated
}

// records counts the log records that a backend has written, each once. Nothing but its whole
// content tells one from another.
func (c *collector) records() (once, repeated int) {
	seen := make(map[string]bool)
	marshaler := plog.ProtoMarshaler{}
	for _, request := range c.logs() {
		for _, rl := range request.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, r := range sl.LogRecords().All() {
					alone := plog.NewLogs()
					r.CopyTo(alone.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty())
					content, err := marshaler.MarshalLogs(alone)
					require.NoError(c.t, err)
					key := text(rl.Resource().Attributes(), "service.instance.id") + string(content)
					if seen[key] {
						repeated++
					}
					seen[key] = true
				}
			}
		}
	}
	return len(seen), repeated
}

func text(attributes pcommon.Map, key string) string {
	value, _ := attributes.Get(key)
	return value.Str()
}
