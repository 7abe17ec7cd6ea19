package middleware

import (
	"encoding/hex"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/nonrecording"
)

const (
	serverTiming  = "Server-Timing"
	exposeHeaders = "Access-Control-Expose-Headers"
)

// timing adds Server-Timing and Access-Control-Expose-Headers to a response (W3C Server Timing §2;
// Fetch §3.2.3). It does so when the header is about to be sent, because a handler that sets such a
// header, as CORS middleware does, replaces earlier values.
type timing [2]string // the values of the two headers, once they are made

// addTo adds nothing for a span of another process, or for a trace that is recorded nowhere.
func (t *timing) addTo(header http.Header, sc trace.SpanContext) {
	if !sc.IsValid() || sc.IsRemote() || nonrecording.Made(sc) {
		return
	}
	if t[0] == "" {
		*t = timing{timingEntry(sc), serverTiming}
	}
	for i, key := range [2]string{serverTiming, exposeHeaders} {
		if set := header[key]; len(set) == 0 {
			header[key] = t[i : i+1 : i+1]
		} else if !slices.Contains(set, t[i]) {
			header[key] = append(slices.Clip(set), t[i]) // several responses may share the handler's slice
		}
	}
}

// timingEntry has only the sampled flag of the trace flags, because browser agents look for a
// literal 01.
func timingEntry(sc trace.SpanContext) string {
	traceID, spanID := sc.TraceID(), sc.SpanID()
	entry := make([]byte, 0, 80)
	entry = append(entry, `traceparent;desc="00-`...)
	entry = hex.AppendEncode(entry, traceID[:])
	entry = append(entry, '-')
	entry = hex.AppendEncode(entry, spanID[:])
	if sc.IsSampled() {
		return string(append(entry, `-01"`...))
	}
	return string(append(entry, `-00"`...))
}
