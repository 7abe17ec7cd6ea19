package middleware

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/sampling"
)

// A service that keeps its part of a trace, which its caller has not sampled, tells the caller so
// in its response. It uses the entry of Server-Timing that W3C reserves for this (Trace Context
// Level 3, "Trace Context Server Timing Metric"),
//
//	trace;desc=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01;th=8
//
// with the threshold of the tracestate as a further parameter, which others ignore (Server Timing,
// §2). Over gRPC it is a trailer of the same name. A response without such an entry says nothing.
const decisionName = "trace"

// decisionEntry returns an entry of at most 84 bytes.
func decisionEntry(sc trace.SpanContext, threshold uint64) string {
	traceID, spanID := sc.TraceID(), sc.SpanID()
	entry := make([]byte, 0, 84)
	entry = append(entry, decisionName+";desc=00-"...)
	entry = hex.AppendEncode(entry, traceID[:])
	entry = append(entry, '-')
	entry = hex.AppendEncode(entry, spanID[:])
	entry = append(entry, "-01;th="...)
	return string(append(entry, sampling.FormatThreshold(threshold)...))
}

// trailingTiming is the header key for which net/http sends Server-Timing as a trailer.
const trailingTiming = http.TrailerPrefix + serverTiming

// maxDecisionBytes limits how much of a response's Server-Timing is read.
const maxDecisionBytes = 4 << 10

// readDecision looks for the decision on a trace in the values of Server-Timing. If there are
// several, as from services behind a proxy that passes their headers on, the lowest threshold
// counts. Malformed entries and those of other traces are ignored.
func readDecision(values []string, id trace.TraceID) (threshold uint64, ok bool) {
	left := maxDecisionBytes
	for _, value := range values {
		if left -= len(value); left < 0 {
			return threshold, ok
		}
		for value != "" {
			var entry string
			entry, value = cutUnquoted(value, ',')
			if th, found := decisionOf(entry, id); found && (!ok || th < threshold) {
				threshold, ok = th, true
			}
		}
	}
	return threshold, ok
}

// decisionOf reads one entry of Server-Timing.
func decisionOf(entry string, id trace.TraceID) (threshold uint64, ok bool) {
	name, params := cutUnquoted(entry, ';')
	if !isDecision(name) {
		return 0, false
	}
	var desc, th string
	for params != "" {
		var param string
		param, params = cutUnquoted(params, ';')
		key, value, _ := strings.Cut(param, "=")
		value = strings.Trim(strings.Trim(value, " \t"), `"`)
		switch strings.ToLower(strings.Trim(key, " \t")) {
		case "desc":
			desc = value
		case "th":
			th = value
		}
	}
	const length = len("00-") + 32 + len("-") + 16 + len("-01")
	if len(desc) != length || desc[:3] != "00-" || desc[35] != '-' || desc[52] != '-' {
		return 0, false
	}
	var traceID trace.TraceID
	if _, err := hex.Decode(traceID[:], []byte(desc[3:35])); err != nil || traceID != id {
		return 0, false
	}
	flags, err := hex.DecodeString(desc[53:])
	if err != nil || !trace.TraceFlags(flags[0]).IsSampled() {
		return 0, false
	}
	return sampling.ParseThreshold(th)
}

func isDecision(name string) bool {
	return strings.EqualFold(strings.Trim(name, " \t"), decisionName)
}

// cutUnquoted cuts s at the first separator that is not within quotes.
func cutUnquoted(s string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && c == separator:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// withoutDecisions removes the decisions of other services from a response that passes their
// headers on. This service has already taken them into account.
func withoutDecisions(values []string) []string {
	if !slices.ContainsFunc(values, hasDecision) {
		return values
	}
	var kept []string
	for _, value := range values {
		var entries []string
		for value != "" {
			var entry string
			entry, value = cutUnquoted(value, ',')
			if name, _ := cutUnquoted(entry, ';'); !isDecision(name) {
				entries = append(entries, strings.Trim(entry, " \t"))
			}
		}
		if len(entries) > 0 {
			kept = append(kept, strings.Join(entries, ", "))
		}
	}
	return kept
}

// removeDecisions is withoutDecisions for one key of a header.
func removeDecisions(header http.Header, key string) {
	values := header[key]
	if len(values) == 0 {
		return
	}
	if own := withoutDecisions(values); len(own) > 0 {
		header[key] = own
	} else {
		delete(header, key)
	}
}

// removeTrailingDecisions is removeDecisions for every key that net/http sends as a trailer: a key
// that the header has announced, and keys with TrailerPrefix, in any spelling.
func (w *core) removeTrailingDecisions() {
	header := w.Header()
	if w.status.Load() != 0 && len(header["Trailer"]) > 0 {
		removeDecisions(header, serverTiming)
	}
	for key := range header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok && strings.EqualFold(name, serverTiming) {
			removeDecisions(header, key)
		}
	}
}

