package telemetry

import (
	"regexp"

	"github.com/fleetotel/telemetry/internal/settings"
)

// Redaction changes how secrets and payment data are masked, for [WithRedaction]. Its zero value is
// the default.
//
// A masked value becomes "[redacted]" as a whole. Not even the last four digits of a card number
// remain.
//
// By key, these values are masked if their key is sensitive: span attributes, log attributes, and
// members of maps and groups. Sensitive are passwords and passphrases, PINs and one-time codes,
// authorization, cookies, tokens, JWTs, secrets and credentials, API, private and other secret
// keys, card numbers, CVVs, cardholders and track data, IBANs, bank accounts and social security
// numbers. A key is split into words at every character that is neither letter nor digit, between
// lower and upper case (userPassword), and between letters and digits. It is sensitive if its last
// words are a term of the list, in any case. Words such as value, hash and numbers may follow. So
// user.password, X-Api-Key and http.request.header.cookie are sensitive; token_count, tokens and
// password_reset_sent are not. Booleans and empty texts are not masked. Neither is session.id, an
// identifier of the semantic conventions, nor are names, mail addresses and phone numbers, nor a
// key that is only pass, auth or code. Use Keys to add them.
//
// In any text (an attribute's value, the name of a span or event, a status, the body of a log
// record), these are masked:
//
//   - Card numbers of Visa, Mastercard, American Express, Diners Club, Discover, JCB, UnionPay,
//     Mir, RuPay and Maestro, alone or in groups. The issuer's range, its length and the check
//     digit must all match. Parts of longer numbers, of UUIDs and hexadecimal ids, fractions, and
//     phone numbers with a + are not masked. Neither is an identifier: a number written without
//     gaps whose key, path segment or preceding word says what it is (order_id, /orders/…, "parcel
//     …", "tracking number …", any other key that ends with id). A number in card groups is masked
//     even there. Without such a word, about 4 in 100 random numbers of 16 digits are masked, and 1
//     in 10 of those that begin with 4.
//   - IBANs with their country's length and check digits.
//   - JSON Web Tokens, and the text after Bearer or Basic.
//   - The user and password of a URL, and the values of sensitive keys in its query, where
//     signatures of pre-signed URLs also count. Escaped keys and a URL inside the parameter of
//     another URL are covered.
//   - The values of sensitive keys elsewhere in a text: key=value, JSON, HTTP header lines, and %+v
//     of structs and maps. In prose, "password: hunter2" is not masked, because most such texts
//     read "password: too short".
//
// Spans, events, links and log records are masked in the goroutine that exports them, also for the
// console and for exporters given by option. The attributes of metric data points and exemplars are
// masked before the OTLP and console exporters. Points whose attributes become equal remain
// separate; a view that drops the attribute is better. The console log is masked too.
//
// Not masked are resources, instrumentation scopes, keys, trace and span ids, baggage and other
// propagated context. Neither is the data that [WithSpanProcessors], a reader of [WithMetricReader]
// and other slog handlers receive.
//
// [SignalHealth] counts the masked values. The time is linear in the length of a text.
type Redaction struct {
	// Keys are additional sensitive keys, such as "email" or "session.id". They match like those of
	// the list: "email" also covers customer.email and customerEmail, "session.id" also covers
	// sessionId. At most 48 letters and digits each (TELEMETRY_REDACTION_KEYS, separated by
	// commas).
	Keys []string
	// AllowKeys are keys whose values are never masked, not even card numbers in them. Use them for
	// false positives, such as your own numbers that look like card numbers. They match like Keys.
	// The longest matching term decides; for a key in both lists, AllowKeys wins
	// (TELEMETRY_REDACTION_ALLOW_KEYS, separated by commas).
	AllowKeys []string
	// Values are patterns of sensitive text; each match is masked. Each pattern runs over every
	// text that leaves the process, at several times the cost of all the default rules. Init
	// returns an error for a pattern that matches the empty text.
	Values []*regexp.Regexp
	// Off turns redaction off (TELEMETRY_REDACTION=false).
	Off bool
}

// WithRedaction sets how secrets and payment data are masked before they leave the process
// (TELEMETRY_REDACTION, TELEMETRY_REDACTION_KEYS, TELEMETRY_REDACTION_ALLOW_KEYS; on by default).
// [Redaction] describes what is masked and where. Init returns an error for an invalid key or
// pattern; the others and the defaults stay on.
//
// If the option is given twice, keys and patterns add up, and those of the variables are added to
// them. Once Off is set, no later option turns redaction on again.
func WithRedaction(r Redaction) Option {
	return record(func(o *settings.Asked) { o.Redaction = settings.Merge(o.Redaction, settings.Redaction(r)) })
}
