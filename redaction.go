package telemetry

import (
	"context"
	"log/slog"
	"regexp"
	"sync/atomic"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/console"
	"github.com/fleetotel/telemetry/internal/redact"
)

// Redaction is what [WithRedaction] changes about the masking of secrets and payment data. Its zero value is the default.
//
// What is masked becomes "[redacted]", whole: of a card number not even the last four digits stay.
//
// By key: the values of attributes, of log attributes and of the members of maps and groups whose key is sensitive: passwords
// and passphrases, PINs and one-time codes, authorization, cookies, tokens, JWTs, secrets and credentials, API, private and
// other secret keys, card numbers, CVVs, cardholders and track data, IBANs, bank accounts and social security numbers. A
// key is split into words at everything that is neither letter nor digit, between userPassword's lower and upper case, and
// between letters and digits; it is sensitive when its last words are a term of the list, in any case. So user.password,
// X-Api-Key and http.request.header.cookie are, token_count, tokens and password_reset_sent are not; words such as value,
// hash and numbers may follow. Booleans and empty texts stay. session.id, an identifier of the semantic conventions, stays,
// and so do names, mail addresses and phone numbers, and what a key of pass, auth or code alone has: Keys adds them.
//
// In any text, be it the value of an attribute, a span's or event's name, a status, or the body of a log record:
//
//   - Card numbers of Visa, Mastercard, American Express, Diners Club, Discover, JCB, UnionPay, Mir, RuPay and Maestro, alone or
//     in groups: an issuer's range, a length that it uses, and the check digit. Parts of longer numbers, of UUIDs and
//     hexadecimal ids, fractions, and phone numbers with a + stay. So do identifiers: a number that is written as one run of
//     digits stays if its key, its path segment or the word before it says what it is (order_id, /orders/…, "parcel …",
//     "tracking number …", any other key that ends with id). A number in card groups is masked even there. Without such a
//     word about 4 in 100 random numbers of 16 digits are masked, and 1 in 10 of those that begin with 4.
//   - IBANs with their country's length and check digits.
//   - JSON Web Tokens, and what follows Bearer or Basic.
//   - User and password of a URL; the values of sensitive keys in its query, there signatures of pre-signed URLs, too, also
//     where the keys are escaped, or the URL is the parameter of another one.
//   - The values of sensitive keys elsewhere in a text: key=value, JSON, HTTP header lines, and %+v of structs and maps. In
//     prose, "password: hunter2" stays, for "password: too short" is what is found there.
//
// It is done to spans, events, links and log records in the goroutine that exports them, also for exporters given by
// option and of the console; to the attributes of metrics' data points and exemplars before the OTLP and console exporters,
// where points whose attributes become the same stay apart (a view that drops the attribute is better); and to what the
// console branch of the log writes. It is not done to resources, instrumentation scopes, keys, trace and span ids, baggage
// and other propagated context, to what [WithSpanProcessors] and a reader of [WithMetricReader] see, and to what other
// handlers of slog write.
//
// [SignalHealth] counts what was masked. The time is linear in the length of a text.
type Redaction struct {
	// Keys are further sensitive keys, such as "email" or "session.id", matched as those of the list are: "email" also
	// covers customer.email and customerEmail, "session.id" also covers sessionId. At most 48 letters and digits each
	// (TELEMETRY_REDACTION_KEYS, separated by commas).
	Keys []string
	// AllowKeys are keys whose values are left alone, card numbers in them included: for a false positive such as a number
	// of your own that looks like a card. They are matched as Keys are. The longest matching term decides; for a key in both lists, AllowKeys
	// wins (TELEMETRY_REDACTION_ALLOW_KEYS, separated by commas).
	AllowKeys []string
	// Values are patterns of what is sensitive in any text; each match is masked. Each costs a run of its expression over
	// every text that leaves the process, several times the cost of all that is on by default. A pattern that matches the
	// empty text is an error of Init.
	Values []*regexp.Regexp
	// Off switches redaction off (TELEMETRY_REDACTION=false).
	Off bool
}

// redaction masks what leaves the process, or does nothing if it is nil.
type redaction struct {
	core *redact.Redactor
	hits [signalCount]atomic.Int64 // values or parts of values
}

// newRedaction returns nil if redaction is off.
func newRedaction(cfg *config) *redaction {
	if !cfg.redaction.value {
		return nil
	}
	return &redaction{core: redact.New(redact.Config{
		Keys: cfg.redactedKeys.value, AllowKeys: cfg.allowedKeys.value, Patterns: cfg.redactedValues.value,
	})}
}

// counter tells how much was masked in a signal.
func (r *redaction) counter(s signal) func() int64 {
	if r == nil {
		return func() int64 { return 0 }
	}
	return r.hits[s].Load
}

// replaceAttr is for the console branch; nil without redaction.
func (r *redaction) replaceAttr(format LogFormat) func([]string, slog.Attr) slog.Attr {
	switch {
	case r == nil:
		return nil
	case format == LogFormatText:
		return r.core.SlogText
	}
	return r.core.SlogJSON
}

func (r *redaction) spans(next sdktrace.SpanExporter) sdktrace.SpanExporter {
	if r == nil {
		return next
	}
	return redactedSpans{next, r}
}

// view masks what the development view shows, which is no exporter and shows spans before they end, too. Each span counts
// when it has ended.
func (r *redaction) view(shown *console.Traces) {
	if r != nil {
		shown.Masking(r.span)
	}
}

func (r *redaction) span(span sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	one := []sdktrace.ReadOnlySpan{span}
	if n := r.core.Spans(one); !span.EndTime().IsZero() {
		r.hits[traces].Add(int64(n))
	}
	return one[0]
}

func (r *redaction) metrics(next sdkmetric.Exporter) sdkmetric.Exporter {
	if r == nil {
		return next
	}
	return redactedMetrics{next, r}
}

func (r *redaction) logs(next []sdklog.Exporter) []sdklog.Exporter {
	if r == nil {
		return next
	}
	redacted := make([]sdklog.Exporter, len(next))
	for i, exporter := range next {
		redacted[i] = redactedLogs{exporter, r}
	}
	return redacted
}

// The exporters below change the batch they are given and none of its items: the batch is the engine's alone, and one that
// comes once more, in halves or for the spool, is neither masked nor counted twice.

type redactedSpans struct {
	sdktrace.SpanExporter
	redaction *redaction
}

func (e redactedSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.redaction.hits[traces].Add(int64(e.redaction.core.Spans(spans)))
	return e.SpanExporter.ExportSpans(ctx, spans)
}

type redactedLogs struct {
	sdklog.Exporter
	redaction *redaction
}

func (e redactedLogs) Export(ctx context.Context, records []sdklog.Record) error {
	e.redaction.hits[logs].Add(int64(e.redaction.core.Records(records)))
	return e.Exporter.Export(ctx, records)
}

type redactedMetrics struct {
	sdkmetric.Exporter
	redaction *redaction
}

func (e redactedMetrics) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	e.redaction.hits[metrics].Add(int64(e.redaction.core.Metrics(rm)))
	return e.Exporter.Export(ctx, rm)
}