func hasDecision(value string) bool {
	for value != "" {
		var entry string
		entry, value = cutUnquoted(value, ',')
		if name, _ := cutUnquoted(entry, ';'); isDecision(name) {
			return true
		}
	}
	return false
}

// tell adds the decision, if there is one, to the header that is about to be sent. failed reports
// whether the status is an error.
func (w *core) tell(header http.Header, failed bool) {
	if x := w.exchange; w.told == "" && !x.handler.Public && w.sampled.IsCalled() {
		x.tellPattern()
		if threshold, ok := w.sampled.Commit(x.span, time.Since(x.start), failed); ok {
			w.told = decisionEntry(x.span.SpanContext(), threshold)
		}
	}
	if w.told != "" {
		header[serverTiming] = append(slices.Clip(header[serverTiming]), w.told)
	}
}

// tellLate adds a decision made after the header was sent to the trailer. It does so if the client
// accepts trailers and the response can have one: over HTTP/2, or if the server has already chosen
// chunked encoding.
func (w *core) tellLate() {
	x := w.exchange
	if !acceptsTrailers(x.request.Header["Te"]) {
		return // before Header, which copies it once it is sent
	}
	w.removeTrailingDecisions()
	if w.told != "" || x.handler.Public || !w.sampled.Kept() || !w.sampled.IsCalled() || !w.takesTrailer() {
		return
	}
	if threshold, ok := w.sampled.Commit(x.span, 0, false); ok {
		w.told = decisionEntry(x.span.SpanContext(), threshold)
		header := w.Header()
		header[trailingTiming] = append(slices.Clip(header[trailingTiming]), w.told)
	}
}

// chunkingSize is how many bytes of a response of unknown length net/http's server buffers before
// it chooses chunked encoding.
const chunkingSize = 2048

func (w *core) takesTrailer() bool {
	r := w.exchange.request
	switch {
	case w.hijacked.Load() || w.status.Load() == 0 || r.Method == http.MethodHead:
		return false
	case r.ProtoMajor == 2:
		return true
	case !r.ProtoAtLeast(1, 1) || len(w.Header()["Content-Length"]) > 0 || len(w.Header()["Transfer-Encoding"]) > 0:
		return false
	}
	status := w.status.Load()
	return status >= http.StatusOK && status != http.StatusNoContent && status != http.StatusNotModified &&
		(w.flushed.Load() || w.size.Load() > chunkingSize)
}

// acceptsTrailers reads TE (RFC 9110, §10.1.4).
func acceptsTrailers(values []string) bool {
	for _, value := range values {
		for coding := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(coding, " \t"), "trailers") {
				return true
			}
		}
	}
	return false
}

// keptContext returns the context of a measurement whose trace the sampler has kept: its span is
// sampled.
func keptContext(ctx context.Context, span trace.Span) context.Context {
	sc := span.SpanContext()
	return trace.ContextWithSpanContext(ctx, sc.WithTraceFlags(sc.TraceFlags().WithSampled(true)))
}

// withDecision returns the context of a measurement by a client, so that exemplars name traces that
// arrive. Its span is sampled if the trace is committed by now. A client rarely knows more.
func withDecision(ctx context.Context, span trace.Span) context.Context {
	if sc, ok := sampling.Committed(span); ok {
		return trace.ContextWithSpanContext(ctx, sc)
	}
	return ctx
}

// believes reports whether the decisions of a host count: those of the hosts in WithTrustedHosts,
// or without that option those of hosts that belong to the fleet by their names.
func (e Edge) believes(host string) bool {
	if e.trusted != nil {
		return e.trusted.holds(host)
	}
	return isOfTheFleet(host)
}

// isOfTheFleet reports whether a host is loopback, has a private address (RFC 1918, RFC 4193, and
// RFC 6598, which clusters use for pods), has a name without a dot, or is in the domains localhost
// (RFC 6761), local (which includes a cluster's cluster.local), svc or internal.
func isOfTheFleet(host string) bool {
	host = canonicalHost(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		return isNear(addr)
	}
	if host == "" || host[0] >= '0' && host[0] <= '9' { // resolvers may take a number for an address
		return false
	}
	dot := strings.LastIndexByte(host, '.')
	return dot < 0 || slices.Contains([]string{"localhost", "local", "svc", "internal"}, host[dot+1:])
}

var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

func isNear(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return addr.IsLoopback() || addr.IsPrivate() || sharedAddresses.Contains(addr)
}
