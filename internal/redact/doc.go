// Package redact masks secrets and payment data in telemetry on its way out of the process: values
// under sensitive keys, and what looks sensitive under any key. It depends on no exporter and no
// setting.
//
// # Keys
//
// A key is split into words at everything that is neither letter nor digit, between a lower-case
// and an upper-case letter, and between letters and digits. Case does not matter. The key is
// sensitive if its last words are a term of the list in terms.go: "user.password", "userPassword"
// and "http.request.header.x-api-key" are sensitive, "token_count", "password_reset_sent" and
// "tokens" are not. Words that only describe the form of the value ("value", "hash",
// "confirmation", numbers) may follow. If several terms match, the longest decides, so
// "next_page_token" is not a "token".
//
// # Values
//
// These are masked in every text: card numbers, IBANs, JSON Web Tokens, the credentials after
// "Bearer" or "Basic", user and password of a URL, and values whose sensitive key is beside them in
// the text: key=value (query strings, forms, connection strings), JSON, header lines, and Go's own
// %+v.
//
// A number that could be a card number is kept if the text beside it names an identifier
// (identifier.go), unless it is written in card groups.
//
// There is no backtracking. The time is linear in the length of the text, and a text without digits
// and punctuation of interest costs one look at each byte.
package redact
